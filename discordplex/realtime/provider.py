"""RealtimeProvider: leases for as many sessions as the settings and the server allow, each with its own memory."""

from collections.abc import Callable, Sequence
from typing import Final

from discordplex.clock import Clock
from discordplex.config import RealtimeConfig
from discordplex.engine import BUSY, NO_RECAP, EngineInfo, EngineLease, Persona, Recap, SpeakerId, VoiceEngine
from discordplex.engine_slots import TAKEN, EngineSlots, NumberedSlot, NumberedSlots, OwnSlots, SlotPurpose, nothing
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.metrics import Metrics
from discordplex.overview import EngineServer
from discordplex.plaintext import with_model
from discordplex.realtime.dialects import VLLM_OMNI, Dialect, dialect_of
from discordplex.realtime.engine import RealtimeEngine
from discordplex.realtime.memory import Memory
from discordplex.realtime.session import RealtimeSession, SessionSettings
from discordplex.retry import Backoff

KIND: Final = "realtime"
LONGEST_VOICE: Final = 100
LONGEST_PROMPT: Final = 20_000
"""Characters. GPT-Live takes 16,384 tokens."""

LEARNED_S: Final = 300.0
"""How long a server is believed to have no more places than it had when it refused one."""
FULL_S: Final = 15.0
"""The same where it had none at all, since others use it; twice as long each time, up to `LEARNED_S`: each try is a visit to a channel."""


class RealtimeProvider:
    """The EngineProvider over one Realtime server. Thread: loop, for all methods."""

    def __init__(self, config: RealtimeConfig, *, clock: Clock, slots: EngineSlots | None = None) -> None:
        """`slots` says which sessions are this process's; without it, all are."""
        self._config = config
        self._clock = clock
        self._dialect = dialect_of(config.dialect, config.url, config.model)
        self._slots = NumberedSlots(KIND, config.max_calls, slots or OwnSlots())
        self._leases: set[RealtimeLease] = set()
        self._most: int | None = None
        """How many sessions the server is known to have for us; None where it has refused none."""
        self._full_until = float("-inf")
        self._backoff = Backoff(FULL_S, LEARNED_S)
        self._left_alone_until = float("-inf")
        self._failures = 0
        """How many sessions in a row could not be opened, other than for want of room."""

    @property
    def servers(self) -> Sequence[EngineServer]:
        """The service as one server, with what is known of it."""
        return [EngineServer(self.info.description, self.capacity, self._slots.used + self._slots.elsewhere, failures=self._failures)]

    @property
    def capacity(self) -> int:
        """How many calls can be held at once, as far as is known. After a while one more than that is tried, and never several at once."""
        if self._slots.shared:
            return self._slots.capacity
        if self._most is None:
            return self._config.max_calls
        return min(self._config.max_calls, self._most + (self._clock.now() >= self._full_until))

    @property
    def free(self) -> int:
        """How many leases `acquire` would give right now."""
        return self._slots.free("call") if self._slots.shared else max(0, self.capacity - len(self._leases))

    @property
    def working(self) -> int:
        """All that are free: a server that is full has none."""
        return self.working_for("call")

    def working_for(self, purpose: SlotPurpose) -> int:
        """As `working`, for this purpose."""
        return self._slots.working(purpose) if self._slots.shared else self.free

    def kinds(self, may_cost: Callable[[], bool]) -> Sequence[str]:
        """The service, if the call may have it."""
        return (KIND,) if not self.info.costs_money or may_cost() else ()

    @property
    def info(self) -> EngineInfo:
        """The service, and whether people's words come back as text."""
        return info_of(self._dialect, self._config)

    @property
    def voices(self) -> Sequence[str]:
        """The service's voices; empty where only the server knows them."""
        return self._dialect.voices

    def check(self, voice: str, text_prompt: str) -> str | None:
        """Why this persona cannot be used, as a plain sentence; None where it can, as far as is known without asking the server."""
        return check_persona(voice, text_prompt, self._dialect)

    def acquire(self) -> EngineLease | None:
        """A lease, or None while all are taken."""
        return self.acquire_for_purpose("call", None)

    def acquire_for_purpose(self, purpose: SlotPurpose, wisher: object, asked_back: Callable[[], None] = nothing) -> "RealtimeLease | None":
        """As `acquire`, for this purpose."""
        if not self._slots.shared and self.free <= 0:
            return None
        kind = DuplexLease if self._dialect.full_duplex else TurnLease
        lease = kind(self, self._dialect, info_of(self._dialect, self._config))
        lease.slot = self._slots.take(purpose, wisher, asked_back, lease.lost)
        if lease.slot is None:
            return None
        self._leases.add(lease)
        return lease

    def use_for_call(self, lease: EngineLease) -> None:
        """A spare slot is the engine of a call from now on."""
        if isinstance(lease, RealtimeLease) and lease.slot is not None:
            lease.slot.use_for_call()

    def set_aside(self, failures: int, pause_s: float) -> None:
        """Calls have failed: all processes avoid it for so long."""
        self._slots.report_all(failures, pause_s)

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second time does nothing."""
        if isinstance(lease, RealtimeLease) and lease.slot is not None:
            self._leases.discard(lease)
            lease.slot.give_back()

    def engine(self, dialect: Dialect, persona: Persona, memory: Memory, metrics: Metrics) -> "ProvidedEngine":
        """A conversation, not yet connected."""
        config = self._config
        settings = SessionSettings(
            url=config.url,
            key=config.api_key.get_secret_value() if config.api_key else None,
            model=config.model,
            turn_detection=config.turn_detection,
            transcription_model=config.transcription_model,
            may_be_duplex=config.dialect == "auto" and not dialect.voices,
        )
        return ProvidedEngine(
            dialect, settings, provider=self, persona=persona, memory=memory, clock=self._clock, metrics=metrics, learn=self._learn
        )

    def is_full(self) -> None:
        """The server has refused a session because it has no more."""
        held = self._held
        self._most = held
        pause_s = LEARNED_S if held else self._backoff.failed()
        self._full_until = self._clock.now() + pause_s
        refused = [lease.slot.name for lease in self._leases if lease.slot is not None and not lease.is_open]
        self._slots.report([*refused, *self._slots.idle], 0, pause_s)

    def has_failed(self) -> None:
        """A session could not be opened, and not because the server is full."""
        self._failures += 1

    def has_opened(self) -> None:
        """The server has given a session: where it was full before, it may have another one for us, too."""
        self._failures = 0
        self._backoff.reset()
        self._slots.have_room(lease.slot.name for lease in self._leases if lease.slot is not None and lease.is_open)
        held = self._held
        if self._most is not None and held > self._most:
            self._most = held if held < self._config.max_calls else None
            self._slots.make_room()

    @property
    def _held(self) -> int:
        """How many sessions there are, in all processes."""
        return sum(lease.is_open for lease in self._leases) + self._slots.elsewhere

    def leave_alone(self, seconds: float) -> None:
        """The server wants no new session for so long."""
        self._left_alone_until = max(self._left_alone_until, self._clock.now() + seconds)

    async def wait(self) -> None:
        """Return once the server may be asked for a session."""
        await self._clock.sleep_until(self._left_alone_until)

    def _learn(self, dialect: Dialect) -> None:
        self._dialect = dialect


class RealtimeLease:
    """The right to hold one call, until released. It remembers the call."""

    def __init__(self, provider: RealtimeProvider, dialect: Dialect, info: EngineInfo) -> None:
        self._provider = provider
        self._dialect = dialect
        self._memory = Memory()
        self._open: ProvidedEngine | None = None
        self.slot: NumberedSlot | None = None
        self.name = dialect.service
        self.info = info

    @property
    def is_open(self) -> bool:
        """Whether it has a session."""
        return self._open is not None and self._open.is_open

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation that remembers the last one, or the recap where there was none; not yet connected."""
        if self.is_open:
            raise LocalProtocolError("leave the last conversation before opening another")
        self._memory.recall(recap)
        self._open = self._provider.engine(self._dialect, persona, self._memory, metrics)
        if self.slot is not None and self.slot.is_lost:
            self.lost()
        return self._open

    def lost(self) -> None:
        """Another process may have the slot: end the conversation."""
        if self._open is not None:
            self._open.end(TAKEN)

    def spare(self, lost: Callable[[], None]) -> None:
        """None: an engine follows a session that ends with another one by itself."""

    def reset(self) -> None:
        """Forget what was said in this call."""
        self._memory.clear()
        if self._open is not None:
            self._open.reset()

    def forget(self, speaker: SpeakerId) -> None:
        """Forget what this person said, and what was answered to it."""
        if self._open is not None:
            self._open.drop(speaker)
        self._memory.forget(speaker)


