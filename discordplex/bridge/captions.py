"""OpenCaptions: pieces of text to readable stretches of speech, each shown as its sound is heard. Pure: time and positions are parameters.

A position counts samples pushed to the source. An engine's piece belongs to the audio that follows it, so it is shown once everything
pushed before it has been played.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from discordplex.bridge.events import Caption
from discordplex.engine import SpeakerId, Text
from discordplex.plaintext import one_line

PAUSE_S = 2.0
"""A stretch ends after this long without text."""
MOST_WAITING = 2000
"""Pieces that wait for their sound; beyond that the oldest is shown early, since text must not be lost."""
MOST_WAITING_CHARACTERS = 20_000
"""The same for their text: more than the longest reply that an engine may send at once."""
LONG_CHARACTERS = 1200
"""From this length on a stretch ends where the next word begins: one caption fits into a message of 2,000 characters, with a name."""
MOST_CHARACTERS = 1500
"""At this length it ends in any case."""
MOST_STRETCHES = 64
"""Stretches open at once, mostly one for each party; beyond that the oldest is shown early and ends."""


@dataclass(slots=True)
class Stretch:
    """One party's text from a pause to the next: the text shown, and the pieces that wait for their sound."""

    key: int
    role: Literal["engine", "person"]
    speaker: SpeakerId | None
    item: str
    active_at: float
    """When a piece last arrived or was last shown."""
    began_at: float | None = None
    """When it began to be said; None before the engine's first words are heard, and where that of a person is unknown."""
    text: str = ""
    waiting: deque[tuple[int, str]] = field(default_factory=deque)
    ended: bool = False
    """Takes no more pieces; final as soon as nothing waits."""
    length: int = 0
    """Characters shown and waiting."""

    @property
    def waiting_characters(self) -> int:
        """Characters that wait for their sound."""
        return self.length - len(self.text)

    def fits(self, piece: str) -> bool:
        """Whether the piece may still be appended. A word is cut in two only where there is no other way."""
        begins_word = piece[:1].isspace()
        return self.length + len(piece) <= (LONG_CHARACTERS if begins_word else MOST_CHARACTERS)

    def add(self, position: int, piece: str, now: float) -> None:
        """Add a piece that waits for its sound."""
        self.waiting.append((position, piece))
        self.length += len(piece)
        self.active_at = now

    def show(self, heard: float, now: float, *, early: int = 0) -> bool:
        """Append the pieces whose sound has begun at position `heard`, and the `early` oldest anyway; whether the text grew."""
        before = len(self.text)
        least = len(self.waiting) - early
        while self.waiting and (self.waiting[0][0] <= heard or len(self.waiting) > least):
            _, piece = self.waiting.popleft()
            self.text += piece if self.text else piece.lstrip()
            self.active_at = now
        self.length = len(self.text) + sum(len(piece) for _, piece in self.waiting)
        grew = len(self.text) > before
        if grew and self.began_at is None and self.role == "engine":
            self.began_at = now
        return grew

    def cut(self, heard: int) -> None:
        """Drop the pieces whose sound had not begun at `heard`, and end."""
        self.waiting = deque(piece for piece in self.waiting if piece[0] <= heard)
        self.length = len(self.text) + sum(len(piece) for _, piece in self.waiting)
        self.ended = True

    def cut_unread(self) -> None:
        """Drop every piece that waits, and end."""
        self.waiting.clear()
        self.length = len(self.text)
        self.ended = True

    def caption(self, *, final: bool) -> Caption:
        """The text as people read it now: one line, without hidden characters and changes of direction. Single pieces do not show those."""
        return Caption(self.key, one_line(self.text), final, self.speaker, self.role, self.began_at)


