"""VoiceWebSocket: one WebSocket of a voice client, with its outgoing messages in order, and ways to end it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from discordplex.clock import Clock
from discordplex.loopback.sockets import reset_connection


@dataclass(frozen=True, slots=True)
class CloseWith:
    """The last item in an outbox: close with this code."""

    code: int


class VoiceWebSocket:
    """A WebSocket whose `post` never waits. Run `pump` beside `messages`, both for as long as the connection lives."""

    def __init__(self, wire: web.WebSocketResponse, request: web.Request, *, clock: Clock) -> None:
        self.delay_s = 0.0
        """Delay of every message: a slow control channel."""
        self.closed_with: int | None = None
        """The code that we closed with."""
        self.client_code: int | None = None
        """The code of the client's close frame. Not aiohttp's `close_code`, which says 1000 also where TCP ended without one."""
        self._wire = wire
        self._request = request
        self._clock = clock
        self._outbox: asyncio.Queue[tuple[float, str | bytes | CloseWith]] = asyncio.Queue()

    def post(self, message: str | bytes) -> None:
        """Send a message after all earlier ones; lost silently where the connection ends first."""
        self._outbox.put_nowait((self._clock.now() + self.delay_s, message))

    def close(self, code: int) -> None:
        """Close with a code, after all earlier messages, however slow. The first close counts."""
        if self.closed_with is None:
            self.closed_with = code
            self._outbox.put_nowait((0.0, CloseWith(code)))

    def reset(self) -> None:
        """Reset the TCP connection, in the middle of whatever is being sent."""
        reset_connection(self._request.transport)

    async def pump(self) -> None:
        """Send what was posted, until the close or until the connection is lost."""
        while True:
            due, message = await self._outbox.get()
            if due > self._clock.now():
                await self._clock.sleep_until(due)
            if isinstance(message, CloseWith):
                await self._wire.close(code=message.code)
                return
            if self._wire.closed or not await self._send(message):
                return

    async def messages(self, silence_s: float) -> AsyncIterator[str | bytes]:
        """What the client sends until the connection ends. Raises TimeoutError after `silence_s` without a message."""
        while True:
            try:
                message = await self._wire.receive(timeout=silence_s)
            except asyncio.TimeoutError as fault:  # TimeoutError itself only from Python 3.11 on
                raise TimeoutError from fault
            if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                yield message.data
            elif message.type is WSMsgType.CLOSE:
                self.client_code = message.data
                return
            elif message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return

    async def _send(self, message: str | bytes) -> bool:
        try:
            if isinstance(message, str):
                await self._wire.send_str(message)
            else:
                await self._wire.send_bytes(message)
        except (ConnectionError, RuntimeError):  # aiohttp: RuntimeError where the transport is gone already
            return False
        return True
