"""The interface of the models: one step of sound in, one step of sound and text out. Pure."""

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
    """A conversation partner in model steps of 24 kHz mono PCM."""

    def step(self, heard: bytes) -> ModelOutput:
        """Take one step of sound, return one step."""
        ...


class Echo:
    """Returns what it hears, at once."""

    def step(self, heard: bytes) -> ModelOutput:
        """The same step."""
        return ModelOutput(heard)


VoiceModelFactory: TypeAlias = Callable[[], VoiceModel]
