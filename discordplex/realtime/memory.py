"""Memory: what was said in one call, for the session that follows another. It holds no more than it tells. Pure."""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from discordplex.engine import Recap, SpeakerId
from discordplex.plaintext import one_line

MOST_TURNS: Final = 24
MOST_CHARACTERS: Final = 6000
"""What a new session is told of: the newest turns that fit into both."""
LONGEST_TURN: Final = 2000


@dataclass(slots=True)
class SpokenTurn:
    """What one party said."""

    role: Literal["user", "assistant"]
    item: str
    text: str = ""
    people: frozenset[SpeakerId] = field(default_factory=frozenset)
    """Whose words it holds, or, for an answer, whose it answers."""


class Memory:
    """The newest turns of one call. It outlives its sessions."""

    def __init__(self) -> None:
        self._turns: deque[SpokenTurn] = deque(maxlen=MOST_TURNS)
        self._names = itertools.count(1)

    def begin_session(self) -> None:
        """Give every turn a name by which a new session can be told of it, and told to forget it. The new server may use the old ones."""
        for turn in self._turns:
            turn.item = f"earlier_{next(self._names)}"

    def recall(self, recap: Recap) -> None:
        """Begin with what was said in this call to another engine; does nothing where something is remembered already.

        The engine's words may quote anybody in it.
        """
        if any(turn.text for turn in self._turns):
            return
        if recap.summary:
            self._recall("user", f"What was said so far, in short: {recap.summary}", recap.people)
        for turn in recap.turns:
            if turn.role == "engine":
                self._recall("assistant", turn.text, recap.people)
            else:
                people = frozenset() if turn.speaker is None else frozenset({turn.speaker})
                self._recall("user", f"{turn.name}: {turn.text}" if turn.name else turn.text, people)

    def _recall(self, role: Literal["user", "assistant"], text: str, people: frozenset[SpeakerId]) -> None:
        item = f"recap_{next(self._names)}"
        self.open(role, item, people)
        self.put(item, text)

    def open(self, role: Literal["user", "assistant"], item: str, people: frozenset[SpeakerId]) -> None:
        """A turn has its place now; its words may come later."""
        if self._find(item) is None:
            self._turns.append(SpokenTurn(role, item, people=people))

    def add(self, item: str, text: str) -> None:
        """A piece of a turn's words."""
        turn = self._find(item)
        if turn is not None:
            turn.text += text[: max(0, LONGEST_TURN - len(turn.text))]
            self._trim()

    def put(self, item: str, text: str) -> None:
        """All of a turn's words."""
        turn = self._find(item)
        if turn is not None:
            turn.text = text[:LONGEST_TURN]
            self._trim()

    def cut(self, item: str, share: float) -> None:
        """Only this share of a turn was heard."""
        turn = self._find(item)
        if turn is not None:
            words = turn.text.split()
            turn.text = " ".join(words[: round(len(words) * min(1.0, max(0.0, share)))])

    def drop(self, item: str) -> None:
        """Forget one turn."""
        self._turns = deque((turn for turn in self._turns if turn.item != item), maxlen=MOST_TURNS)

    def forget(self, speaker: SpeakerId) -> list[str]:
        """Forget what this person said and what was answered to it; which items that were."""
        gone = [turn.item for turn in self._turns if speaker in turn.people]
        self._turns = deque((turn for turn in self._turns if speaker not in turn.people), maxlen=MOST_TURNS)
        return gone

    def clear(self) -> list[str]:
        """Forget everything; which items that were."""
        gone = [turn.item for turn in self._turns]
        self._turns.clear()
        return gone

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Item, role and words of the newest turns, the oldest first."""
        return ((turn.item, turn.role, words) for turn in self._turns if (words := one_line(turn.text)))

    def _trim(self) -> None:
        """Forget the words of the oldest turns until the others fit into `MOST_CHARACTERS`; their items stay, for whoever deletes them."""
        left = MOST_CHARACTERS
        for turn in reversed(self._turns):
            left -= len(turn.text)
            if left < 0:
                turn.text, left = "", 0

    def _find(self, item: str) -> SpokenTurn | None:
        return next((turn for turn in reversed(self._turns) if turn.item == item), None)
