"""The engine port: what a call asks of an engine, and the events that an engine reports.

PCM crosses the port as `audio.format.ENGINE` (48 kHz mono int16) both ways; an engine converts inside. `VoiceEngine` fits a full-duplex
model, which hears one mix and speaks at any time, as well as a turn-taking one, which needs each speaker separately and sends whole
replies.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from typing_extensions import Self

from discordplex.metrics import Metrics
from discordplex.overview import EngineServer

SpeakerId: TypeAlias = int
"""A Discord user id."""


@dataclass(frozen=True, slots=True)
class Persona:
    """Who the engine shall be in a call: a voice by its name and a role as text."""

    voice: str
    text_prompt: str


@dataclass(frozen=True, slots=True)
class EngineCaps:
    """What a call may expect of an engine."""

    realtime_paced: bool
    """Its audio arrives as fast as it is played; otherwise whole replies come at once and wait in the playout."""
    memory_s: float | None = None
    """For how long, from EngineReady on, this conversation keeps its voice, its role or its session; None: without end."""
    kind: str = ""
    """The kind of engine, as in the settings."""


@dataclass(frozen=True, slots=True)
class RecapTurn:
    """Something that was said earlier in this call, on one line."""

    text: str
    role: Literal["engine", "person"] = "engine"
    speaker: SpeakerId | None = None
    """Which person; None for the engine and for a person whom the engine could not tell apart."""
    name: str = ""
    """The person's name, as the others in the channel see it."""


@dataclass(frozen=True, slots=True)
class Recap:
    """What a new conversation is told of the call so far; empty at its beginning. No words of anybody who opted out."""

    turns: tuple[RecapTurn, ...] = ()
    """The newest turns, oldest first."""
    summary: str = ""
    """The whole call in a few sentences, where somebody wrote them."""

    def __bool__(self) -> bool:
        return bool(self.turns or self.summary)

    @property
    def people(self) -> frozenset[SpeakerId]:
        """Whose words it holds. The engine may have quoted any of them."""
        return frozenset(turn.speaker for turn in self.turns if turn.speaker is not None)


NO_RECAP = Recap()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is known of an engine before anything is opened."""

    description: str
    """What people are told of where their voice goes. No address."""
    transcribes: bool
    """Whether it writes down what people say."""
    costs_money: bool = False
    """Whether somebody is billed for each minute or each answer."""
    takes_turns: bool = False
    """Whether it sends whole replies and is lowered while somebody else speaks; otherwise it hears and speaks at once."""


BUSY = "busy"
"""The cause of an EngineError, and of a `Closed`, where the server has no place to spare: people wait for one in the queue."""

STALLED = "stalled"
"""The cause of a `Closed` where the server has sent nothing for a while: another try will probably meet the same silence."""


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine listens from now on."""


@dataclass(frozen=True, slots=True)
class Audio:
    """What the engine says: ENGINE-format PCM of any whole number of samples, in order."""

    pcm: bytes
    item: str = ""
    """Which reply it belongs to, "" where the engine does not distinguish replies."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, to be appended to the earlier ones without separators."""

    text: str
    role: Literal["engine", "person"] = "engine"
    speaker: SpeakerId | None = None
    final: bool = False
    """Nothing more comes for this item."""
    item: str = ""
    began_at: float | None = None
    """When a person began to say it, in seconds of the process's clock; None where the engine does not know."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A person interrupted the engine: audio of `item` ("" for all) that is not yet played has to be dropped."""

    item: str = ""


@dataclass(frozen=True, slots=True)
class PlaybackHeld:
    """A person speaks while the engine does: hold its audio at once and keep it, until `PlaybackResumed` or `Interrupted`."""


@dataclass(frozen=True, slots=True)
class PlaybackResumed:
    """It was a cough or an "mm-hm": continue the audio where it was held."""


@dataclass(frozen=True, slots=True)
class PersonaIgnored:
    """This engine keeps its own voice and role, so people must not be told otherwise. Comes after EngineReady, usually soon."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something failed and the call continues. `message` is a plain sentence for people."""

    message: str
    service: str = ""
    cause: str = ""
    """A short code for logs, such as "HTTP 500". The sentence may quote a server, and a log must not."""


