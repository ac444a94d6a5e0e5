"""EnergyVad: OpenAI's server VAD by energy. Its clock is the samples that were sent, not time. Pure."""

from dataclasses import dataclass
from typing import Final

from discordplex.audio.format import MODEL
from discordplex.audio.samples import rms_of
from discordplex.loopback.personaplex.parrot import LOUD_RMS, QUIET_RMS

WINDOW_MS: Final = 20
ONSET_MS: Final = 60
"""Shorter sounds are a click, not speech."""


def spoken_ms(pcm: bytes) -> int:
    """From the first loud window to the last that is not quiet: without the padding before speech and the pause behind it."""
    size = MODEL.bytes_of_ms(WINDOW_MS)
    levels = [rms_of(pcm[start : start + size]) for start in range(0, len(pcm) - size + 1, size)]
    first = next((number for number, level in enumerate(levels) if level > LOUD_RMS), len(levels))
    last = next((number for number in range(len(levels) - 1, first - 1, -1) if levels[number] >= QUIET_RMS), first - 1)
    return (last + 1 - first) * WINDOW_MS


@dataclass(frozen=True, slots=True)
class VadStarted:
    """Speech began at `at_ms` of all sound that was sent, padding included."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class VadStopped:
    """Speech ended; `at_ms` is after the silence that proves it."""

    at_ms: int


class EnergyVad:
    """Feed it all sound. `prefix_padding_ms` and `silence_duration_ms` are the session's settings."""

    def __init__(self, prefix_padding_ms: int = 300, silence_duration_ms: int = 500) -> None:
        self.prefix_padding_ms = prefix_padding_ms
        self.silence_duration_ms = silence_duration_ms
        self.speaking = False
        self._rest = b""
        self._sent_ms = 0
        self._loud_ms = 0
        self._quiet_ms = 0

    def feed(self, pcm: bytes) -> list[VadStarted | VadStopped]:
        """What happened in these samples, in order."""
        size = MODEL.bytes_of_ms(WINDOW_MS)
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % size
        self._rest = pcm[whole:]
        found = (self._step(rms_of(pcm[start : start + size])) for start in range(0, whole, size))
        return [one for one in found if one is not None]

    def forget(self) -> None:
        """The buffer was committed or cleared: speech in it is over, without a word about it."""
        self.speaking = False
        self._loud_ms = self._quiet_ms = 0

    def _step(self, level: float) -> VadStarted | VadStopped | None:
        self._sent_ms += WINDOW_MS
        if self.speaking:
            self._quiet_ms = self._quiet_ms + WINDOW_MS if level < QUIET_RMS else 0
            if self._quiet_ms < self.silence_duration_ms:
                return None
            self.forget()
            return VadStopped(self._sent_ms)
        self._loud_ms = self._loud_ms + WINDOW_MS if level > LOUD_RMS else 0
        if self._loud_ms < ONSET_MS:
            return None
        self.speaking = True
        self._quiet_ms = 0
        return VadStarted(max(0, self._sent_ms - self._loud_ms - self.prefix_padding_ms))
