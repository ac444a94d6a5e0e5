"""What a call needs of the voice side: a sink to hear with, a source to speak with, and the link itself.

`audio.Sink`, `audio.StreamingPlaybackSource` and `voice.VoiceConnection` implement these; the bridge imports none of them.
"""

from collections.abc import Mapping
from typing import Protocol

from discordplex.engine import SpeakerId


class HearingSink(Protocol):
    """What people said, waiting to be taken. Thread: loop, for all methods here."""

    @property
    def last_arrival(self) -> float | None:
        """When (`Clock.now`) the newest frame of the last `take` arrived; None where that took nothing."""
        ...

    @property
    def surplus_s(self) -> float | None:
        """How much earlier the last `take` could have come with every frame still in time, negative for later; None where unknown."""
        ...

    def take(self) -> Mapping[SpeakerId, bytes]:
        """The next ENGINE frame of each speaker who has one, empty while nobody speaks. Never blocks."""
        ...

    def forget(self, user_id: SpeakerId, /) -> None:
        """Drop what is kept about a person who left; an unknown one does nothing."""
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
