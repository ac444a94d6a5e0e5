"""EngineChoice: one provider over several kinds of engines, in order of preference. It knows only the port.

A call gets the first kind that is free and works. When its engine is lost for good, the call keeps its lease, and the lease takes an engine
of another kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from discordplex.clock import Clock
from discordplex.engine import (
    NO_RECAP,
    EngineInfo,
    EngineLease,
    EngineProvider,
    MovableLease,
    Persona,
    Recap,
    RememberingLease,
    SpareSlot,
    SpeakerId,
    StandIn,
    StandInReason,
    TurnTakingLease,
    VoiceEngine,
    servers_of,
)
from discordplex.engine_slots import AskingLease, EngineSlots, OwnSlots, SlotProvider, SlotPurpose, nothing
from discordplex.errors import LocalProtocolError
from discordplex.metrics import Metrics
from discordplex.overview import EngineServer
from discordplex.retry import Backoff

log = structlog.get_logger()

OUT_OF_USE_S: Final = 30.0
LONGEST_OUT_OF_USE_S: Final = 300.0
"""After a call has lost an engine of a kind whose provider does not pause servers by itself, new calls prefer other kinds for so long:
doubling from the one to the other until a call has had the kind for `SERVED_S`."""

SERVED_S: Final = 60.0
"""A call that had an engine for so long has shown that it works."""

FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 900.0
"""After a call has lost an engine of a kind, that call does not return to the kind for so long: doubling from the first to the longest. So
kinds that fail in turn change a call's engine, and tell people so, less and less often."""


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One kind of engine."""

    kind: str
    provider: EngineProvider
    default: Persona
    """Its own voice and role."""
    name: str = ""
    """What people are told of where their voice goes; empty: the engine's own description."""

    @property
    def info(self) -> EngineInfo:
        """What the next lease's engine is, as people are told."""
        return self.named(self.provider.info)

    def named(self, info: EngineInfo) -> EngineInfo:
        """The same with the name of this kind."""
        return replace(info, description=self.name) if self.name else info


