"""PersonaPlexPool: several servers, one call each. It leases them and knows which of them work.

A server must never see a second connection: a busy one accepts it without a word and keeps it waiting, and by merely connecting a client
overwrites the voice and role of the conversation that is being set up. So a server is free only when its lease was given back *and* the
last socket to it is closed, and nothing here ever probes a server.

A call may hold a second server for a while, to prepare its next conversation there. That one still counts as free: whoever needs it for a
call takes it back, and their conversation waits until the other's socket is closed.

Where several processes share the servers, `EngineSlots` says which ones are this process's: it wants a server, which is granted later, and
gives it back when it is free as above. Then a spare slot is not taken here but asked back, since somebody elsewhere may be first.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from types import TracebackType

import structlog
from typing_extensions import Self

from discordplex.clock import Clock
from discordplex.config import PersonaPlexConfig
from discordplex.engine import BUSY, NO_RECAP, EngineInfo, EngineLease, Persona, Recap, VoiceEngine
from discordplex.engine_slots import TAKEN, EngineSlots, OwnSlots, SlotPurpose, nothing, taken
from discordplex.errors import ConfigError, EngineError, LocalProtocolError
from discordplex.metrics import Metrics
from discordplex.overview import EngineServer
from discordplex.personaplex.client import handshake_deadline_s
from discordplex.personaplex.endings import NOT_READY
from discordplex.personaplex.endpoint import VOICES, Endpoint, check_prompt, check_voice
from discordplex.personaplex.engine import PersonaPlexEngine, ServerReport
from discordplex.personaplex.memory import with_recap
from discordplex.retry import Backoff
from discordplex.tasks import over, until

KIND = "personaplex"

FIRST_PAUSE_S = 2.0
MOST_PATIENCE = 4
"""A server that was not ready in time gets twice as long the next time, up to this many times the configured time: it loads the prompts
from the beginning on each try, so a server that is too slow once would fail for ever. One that is ready within the configured time gets
that time again."""

LONGEST_PAUSE_S = 120.0
"""Pauses of a server that failed, doubling from the one to the other until it has served again."""

BUSY_AFTER_S = 15.0
"""How long the first handshake may take on a server whose last process has vanished and may still have its socket. A frozen process keeps a
server busy until it wakes, and people wait for another server in the queue rather than for this one."""

BUSY_PAUSE_S = 15.0
"""For how long such a server is left alone after that."""

log = structlog.get_logger()


@dataclasses.dataclass(eq=False)
class Server:
    """One server of the pool: who uses it, and whether it works. A SlotUser."""

    endpoint: Endpoint
    slots: EngineSlots = dataclasses.field(default_factory=OwnSlots)
    leased: bool = False
    connected: bool = False
    spare: "PersonaPlexSpare | None" = None
    """The second slot that it is for a call; it is leased then, too."""
    leaving: bool = False
    """Whether the conversation on it ends now, so that the next one may wait for that."""
    left: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set when its socket has closed."""
    engine: "LeasedEngine | None" = None
    """The conversation on it, while it is connected."""
    taken_away: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set while another process may have it, although a lease here still names it."""
    on_asked_back: Callable[[], None] = nothing
    """What a lease does that holds it as a spare slot and has to leave it."""
    backoff: Backoff = dataclasses.field(default_factory=lambda: Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))
    paused_until: float = float("-inf")
    patience: int = 1
    """How many times the configured time its next handshake may take."""

    @property
    def slot(self) -> str:
        """Its name among the slots of all processes."""
        return f"{KIND}:{self.endpoint.name}"

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
        self.engine = None
        self.left.set()
        self._give_back()

    def take(self, purpose: SlotPurpose, wisher: object) -> None:
        """Lease it, or use it for something else from now on."""
        self.leased = True
        self.on_asked_back = nothing
        self.taken_away.clear()
        self.slots.take(self.slot, purpose, wisher, self)

    def release(self) -> None:
        """Nobody leases it any more. It is free for others when its socket has closed."""
        self.leased = False
        self._give_back()

    def asked_back(self) -> None:
        """A call in some process needs it, and it is a spare slot here."""
        if self.spare is not None:
            self.spare.take_back()
            self.release()
        self.on_asked_back()

    def lost(self) -> None:
        """Another process may have it: end the conversation on it now."""
        self.taken_away.set()
        if self.engine is not None:
            self.engine.end(TAKEN)
        self.asked_back()

    def _give_back(self) -> None:
        if not (self.leased or self.connected):
            self.slots.give_back(self.slot)

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

    def __init__(self, config: PersonaPlexConfig, *, clock: Clock, slots: EngineSlots | None = None) -> None:
        """`slots` says which servers are this process's; without it, all are."""
        self._config = config
        self._clock = clock
        self._slots = slots = slots or OwnSlots()
        endpoints = dict.fromkeys(Endpoint.parse(url) for url in config.urls)
        if not endpoints:
            raise ConfigError("personaplex.urls is empty: name at least one server, such as ws://localhost:8998/api/chat.")
        self._servers = [Server(endpoint, slots) for endpoint in endpoints]
        slots.declare(server.slot for server in self._servers)

    @property
    def capacity(self) -> int:
        """How many calls can be held at once: one for each server."""
        return len(self._servers)

    @property
    def free(self) -> int:
        """How many leases `acquire` would give right now, spare slots included."""
        return sum(self._available(server, "call") for server in self._usable())

    @property
    def working(self) -> int:
        """How many of the free ones are not paused."""
        return self.working_for("call")

    def working_for(self, purpose: SlotPurpose) -> int:
        """As `working`, for this purpose."""
        return sum(self._available(server, purpose) and self._works(server) for server in self._servers)

    def kinds(self, may_cost: Callable[[], bool]) -> Sequence[str]:  # noqa: ARG002 -- the port's shape
        """PersonaPlex, which costs nothing."""
        return (KIND,)

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
                busy=int(not server.available or self._slots.is_elsewhere(server.slot)),
                failures=self._slots.failures(server.slot) if self._slots.shared else server.backoff.failures,
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
        return self.acquire_for_purpose("call", None)

    def acquire_for_purpose(
        self, purpose: SlotPurpose, wisher: object, asked_back: Callable[[], None] = nothing
    ) -> "PersonaPlexLease | None":
        """As `acquire`, for this purpose."""
        server = min((server for server in self._usable() if self._available(server, purpose)), key=self._preference, default=None)
        if server is None:
            return None
        self._take(server, purpose, wisher)
        server.on_asked_back = asked_back
        return PersonaPlexLease(self, server, self._slots)

    def use_for_call(self, lease: EngineLease) -> None:
        """A spare slot is the engine of a call from now on."""
        if isinstance(lease, PersonaPlexLease):
            lease.use_for_call()

    def set_aside(self, failures: int, pause_s: float) -> None:
        """Do nothing: servers are paused one by one."""

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second call does nothing."""
        if isinstance(lease, PersonaPlexLease):
            lease.give_back()

    def move(self, server: Server, lease: "PersonaPlexLease", own_spare: "PersonaPlexSpare | None") -> Server:
        """The server of a lease's next conversation: its own, or another one that works and can be had while its own is paused.

        If there is none, one is wanted.
        """
        if self.is_usable(server):
            return server
        others = [
            other
            for other in self._servers
            if self._available(other, "rescue") and self._works(other) and not (own_spare and other.spare is own_spare)
        ]
        if not others:
            self._slots.want("rescue", lease, (KIND,))
            return server
        other = min(others, key=self._preference)
        self._take(other, "rescue", lease)
        server.release()
        return other

    def spare_server(self, lease: "PersonaPlexLease") -> Server | None:
        """A server that works and that nobody has, leased from now on; None where there is none: then one is wanted."""
        free = (server for server in self._servers if server.free and self._slots.may_take(server.slot, "spare") and self._works(server))
        server = min(free, key=self._preference, default=None)
        if server is None:
            self._slots.want("spare", lease, (KIND,))
        else:
            server.take("spare", lease)
        return server

    def is_usable(self, server: Server) -> bool:
        """Whether a lease can go on with this server: it works, and is still this process's."""
        return self._works(server) and not server.taken_away.is_set()

    def report(self, server: Server, outcome: ServerReport) -> None:
        """Record the outcome of a conversation, for all processes."""
        now = self._clock.now()
        if self._slots.shared:
            server.backoff.failures = self._slots.failures(server.slot)
        server.report(outcome, now)
        self._slots.report(server.slot, server.backoff.failures, max(0.0, server.paused_until - now))

    def report_busy(self, server: Server) -> None:
        """The process that had it last has vanished with an open socket, or still has it: leave it alone, though it has not failed."""
        log.info("engine server is busy", server=server.endpoint.name, retry_in_s=BUSY_PAUSE_S)
        self._slots.report(server.slot, self._slots.failures(server.slot), BUSY_PAUSE_S)

    def engine(self, server: Server, persona: Persona, metrics: Metrics, recap: Recap) -> "LeasedEngine":
        """A conversation on `server`, not yet connected."""
        role = with_recap(persona.text_prompt, recap, self._config.recap_tokens) if recap else persona.text_prompt
        persona = dataclasses.replace(persona, text_prompt=role)
        return LeasedEngine(server, self, config=self._config, persona=persona, clock=self._clock, metrics=metrics)

    def _take(self, server: Server, purpose: SlotPurpose, wisher: object) -> None:
        """Lease a server that is available; whoever has it as a spare slot loses it."""
        server.take(purpose, wisher)
        if server.spare is not None:
            server.spare.take_back()

    def _available(self, server: Server, purpose: SlotPurpose) -> bool:
        return server.available and self._slots.may_take(server.slot, purpose)

    def _preference(self, server: Server) -> tuple[bool, float, bool]:
        """What is taken first: nobody's, the one that works or will work soonest, without somebody's last words."""
        return server.spare is not None, self._paused_s(server), server.connected

    def _usable(self) -> list[Server]:
        """Those that work, busy or not; all where none does. Of shared ones, those that failed are granted by the same rule."""
        if self._slots.shared:
            return self._servers
        return [server for server in self._servers if self._works(server)] or self._servers

    def _works(self, server: Server) -> bool:
        return self._paused_s(server) == 0.0

    def _paused_s(self, server: Server) -> float:
        if self._slots.shared:
            return self._slots.paused_s(server.slot)
        return max(0.0, server.paused_until - self._clock.now())


