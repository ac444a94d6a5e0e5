"""Utterances: what people said in one session: when each utterance began and ended, whose it is, and whether the server keeps it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from discordplex.bounded import drop_oldest
from discordplex.engine import SpeakerId
from discordplex.realtime.messages import END_OF_SPEECH_MS
from discordplex.realtime.turns import CUT_MS, FloorWatch, SpokenTimes

MOST_ITEMS: Final = 2000
"""Utterances and replies that can still be deleted: those of an hour, as long as a session lasts."""
LATE_MS: Final = 2000.0
"""A server says within this time of sound that it hears somebody, and that it has cleared what it heard.

GPT-Live's words have no time: they are of this time."""


@dataclass(slots=True)
class HeardItem:
    """One stretch of speech."""

    begin_ms: float
    end_ms: float | None = None
    over_reply: bool = False
    """It began while the engine was heard."""
    cut: bool = False
    """It has cut the reply off."""
    committed: bool = False
    people: frozenset[SpeakerId] = frozenset()
    speaker: SpeakerId | None = None


class Utterances:
    """Times are milliseconds of the sound that the session got."""

    def __init__(self, floor: FloorWatch) -> None:
        self.spoken = SpokenTimes()
        self.current: str | None = None
        """The utterance that the server hears now."""
        self.committed_ms = 0.0
        """Until when everything is committed."""
        self.forgotten: frozenset[SpeakerId] = frozenset()
        """People of this session who must not be remembered: what the server says of them later was on its way."""
        self._floor = floor
        self._kept: dict[str, HeardItem] = {}

    def __contains__(self, item: str | None) -> bool:
        return item in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def get(self, item: str) -> HeardItem | None:
        """The utterance of this name."""
        return self._kept.get(item)

    def begin(self, item: str, at_ms: float, *, sounding: bool) -> None:
        """The server hears somebody; `sounding`: the engine is heard."""
        self.current = item
        begin_ms = at_ms if at_ms <= self.spoken.now_ms else self.estimated_begin_ms  # the server's clock is another one
        over_reply = sounding or (self._floor.speaking and self._floor.over_reply)
        self._keep(item, HeardItem(begin_ms, over_reply=over_reply, cut=self._floor.has_cut and self._floor.speaking))

    def end(self, item: str, at_ms: float) -> None:
        """They have finished."""
        self.current = None
        if item in self._kept:
            self._kept[item].end_ms = min(at_ms, self.spoken.now_ms)

    def commit(self, item: str) -> HeardItem | None:
        """The server keeps it now. None where it did already."""
        if self.current == item:
            self.current = None
        found = self._kept.get(item)
        if found is None:
            found = HeardItem(self.estimated_begin_ms, over_reply=self._floor.over_reply, cut=self._floor.has_cut)
            self._keep(item, found)
        elif found.committed and found.end_ms is not None and not self.spoken.voiced_ms(found.end_ms, self.spoken.now_ms):
            return None
        found.committed = True
        self.find_people(found)
        self.committed_ms = max(self.committed_ms, found.end_ms or 0.0)
        return found

    def cut(self) -> None:
        """What is heard now has cut the reply off."""
        if self.current is not None and self.current in self._kept:
            self._kept[self.current].cut = True

    def find_people(self, utterance: HeardItem) -> None:
        """Note who said it, and until when."""
        begin_ms, now_ms = utterance.begin_ms, self.spoken.now_ms
        end_ms = now_ms if utterance.end_ms is None else utterance.end_ms
        if not self.spoken.speakers(begin_ms, end_ms):  # the server's clock is another one
            begin_ms, end_ms = min(begin_ms, self.estimated_begin_ms), now_ms
        utterance.begin_ms = begin_ms
        utterance.people, utterance.speaker = self.spoken.speakers(begin_ms, end_ms), self.spoken.speaker(begin_ms, end_ms)
        if utterance.committed:
            utterance.end_ms = end_ms

    def is_cough(self, utterance: HeardItem) -> bool:
        """Whether it was a short sound over a reply that did not cut it off."""
        end_ms = self.spoken.now_ms if utterance.end_ms is None else utterance.end_ms
        return utterance.over_reply and not utterance.cut and self.spoken.voiced_ms(utterance.begin_ms, end_ms) < CUT_MS

    def forget(self, speaker: SpeakerId) -> list[str]:
        """Which of them hold words of this person, those that are not known in full included."""
        if self.spoken.is_loud_since(speaker, 0.0):
            self.forgotten |= {speaker}
        gone = []
        for item, one in self._kept.items():
            if speaker in one.people or (not one.committed and self.spoken.is_loud_since(speaker, one.begin_ms)):
                one.people |= {speaker}
                gone.append(item)
        return gone

    def is_uncommitted(self, speaker: SpeakerId) -> bool:
        """Whether the server may have sound of this person that belongs to no utterance yet."""
        return self.spoken.is_loud_since(speaker, max(self.committed_ms, self.spoken.now_ms - LATE_MS))

    def drop(self, item: str) -> None:
        """It does not exist any more."""
        self._kept.pop(item, None)

    def clear(self) -> None:
        """Drop all of them."""
        self._kept.clear()

    @property
    def estimated_begin_ms(self) -> float:
        """When the newest utterance began, by the sound that was sent."""
        return max(0.0, self.spoken.now_ms - self._floor.voiced_ms - END_OF_SPEECH_MS)

    def _keep(self, item: str, utterance: HeardItem) -> None:
        self._kept[item] = utterance
        drop_oldest(self._kept, MOST_ITEMS)
