"""Talker: speaks by itself, with text in step with its words, and continues while the person talks: full duplex, as the model is.

Its clip was synthesised with flite's free `slt` voice and is stored as the OggOpus stream that the server itself would send; the times of
its words come from the synthesiser.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources

from discordplex.audio.format import MODEL_STEP_MS
from discordplex.loopback.personaplex.codec import STEP_BYTES, AudioReader
from discordplex.loopback.personaplex.voice_model import ModelOutput

PAUSE_STEPS = 2_000 // MODEL_STEP_MS
"""Pause between two repetitions."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Speech in model steps, and the pieces of text that begin in each."""

    steps: tuple[ModelOutput, ...]

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(piece for step in self.steps for piece in step.pieces)

    @property
    def duration_ms(self) -> int:
        """How long it lasts."""
        return len(self.steps) * MODEL_STEP_MS


@functools.cache
def clip() -> Clip:
    """The clip that comes with the package."""
    folder = resources.files("discordplex.loopback.personaplex")
    pcm = AudioReader().feed(folder.joinpath("talker.ogg").read_bytes())
    timings: list[tuple[str, float]] = json.loads(folder.joinpath("talker.json").read_text(encoding="utf-8"))
    return Clip(tuple(steps_of(pcm, timings)))


def steps_of(pcm: bytes, timings: list[tuple[str, float]]) -> list[ModelOutput]:
    """`pcm` in whole model steps, each with the pieces whose time, in ms, is within it; the last is padded with silence."""
    pcm += bytes(-len(pcm) % STEP_BYTES)
    pieces: list[list[str]] = [[] for _ in range(0, len(pcm), STEP_BYTES)]
    for piece, at_ms in timings:
        pieces[min(int(at_ms / MODEL_STEP_MS), len(pieces) - 1)].append(piece)
    return [ModelOutput(pcm[index * STEP_BYTES : (index + 1) * STEP_BYTES], tuple(found)) for index, found in enumerate(pieces)]


class Talker:
    """Says its clip again and again, with a pause between, whatever it hears."""

    def __init__(self) -> None:
        self._steps = clip().steps + (ModelOutput(),) * PAUSE_STEPS
        self._next = 0

    def step(self, heard: bytes) -> ModelOutput:
        """The next step of the clip; what was heard is ignored."""
        del heard
        spoken = self._steps[self._next]
        self._next = (self._next + 1) % len(self._steps)
        return spoken
