"""The WebSocket of every client here: guarded against what its peer sends, written without a wait, read and closed in one way.

`websockets` does not document some of the names that this takes (`protocol`, `transport`, `send_data`, `data_received`, `process_event`).
They are used in this file only, and CI runs the oldest and the newest release that pyproject.toml takes.
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import anyio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidState, ProtocolError
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from discordplex.tasks import cancel_and_wait

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a wheel
    from websockets.utils import apply_mask

Guard: TypeAlias = Callable[[int, int], bool]
"""Called with each number of bytes and of frames that came from a peer, in this order; False closes the connection."""

TEXT: Final = 0x80 | Opcode.TEXT
BINARY: Final = 0x80 | Opcode.BINARY
"""The first byte of a frame that is a whole message."""
MASKED: Final = 0x80
"""In the second byte, with the size of the payload, or with one of `MEDIUM` and `LONG`, after which the size follows."""
MEDIUM: Final = 126
LONG: Final = 127
SHORT_BYTES: Final = 125
MEDIUM_BYTES: Final = 0xFFFF
SHORT_HEAD: Final = struct.Struct("!BB")
MEDIUM_HEAD: Final = struct.Struct("!BBH")
LONG_HEAD: Final = struct.Struct("!BBQ")
MASK_BYTES: Final = 4

AT_ONCE: Final = 4
"""Messages of one read that are handled where they are parsed. Before each of the others, other tasks run."""

SLICE_BYTES: Final = 1 << 10
"""Bytes from the socket parsed at once: 512 frames at most, some 5 ms."""


@dataclass(frozen=True, slots=True)
class SocketEnd:
    """How a WebSocket ended."""

    code: int
    """The peer's close code; 1006 where it sent none."""
    too_big: bool
    """We have closed it: a message was larger than `max_size`."""


class GuardedConnection(ClientConnection):
    """A WebSocket that is closed where its peer sends too much, before that is parsed: the library would answer and keep every frame.

    Set `guard` right after it was made.
    """

    guard: Guard

    on_message: Callable[[bytes], None] | None = None
    """Called with a binary message where it is parsed, which saves a task from being woken twice for it. `next_message` has the others:
    text, what came in fragments, and what came after `AT_ONCE` of one read or behind a message that nobody has taken yet."""

    _is_cut = False
    _unread = 0
    _at_once = 0

    # What we send

    @property
    def backlog_bytes(self) -> int:
        """What we sent and the kernel has not taken yet, because the peer does not read."""
        return self.transport.get_write_buffer_size()

    def send_now(self, message: str | bytes) -> None:
        """Send a message, a text or binary one. Never waits for the peer; does nothing once the socket has ended.

        `send` can wait, so that it cannot be called where an event is handled. The frame (RFC 6455 section 5.2, whole and masked) is made
        here: the library's way to it has fifteen functions, which are cold in the caches 50 times a second.
        """
        if self.protocol.state is not State.OPEN:
            return
        first, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        size = len(payload)
        if size <= SHORT_BYTES:
            head = SHORT_HEAD.pack(first, MASKED | size)
        elif size <= MEDIUM_BYTES:
            head = MEDIUM_HEAD.pack(first, MASKED | MEDIUM, size)
        else:
            head = LONG_HEAD.pack(first, MASKED | LONG, size)
        mask = os.urandom(MASK_BYTES)
        with contextlib.suppress(OSError):
            self.transport.write(b"".join((head, mask, apply_mask(payload, mask))))

    def ping_now(self) -> None:
        """Send an empty ping, and wait for no answer; `ping` refuses to send a second one while the first is unanswered."""
        with contextlib.suppress(ProtocolError, InvalidState, OSError):
            self.protocol.send_ping(b"")
            self.send_data()

    def limit_send_buffer(self, size: int) -> None:
        """Let the kernel keep no more than this for a peer that does not read, where the system allows it."""
        raw: socket.socket | None = self.transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    # What the peer sends

    if sys.version_info < (3, 11):

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrowed as the library does
            """Let frames be read that came before the end: this asyncio's TLS transport cannot resume once its socket is lost."""
            transport.resume_reading = until_lost(transport.resume_reading)  # type: ignore[method-assign]
            super().connection_made(transport)

    async def next_message(self) -> str | bytes | SocketEnd:
        """The next message, or how the socket ended. Other tasks run first: messages that are there already are read without a wait."""
        await asyncio.sleep(0)
        try:
            message = await self.recv()
        except ConnectionClosed as closed:
            code = CloseCode.ABNORMAL_CLOSURE if closed.rcvd is None else closed.rcvd.code
            return SocketEnd(
                code, too_big=closed.rcvd is None and closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG
            )
        self._unread -= 1
        return message

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes, a slice at a time."""
        self._check(len(data), 0)
        self._at_once = AT_ONCE
        for start in range(0, len(data), SLICE_BYTES):
            if self._is_cut:
                return
            super().data_received(data[start : start + SLICE_BYTES])

    def process_event(self, event: Event) -> None:
        """Handle one frame."""
        self._check(0, 1)
        if self._is_cut:
            return
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            if self.on_message is not None and self._at_once and not self._unread and event.fin and event.opcode is Opcode.BINARY:
                self._at_once -= 1
                self.on_message(bytes(event.data))
                return
            self._unread += event.fin
        super().process_event(event)

    def _check(self, size: int, frames: int) -> None:
        if not self._is_cut and not self.guard(size, frames):
            self._is_cut = True
            self.abort()

    # The end

    def abort(self) -> None:
        """End the connection without a goodbye."""
        self.transport.abort()


async def hang_up(connection: GuardedConnection | None, *tasks: asyncio.Task[Any]) -> None:
    """Close the connection, within its `close_timeout`, and end the tasks that serve it, also where the caller is cancelled."""
    with anyio.CancelScope(shield=True):
        try:
            if connection is not None:
                await connection.close()
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        finally:
            await cancel_and_wait(*tasks)


def until_lost(resume: Callable[[], None]) -> Callable[[], None]:
    """`resume_reading` of Python 3.10, which does nothing once the socket under a TLS transport is lost."""

    def resume_reading() -> None:
        with contextlib.suppress(AttributeError):
            resume()

    return resume_reading