class DuplexLease(RealtimeLease):
    """A lease on a model that owns its turns. A RememberingLease."""


class TurnLease(RealtimeLease):
    """A lease on a model that takes turns. A TurnTakingLease."""

    def __init__(self, provider: RealtimeProvider, dialect: Dialect, info: EngineInfo) -> None:
        super().__init__(provider, dialect, info)
        self.name_of: Callable[[SpeakerId], str] = str


class ProvidedEngine(RealtimeEngine):
    """A conversation that tells its provider when the server is full."""

    def __init__(
        self,
        dialect: Dialect,
        settings: SessionSettings,
        *,
        provider: RealtimeProvider,
        persona: Persona,
        memory: Memory,
        clock: Clock,
        metrics: Metrics,
        learn: Callable[[Dialect], None],
    ) -> None:
        self._provider = provider
        super().__init__(
            dialect,
            settings,
            persona=persona,
            memory=memory,
            clock=clock,
            metrics=metrics,
            learn=learn,
            wait=provider.leave_alone,
        )

    async def _open_session(self, session: RealtimeSession) -> None:
        await self._provider.wait()
        try:
            await super()._open_session(session)
        except EngineError as fault:
            if fault.cause == BUSY:
                self._provider.is_full()
            else:
                self._provider.has_failed()
            raise
        self._provider.has_opened()


def info_of(dialect: Dialect, config: RealtimeConfig) -> EngineInfo:
    """What is known of the engine before a call."""
    transcribes = dialect.live or (dialect is not VLLM_OMNI and bool(config.transcription_model))
    description = with_model(dialect.service, config.model)
    return EngineInfo(description, transcribes=transcribes, costs_money=dialect.costs_money, takes_turns=not dialect.full_duplex)


def check_persona(voice: str, text_prompt: str, dialect: Dialect) -> str | None:
    """Why no session could have this persona, None where one may."""
    if len(voice) > LONGEST_VOICE or not (voice.isprintable() and voice == voice.strip()):
        return f"A voice is a name that {dialect.service} knows: one line, at most {LONGEST_VOICE} characters."
    if voice and dialect.voices and voice not in dialect.voices:
        return f"{dialect.service} has no voice {voice!r}. Its voices are {', '.join(dialect.voices)}."
    if not text_prompt.strip():
        return "The text prompt is empty: describe who the engine is."
    if len(text_prompt) > LONGEST_PROMPT:
        return f"The text prompt has {len(text_prompt)} characters. The limit is {LONGEST_PROMPT}."
    return None
