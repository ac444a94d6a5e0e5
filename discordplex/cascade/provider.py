"""CascadeProvider: leases for as many calls as the settings allow, each with its own history."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from discordplex.bounded import drop_oldest
from discordplex.cascade.engine import CascadeEngine
from discordplex.cascade.history import History
from discordplex.cascade.reasoning import ReasoningFormat
from discordplex.clock import Clock
from discordplex.config import CascadeConfig
from discordplex.engine import NO_RECAP, EngineInfo, EngineLease, Persona, Recap, SpeakerId, VoiceEngine
from discordplex.engine_slots import TAKEN, EngineSlots, NumberedSlot, NumberedSlots, OwnSlots, SlotPurpose, nothing
from discordplex.errors import LocalProtocolError
from discordplex.hearing import detector
from discordplex.hearing.detector import DetectorPool
from discordplex.metrics import Metrics
from discordplex.overview import EngineServer
from discordplex.plaintext import one_line
from discordplex.services import clients
from discordplex.services.service import Service

KIND: Final = "cascade"
LONGEST_VOICE: Final = 100
LONGEST_PROMPT: Final = 20_000
"""Characters. The prompt is sent with every request for a reply."""
LONGEST_NAME: Final = 40
ENDS_A_NAME: Final = re.compile(r"[:\uff1a\ufe55\ufe13\ua789\u2236*_`<>|]")
"""Colons of all kinds, and markup: they end a name in front of somebody's words."""
MOST_NUMBERED: Final = 100
"""People without a name who keep their number during a call."""


