"""RealtimeClient: one WebSocket and the task that reads it; what a session means is `protocol.py`'s."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException

from discordplex.clock import Clock
from discordplex.descriptors import out_of_descriptors, says_no_descriptors
from discordplex.errors import EngineError, RemoteProtocolError
from discordplex.logs import place_of
from discordplex.network import NetworkSettingError, ProxyFailedError, open_websocket, tls_context
from discordplex.realtime import endings, messages
from discordplex.realtime.dialects import Dialect
from discordplex.realtime.endings import SessionEnding
from discordplex.realtime.protocol import Fact, MessageRefused, Over, RealtimeProtocol
from discordplex.token_bucket import TokenBucket
from discordplex.websocket import GuardedConnection, SocketEnd, hang_up

UPGRADE_TIMEOUT_S: Final = 10.0
SESSION_TIMEOUT_S: Final = 10.0
"""How long a server may take from the upgrade to a session."""
SILENT_S: Final = 3.0
"""A server that has said nothing for so long waits for us to speak first."""
OPENING, PLAIN = "opening", "plain"
"""Names of our first messages, by which a server says that it refuses one."""
CLOSE_TIMEOUT_S: Final = 1.0
MAX_MESSAGE_BYTES: Final = 16 << 20
"""OpenAI sends an item with all of its sound when a reply is complete: one of 3.5 MB was seen (BerriAI/litellm issue 15747, October 2025),
and the longest reply, 4,096 tokens of 50 ms, has 13 MB."""
WRITE_LIMIT_BYTES: Final = 1 << 20
"""Above this `send` would wait for the peer; sound is dropped long before."""
LONGEST_WAIT_S: Final = 120.0
"""Of what a server may ask us to wait."""

MEANINGS: Final[tuple[tuple[tuple[type[BaseException], ...], Callable[[str], SessionEnding]], ...]] = (
    ((ssl.SSLCertVerificationError,), endings.untrusted),
    ((ssl.SSLError,), endings.no_tls),
    ((socket.gaierror,), endings.unknown_host),
    ((InvalidMessage, InvalidHandshake), endings.not_realtime),
)
"""What a failure to connect means. Each of the first three is an OSError: the order matters."""

FAILURES: Final = (NetworkSettingError, OSError, asyncio.TimeoutError, WebSocketException)

log = structlog.get_logger()


class OtherDialectError(EngineError):
    """The server waits for us to speak first, or has opened a session of its own: it speaks vLLM-Omni's dialect."""


