"""Replies: what the engine says in one session: which replies are being made, which are wanted, and how much of each has come. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from discordplex.bounded import drop_oldest
from discordplex.engine import SpeakerId
from discordplex.realtime.utterances import MOST_ITEMS


@dataclass(slots=True)
class ReplyItem:
    """One item of the engine's, as far as it has come."""

    people: frozenset[SpeakerId]
    """Whose words it answers."""
    received_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class HeardPart:
    """People heard so much of an item that was cut off."""

    item: str
    heard_ms: int
    share: float
    """Of what came of it."""


class Replies:
    """A response has one item or several; what of it is not wanted any more is dropped by either name."""

    def __init__(self) -> None:
        self.asked_by: frozenset[SpeakerId] = frozenset()
        """Whose words the next reply answers."""
        self.server_creates = True
        """The server answers by itself."""
        self.create_next = False
        """Another reply is to be asked for once those that are being made have ended."""
        self._unanswered = True
        """The next reply that begins is wanted; at first it is a greeting."""
        self._creating = 0
        """Replies that were asked for and have not begun."""
        self._running: dict[str, frozenset[SpeakerId]] = {}
        """The replies that are being made, and whose words each answers."""
        self._items: dict[str, ReplyItem] = {}
        self._dropped: dict[str, None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, item: str) -> bool:
        return item in self._items

    @property
    def are_running(self) -> bool:
        """Whether one is being made."""
        return bool(self._running)

    @property
    def are_due(self) -> bool:
        """Whether one is being made, or was asked for."""
        return bool(self._running or self._creating)

    def people_of(self, response: str) -> frozenset[SpeakerId]:
        """Whose words a reply answers."""
        return self._running.get(response, self.asked_by)

    def is_running(self, response: str) -> bool:
        """Whether this one is being made."""
        return response in self._running

    def is_dropped(self, *names: str) -> bool:
        """Whether it is not wanted any more, by its response or its item."""
        return any(name in self._dropped for name in names)

    # As the server makes them

    def ask(self, people: frozenset[SpeakerId]) -> None:
        """Somebody has finished: the next reply is for them."""
        self.asked_by = people | (self.asked_by if self._unanswered else frozenset())
        self._unanswered = True

    def create(self) -> None:
        """One is asked for."""
        self.create_next = False
        self._creating += 1

    def not_created(self) -> bool:
        """The server refuses to make one; whether one was asked for."""
        asked, self._creating = self._creating > 0, 0
        return asked

    def begin(self, response: str, *, always: bool) -> bool:
        """One begins; whether it is wanted. `always`: the model owns its turns.

        Nobody wants an answer to a cough, or a second one where the server answers by itself.
        """
        wanted, asked = self._unanswered or always, self._creating > 0
        self._unanswered, self._creating = False, max(0, self._creating - 1)
        self._running[response] = self.asked_by
        drop_oldest(self._running, MOST_ITEMS)
        self._dropped.pop(response, None)
        if not wanted:
            self.server_creates = self.server_creates or not asked
            self.drop(response)
        return wanted

    def add_sound(self, item: str, response: str, milliseconds: float) -> bool:
        """Sound of one comes; whether it is the first of its item."""
        new = item not in self._items
        if new:
            self._items[item] = ReplyItem(self.people_of(response))
            drop_oldest(self._items, MOST_ITEMS)
        self._items[item].received_ms += milliseconds
        return new

    def end(self, response: str) -> bool:
        """One ends; whether one was due. One that is not known ends all of them."""
        due = self.are_due
        if response in self._running:
            del self._running[response]
        else:
            self._running.clear()
            self._creating = 0
        return due

    def none_run(self) -> None:
        """The server says that none is being made."""
        self._running.clear()

    # What is not wanted any more

    def cancel(self) -> list[str]:
        """Those that are being made are not wanted any more; which they are."""
        for response in self._running:
            self.drop(response)
        return list(self._running)

    def drop_all(self) -> list[str]:
        """Nor are those that were asked for; which are being made."""
        self.create_next = self._unanswered = False
        return self.cancel()

    def drop(self, name: str) -> None:
        """A response or an item is not wanted any more."""
        self._dropped[name] = None
        drop_oldest(self._dropped, MOST_ITEMS)

    def cut(self, item: str, played_ms: float) -> list[HeardPart]:
        """People heard `played_ms` of this item, and nothing of those after it: what has to be truncated."""
        names = list(self._items)
        found = []
        for name in names[names.index(item) :]:
            reply = self._items[name]
            heard_ms = min(int(played_ms if name == item else 0.0), int(reply.received_ms))
            if heard_ms < reply.received_ms:
                found.append(HeardPart(name, heard_ms, heard_ms / reply.received_ms))
                reply.received_ms = heard_ms
            if name:
                self.drop(name)
        return found

    def answering(self, speaker: SpeakerId) -> list[str]:
        """The items that answer words of this person."""
        return [item for item, reply in self._items.items() if speaker in reply.people]

    def delete(self, item: str) -> None:
        """It does not exist any more: it is not truncated either."""
        self._items.pop(item, None)
        self.drop(item)

    def clear(self) -> None:
        """None of the items exists any more."""
        self._items.clear()