class EngineChoice:
    """The EngineProvider over several kinds; a ChoosingProvider. Thread: loop, for all methods."""

    def __init__(
        self,
        options: Sequence[EngineOption],
        *,
        voices: Mapping[str, Mapping[str, str]],
        clock: Clock,
        slots: EngineSlots | None = None,
    ) -> None:
        """`options` is in order of preference. `voices` says what a voice is called by other kinds. `slots` are those of the providers."""
        self.slots = slots or OwnSlots()
        self._options = tuple(options)
        self._voices = voices
        self._clock = clock
        self._pauses = {option.kind: Pause(OUT_OF_USE_S, LONGEST_OUT_OF_USE_S, clock) for option in options}

    @property
    def capacity(self) -> int:
        """How many calls can be held at once, on all kinds together."""
        return sum(option.provider.capacity for option in self._options)

    @property
    def free(self) -> int:
        """How many leases `acquire` would give right now."""
        return sum(option.provider.free for option in self._options)

    @property
    def working(self) -> int:
        """How many of them have not failed lately."""
        return sum(self._working(option) for option in self._options)

    @property
    def servers(self) -> Sequence[EngineServer]:
        """The servers of each kind, the preferred kind first."""
        return [server for option in self._options for server in servers_of(option.provider)]

    @property
    def preferred(self) -> EngineOption:
        """The preferred kind."""
        return self._options[0]

    @property
    def info(self) -> EngineInfo:
        """The kind of the next lease; the preferred one if nothing is free."""
        return next(iter(self._in_order(anything)), self._options[0]).info

    @property
    def infos(self) -> Sequence[EngineInfo]:
        """What the engines of each kind are, the preferred kind first."""
        return tuple(option.info for option in self._options)

    @property
    def voices(self) -> Sequence[str]:
        """The voices of the preferred kind."""
        return self._options[0].provider.voices

    def check(self, voice: str, text_prompt: str) -> str | None:
        """Why the preferred kind would refuse this persona. A voice that another kind is known to have is accepted."""
        first = self._options[0]
        refusal = first.provider.check(voice, text_prompt)
        if refusal and any(self._has(option, voice) for option in self._options[1:]):
            return first.provider.check(first.default.voice, text_prompt)
        return refusal

    def acquire(self) -> "ChosenLease | None":
        """A lease on the first kind that is free and works; None while every engine is taken."""
        return self.acquire_for(anything)

    def free_for(self, may_cost: Callable[[], bool]) -> int:
        """How many are free for a call that has engines that cost money only while `may_cost` is true."""
        return sum(option.provider.free for option in self._options if not option.info.costs_money or may_cost())

    def acquire_for(self, may_cost: Callable[[], bool]) -> "ChosenLease | None":
        """As `acquire`, for such a call. If nothing that is free works, people get it anyway: they hear what is wrong with it."""
        reason = self._reason(may_cost)
        for option in self._in_order(may_cost):
            inner = option.provider.acquire()
            if inner is not None:
                return ChosenLease(self, option, inner, may_cost=may_cost, stand_in=self.stand_in(option, reason), clock=self._clock)
        return None

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second call does nothing."""
        if isinstance(lease, ChosenLease):
            lease.give_back()

    def kinds(self, may_cost: Callable[[], bool]) -> Sequence[str]:
        """The kinds of slots for such a call: first those that have not failed lately, by preference."""
        allowed = (option for option in self._options if not option.info.costs_money or may_cost())
        return tuple(option.kind for option in sorted(allowed, key=lambda option: self._pauses[option.kind].lasts))

    def others(self, than: EngineOption, may_cost: Callable[[], bool], purpose: SlotPurpose) -> Sequence[EngineOption]:
        """The other kinds that have a free engine that works, the preferred one first."""
        others = self.allowed_others(than, may_cost)
        return [one for one in others if self._working(one, purpose)]

    def allowed_others(self, than: EngineOption, may_cost: Callable[[], bool]) -> Sequence[EngineOption]:
        """The other kinds that such a call may have, the preferred one first."""
        return [one for one in self._options if one is not than and (not one.info.costs_money or may_cost())]

    def lost(self, option: EngineOption) -> None:
        """A call has lost an engine of this kind for good."""
        pause = self._pauses[option.kind]
        pause.begin()
        if isinstance(option.provider, SlotProvider):
            option.provider.set_aside(pause.failures, pause.left_s)

    def served(self, option: EngineOption) -> None:
        """A call has had an engine of this kind for a while."""
        pause = self._pauses[option.kind]
        if pause.failures and isinstance(option.provider, SlotProvider):
            option.provider.set_aside(0, 0.0)
        pause.end()

    def stand_in(self, option: EngineOption, reason: StandInReason) -> StandIn | None:
        """What people are told of a call on this kind; None if it is the preferred one."""
        return None if option is self._options[0] else StandIn(self._options[0].info, reason)

    def persona_on(self, option: EngineOption, persona: Persona) -> Persona:
        """What a kind makes of a persona: its own name for the voice, and the same role.

        A kind that does not know the voice uses its own voice. One that refuses the role, because it is too long, uses its own role.
        """
        own = option.default
        voice = self._voices.get(persona.voice, {}).get(option.kind) or (persona.voice if self._has(option, persona.voice) else own.voice)
        wanted = (Persona(one, role) for role in (persona.text_prompt, own.text_prompt) for one in (voice, own.voice))
        return next((one for one in wanted if option.provider.check(one.voice, one.text_prompt) is None), own)

    def _has(self, option: EngineOption, voice: str) -> bool:
        """Whether a kind has this voice: it is in its list or, if only its server knows its voices, no other kind's.

        Of a kind that is not the preferred one, only the voices in the configuration are known then.
        """
        if option.provider.voices:
            return voice in option.provider.voices
        if option is self._options[0]:
            return not any(voice in other.provider.voices for other in self._options)
        return voice == option.default.voice or any(names.get(option.kind) == voice for names in self._voices.values())

    def _in_order(self, may_cost: Callable[[], bool]) -> list[EngineOption]:
        """The kinds with a free engine: first those where one works, by preference."""
        free = [option for option in self._options if option.provider.free and (not option.info.costs_money or may_cost())]
        return sorted(free, key=lambda option: not self._working(option))

    def _working(self, option: EngineOption, purpose: SlotPurpose = "call") -> int:
        """How many free engines of a kind have not failed lately."""
        if self._pauses[option.kind].lasts:
            return 0
        return option.provider.working_for(purpose) if isinstance(option.provider, SlotProvider) else option.provider.working

    def _reason(self, may_cost: Callable[[], bool]) -> StandInReason:
        """Why a call does not get the preferred kind."""
        first = self._options[0]
        if first.info.costs_money and not may_cost():
            return "minutes"
        unused = any(one.busy < one.capacity for one in servers_of(first.provider)) if self.slots.shared else first.provider.free
        return "failing" if unused else "busy"


class Pause:
    """A time in which something that failed is left alone; each is twice as long as the last one."""

    def __init__(self, first_s: float, longest_s: float, clock: Clock) -> None:
        self._backoff = Backoff(first_s, longest_s)
        self._clock = clock
        self._until = float("-inf")

    @property
    def lasts(self) -> bool:
        """Whether it is not over."""
        return self._clock.now() < self._until

    @property
    def left_s(self) -> float:
        """How long it lasts from now on."""
        return max(0.0, self._until - self._clock.now())

    @property
    def failures(self) -> int:
        """How often in a row it has failed."""
        return self._backoff.failures

    def begin(self) -> None:
        """It failed."""
        self._until = self._clock.now() + self._backoff.failed()

    def end(self) -> None:
        """It works: the next pause is a first one."""
        self._backoff.reset()
        self._until = float("-inf")


class ChosenLease:
    """A lease on an engine of one kind, which can be replaced by one of another. A TurnTakingLease, MovableLease and ReplaceableLease.

    The call keeps it from start to end. What a lease of one kind cannot do, such as to forget, does nothing on it.
    """

    def __init__(
        self,
        choice: EngineChoice,
        option: EngineOption,
        inner: EngineLease,
        *,
        may_cost: Callable[[], bool],
        stand_in: StandIn | None,
        clock: Clock,
    ) -> None:
        self.name_of: Callable[[SpeakerId], str] = str
        self._choice = choice
        self._option = option
        self._inner: EngineLease | None = inner
        self._may_cost = may_cost
        self._stand_in = stand_in
        self._clock = clock
        self._since = clock.now()
        self._lost: dict[str, Pause] = {}
        self._name, self._info = inner.name, option.named(inner.info)

    @property
    def name(self) -> str:
        """The server of the present engine."""
        return self._name if self._inner is None else self._inner.name

    @property
    def info(self) -> EngineInfo:
        """The present engine, as people are told."""
        return self._info if self._inner is None else self._option.named(self._inner.info)

    @property
    def stand_in(self) -> StandIn | None:
        """Why the call has not the preferred engine; None if it has."""
        return self._stand_in

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation with the present engine, which makes of the persona what it can."""
        inner = self._held()
        if isinstance(inner, TurnTakingLease):
            inner.name_of = self.name_of
        return inner.open(self.persona_on(persona), metrics, recap)

    def spare(self, lost: Callable[[], None]) -> SpareSlot | None:
        """A second slot of the same kind, for a while; None where none is free."""
        inner = self._held().spare(lost)
        return inner and ChosenSpare(inner, self.persona_on)

    def persona_on(self, persona: Persona) -> Persona:
        """What the present engine makes of a persona."""
        return self._choice.persona_on(self._option, persona)

    def reset(self) -> None:
        """Forget what was said in this call."""
        if isinstance(self._inner, RememberingLease):
            self._inner.reset()

    def forget(self, speaker: SpeakerId) -> None:
        """Forget what this person said."""
        if isinstance(self._inner, RememberingLease):
            self._inner.forget(speaker)

    def relocate(self) -> bool:
        """Take a free server of the same kind in place of one that has failed; returns whether that was needed and possible."""
        return isinstance(self._inner, MovableLease) and self._inner.relocate()

    @property
    def awaits_spare(self) -> bool:
        """Whether a spare slot is wanted, and the answer is about to come."""
        return isinstance(self._inner, AskingLease) and self._inner.awaits_spare

    @property
    def awaits_replacement(self) -> bool:
        """Whether an engine of another kind is wanted, likewise."""
        return self._choice.slots.is_pending("rescue", self)

    async def find_another(self, *, of_any_kind: bool) -> bool:
        """Ask for another server of the same kind if this one cannot be used; returns whether the lease has it now.

        With `of_any_kind`, ask for an engine of another kind, too.
        """
        slots = self._choice.slots
        if not slots.shared:
            return False
        if isinstance(self._inner, AskingLease) and await self._inner.find_another(of_any_kind=False):
            return True
        if of_any_kind and self._inner is not None and not self.is_replaceable:
            self._want_replacement()
            await slots.answered("rescue", self)
        return False

    def want_another(self, *, of_any_kind: bool) -> None:
        """As `find_another`, without waiting."""
        if isinstance(self._inner, AskingLease):
            self._inner.want_another(of_any_kind=False)
        if of_any_kind and self._inner is not None:
            self._want_replacement()

    def _want_replacement(self) -> None:
        kinds = [one.kind for one in self._choice.allowed_others(self._option, self._may_cost) if not self._leaves_alone(one)]
        if kinds:
            self._choice.slots.want("rescue", self, kinds)

    @property
    def is_replaceable(self) -> bool:
        """Whether an engine of another kind is free now, and works."""
        return self._inner is not None and bool(self._replacements())

    def replace(self, *, failed: bool = True) -> bool:
        """Take an engine of another kind in place of this one; returns whether there was one. The lost kind is left alone for a while."""
        lost, inner = self._option, self._held()
        for option in self._replacements():
            provider = option.provider
            found = provider.acquire_for_purpose("rescue", self) if isinstance(provider, SlotProvider) else provider.acquire()
            if found is None:
                continue
            self.take(option, found)
            if failed and not isinstance(inner, MovableLease):  # such a provider pauses its servers one by one
                self._choice.lost(lost)
            self.leave_alone(lost)
            return True
        return False

    def preferred_slot(self, lost: Callable[[], None]) -> "PreferredSlot | None":
        """A slot at the preferred kind of engine, for a call that has another one; None if none is free that works."""
        preferred = self._choice.preferred
        if self._inner is None or self._option is preferred:
            return None
        if preferred not in self._replacements("spare"):
            if not self._leaves_alone(preferred) and preferred in self._choice.allowed_others(self._option, self._may_cost):
                self._choice.slots.want("spare", self, (preferred.kind,))
            return None
        slot = PreferredSlot(self, preferred, choice=self._choice, lost=lost)
        return slot if slot.acquire() else None

    def take(self, option: EngineOption, found: EngineLease) -> None:
        """Continue with this engine; the present one is free for others."""
        inner = self._held()
        self._let_go(inner)
        self._option, self._inner = option, found
        self._stand_in = self._choice.stand_in(option, "failing")
        log.info("engine changed", before=inner.name, engine=found.name)

    def leave_alone(self, option: EngineOption) -> None:
        """This kind has failed in this call: do not return to it for a while."""
        self._lost.setdefault(option.kind, Pause(FIRST_PAUSE_S, LONGEST_PAUSE_S, self._clock)).begin()

    def give_back(self) -> None:
        """Free the engine for others."""
        if self._inner is not None:
            self._name, self._info = self.name, self.info
            self._let_go(self._inner)
            self._inner = None

    def _let_go(self, inner: EngineLease) -> None:
        if self._clock.now() - self._since >= SERVED_S:
            self._choice.served(self._option)
        self._since = self._clock.now()
        self._option.provider.release(inner)

    def _replacements(self, purpose: SlotPurpose = "rescue") -> list[EngineOption]:
        others = self._choice.others(self._option, self._may_cost, purpose)
        return [one for one in others if not self._leaves_alone(one)]

    def _leaves_alone(self, option: EngineOption) -> bool:
        return option.kind in self._lost and self._lost[option.kind].lasts

    def _held(self) -> EngineLease:
        if self._inner is None:
            raise LocalProtocolError("this lease was given back")
        return self._inner