class RealtimeClient:
    """One session, from `open` to `close`. `on_fact` is called on the loop with each fact, in order; it must not block."""

    def __init__(self, dialect: Dialect, *, url: str, headers: Mapping[str, str], clock: Clock, on_fact: Callable[[Fact], None]) -> None:
        self.retry_after_s = 0.0
        """How long the server asked to be left alone, when it refused to open a session."""
        self._dialect = dialect
        self._url = url
        self._headers = dict(headers)
        self._clock = clock
        self._on_fact = on_fact
        self._protocol = RealtimeProtocol(dialect)
        self._socket: GuardedConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._ending: SessionEnding | None = None
        self._bytes = TokenBucket(per_second=512 << 10, burst=32 << 20)
        self._frames = TokenBucket(per_second=400, burst=4000)
        self._faults = TokenBucket(per_second=2, burst=20)
        self._exceeded = ""
        self._refused: MessageRefused | None = None

    @property
    def live(self) -> bool:
        """Whether sound can be sent now."""
        return self._protocol.ready and not self._protocol.over and self._socket is not None

    @property
    def backlog_bytes(self) -> int:
        """What we sent and the kernel has not taken yet, because the server does not read."""
        return self._socket.backlog_bytes if self._socket is not None else 0

    async def open(self, opening: Mapping[str, Any], plain: Mapping[str, Any], *, patience_s: float = SESSION_TIMEOUT_S) -> None:
        """Connect and return once the session is as `opening` asks, or `plain` where the server does not know all of that.

        `patience_s` is how long a server that speaks first may be silent. Raises EngineError with a sentence; then everything is closed
        again. OtherDialectError where the server speaks another dialect.
        """
        try:
            await self._dial()
            self._reading = asyncio.create_task(self._read(), name=f"realtime read: {self._dialect.name}")
            if not self._dialect.speaks_first:
                await self._until(lambda: self._protocol.greeted, patience_s)
                self._require_dialect(patience_s)
            unrefused = await self._ask({**opening, "event_id": OPENING}) or await self._ask({**plain, "event_id": PLAIN})
            if not self._protocol.ready:
                service = self._dialect.service
                self._fail(endings.silent(service, SESSION_TIMEOUT_S) if unrefused else endings.rejected(service))
                self._raise()
        except BaseException:
            await self.close()
            raise

    async def _ask(self, opening: Mapping[str, Any]) -> bool:
        """Ask for a session and wait for it; False where the server refuses to give it as it was asked for."""
        self._refused = None
        self.send(messages.encode(opening))
        await self._until(lambda: self._protocol.ready or self._is_refused(opening["event_id"]), SESSION_TIMEOUT_S)
        return self._protocol.ready or not self._is_refused(opening["event_id"])

    def _is_refused(self, event: str) -> bool:
        """Whether this message is; a server that names no message may only mean the first."""
        return self._refused is not None and self._refused.event in (event, "" if event == OPENING else event)

    def send(self, text: str) -> None:
        """Send a message. Never waits for the peer; does nothing once the session is over."""
        if self._socket is not None and not self._protocol.over:
            self._socket.send_now(text)

    def exceed(self, what: str) -> None:
        """Give up: the server sends more `what` than a call can take."""
        self._exceeded = self._exceeded or what
        self._fail(endings.over_budget(self._dialect.service, what))
        self._abort()

    def stalled(self, waited_s: float) -> None:
        """Give up: nothing comes."""
        self._fail(endings.stalled(self._dialect.service, waited_s))
        self._abort()

    async def close(self) -> None:
        """Hang up and leave nothing behind, within about a second. A second time does nothing."""
        if self._dialect.speaks_first and self.live:
            self.send(messages.encode(messages.CLOSE))
        self._fail(endings.left(self._dialect.service), quietly=True)
        await hang_up(self._socket, *([] if self._reading is None else [self._reading]))

    async def _dial(self) -> None:
        options: dict[str, Any] = {}
        try:
            if self._url.startswith("wss:"):
                # Reading the certificates takes tens of milliseconds, and other calls run on this loop.
                options["ssl"] = await asyncio.to_thread(tls_context)
            self._socket = await open_websocket(
                self._url,
                guard=self._may_come,
                additional_headers=self._headers,
                compression=None,
                open_timeout=UPGRADE_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=MAX_MESSAGE_BYTES,
                write_limit=WRITE_LIMIT_BYTES,
                **options,
            )
        except FAILURES as error:
            ending = self._ending_of(error)
            raise EngineError(ending.reason, retry=ending.retry, cause=ending.cause) from None  # its cause could quote the request

    def _ending_of(self, error: BaseException) -> SessionEnding:
        if isinstance(error, NetworkSettingError | ProxyFailedError):
            return SessionEnding(str(error), retry=isinstance(error, ProxyFailedError), cause=error.cause)
        if says_no_descriptors(error) or out_of_descriptors():
            return endings.no_descriptors(self._dialect.service)
        if isinstance(error, InvalidStatus):
            self.retry_after_s = retry_after_of(error)
            return endings.refused(self._dialect.service, error.response.status_code)
        ending = next((ending for kinds, ending in MEANINGS if isinstance(error, kinds)), endings.unreachable)
        return ending(self._dialect.service)

    async def _until(self, settled: Callable[[], bool], timeout_s: float) -> None:
        """Return when `settled`, or after `timeout_s`. Raises EngineError where the session ends before."""
        deadline = asyncio.create_task(self._sleep(timeout_s), name="realtime deadline")
        try:
            while not settled() and self._ending is None and not deadline.done():
                self._changed.clear()
                change = asyncio.create_task(self._changed.wait(), name="realtime change")
                await asyncio.wait({change, deadline}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
        finally:
            deadline.cancel()
        if self._ending is not None:
            self._raise()

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now() + seconds)

    def _require_dialect(self, waited_s: float) -> None:
        if not self._protocol.greeted or self._protocol.is_duplex:
            raise OtherDialectError(endings.silent(self._dialect.service, waited_s).reason, cause="no session")

    def _raise(self) -> None:
        if self._ending is not None:
            raise EngineError(self._ending.reason, retry=self._ending.retry, cause=self._ending.cause)

    async def _read(self) -> None:
        """Take messages until the socket ends. The one place that knows why it did."""
        connection = self._socket
        if connection is None:
            return
        try:
            while not isinstance(message := await connection.next_message(), SocketEnd):
                self._receive(functools.partial(self._protocol.receive, message))
                while self._protocol.has_more_sound and not self._protocol.over:
                    await asyncio.sleep(0)
                    self._receive(self._protocol.decode)
            self._lost(message)
        except Exception:
            # A bug of ours must end the session, not leave it deaf.
            log.exception("realtime reader failed")
            self._fail(endings.closed(self._dialect.service, endings.ABNORMAL_CLOSURE))

    def _receive(self, parse: Callable[[], None]) -> None:
        try:
            parse()
        except RemoteProtocolError as fault:
            log.info("the server sent a message that makes no sense", server=self._dialect.service, cause=place_of(fault))
            if not self._faults.take(1, self._clock.now()):
                self.exceed("damaged messages")
        self._dispatch()

    def _dispatch(self) -> None:
        for fact in self._protocol.take_facts():
            if isinstance(fact, Over):
                self._fail(fact.ending)
                continue
            if isinstance(fact, MessageRefused):
                self._refused = fact
            self._on_fact(fact)
        self._changed.set()

    def _lost(self, end: SocketEnd) -> None:
        exceeded = self._exceeded or ("data in one message" if end.too_big else "")
        service = self._dialect.service
        self._fail(endings.over_budget(service, exceeded) if exceeded else endings.closed(service, end.code))

    def _fail(self, ending: SessionEnding, *, quietly: bool = False) -> None:
        """The session is over; only the first reason counts."""
        if self._ending is None:
            self._ending = ending
            self._protocol.over = True
            if not quietly:
                self._on_fact(Over(ending))
        self._changed.set()

    def _may_come(self, size: int, frames: int) -> bool:
        now = self._clock.now()
        if size and not self._bytes.take(size, now):
            self._exceeded = self._exceeded or "data"
        if frames and not self._frames.take(frames, now):
            self._exceeded = self._exceeded or "messages"
        return not self._exceeded

    def _abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()


def retry_after_of(error: InvalidStatus) -> float:
    """How long the server asks to be left alone, at most `LONGEST_WAIT_S`."""
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(error.response.headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0