OVER_BUDGET = "over budget"
"""The beginning of a `Closed.cause` where the engine sent more than a call may have to process."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The engine is gone; the last event. `reason` is a plain sentence; `retry` says whether opening again can help."""

    reason: str
    retry: bool = True
    cause: str = ""
    """A short code for logs, such as "stalled". The sentence may quote a server, and a log must not."""


EngineEvent: TypeAlias = EngineReady | Audio | Text | PlaybackHeld | PlaybackResumed | Interrupted | PersonaIgnored | Problem | Closed


async def until_closed(take: Callable[[], Awaitable[EngineEvent]]) -> AsyncIterator[EngineEvent]:
    """The events that `take` returns, to `Closed`: the `events` of an engine that keeps them in a queue."""
    while True:
        event = await take()
        yield event
        if isinstance(event, Closed):
            return


class VoiceEngine(Protocol):
    """One conversation with an engine. Thread: loop, for all methods.

    `async with` connects and returns once the engine listens; it raises EngineError with a sentence for people. Leaving it closes the
    connection whatever happened, and never raises.
    """

    caps: EngineCaps

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Take what people said in one 20 ms tick: one ENGINE frame for each active speaker, `{}` for silence.

        Called every 20 ms without exception: for a full-duplex model this is its clock. Never waits for a stalled peer: what cannot be sent
        now is dropped before it is encoded, and counted. Does nothing once the engine has closed.
        """
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """The engine's events in order, from EngineReady to Closed. One consumer."""
        ...

    async def interrupt(self, item: str = "", played_ms: float | None = None) -> None:
        """Stop speaking: `item` was interrupted after `played_ms` of it. Does nothing where the engine has no turns."""
        ...

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that is held of this speaker, because they opted out: sound, words and requests in flight that carry either.

        When this returns, nothing of theirs that the engine's server does not have yet will reach it, no event with their words follows,
        and the history in later requests contains nothing that they said. A reply that was made from their words is stopped.
        """
        ...

    async def pause(self) -> None:
        """Drop all that people said and that was not answered yet, and stop speaking: `/stop` was called.

        Requests in flight are cancelled and none of their events follow. The conversation's history stays. `push` continues with silence.
        """
        ...


class EngineLease(Protocol):
    """The right to hold one call on one engine server, until it is released."""

    @property
    def name(self) -> str:
        """The server, for logs and people, without secrets."""
        ...

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        ...

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """A new conversation on this server, not yet connected. One at a time: leave the last one first.

        The engine tells its model the `recap` in the form that suits it, within its own limits. One that remembers the call itself
        ignores it.
        """
        ...

    def spare(self, lost: Callable[[], None]) -> "SpareSlot | None":
        """A second slot, to prepare the next conversation in while this one continues; None where none is free. One at a time.

        It counts as free for everybody else: when a new call needs it, it is taken back, and `lost` is called, on the loop, within
        `EngineProvider.acquire`. The conversation in it has to be left at once then: the new call waits for that.
        """
        ...


class SpareSlot(Protocol):
    """A second slot of a lease, until it is adopted, given back or lost. All methods do nothing after that."""

    name: str
    """Its server, for logs and people, without secrets."""

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        """As `EngineLease.open`, in this slot. Raises LocalProtocolError once it is lost."""
        ...

    def adopt(self) -> None:
        """Make this the slot of its lease: the lease's old slot is free as soon as the conversation in it is left."""
        ...

    def give_back(self) -> None:
        """Free it for others, at once or when the conversation in it is left."""
        ...


@runtime_checkable
class RememberingLease(EngineLease, Protocol):
    """A lease with the history of its call, which outlives an engine that is lost and opened again."""

    def reset(self) -> None:
        """Forget what was said in this call, answered or not. An open engine that takes turns cancels its requests and stops speaking."""
        ...

    def forget(self, speaker: SpeakerId) -> None:
        """Forget what this person said, because they opted out.

        Call it in addition to `VoiceEngine.forget`, which does the same for an open engine and waits until its requests have ended: the
        history outlives the engine, and somebody may opt out while none is open.
        """
        ...


