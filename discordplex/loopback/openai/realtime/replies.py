"""What the model behind a realtime server says. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from discordplex.audio.format import MODEL
from discordplex.loopback.openai.realtime.vad import spoken_ms
from discordplex.loopback.openai.voice import hum
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.talker import clip


@dataclass(slots=True)
class KnownItem:
    """One item of a conversation: its JSON, and the sound of it that there was."""

    shape: dict[str, Any]
    pcm: bytes = b""

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.shape["id"])

    @property
    def role(self) -> str:
        """Whose it is; empty for calls of tools."""
        return str(self.shape.get("role", ""))

    @property
    def duration_ms(self) -> int:
        """How long its sound is."""
        return int(MODEL.duration_ms(len(self.pcm)))

    @property
    def text(self) -> str:
        """Its words, as far as the model still has them."""
        parts = self.shape.get("content", [])
        return "".join(part.get("text") or part.get("transcript") or "" for part in parts)


@dataclass(frozen=True, slots=True)
class TurnToAnswer:
    """What a reply is made from."""

    heard: bytes = b""
    """PCM of the person's last turn, padding and closing silence included."""
    items: Sequence[KnownItem] = ()
    """The conversation so far."""
    instructions: str = ""
    voice: str = ""


@dataclass(frozen=True, slots=True)
class SpokenReply:
    """Sound at 24 kHz, and its transcript."""

    pcm: bytes
    text: str = field(default="")


Replies: TypeAlias = Callable[[TurnToAnswer], SpokenReply]


def echo(turn: TurnToAnswer) -> SpokenReply:
    """What it heard, sample for sample; the last item's words where it heard nothing."""
    if turn.heard:
        return SpokenReply(turn.heard, f"I heard you for {spoken_ms(turn.heard) / 1000:.1f} s.")
    text = next((item.text for item in reversed(turn.items) if item.text), "Hello!")
    return SpokenReply(hum(text, turn.voice), text)


def talk(seconds: float) -> Replies:
    """The talker's clip, repeated or cut to this length, with the words in it."""
    steps = clip().steps
    chosen = [steps[index % len(steps)] for index in range(math.ceil(MODEL.bytes_of_ms(seconds * 1000) / STEP_BYTES))]
    pcm = b"".join(step.pcm for step in chosen)[: MODEL.bytes_of_ms(seconds * 1000)]
    text = "".join(piece for step in chosen for piece in step.pieces).strip()
    return lambda _: SpokenReply(pcm, text)
