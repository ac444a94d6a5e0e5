"""PersonaPlexClient: the asyncio shell around one conversation's `Connection`. It owns the socket and the tasks that serve it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from discordplex.clock import Clock
from discordplex.engine import Persona
from discordplex.errors import EngineError, RemoteProtocolError
from discordplex.logs import place_of
from discordplex.personaplex import endings
from discordplex.personaplex.budget import PeerBudget
from discordplex.personaplex.connection import Connection, ConversationEnded, ConversationPhase, Event
from discordplex.personaplex.dialing import FAILURES, dial, ending_of
from discordplex.personaplex.endings import Ending
from discordplex.personaplex.endpoint import Endpoint, estimated_tokens
from discordplex.websocket import GuardedConnection, SocketEnd, hang_up

LONG_PROMPT_TOKENS = estimated_tokens("x" * 1000)
"""A role of more than 1,000 bytes is very long: the model's own web page accepts no more characters than that."""

LONG_PROMPT_S_PER_TOKEN = 0.1
"""What each token beyond that adds: a token of the role is one step, of 50 to 60 ms on a GPU that keeps up."""

KEEP_ALIVE_S = 12.0
"""Between pings, once the server reads. Pings keep NAT and proxies from dropping the connection; the audio shows whether the server is
well."""

MOST_UNREAD_BYTES = 1 << 15
"""Most bytes that wait for a server that does not read. Sound has no more than 8 kB; the rest are answers to its pings."""

log = structlog.get_logger()


def handshake_deadline_s(text_prompt: str, configured_s: float) -> float:
    """How long loading the prompts may take: the configured time, plus 0.1 s for each 3 bytes of a role beyond 1,000."""
    return configured_s + LONG_PROMPT_S_PER_TOKEN * max(0, estimated_tokens(text_prompt) - LONG_PROMPT_TOKENS)