@runtime_checkable
class TurnTakingLease(RememberingLease, Protocol):
    """A lease on an engine that takes turns: it sends whole replies, and needs people's names."""

    name_of: Callable[[SpeakerId], str]
    """What to call a person; set it before `open`. Until then people have numbers."""


@runtime_checkable
class MovableLease(EngineLease, Protocol):
    """A lease that can move to another server."""

    def relocate(self) -> bool:
        """Take a free server that works in place of one that has failed; whether that was needed and possible.

        The next `open` uses it. A conversation that is still being opened on the failed server may be left afterwards.
        """
        ...


StandInReason: TypeAlias = Literal["busy", "failing", "minutes"]
"""Why a call has not the preferred engine: all are busy, none works, or the guild may not use what costs money."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """That a call has another engine than the preferred one, and why."""

    preferred: EngineInfo
    reason: StandInReason


@runtime_checkable
class ReplaceableLease(EngineLease, Protocol):
    """A lease whose engine can be replaced by one of another kind."""

    @property
    def stand_in(self) -> StandIn | None:
        """Why the call has not the preferred engine; None if it has."""
        ...

    @property
    def is_replaceable(self) -> bool:
        """Whether an engine of another kind is free now, and works."""
        ...

    def replace(self, *, failed: bool = True) -> bool:
        """Take an engine of another kind in place of this one; returns whether there was one. `failed`: because this one is lost.

        Leave the last conversation before. `name` and `info` are the new engine's from then on, and the next `open` uses it.
        """
        ...

    def preferred_slot(self, lost: Callable[[], None]) -> SpareSlot | None:
        """A slot at the preferred kind of engine, for a call that has another one; None if none is free that works.

        Others do not get it. Its `adopt` makes it the engine of the lease, as `replace` does; `lost` is called if it is given back.
        """
        ...

    def persona_on(self, persona: Persona) -> Persona:
        """What the present engine makes of a persona: its own name for the voice, and the same role if it takes it."""
        ...


class EngineProvider(Protocol):
    """Leases engines to calls. It knows no people and keeps no queue. Thread: loop, for all methods."""

    @property
    def capacity(self) -> int:
        """How many calls can be held at once."""
        ...

    @property
    def free(self) -> int:
        """How many leases `acquire` would give right now, spare slots included."""
        ...

    @property
    def working(self) -> int:
        """How many of the free ones have not failed lately."""
        ...

    @property
    def info(self) -> EngineInfo:
        """What the next lease's engine is."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Voice names a persona may use; empty where the engine takes any."""
        ...

    def check(self, voice: str, text_prompt: str) -> str | None:
        """Why the engine would refuse this persona, as a plain sentence; None where it would not."""
        ...

    def acquire(self) -> EngineLease | None:
        """A lease, or None while every engine is taken. Never blocks, never connects.

        Takes a spare slot back where nothing else is free.
        """
        ...

    def release(self, lease: EngineLease) -> None:
        """Give a lease back; a second call does nothing."""
        ...


@runtime_checkable
class ChoosingProvider(EngineProvider, Protocol):
    """A provider of several kinds of engines, in order of preference."""

    @property
    def infos(self) -> Sequence[EngineInfo]:
        """What the engines of each kind are, the preferred kind first."""
        ...

    def free_for(self, may_cost: Callable[[], bool]) -> int:
        """How many are free for a call that has engines that cost money only while `may_cost` is true."""
        ...

    def acquire_for(self, may_cost: Callable[[], bool]) -> EngineLease | None:
        """As `acquire`, for such a call. The lease asks `may_cost` again when its engine is replaced."""
        ...


@runtime_checkable
class ObservableProvider(EngineProvider, Protocol):
    """A provider that knows which of its servers work."""

    @property
    def servers(self) -> Sequence[EngineServer]:
        """Every server with what is known of it."""
        ...


def servers_of(provider: EngineProvider) -> Sequence[EngineServer]:
    """The servers of a provider; one that does not distinguish them has one."""
    if isinstance(provider, ObservableProvider):
        return provider.servers
    return [EngineServer(provider.info.description, provider.capacity, provider.capacity - provider.free)]