class ChosenSpare:
    """A spare slot of the present engine."""

    def __init__(self, inner: SpareSlot, persona_on: Callable[[Persona], Persona]) -> None:
        self.name = inner.name
        self.adopt, self.give_back = inner.adopt, inner.give_back
        self._inner = inner
        self._persona_on = persona_on

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation in this slot, not yet connected."""
        return self._inner.open(self._persona_on(persona), metrics, recap)


class PreferredSlot:
    """A slot at the preferred kind of engine, until it is adopted, given back or taken back. A RevocableSlot."""

    def __init__(self, lease: ChosenLease, option: EngineOption, *, choice: EngineChoice, lost: Callable[[], None]) -> None:
        self.name = ""
        self.on_taken_back: Callable[[], None] = nothing
        self._lease = lease
        self._option = option
        self._inner: EngineLease | None = None
        self._choice = choice
        self._lost = lost

    def acquire(self) -> bool:
        """Take the slot; returns whether it is there."""
        provider = self._option.provider
        if isinstance(provider, SlotProvider):
            self._inner = provider.acquire_for_purpose("spare", self._lease, self._taken_back)
        else:
            self._inner = provider.acquire()
        if self._inner is not None:
            self.name = self._inner.name
        return self._inner is not None

    @property
    def is_over(self) -> bool:
        """Whether it was adopted, given back or taken back."""
        return self._inner is None

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation in this slot, not yet connected. Raises LocalProtocolError after it was adopted or given back."""
        if self._inner is None:
            raise LocalProtocolError("this slot was adopted or given back")
        if isinstance(self._inner, TurnTakingLease):
            self._inner.name_of = self._lease.name_of
        return self._inner.open(self._choice.persona_on(self._option, persona), metrics, recap)

    def adopt(self) -> None:
        """Make this the engine of the lease."""
        inner, self._inner = self._inner, None
        if inner is not None:
            if isinstance(self._option.provider, SlotProvider):
                self._option.provider.use_for_call(inner)
            self._lease.take(self._option, inner)

    def give_back(self) -> None:
        """Free it for others. The call does not ask for it again for a while."""
        inner, self._inner = self._inner, None
        if inner is not None:
            self._option.provider.release(inner)
            self._lease.leave_alone(self._option)
            self._lost()

    def _taken_back(self) -> None:
        """A call needs it, or it is lost."""
        self.on_taken_back()
        self.give_back()


def anything() -> bool:
    """Whether a call may have an engine that costs money, if nobody limits it."""
    return True
