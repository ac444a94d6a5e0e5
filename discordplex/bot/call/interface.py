"""What scheduling and commands need from a call, and what a call reports at its end."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.engine import Persona
from discordplex.metrics import Metrics
from discordplex.overview import CallOverview


class Next(Enum):
    """What happens after a call."""

    DONE = "done"
    """Nothing, until somebody enters or uses /join."""
    RETRY = "retry"
    """Another call is tried in the same channel after a pause."""
    WAIT = "wait"
    """No engine was free after all: the channel waits at the front of the queue."""
    REQUEUE = "requeue"
    """The channel goes to the end of the queue."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, and what happens next."""

    reason: str | None = None
    """Why it failed, as a sentence; None if it ended as requested."""
    next: Next = Next.DONE
    listened_s: float = 0.0
    """For how many seconds people were heard."""


class AnyCall(Protocol):
    """What scheduling and commands need from a `call.Call`."""

    voice_channel: VoiceChannel
    since: float

    @property
    def paused(self) -> bool:
        """Whether the call is paused until `resume`."""
        ...

    @property
    def asker(self) -> int | None:
        """The person whose persona it uses; None if unknown."""
        ...

    @property
    def phase(self) -> str:
        """The state of the call in one or two words."""
        ...

    @property
    def engine(self) -> str:
        """The name of the engine that people read."""
        ...

    @property
    def costs_money(self) -> bool:
        """Whether its engine costs money."""
        ...

    @property
    def billed(self) -> bool:
        """Whether its engine costs money and is open now."""
        ...

    @property
    def persona(self) -> Persona | None:
        """The persona of the engine; None if the engine keeps its own."""
        ...

    @property
    def metrics(self) -> Metrics:
        """The metrics of the call."""
        ...

    def overview(self, now: float, *, names: bool) -> CallOverview:
        """The call as an observer sees it."""
        ...

    async def joined(self) -> str | None:
        """Wait until the bot is in the channel; returns None, or why it could not join."""
        ...

    def hang_up(self, after: Next = Next.DONE) -> None:
        """End the call; its outcome says `after`."""
        ...

    def reset(self) -> bool:
        """Make the engine forget what was said; returns whether it has to start over for that."""
        ...

    async def run(self) -> Outcome:
        """Run the call from start to end. Call it once."""
        ...

    async def follow(self, voice_channel: VoiceChannel) -> None:
        """Move with the people into another channel."""
        ...

    @property
    def quiet_s(self) -> float:
        """For how many seconds nobody has spoken."""
        ...

    def rescue(self) -> bool:
        """If the engine is lost, take a healthy free one; returns whether there was one."""
        ...

    def refresh(self) -> None:
        """People, opt-outs or rules changed."""
        ...

    @property
    def recording_policy(self) -> RecordingPolicy:
        """What is done with people's words in this call, as they were told."""
        ...

    async def disclosed(self) -> bool:
        """Whether what the settings want done with people's words is done. Waits until that is known."""
        ...

    @property
    def renewing(self) -> bool:
        """Whether the engine's conversation is being renewed, so that nobody is heard for some seconds."""
        ...

    def replace_engine(self, reason: str) -> bool:
        """Continue with an engine of another kind, because of `reason`; returns whether one is free. People are told."""
        ...

    def return_to_preferred(self) -> None:
        """Nobody waits for an engine: return to the preferred kind, if the call has another one and the settings want that."""
        ...

    def show_status(self, text: str) -> None:
        """Set the status line of the voice channel."""
        ...

    async def pause(self, name: str) -> None:
        """Hear nobody and say nothing until `resume`. `name` is the person who asked."""
        ...

    async def resume(self, name: str) -> None:
        """Continue after `pause`."""
        ...

    def restart(self, persona: Persona) -> None:
        """Continue with another persona."""
        ...


def status_of(call: AnyCall, now: float) -> texts.calls.CallStatus:
    """A call as /status shows it."""
    metrics = call.metrics.snapshot()
    return texts.calls.CallStatus(
        channel_id=call.voice_channel.place.channel_id,
        phase="stopped" if call.paused else call.phase,
        engine=call.engine,
        persona=call.persona,
        minutes=int((now - call.since) / 60),
        tokens=(metrics.get("engine.tokens_in", 0), metrics.get("engine.tokens_out", 0)),
    )
