"""What the dispatcher needs of a call, and what a call reports when it has ended."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.practice import Practice
from discordplex.engine import Persona
from discordplex.metrics import Metrics


class Next(Enum):
    """What happens after a call."""

    DONE = "done"
    """Nothing, until somebody enters or asks."""
    RETRY = "retry"
    """Another call is tried in the same channel after a pause, without anybody asking."""
    REQUEUE = "requeue"
    """The people of the call wait for their next turn, at the end of the queue."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, and what happens next."""

    reason: str | None = None
    """Why it failed, as a sentence; None where it ended as asked."""
    next: Next = Next.DONE
    listened_s: float = 0.0
    """For how long people were heard in it."""


class AnyCall(Protocol):
    """What the dispatcher needs of a `call.Call`."""

    voice_channel: VoiceChannel
    since: float

    @property
    def paused(self) -> bool:
        """Whether it neither hears nor speaks until `resume`."""
        ...

    @property
    def asker(self) -> int | None:
        """Whose persona it has; None for nobody's in particular."""
        ...

    @property
    def phase(self) -> str:
        """What it is doing, in a word or two."""
        ...

    @property
    def engine(self) -> str:
        """It, as people are told of it."""
        ...

    @property
    def persona(self) -> Persona | None:
        """Who the engine is in it; None where it keeps a voice and a role of its own."""
        ...

    @property
    def metrics(self) -> Metrics:
        """What was measured in it."""
        ...

    async def joined(self) -> str | None:
        """Return once it is known whether we got into the channel: None where we did, else why not."""
        ...

    def hang_up(self, after: Next = Next.DONE) -> None:
        """End it as asked; `after` is what its outcome says happens next."""
        ...

    def forget(self) -> bool:
        """Let the engine forget what was said; whether it is one that remembers."""
        ...

    async def run(self) -> Outcome:
        """Its whole life."""
        ...

    async def follow(self, voice_channel: VoiceChannel) -> None:
        """Go with the people into another channel."""
        ...

    @property
    def quiet_s(self) -> float:
        """For how long nobody has spoken."""
        ...

    def rescue(self) -> bool:
        """Take a healthy engine where its own is gone and another one is free; whether it did."""
        ...

    def refresh(self) -> None:
        """Somebody came, went or changed their mind, or the rules changed."""
        ...

    @property
    def practice(self) -> Practice:
        """What is done with people's words in it, as they were told."""
        ...

    async def disclosed(self) -> bool:
        """Whether what the settings want done with people's words is done; returns once that is known."""
        ...

    def show_status(self, text: str) -> None:
        """What the voice channel's status line shall say."""
        ...

    async def pause(self, name: str) -> None:
        """Neither hear nor speak for now, at the wish of a person of this name."""
        ...

    async def resume(self, name: str) -> None:
        """Go on after `pause`."""
        ...

    def restart(self, persona: Persona) -> None:
        """Go on as somebody else, from now on."""
        ...


def status_of(call: AnyCall, now: float) -> texts.calls.CallStatus:
    """A call as /status shows it."""
    return texts.calls.CallStatus(
        channel_id=call.voice_channel.place.channel_id,
        phase="stopped" if call.paused else call.phase,
        engine=call.engine,
        persona=call.persona,
        minutes=int((now - call.since) / 60),
    )
