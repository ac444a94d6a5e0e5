"""PersonaPlexPool: several servers, one call each. It leases them and knows which of them work.

A server must never see a second connection: a busy one accepts it without a word and keeps it waiting, and by merely connecting a client
overwrites the voice and role of the conversation that is being set up. So a server is free only when its lease was given back *and* the
last socket to it is closed, and nothing here ever probes a server.
"""

import dataclasses
from collections.abc import Sequence
from types import TracebackType

import structlog
from typing_extensions import Self

from discordplex.clock import Clock
from discordplex.config import PersonaPlexConfig
from discordplex.engine import EngineInfo, EngineLease, Persona, VoiceEngine
from discordplex.errors import ConfigError, EngineError, LocalProtocolError
from discordplex.metrics import Metrics
from discordplex.personaplex.client import handshake_deadline_s
from discordplex.personaplex.endings import NOT_READY
from discordplex.personaplex.endpoint import VOICES, Endpoint, check_prompt, check_voice
from discordplex.personaplex.engine import PersonaPlexEngine, ServerReport
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
    backoff: Backoff = dataclasses.field(default_factory=lambda: Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))
    paused_until: float = float("-inf")
    patience: int = 1
    """How many times the configured time its next handshake may take."""

    @property
    def free(self) -> bool:
        """Whether it can be leased."""
        return not self.leased and not self.connected

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
        """How many leases `acquire` would give right now."""
        return sum(server.free for server in self._usable())

    @property
    def busy(self) -> int:
        """How many servers a call holds, or has not yet left."""
        return sum(not server.free for server in self._servers)

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
        paused they are leased anyway: people then hear what is wrong with them, not that they are busy.
        """
        server = min((server for server in self._usable() if server.free), key=self._paused_s, default=None)
        if server is None:
            return None
        server.leased = True
        return PersonaPlexLease(self, server)

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second call does nothing."""
        if isinstance(lease, PersonaPlexLease):
            lease.give_back()

    def move(self, server: Server) -> Server:
        """The server of a lease's next conversation: its own, or a free one that works while its own is paused."""
        other = next((other for other in self._servers if other.free and self._works(other)), None)
        if other is None or self._works(server):
            return server
        server.leased, other.leased = False, True
        return other

    def engine(self, server: Server, persona: Persona, metrics: Metrics) -> "LeasedEngine":
        """A conversation on `server`, not yet connected."""
        return LeasedEngine(server, config=self._config, persona=persona, clock=self._clock, metrics=metrics)

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
        self.name = server.endpoint.name
        self.info = INFO

    def open(self, persona: Persona, metrics: Metrics) -> VoiceEngine:
        """A new conversation, not yet connected; on another free server where this one has just failed.

        Raises LocalProtocolError while the last conversation is still open, or after the lease was given back.
        """
        if self._server is None:
            raise LocalProtocolError("this lease was given back")
        if self._server.connected:
            raise LocalProtocolError("leave the last conversation before opening another")
        self._server = self._pool.move(self._server)
        self.name = self._server.endpoint.name
        return self._pool.engine(self._server, persona, metrics)

    def relocate(self) -> bool:
        """Take a free server that works where this one is paused; whether that was needed and possible."""
        if self._server is None:
            return False
        before, self._server = self._server, self._pool.move(self._server)
        self.name = self._server.endpoint.name
        return self._server is not before

    def give_back(self) -> None:
        """Free the server for others, at once or when its socket has closed."""
        if self._server is not None:
            self._server.leased = False
            self._server = None


class LeasedEngine(PersonaPlexEngine):
    """A conversation that marks its server as connected from before the first packet until after the last."""

    def __init__(self, server: Server, *, config: PersonaPlexConfig, persona: Persona, clock: Clock, metrics: Metrics) -> None:
        self._server = server
        self._in_time_s = handshake_deadline_s(persona.text_prompt, config.handshake_timeout_s)
        self._ticker = clock
        super().__init__(
            endpoint=server.endpoint,
            persona=persona,
            clock=clock,
            metrics=metrics,
            handshake_timeout_s=self._in_time_s * server.patience,
            verify_tls=config.verify_tls,
            report=lambda outcome: server.report(outcome, clock.now()),
        )

    async def __aenter__(self) -> Self:
        """As its parent; raises LocalProtocolError where another conversation holds the server."""
        if self._server.connected:
            raise LocalProtocolError("one connection to a server at a time")
        self._server.connected = True
        began = self._ticker.now()
        try:
            await super().__aenter__()
        except BaseException as error:
            self._server.connected = False
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
            self._server.connected = False
