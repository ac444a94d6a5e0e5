"""PersonaPlexPool: several servers, one call each. It leases them and knows which of them work.

A server must never see a second connection: a busy one accepts it without a word and keeps it waiting, and by merely connecting a client
overwrites the voice and role of the conversation that is being set up. So a server is free only when its lease was given back *and* the
last socket to it is closed, and nothing here ever probes a server.

A call may hold a second server for a while, to prepare its next conversation there. That one still counts as free: whoever needs it for a
call takes it back, and their conversation waits until the other's socket is closed.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from types import TracebackType

import structlog
from typing_extensions import Self

from discordplex.clock import Clock
from discordplex.config import PersonaPlexConfig
from discordplex.engine import NO_RECAP, EngineInfo, EngineLease, Persona, Recap, VoiceEngine
from discordplex.errors import ConfigError, EngineError, LocalProtocolError
from discordplex.metrics import Metrics
from discordplex.overview import EngineServer
from discordplex.personaplex.client import handshake_deadline_s
from discordplex.personaplex.endings import NOT_READY
from discordplex.personaplex.endpoint import VOICES, Endpoint, check_prompt, check_voice
from discordplex.personaplex.engine import PersonaPlexEngine, ServerReport
from discordplex.personaplex.memory import with_recap
from discordplex.retry import Backoff

FIRST_PAUSE_S = 2.0
MOST_PATIENCE = 4
"""A server that was not ready in time gets twice as long the next time, up to this many times the configured time: it loads the prompts
from the beginning on each try, so a server that is too slow once would fail for ever. One that is ready within the configured time gets
that time again."""

LONGEST_PAUSE_S = 120.0
"""Pauses of a server that failed, doubling from the one to the other until it has served again."""

log = structlog.get_logger()


@dataclasses.dataclass(eq=False)
class Server:
    """One server of the pool: who uses it, and whether it works."""

    endpoint: Endpoint
    leased: bool = False
    connected: bool = False
    spare: "PersonaPlexSpare | None" = None
    """The second slot that it is for a call; it is leased then, too."""
    leaving: bool = False
    """Whether the conversation on it ends now, so that the next one may wait for that."""
    left: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set when its socket has closed."""
    backoff: Backoff = dataclasses.field(default_factory=lambda: Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))
    paused_until: float = float("-inf")
    patience: int = 1
    """How many times the configured time its next handshake may take."""

    @property
    def free(self) -> bool:
        """Whether it can be leased without taking it from anybody."""
        return not self.leased and (self.leaving or not self.connected)

    @property
    def available(self) -> bool:
        """Whether a call that needs a server can have it."""
        return self.free or self.spare is not None

    def leave(self) -> None:
        """The conversation on it ends now: the next one waits for that."""
        self.leaving = self.connected

    def disconnected(self) -> None:
        """Its socket has closed."""
        self.connected = self.leaving = False
        self.left.set()

    def report(self, outcome: ServerReport, now: float) -> None:
        """Record the outcome of a conversation."""
        if outcome is ServerReport.SERVED:
            self.backoff.reset()
            self.paused_until = float("-inf")
            return
        self.paused_until = now + self.backoff.failed()
        log.info("engine server paused after a failure", server=self.endpoint.name, failures=self.backoff.failures)


INFO = EngineInfo("PersonaPlex", transcribes=False)