class OpenCaptions:
    """The open stretches of one call. Its owner calls `advance` a few times a second and passes the captions on."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []
        self._keys = 0

    @property
    def newest_key(self) -> int:
        """The key of the newest stretch that has begun; 0 before the first."""
        return self._keys

    def add(self, text: Text, *, position: int, now: float) -> None:
        """Add a piece that came when `position` samples had been pushed. A person's text does not wait for sound."""
        speaker = text.speaker if text.role == "person" else None
        stretch = self._open(text, speaker, now)
        for piece in pieces_of(text.text):
            if not stretch.fits(piece):
                stretch.ended = True
                stretch = self._open(text, speaker, now)
            stretch.add(position if text.role == "engine" else 0, piece, now)
        stretch.ended = stretch.ended or text.final

    def advance(self, *, heard: int, now: float) -> Iterator[Caption]:
        """The captions that have changed at the position `heard`, at `now`: each stretch that grew or ended, oldest first."""
        crowd = len(self._stretches) - MOST_STRETCHES
        characters = sum(stretch.waiting_characters for stretch in self._stretches)
        surplus = sum(len(stretch.waiting) for stretch in self._stretches) - MOST_WAITING
        for number, stretch in enumerate(list(self._stretches)):
            if number < crowd or characters > MOST_WAITING_CHARACTERS:
                early, stretch.ended = len(stretch.waiting), True
            else:
                early = max(0, min(surplus, len(stretch.waiting)))
            characters -= stretch.waiting_characters
            surplus -= early
            grew = stretch.show(heard, now, early=early)
            over = not stretch.waiting and (stretch.ended or now - stretch.active_at >= PAUSE_S)
            if over:
                self._stretches.remove(stretch)
            if (grew or over) and (caption := stretch.caption(final=over)).text:
                yield caption

    def cut(self, *, heard: int, item: str = "") -> None:
        """The engine was interrupted at the position `heard`: the unspoken rest of `item` ("" for all) is never shown."""
        for stretch in self._engine_stretches():
            if item in ("", stretch.item):
                stretch.cut(heard)

    def forget(self, speaker: SpeakerId) -> None:
        """Drop what this person said, and what was said by people whom the engine could not tell apart: no caption of it follows."""
        self._stretches = [stretch for stretch in self._stretches if stretch.role == "engine" or stretch.speaker not in (speaker, None)]

    def cut_people(self) -> None:
        """Drop what people said and nobody has read yet."""
        for stretch in self._stretches:
            if stretch.role == "person":
                stretch.cut_unread()

    def end_stretch(self) -> None:
        """The engine is gone: another engine's text begins a new stretch."""
        for stretch in self._engine_stretches():
            stretch.ended = True

    def close(self) -> Iterator[Caption]:
        """The call is over: everything that waits is shown, and every stretch is final."""
        for stretch in self._stretches:
            stretch.show(heard=math.inf, now=stretch.active_at)
            if (caption := stretch.caption(final=True)).text:
                yield caption
        self._stretches = []

    def _engine_stretches(self) -> Iterator[Stretch]:
        return (stretch for stretch in self._stretches if stretch.role == "engine")

    def _open(self, text: Text, speaker: SpeakerId | None, now: float) -> Stretch:
        """The stretch that a text continues, or a new one."""
        for stretch in self._stretches:
            if (stretch.role, stretch.speaker) != (text.role, speaker) or stretch.ended:
                continue
            if stretch.item == text.item and (stretch.waiting or now - stretch.active_at < PAUSE_S):
                return stretch
            stretch.ended = True
        self._keys += 1
        self._stretches.append(Stretch(self._keys, text.role, speaker, text.item, active_at=now, began_at=text.began_at))
        return self._stretches[-1]


def pieces_of(text: str) -> Iterator[str]:
    """The text in pieces that fit into a stretch: whole, else cut where words begin, else anywhere."""
    while len(text) > LONG_CHARACTERS:
        cut = text.rfind(" ", 1, LONG_CHARACTERS)
        cut = cut if cut > 0 else LONG_CHARACTERS
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text
