"""What stands where the model would be: one step of hearing in, one step of speech and text out. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from discordplex.loopback.personaplex.codec import STEP_BYTES

Mode: TypeAlias = Literal["echo", "parrot", "talker"]
MODES: tuple[Mode, ...] = ("parrot", "echo", "talker")

SILENT_STEP = bytes(STEP_BYTES)


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """One step's output: always 80 ms of PCM, and the pieces of text that belong to it."""

    pcm: bytes = SILENT_STEP
    pieces: tuple[str, ...] = ()


class VoiceModel(Protocol):
    """Something that converses in model steps of 24 kHz mono PCM."""

    def step(self, heard: bytes) -> ModelOutput:
        """Hear one step, speak one step."""
        ...


class Echo:
    """Says what it hears, as it hears it."""

    def step(self, heard: bytes) -> ModelOutput:
        """The same again."""
        return ModelOutput(heard)


VoiceModelFactory: TypeAlias = Callable[[], VoiceModel]
