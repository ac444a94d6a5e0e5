"""What a call needs of the voice side: a sink to hear with, a source to speak with, and the link itself.

`audio.Sink`, `audio.StreamingPlaybackSource` and `voice.VoiceConnection` implement these; the bridge imports none of them.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from discordplex.engine import Problem, SpeakerId, Text
from discordplex.metrics import Metrics


class HearingSink(Protocol):
    """What people said, waiting to be taken. Thread: loop, for all methods here."""

    on_all_heard: Callable[[], None]
    """Called when everybody of the last `take` has been heard again: nobody has to be waited for."""

    @property
    def last_arrival(self) -> float | None:
        """When (`Clock.now`) the newest frame of the last `take` arrived; None where that took nothing."""
        ...

    @property
    def surplus_s(self) -> float | None:
        """How much earlier the last `take` could have come with every frame still in time, negative for later; None where unknown."""
        ...

    def take(self, now: float | None = None, /) -> Mapping[SpeakerId, bytes]:
        """The next ENGINE frame of each speaker who has one that is due at `now`, empty while nobody speaks. Never blocks."""
        ...

    def forget(self, user_id: SpeakerId, /) -> None:
        """Drop what is kept about a person who left; an unknown one does nothing."""
        ...


class SpeechSink(HearingSink, Protocol):
    """One that knows whether it was speech. Thread: loop."""

    @property
    def pause_s(self) -> float:
        """For how long nobody has spoken, 0 while somebody speaks; from the beginning, where nobody has yet."""
        ...


class SpeakingSource(Protocol):
    """What the engine says, waiting to be played. Thread: loop, for all methods here."""

    @property
    def pushed_samples(self) -> int:
        """Samples that were pushed so far, whether or not they were played."""
        ...

    @property
    def played_samples(self) -> int:
        """How far people have heard, on the line of pushed samples: samples that were trimmed or flushed count as passed."""
        ...

    @property
    def depth_ms(self) -> float:
        """How much waits to be played."""
        ...

    def push(self, pcm: bytes, /) -> None:
        """Queue ENGINE PCM of any whole number of samples. Never blocks."""
        ...

    def flush(self) -> int:
        """Drop what waits; returns how many samples that were."""
        ...

    def hold(self) -> None:
        """Be silent at once and keep what waits, until `go_on`."""
        ...

    def go_on(self) -> None:
        """Continue where it was held; does nothing where it was not."""
        ...


class VoiceLink(Protocol):
    """The connection to the voice channel. The bot owns it; a call looks at it."""

    @property
    def people(self) -> frozenset[SpeakerId]:
        """Who is in the channel now."""
        ...

    async def disconnect(self, *, force: bool = False) -> None:
        """Leave the channel; a second time does nothing."""
        ...


class Ears(Protocol):
    """Writes down what people say, beside an engine that does not. Thread: loop, for all methods here."""

    async def run(self, tell: Callable[[Text | Problem], None]) -> None:
        """Hear until cancelled; `tell` takes people's words, and a sentence where they cannot be written down."""
        ...

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Take what people said in one tick, `{}` for silence. Never blocks."""
        ...

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that is held of this person. When this returns no request carries it, and no words of it follow."""
        ...

    def drop(self) -> None:
        """Drop all that was said and is not words yet, and cancel the requests that carry it."""
        ...

    async def stopped(self) -> None:
        """Return once the requests that `drop` cancelled have ended."""
        ...


class EarsProvider(Protocol):
    """Makes the ears of each call."""

    @property
    def name(self) -> str:
        """How people are told who transcribes. No address."""
        ...

    def ears(self, allowed: Callable[[], bool], metrics: Metrics) -> Ears:
        """The ears of one call; `allowed` says in every tick whether people may be heard."""
        ...