class PersonaPlexPool:
    """The EngineProvider over the configured servers. Raises ConfigError for an invalid address. Thread: loop, for all methods."""

    def __init__(self, config: PersonaPlexConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        endpoints = dict.fromkeys(Endpoint.parse(url) for url in config.urls)
        if not endpoints:
            raise ConfigError("personaplex.urls is empty: name at least one server, such as ws://localhost:8998/api/chat.")
        self._servers = [Server(endpoint) for endpoint in endpoints]

    @property
    def capacity(self) -> int:
        """How many calls can be held at once: one for each server."""
        return len(self._servers)

    @property
    def free(self) -> int:
        """How many leases `acquire` would give right now, spare slots included."""
        return sum(server.available for server in self._usable())

    @property
    def working(self) -> int:
        """How many of the free ones are not paused."""
        return sum(server.available and self._works(server) for server in self._servers)

    @property
    def busy(self) -> int:
        """How many servers a call holds, or has not yet left."""
        return sum(server.leased or server.connected for server in self._servers)

    @property
    def servers(self) -> Sequence[EngineServer]:
        """Every server with what is known of it."""
        return [
            EngineServer(
                INFO.description,
                capacity=1,
                busy=int(not server.available),
                failures=server.backoff.failures,
                retry_in_s=self._paused_s(server),
                address=server.endpoint.name,
            )
            for server in self._servers
        ]

    @property
    def info(self) -> EngineInfo:
        """PersonaPlex, which writes down only what it says itself."""
        return INFO

    @property
    def voices(self) -> Sequence[str]:
        """The model's 18 voices."""
        return VOICES

    def check(self, voice: str, text_prompt: str) -> str | None:
        """Why a server would refuse this persona, as a plain sentence; None where it would not."""
        return check_voice(voice) or check_prompt(text_prompt)

    def acquire(self) -> "PersonaPlexLease | None":
        """A lease on a free server, or None while all are taken.

        A paused server is not leased while another one works: the next working server that becomes free serves people sooner. Where all are
        paused they are leased anyway: people then hear what is wrong with them, not that they are busy. A spare slot of another call is
        taken back where nothing else is free.
        """
        server = min((server for server in self._usable() if server.available), key=self._preference, default=None)
        if server is None:
            return None
        self._take(server)
        return PersonaPlexLease(self, server)

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second call does nothing."""
        if isinstance(lease, PersonaPlexLease):
            lease.give_back()

    def move(self, server: Server, own_spare: "PersonaPlexSpare | None") -> Server:
        """The server of a lease's next conversation: its own, or another one that works and can be had while its own is paused."""
        others = [
            other for other in self._servers if other.available and self._works(other) and not (own_spare and other.spare is own_spare)
        ]
        if not others or self._works(server):
            return server
        other = min(others, key=self._preference)
        self._take(other)
        server.leased = False
        return other

    def spare_server(self) -> Server | None:
        """A server that works and that nobody has, leased from now on; None where there is none."""
        server = min((server for server in self._servers if server.free and self._works(server)), key=self._preference, default=None)
        if server is not None:
            server.leased = True
        return server

    def engine(self, server: Server, persona: Persona, metrics: Metrics, recap: Recap) -> "LeasedEngine":
        """A conversation on `server`, not yet connected."""
        role = with_recap(persona.text_prompt, recap, self._config.recap_tokens) if recap else persona.text_prompt
        persona = dataclasses.replace(persona, text_prompt=role)
        return LeasedEngine(server, config=self._config, persona=persona, clock=self._clock, metrics=metrics)

    def _take(self, server: Server) -> None:
        """Lease a server that is available; whoever has it as a spare slot loses it."""
        server.leased = True
        if server.spare is not None:
            server.spare.take_back()

    def _preference(self, server: Server) -> tuple[bool, float, bool]:
        """What is taken first: nobody's, the one that works or will work soonest, without somebody's last words."""
        return server.spare is not None, self._paused_s(server), server.connected

    def _usable(self) -> list[Server]:
        """Those that work, busy or not; all where none does."""
        return [server for server in self._servers if self._works(server)] or self._servers

    def _works(self, server: Server) -> bool:
        return self._paused_s(server) == 0.0

    def _paused_s(self, server: Server) -> float:
        return max(0.0, server.paused_until - self._clock.now())


class PersonaPlexLease:
    """The right to hold one call, until released."""

    def __init__(self, pool: PersonaPlexPool, server: Server) -> None:
        self._pool = pool
        self._server: Server | None = server
        self._spare: PersonaPlexSpare | None = None
        self.name = server.endpoint.name
        self.info = INFO

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation, not yet connected; on another server where this one has just failed.

        Raises LocalProtocolError while the last conversation is still open, or after the lease was given back.
        """
        if self._server is None:
            raise LocalProtocolError("this lease was given back")
        if self._server.connected and not self._server.leaving:
            raise LocalProtocolError("leave the last conversation before opening another")
        self._move()
        return self._pool.engine(self._server, persona, metrics, recap)

    def spare(self, lost: Callable[[], None]) -> "PersonaPlexSpare | None":
        """A second server that works and that nobody else has, for a while; None where there is none."""
        if self._server is None or self._spare is not None:
            return None
        server = self._pool.spare_server()
        if server is not None:
            self._spare = PersonaPlexSpare(self, self._pool, server, lost)
        return self._spare

    def relocate(self) -> bool:
        """Take a free server that works where this one is paused; whether that was needed and possible."""
        before = self._server
        self._move()
        return self._server is not before

    def adopt(self, server: Server) -> None:
        """Continue on this server. The old one is free for others; their conversation waits until its socket has closed."""
        if self._server is not None:
            self._server.leased = False
            self._server.leave()
        self._server = server
        self.name = server.endpoint.name

    def without_spare(self) -> None:
        """Its spare slot is adopted, given back or lost."""
        self._spare = None

    def give_back(self) -> None:
        """Free the server for others, at once or when its socket has closed."""
        if self._spare is not None:
            self._spare.give_back()
        if self._server is not None:
            self._server.leased = False
            self._server = None

    def _move(self) -> None:
        if self._server is not None:
            self._server = self._pool.move(self._server, self._spare)
            self.name = self._server.endpoint.name


class PersonaPlexSpare:
    """A second server of a lease, until it is adopted, given back or lost."""

    def __init__(self, lease: PersonaPlexLease, pool: PersonaPlexPool, server: Server, lost: Callable[[], None]) -> None:
        self._lease = lease
        self._pool = pool
        self._server: Server | None = server
        self._lost = lost
        self.name = server.endpoint.name
        server.spare = self

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation, not yet connected. Raises LocalProtocolError once the server is not its own any more."""
        if self._server is None:
            raise LocalProtocolError("this spare slot was adopted, given back or lost")
        return self._pool.engine(self._server, persona, metrics, recap)

    def adopt(self) -> None:
        """Make this the server of the lease."""
        server = self._end()
        if server is not None:
            self._lease.adopt(server)

    def give_back(self) -> None:
        """Free the server for others; their conversation waits until its socket has closed."""
        server = self._end()
        if server is not None:
            server.leased = False
            server.leave()

    def take_back(self) -> None:
        """Somebody else leases the server."""
        server = self._end()
        if server is not None:
            server.leave()
            self._lost()

    def _end(self) -> Server | None:
        server, self._server = self._server, None
        if server is not None:
            server.spare = None
            self._lease.without_spare()
        return server


class LeasedEngine(PersonaPlexEngine):
    """A conversation that marks its server as connected from before the first packet until after the last."""

    def __init__(self, server: Server, *, config: PersonaPlexConfig, persona: Persona, clock: Clock, metrics: Metrics) -> None:
        self._server = server
        self._in_time_s = handshake_deadline_s(persona.text_prompt, config.handshake_timeout_s)
        self._ticker = clock
        super().__init__(
            window_s=config.memory_s,
            endpoint=server.endpoint,
            persona=persona,
            clock=clock,
            metrics=metrics,
            handshake_timeout_s=self._in_time_s * server.patience,
            verify_tls=config.verify_tls,
            report=lambda outcome: server.report(outcome, clock.now()),
        )

    async def __aenter__(self) -> Self:
        """As its parent, once the last conversation has left; raises LocalProtocolError where one holds the server and does not leave."""
        while self._server.connected:
            if not self._server.leaving:
                raise LocalProtocolError("one connection to a server at a time")
            self._server.left.clear()
            await self._server.left.wait()
        self._server.connected = True
        began = self._ticker.now()
        try:
            await super().__aenter__()
        except BaseException as error:
            self._server.disconnected()
            if isinstance(error, EngineError) and error.cause == NOT_READY:
                self._server.patience = min(MOST_PATIENCE, 2 * self._server.patience)
            raise
        if self._ticker.now() - began <= self._in_time_s:
            self._server.patience = 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """As its parent."""
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            self._server.disconnected()