class CascadeProvider:
    """The EngineProvider of the cascade. All methods: the loop's thread."""

    def __init__(
        self, config: CascadeConfig, *, clock: Clock, detectors: DetectorPool | None = None, slots: EngineSlots | None = None
    ) -> None:
        """Raises ConfigError where the extra is not installed; imports nothing of it. `slots` says which calls are this process's."""
        if not (clients.is_installed() and detector.is_installed()):
            raise clients.not_installed()
        self._config = config
        self._clock = clock
        self._detectors = detectors or DetectorPool()
        self._slots = NumberedSlots(KIND, config.max_calls, slots or OwnSlots())

    @property
    def capacity(self) -> int:
        """How many calls can be held at once."""
        return self._config.max_calls

    @property
    def free(self) -> int:
        """How many leases `acquire` would give right now."""
        return self._slots.free("call")

    @property
    def working(self) -> int:
        """All that are free: what fails is told turn by turn."""
        return self.free

    def working_for(self, purpose: SlotPurpose) -> int:
        """As `working`, for this purpose."""
        return self._slots.working(purpose)

    @property
    def servers(self) -> Sequence[EngineServer]:
        """The three services as one server."""
        return [EngineServer(self.info.description, self.capacity, self._slots.used + self._slots.elsewhere)]

    def kinds(self, may_cost: Callable[[], bool]) -> Sequence[str]:
        """The cascade, if the call may have it."""
        return (KIND,) if not self.info.costs_money or may_cost() else ()

    @property
    def info(self) -> EngineInfo:
        """Three services, of which the first writes down what people say."""
        return info_of(self._config)

    @property
    def voices(self) -> Sequence[str]:
        """Empty: each speech server has its own."""
        return ()

    def check(self, voice: str, text_prompt: str) -> str | None:
        """Why this persona cannot be used, as a plain sentence; None where it can. Only the server knows whether it has the voice."""
        return check_persona(voice, text_prompt)

    def acquire(self) -> "CascadeLease | None":
        """A lease, or None while all are taken."""
        return self.acquire_for_purpose("call", None)

    def acquire_for_purpose(self, purpose: SlotPurpose, wisher: object, asked_back: Callable[[], None] = nothing) -> "CascadeLease | None":
        """As `acquire`, for this purpose."""
        if self._slots.free(purpose) <= 0:
            return None
        lease = CascadeLease(self._config, self._detectors, self._clock)
        lease.slot = self._slots.take(purpose, wisher, asked_back, lease.lost)
        return lease

    def use_for_call(self, lease: EngineLease) -> None:
        """A spare slot is the engine of a call from now on."""
        if isinstance(lease, CascadeLease) and lease.slot is not None:
            lease.slot.use_for_call()

    def set_aside(self, failures: int, pause_s: float) -> None:
        """Calls have failed: all processes avoid it for so long."""
        self._slots.report_all(failures, pause_s)

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second time does nothing."""
        if isinstance(lease, CascadeLease) and lease.slot is not None:
            lease.slot.give_back()


class CascadeLease:
    """The right to hold one call, and the history of that call. A TurnTakingLease."""

    def __init__(self, config: CascadeConfig, detectors: DetectorPool, clock: Clock) -> None:
        self.slot: NumberedSlot | None = None
        self._config = config
        self._detectors = detectors
        self._reasoning_format = ReasoningFormat()
        self._clock = clock
        self._history = History(max_tokens=config.history_tokens)
        self._numbers: dict[SpeakerId, int] = {}
        self._next_number = itertools.count(1)
        self._open: CascadeEngine | None = None
        self.name = f"the cascade at {Service.of(config, 'think').host}"
        self.info = info_of(config)
        self.name_of: Callable[[SpeakerId], str] = self.number_of

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation with the history so far, or with the recap where there is none.

        It connects to nothing until somebody has spoken.
        """
        if self._open is not None and self._open.is_open:
            raise LocalProtocolError("leave the last conversation before opening another")
        if not self._history:
            turns = tuple(replace(turn, name=plain_name(turn.name)) for turn in recap.turns)
            self._history.recall(replace(recap, turns=turns))
        self._open = CascadeEngine(
            config=self._config,
            persona=persona,
            history=self._history,
            name_of=lambda speaker: plain_name(self.name_of(speaker)) or self.number_of(speaker),
            detectors=self._detectors,
            reasoning_format=self._reasoning_format,
            clock=self._clock,
            metrics=metrics,
        )
        if self.slot is not None and self.slot.is_lost:
            self.lost()
        return self._open

    def lost(self) -> None:
        """Another process may have the slot: end the conversation."""
        if self._open is not None:
            self._open.end(TAKEN)

    def spare(self, lost: Callable[[], None]) -> None:
        """None: a conversation lasts as long as its call."""

    def reset(self) -> None:
        """Forget what was said in this call and what waits for an answer; requests in flight are cancelled."""
        if self._open is not None:
            self._open.reset()

    def forget(self, speaker: SpeakerId) -> None:
        """Forget what this person said, whether or not an engine is open; requests in flight that carry it are cancelled."""
        self._numbers.pop(speaker, None)
        if self._open is not None:
            self._open.drop(speaker)

    def number_of(self, speaker: SpeakerId) -> str:
        """What to call somebody without a name: people are numbered in the order in which they spoke first."""
        if speaker not in self._numbers:
            self._numbers[speaker] = next(self._next_number)
            drop_oldest(self._numbers, MOST_NUMBERED)
        return f"Person {self._numbers[speaker]}"


def info_of(config: CascadeConfig) -> EngineInfo:
    """What is known of the cascade before a call. A service with a key is taken for one that bills."""
    costs_money = any(one.api_key for one in (config, config.transcribe, config.think, config.speak))
    description = "the cascade (speech recognition, a language model and a synthetic voice)"
    return EngineInfo(description, transcribes=True, costs_money=costs_money, takes_turns=True)


def check_persona(voice: str, text_prompt: str) -> str | None:
    """Why no server could use this persona, None where one may."""
    if not voice.strip() or len(voice) > LONGEST_VOICE or not voice.isprintable():
        return f"A voice is a name that the speech server knows, such as OpenAI's shimmer: one line, at most {LONGEST_VOICE} characters."
    if not text_prompt.strip():
        return "The text prompt is empty: describe who the engine is."
    if len(text_prompt) > LONGEST_PROMPT:
        return f"The text prompt has {len(text_prompt)} characters. The limit is {LONGEST_PROMPT}."
    return None


def plain_name(name: str) -> str:
    """A display name as it may precede somebody's words: one line, without characters that end a name there."""
    return one_line(ENDS_A_NAME.sub(" ", one_line(name[: 10 * LONGEST_NAME])))[:LONGEST_NAME].strip()