class PersonaPlexClient:
    """One WebSocket, from `open` to `close`. `on_event` is called on the loop for each event, in order; it must not block."""

    def __init__(self, *, endpoint: Endpoint, persona: Persona, clock: Clock, verify_tls: bool, on_event: Callable[[Event], None]) -> None:
        self._endpoint = endpoint
        self._persona = persona
        self._clock = clock
        self._verify_tls = verify_tls
        self._on_event = on_event
        self._connection = Connection(endpoint.name)
        self._socket: GuardedConnection | None = None
        self._settled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: Ending | None = None
        self.budget = PeerBudget()
        """The server's limits; whoever finds one exceeded calls `exceed`."""
        self._exceeded = ""
        self.bad_messages = 0

    @property
    def live(self) -> bool:
        """Whether audio can be sent now."""
        return self._connection.phase is ConversationPhase.LIVE and self._socket is not None

    @property
    def backlog_bytes(self) -> int:
        """Bytes that we sent and the kernel has not taken yet, because the server does not read."""
        return self._socket.backlog_bytes if self._socket is not None else 0

    async def open(self, handshake_timeout_s: float) -> None:
        """Connect and wait until the engine listens. Raises EngineError with a sentence; then everything is closed again."""
        try:
            await self._dial()
            self._spawn(self._read(), "read")
            await self._await_handshake(handshake_timeout_s)
        except BaseException:
            await self.close()
            raise
        self._spawn(self._keep_alive(), "keep-alive")

    def send_audio(self, ogg: bytes) -> None:
        """Send bytes of our OggOpus stream. Never waits for the peer; does nothing once the conversation is over."""
        if self._socket is not None and self._connection.phase is ConversationPhase.LIVE:
            self._socket.send_now(self._connection.audio_message(ogg))

    def stalled(self, waited_s: float) -> None:
        """Give up: we sent for `waited_s` and received nothing."""
        if self._connection.phase is ConversationPhase.LIVE:
            self._connection.stalled(waited_s)
            self._dispatch()

    def trickled(self, share: float, over_s: int) -> None:
        """Give up: we sent for `over_s`, and less than `share` of it was answered."""
        if self._connection.phase is ConversationPhase.LIVE:
            self._connection.trickled(share, over_s)
            self._dispatch()

    def exceed(self, what: str) -> None:
        """Give up: the server sends more `what` than allowed. Nothing more of it is read."""
        self._exceeded = self._exceeded or what
        self._connection.over_budget(what)
        self._abort()
        self._dispatch()

    def cut(self, ending: Ending) -> None:
        """End the conversation for this reason, at once, and cut the connection."""
        self._connection.cut(ending)
        self._abort()
        self._dispatch()

    async def close(self) -> None:
        """Close the connection and everything else, within about a second. A second call does nothing."""
        # A call mostly ends by cancellation, and a socket left open would block the server for everybody.
        self._connection.leave()
        self._dispatch()
        tasks, self._tasks = self._tasks, []
        await hang_up(self._socket, *tasks)

    async def _dial(self) -> None:
        try:
            url = self._endpoint.url(self._persona)
            self._socket = await dial(self._endpoint, url, verify_tls=self._verify_tls, guard=self._may_come)
        except FAILURES as error:
            # A connection that we cut looks as if the server had hung up.
            exceeded = self._exceeded
            ending = endings.over_budget(self._endpoint.name, exceeded) if exceeded else ending_of(error, self._endpoint)
            self._connection.failed(ending)
            self._dispatch()
            raise EngineError(ending.reason, retry=ending.retry, cause=ending.cause) from error
        self._connection.upgraded(self._clock.now())

    async def _await_handshake(self, timeout_s: float) -> None:
        await self._settle(self._clock.now() + timeout_s)
        if self._connection.phase is ConversationPhase.PROMPTING:
            self._connection.late(timeout_s)
            self._dispatch()
        if self._ending is not None:
            raise EngineError(self._ending.reason, retry=self._ending.retry, cause=self._ending.cause)

    async def _settle(self, deadline: float) -> None:
        """Return at the handshake, at the end, or at `deadline`."""
        settled = asyncio.create_task(self._settled.wait())
        timer = asyncio.create_task(self._sleep_until(deadline))
        try:
            await asyncio.wait({settled, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()
            timer.cancel()
            await asyncio.gather(settled, timer, return_exceptions=True)

    async def _sleep_until(self, deadline: float) -> None:
        await self._clock.sleep_until(deadline)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"personaplex {name}: {self._endpoint.name}"))

    async def _read(self) -> None:
        """Read messages until the socket ends. The only place that knows why it did."""
        connection = self._socket
        if connection is None:
            return
        connection.on_message = self._receive
        while not isinstance(message := await connection.next_message(), SocketEnd):
            self._receive(message)
        self._lost(message)
        self._dispatch()

    def _may_come(self, size: int, frames: int) -> bool:
        """Whether the server may send that much more; otherwise the caller closes the connection."""
        now = self._clock.now()
        if size and not self.budget.received(size, now):
            self._exceeded = self._exceeded or "data"
        if frames and not self.budget.frame(now):
            self._exceeded = self._exceeded or "messages"
        if frames and self.backlog_bytes > MOST_UNREAD_BYTES:
            self._exceeded = self._exceeded or "pings"
        return not self._exceeded

    def _receive(self, data: bytes | str) -> None:
        """Take a message; never raises."""
        try:
            self._take(data)
        except Exception:
            # A bug of ours must end the call, not leave it without sound.
            log.exception("engine reader failed", server=self._endpoint.name)
            self._connection.lost(endings.ABNORMAL_CLOSURE, self._clock.now())
            self._dispatch()

    def _take(self, data: bytes | str) -> None:
        try:
            self._connection.receive(data)
        except RemoteProtocolError as fault:
            self.damage(fault)
        self._dispatch()

    def damage(self, fault: RemoteProtocolError) -> None:
        """Count a message that is damaged or invalid. The first one is logged; many end the conversation."""
        self.bad_messages += 1
        if self.bad_messages == 1:
            log.warning("engine sent a bad message", server=self._endpoint.name, cause=place_of(fault))
        if not self.budget.fault(self._clock.now()):
            self.exceed("damaged messages")

    def _lost(self, end: SocketEnd) -> None:
        if end.too_big:
            self._connection.flooded()
        elif self._exceeded:
            self._connection.over_budget(self._exceeded)
        else:
            self._connection.lost(end.code, self._clock.now())

    def _dispatch(self) -> None:
        for event in self._connection.take_events():
            if isinstance(event, ConversationEnded):
                self._ending = event.ending
            self._on_event(event)
        if self._connection.phase in (ConversationPhase.LIVE, ConversationPhase.CLOSED):
            self._settled.set()

    async def _keep_alive(self) -> None:
        """Ping at intervals while the call lasts. Never before the handshake: a busy server answers no ping.

        The ping is empty: kyutai's Rust server parses a ping's payload as a message of its protocol, and ends the call where the first byte
        is no kind it knows. It answers none either, so nobody waits for the pong.
        """
        while self.live:
            # Counted from now, not from the last ping: a machine that was asleep would otherwise send all pings that it missed.
            await self._clock.sleep_until(self._clock.now() + KEEP_ALIVE_S)
            if self._socket is not None:
                self._socket.ping_now()

    def _abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()
