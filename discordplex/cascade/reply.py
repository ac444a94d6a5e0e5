"""Reply: what the engine says in one turn, and how much of it was heard. Pure."""

import math
from dataclasses import dataclass, field

from discordplex.audio.format import ENGINE
from discordplex.engine import SpeakerId

ROUNDING_MS = 1.0
BROKEN_OFF = "—"
"""Ends text that was cut short, so that the chat model knows."""


@dataclass(slots=True)
class Piece:
    """One piece of text and the length of its sound so far."""

    text: str
    sound_ms: float = 0.0


@dataclass(slots=True)
class Reply:
    """One turn of the engine. `item` is its id at the engine port, `asker` the person who is answered."""

    item: str
    asker: SpeakerId
    sources: frozenset[SpeakerId] = frozenset()
    """The people whose words it is made from: everybody in the history that its request carries."""
    pieces: list[Piece] = field(default_factory=list)
    whole: bool = False
    """Whether all of it was handed over."""
    heard_ms: float | None = None
    """Where it was cut, None where it was not."""

    @property
    def sound_ms(self) -> float:
        """How much sound was handed over."""
        return sum(piece.sound_ms for piece in self.pieces)

    def begin(self, text: str) -> str:
        """Begin a piece; returns its text as it is to be joined to the pieces before it, without separators."""
        first, before = not self.pieces, self.pieces[-1].text[-1:] if self.pieces else ""
        self.pieces.append(Piece(text))
        return text if first or is_wide(before) else f" {text}"

    def add(self, pcm: bytes) -> float:
        """Add ENGINE sound to the newest piece; returns how many milliseconds."""
        milliseconds = ENGINE.duration_ms(len(pcm))
        self.pieces[-1].sound_ms += milliseconds
        return milliseconds

    def heard(self) -> str:
        """The text that people heard: all of it, or up to where it was cut, by whole words."""
        left_ms = math.inf if self.heard_ms is None else self.heard_ms + ROUNDING_MS
        texts = []
        for piece in self.pieces:
            texts.append(piece.text if left_ms >= piece.sound_ms else beginning(piece.text, left_ms / piece.sound_ms))
            left_ms -= piece.sound_ms
            if left_ms < 0:
                break
        text = "".join(text if is_wide(text[-1:]) else f"{text} " for text in texts if text).strip()
        complete = left_ms >= 0 and (self.whole or self.heard_ms is None)
        return text if complete or not text else f"{text}{BROKEN_OFF}"


def beginning(text: str, share: float) -> str:
    """The whole words within the first part of a text, assuming an even speed of speech."""
    cut = int(len(text) * share)
    if is_wide(text[cut : cut + 1]) or cut >= len(text):
        return text[:cut]
    return text[: text.rfind(" ", 0, cut + 1)] if " " in text[: cut + 1] else ""


def is_wide(character: str) -> bool:
    """Whether it is of a script that is written without spaces."""
    return bool(character) and ("\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef" or "\u0e00" <= character <= "\u0e7f")