class PersonaPlexLease:
    """The right to hold one call, until released."""

    def __init__(self, pool: PersonaPlexPool, server: Server, slots: EngineSlots) -> None:
        self._pool = pool
        self._slots = slots
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
        server = self._pool.spare_server(self)
        if server is not None:
            self._spare = PersonaPlexSpare(self, self._pool, server, lost)
        return self._spare

    @property
    def awaits_spare(self) -> bool:
        """Whether a spare slot is wanted, and the answer is about to come."""
        return self._slots.is_pending("spare", self)

    @property
    def awaits_replacement(self) -> bool:
        """False: there is one kind."""
        return False

    def want_another(self, *, of_any_kind: bool) -> None:  # noqa: ARG002 -- the port's shape
        """Ask for another server if this one cannot be used."""
        if self._server is not None and not self._pool.is_usable(self._server):
            self._slots.want("rescue", self, (KIND,))

    async def find_another(self, *, of_any_kind: bool) -> bool:  # noqa: ARG002 -- the port's shape
        """If the servers are shared and this one cannot be used, ask for another one; returns whether the lease has it now."""
        if self._server is None or not self._slots.shared or self._pool.is_usable(self._server):
            return False
        if not self.relocate():
            await self._slots.answered("rescue", self)
            return self.relocate()
        return True

    def relocate(self) -> bool:
        """Take a free server that works where this one is paused; whether that was needed and possible."""
        before = self._server
        self._move()
        return self._server is not before

    def use_for_call(self) -> None:
        """It was acquired as a spare slot, and is the engine of a call from now on."""
        if self._server is not None:
            self._server.take("call", self)

    def adopt(self, server: Server) -> None:
        """Continue on this server. The old one is free for others; their conversation waits until its socket has closed."""
        server.take("call", self)
        if self._server is not None:
            self._server.leave()
            self._server.release()
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
            self._server.release()
            self._server = None

    def _move(self) -> None:
        if self._server is not None:
            self._server = self._pool.move(self._server, self, self._spare)
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
            server.leave()
            server.release()

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

    def __init__(
        self, server: Server, pool: PersonaPlexPool, *, config: PersonaPlexConfig, persona: Persona, clock: Clock, metrics: Metrics
    ) -> None:
        self._server = server
        self._pool = pool
        self._may_be_busy = server.slots.may_be_busy(server.slot)
        self._in_time_s = handshake_deadline_s(persona.text_prompt, config.handshake_timeout_s)
        soon_s = min(self._in_time_s, BUSY_AFTER_S) if self._may_be_busy else self._in_time_s
        self._ticker = clock
        super().__init__(
            window_s=config.memory_s,
            endpoint=server.endpoint,
            persona=persona,
            clock=clock,
            metrics=metrics,
            handshake_timeout_s=soon_s * server.patience,
            verify_tls=config.verify_tls,
            report=self._report_outcome,
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
            await self._open_unless_taken()
        except BaseException as error:
            try:
                # It opens in a task of its own, which may have ended in the instant in which this one was cancelled.
                await over(asyncio.create_task(super().__aexit__(None, None, None), name="personaplex: leave"))
            finally:
                self._server.disconnected()
            if isinstance(error, EngineError) and error.cause == NOT_READY:
                self._server.patience = min(MOST_PATIENCE, 2 * self._server.patience)
                if self._may_be_busy:
                    raise EngineError(str(error), cause=BUSY) from error
            raise
        if self._ticker.now() - began <= self._in_time_s:
            self._server.patience = 1
        self._server.engine = self
        if self._server.taken_away.is_set():
            self.end(TAKEN)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """As its parent."""
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            self._server.disconnected()

    async def _open_unless_taken(self) -> None:
        try:
            if self._server.taken_away.is_set() or await until(self._server.taken_away, super().__aenter__()) is None:
                raise taken()  # noqa: TRY301 -- the same has to be closed
        except BaseException:  # the server may have been ready at that moment
            await super().__aexit__(None, None, None)
            raise

    def _report_outcome(self, outcome: ServerReport) -> None:
        if outcome is ServerReport.LATE and self._may_be_busy:
            self._pool.report_busy(self._server)
        else:
            self._pool.report(self._server, outcome)
