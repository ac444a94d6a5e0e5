"""Parrot: listens, and when the person pauses repeats what it heard, with a line of text about it.

That is enough of a conversation to show that both directions work: it takes turns, is silent while it listens, and stops when interrupted.
"""

import enum

from discordplex.audio.format import MODEL_STEP_MS
from discordplex.audio.samples import rms_of
from discordplex.loopback.personaplex.voice_model import ModelOutput

PAUSE_MS = 700
"""A pause this long ends what the person says: longer than one between words, shorter than an annoying wait."""

LOUD_RMS = 0.010
"""Of full scale, -40 dB: begins an utterance."""

QUIET_RMS = 0.005
"""-46 dB: below this it is a pause. Lower than `LOUD_RMS`, so that a fading voice is not cut up."""

LEAD_IN_STEPS = 2
"""Steps kept from before the voice was loud enough: words begin quietly."""

MEMORY_STEPS = 60_000 // MODEL_STEP_MS
"""A minute; of longer speech the end is kept."""


class ParrotState(enum.Enum):
    """What the parrot is doing."""

    WAITING = "waiting"
    LISTENING = "listening"
    SPEAKING = "speaking"


class Parrot:
    """One listener that remembers one utterance."""

    def __init__(self) -> None:
        self.turn = ParrotState.WAITING
        self._heard: list[bytes] = []
        self._lead_in_steps = 0
        self._quiet_steps = 0
        self._to_say: list[ModelOutput] = []

    def step(self, heard: bytes) -> ModelOutput:
        """Take one step of sound; return one step of what was heard before, or silence."""
        level = rms_of(heard)
        self._heard.append(heard)
        if self.turn is ParrotState.LISTENING:
            self._listen(level)
        elif level > LOUD_RMS:
            # Also during its own speech: when interrupted it stops and listens.
            self.turn = ParrotState.LISTENING
            self._quiet_steps = 0
            del self._heard[: -LEAD_IN_STEPS - 1]
            self._lead_in_steps = len(self._heard) - 1
        if self.turn is ParrotState.SPEAKING:
            return self._say()
        del self._heard[:-MEMORY_STEPS]
        return ModelOutput()

    def _listen(self, level: float) -> None:
        self._quiet_steps = self._quiet_steps + 1 if level < QUIET_RMS else 0
        if self._quiet_steps * MODEL_STEP_MS >= PAUSE_MS:
            said = self._heard[: -self._quiet_steps]
            self._to_say = script(said, (len(said) - self._lead_in_steps) * MODEL_STEP_MS / 1000)
            self._heard.clear()
            self.turn = ParrotState.SPEAKING

    def _say(self) -> ModelOutput:
        del self._heard[:-LEAD_IN_STEPS]
        spoken = self._to_say.pop(0)
        if not self._to_say:
            self.turn = ParrotState.WAITING
        return spoken


def script(heard: list[bytes], speech_s: float) -> list[ModelOutput]:
    """The heard steps again, a piece of text with each; the last step takes the remaining pieces."""
    pieces = pieces_about(speech_s)
    steps = [ModelOutput(pcm, tuple(pieces[index : index + 1])) for index, pcm in enumerate(heard)]
    steps[-1] = ModelOutput(heard[-1], tuple(pieces[len(heard) - 1 :]))
    return steps


def pieces_about(speech_s: float) -> list[str]:
    """`I heard you for 1.6 s.` as a tokenizer cuts it: words begin with their space, numbers come digit by digit."""
    return [" I", " heard", " you", " for", " ", *f"{speech_s:.1f}", " s", "."]
