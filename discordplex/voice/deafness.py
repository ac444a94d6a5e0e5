"""Is somebody not heard? From packet counts to a verdict: new keys, a new session, a message to people, or nothing. Pure.

A bot that receives nothing looks like one that nobody talks to. Three symptoms tell them apart:

* **unreadable**: somebody's packets arrive and none of them becomes sound;
* **absent**: somebody is said to speak, and nothing arrives from anybody;
* **dead path**: the voice server answered keep-alives in this session, answers them no more, and nothing else arrives either.

A stream that ends without the packets that mark the end of speech is no symptom: many clients end streams like that, and packets get
lost. It is only a reason to test the path (`Deafness.in_doubt`). A person who is silent, muted or opted out gives no symptom.

`verdict` is the table of what follows. A new session costs everybody a moment, so there is none for one speaker while others are heard.
Each remedy has a budget, per speaker and per call: nobody can force the bot to repeat it by sending what cannot be read.
"""

import enum
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

UNREADABLE_S = 3.5
"""From the first packet that cannot be read. Longer than a change of keys: the voice server lets late clients have two seconds for one."""

UNREADABLE_PACKETS = 25
"""At least half a second of speech, so that a late rest of the last sentence is no proof."""

ABSENT_S = 3.0
"""From the message that somebody speaks."""

LATE_MESSAGE_S = 1.0
"""The message that somebody speaks may come this long after their packets; it is then about these packets."""

DEAD_PATH_S = 3.0
"""From the first keep-alive that was not answered; the watchdog sends one twice a second then."""

GRACE_S = 1.5
"""What Discord says of speakers in the first moments of a session may be old; it gives names, and proves nothing."""

HEARD_S = 10.0
"""A person who was heard this recently counts as heard: people pause between sentences."""

RETRY_S = 60.0
"""While nobody at all is heard, a new session is tried again after this long."""

BUDGET_S = 600.0
"""The time over which remedies are counted."""

MAX_SPEAKERS = 1024
"""The most people that are remembered. The one who was counted longest ago is dropped."""


class Remedy(enum.Enum):
    """What to do about it, mildest first."""

    REKEY = enum.auto()
    """Ask to be removed from the encrypted group and added again: the call goes on meanwhile."""
    RECONNECT = enum.auto()
    """Leave the channel and join it again."""
    TELL = enum.auto()
    """Tell people who is not heard."""


SPEAKER_BUDGET: Mapping[Remedy, int] = MappingProxyType({Remedy.REKEY: 3, Remedy.RECONNECT: 2, Remedy.TELL: 2})
"""How often each remedy may be used because of one speaker, in `BUDGET_S`. Streams without a name share one such budget."""

CALL_BUDGET: Mapping[Remedy, int] = MappingProxyType({Remedy.REKEY: 6, Remedy.RECONNECT: 4, Remedy.TELL: 8})
"""The same for all speakers of a call together."""

PATH_BUDGET: Mapping[Remedy, int] = MappingProxyType({Remedy.RECONNECT: 6})
"""The same for a dead path, which no speaker can cause."""


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """One SSRC as the receiver has counted it since its session began."""

    ssrc: int
    user_id: int | None
    announced: int
    """How often it was said that this person speaks."""
    arrived: int
    """Packets of the voice server that hold speech, whether or not anything could be made of them."""
    read: int
    """Those that became sound."""
    silences: int
    """Packets of the silence that ends a stretch of speech."""
    ended: bool
    """The last packet was one of these."""

    def with_another(self, other: "StreamCounts") -> "StreamCounts":
        """Two streams of one person, added up: a client gets a new SSRC when it reconnects."""
        return StreamCounts(
            ssrc=self.ssrc,
            user_id=self.user_id,
            announced=self.announced + other.announced,
            arrived=self.arrived + other.arrived,
            read=self.read + other.read,
            silences=self.silences + other.silences,
            ended=self.ended and other.ended,
        )


class Symptom(enum.Enum):
    """In what way somebody is not heard."""

    UNREADABLE = enum.auto()
    ABSENT = enum.auto()
    DEAD_PATH = enum.auto()


@dataclass(frozen=True, slots=True)
class NotHeard:
    """Somebody is not heard."""

    speaker: int | None
    """Their user id, or their SSRC where nobody has said who they are; None for a dead path: nobody can be heard."""
    symptom: Symptom
    remedy: Remedy


@dataclass(frozen=True, slots=True)
class HeardAgain:
    """A person who was reported as not heard is heard."""

    speaker: int


Finding: TypeAlias = NotHeard | HeardAgain


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts for a verdict."""

    symptom: Symptom
    encrypted: bool
    """The call has keys that can be changed."""
    others_heard: bool
    """Somebody else is heard, so the path is open and our keys work."""
    tried: Remedy | None = None
    """The strongest remedy that was tried since this speaker was last heard."""
    told: bool = False
    """People have been told that this speaker is not heard."""
    retry_due: bool = False
    """Nobody at all has been heard for `RETRY_S` since they were told."""


def verdict(facts: Evidence) -> Remedy | None:
    """The remedy for these facts, without regard to budgets; None for no remedy."""
    if facts.symptom is Symptom.DEAD_PATH:
        return Remedy.RECONNECT
    if facts.told:
        return Remedy.RECONNECT if facts.retry_due and not facts.others_heard else None
    if facts.tried is None and facts.encrypted and facts.symptom is Symptom.UNREADABLE:
        return Remedy.REKEY
    return Remedy.TELL if facts.tried is Remedy.RECONNECT or facts.others_heard else Remedy.RECONNECT


class RemedyBudget:
    """How often each remedy may be used within `BUDGET_S`."""

    __slots__ = ("_limits", "_used")

    def __init__(self, limits: Mapping[Remedy, int]) -> None:
        self._limits = limits
        self._used: list[tuple[Remedy, float]] = []

    def allows(self, remedy: Remedy, now: float) -> bool:
        """Whether it may be used once more."""
        return sum(used is remedy and now - at < BUDGET_S for used, at in self._used) < self._limits[remedy]

    def use(self, remedy: Remedy, now: float) -> None:
        """Note that it is used, and forget what is too old to count."""
        self._used = [(used, at) for used, at in self._used if now - at < BUDGET_S]
        self._used.append((remedy, now))

    def in_use(self, now: float) -> bool:
        """Whether anything still counts."""
        return any(now - at < BUDGET_S for _, at in self._used)


class SpeakerRecord:
    """What is remembered about one speaker, over all sessions."""

    __slots__ = (
        "announced",
        "announced_at",
        "arrived",
        "arrived_at",
        "budget",
        "ended",
        "read",
        "read_at",
        "silences",
        "told_at",
        "tried",
        "trouble_at",
        "unread",
        "unread_at",
    )

    def __init__(self, budget: RemedyBudget) -> None:
        self.budget = budget
        self.tried: Remedy | None = None
        self.told_at: float | None = None
        self.begin()

    def begin(self) -> None:
        """A new session begins: the receiver counts from zero."""
        self.announced = self.arrived = self.read = self.silences = 0
        self.ended = True
        self.arrived_at = self.read_at = float("-inf")
        self.trouble_at: float | None = None
        self.clear_suspicion()

    def clear_suspicion(self) -> None:
        """Forget the evidence so far."""
        self.unread = 0
        self.announced_at: float | None = None
        self.unread_at: float | None = None


class Deafness:
    """Decides whether people in a call are heard. Call `look` twice a second. Not thread-safe."""

    def __init__(self) -> None:
        self.in_doubt = False
        """Somebody stopped without an end marker, or is said to speak and does not arrive: test whether the path is alive."""
        self._speakers: dict[int, SpeakerRecord] = {}
        self._since = 0.0
        self._arrived_at = self._read_at = float("-inf")
        self._call_budget = RemedyBudget(CALL_BUDGET)
        self._nameless_budget = RemedyBudget(SPEAKER_BUDGET)
        self._path_budget = RemedyBudget(PATH_BUDGET)

    def begin_session(self, now: float) -> None:
        """A new session's receiver counts from now on. What was tried is remembered."""
        self._since = now
        for speaker in self._speakers.values():
            speaker.begin()

    def look(
        self,
        now: float,
        stream_counts: Iterable[StreamCounts],
        *,
        excused: Container[int | None],
        encrypted: bool,
        path_silent_s: float = 0.0,
    ) -> list[Finding]:
        """Take what was counted until now, and return what follows.

        `excused`: who need not be heard. `path_silent_s`: how long keep-alives have gone unanswered with nothing else arriving, 0.0 where
        the path is alive, or where this voice server has never answered any.
        """
        found: list[Finding] = []
        counted: dict[int, StreamCounts] = {}
        for counts in stream_counts:
            key = counts.ssrc if counts.user_id is None else counts.user_id
            counted[key] = counted[key].with_another(counts) if key in counted else counts
        self._remember(counted, now)
        for key, counts in counted.items():
            speaker = self._speakers[key]
            if speaker.told_at is not None and counts.read > speaker.read:
                found.append(HeardAgain(key))
            self._take(speaker, counts, now)
            if counts.user_id in excused:
                speaker.clear_suspicion()
                speaker.ended, speaker.trouble_at = True, None
        self.in_doubt = any(self._is_doubtful(speaker, now) for speaker in self._speakers.values())
        if path_silent_s >= DEAD_PATH_S:
            return found + self._judge_path(now)
        return found + self._judge(now, encrypted=encrypted)

    def _remember(self, counted: Mapping[int, StreamCounts], now: float) -> None:
        """Keep a record of everybody who is counted, and of everybody for whom a remedy was used."""
        kept = {key: speaker for key, speaker in self._speakers.items() if key in counted or speaker.tried or speaker.budget.in_use(now)}
        for key, counts in counted.items():
            if key not in kept:
                kept[key] = SpeakerRecord(self._nameless_budget if counts.user_id is None else RemedyBudget(SPEAKER_BUDGET))
        for key in [key for key in kept if key not in counted][: max(0, len(kept) - MAX_SPEAKERS)]:
            del kept[key]
        self._speakers = kept

    def _take(self, speaker: SpeakerRecord, counts: StreamCounts, now: float) -> None:
        arrived, read = counts.arrived - speaker.arrived, counts.read - speaker.read
        about_last_packets = now - speaker.arrived_at <= LATE_MESSAGE_S
        if counts.announced > speaker.announced and now >= self._since + GRACE_S and not about_last_packets:
            speaker.announced_at = speaker.announced_at or now  # a repeated announcement does not restart the wait
        if arrived > 0 or counts.silences > speaker.silences:
            self._arrived_at = speaker.arrived_at = now
            speaker.announced_at = None
        if arrived > 0:
            speaker.unread += arrived
            speaker.unread_at = speaker.unread_at or now
            speaker.trouble_at = speaker.trouble_at or now
        if read > 0:
            self._read_at = speaker.read_at = now
            speaker.unread, speaker.unread_at = 0, None
            speaker.tried = speaker.told_at = speaker.trouble_at = None
        speaker.ended = counts.ended
        speaker.announced, speaker.arrived, speaker.read, speaker.silences = counts.announced, counts.arrived, counts.read, counts.silences

    def _is_doubtful(self, speaker: SpeakerRecord, now: float) -> bool:
        broke_off = not speaker.ended and 0 < now - speaker.arrived_at <= ABSENT_S
        return broke_off or speaker.announced_at is not None

    def _judge_path(self, now: float) -> list[Finding]:
        for speaker in self._speakers.values():
            speaker.clear_suspicion()
        if not self._path_budget.allows(Remedy.RECONNECT, now):
            return []
        self._path_budget.use(Remedy.RECONNECT, now)
        return [NotHeard(None, Symptom.DEAD_PATH, Remedy.RECONNECT)]

    def _judge(self, now: float, *, encrypted: bool) -> list[Finding]:
        for key, speaker in self._speakers.items():
            symptom = self._symptom(speaker, now)
            remedy = symptom and self._affordable(speaker, verdict(self._facts(speaker, symptom, now, encrypted=encrypted)), now)
            if symptom and remedy:
                self._try(speaker, remedy, now)
                return [NotHeard(key, symptom, remedy)]
            if symptom:
                speaker.clear_suspicion()
        return []

    def _symptom(self, speaker: SpeakerRecord, now: float) -> Symptom | None:
        if speaker.unread >= UNREADABLE_PACKETS and speaker.unread_at is not None and now - speaker.unread_at >= UNREADABLE_S:
            return Symptom.UNREADABLE
        if speaker.announced_at is None or now - speaker.announced_at < ABSENT_S:
            return None
        # If others arrive, our path is open and only theirs is not.
        return Symptom.ABSENT if self._arrived_at <= speaker.announced_at else None

    def _facts(self, speaker: SpeakerRecord, symptom: Symptom, now: float, *, encrypted: bool) -> Evidence:
        told_at = speaker.told_at
        since = now - HEARD_S if speaker.trouble_at is None else min(speaker.trouble_at, now - HEARD_S)
        others_heard = any(other.read_at >= since for other in self._speakers.values() if other is not speaker)
        return Evidence(
            symptom=symptom,
            encrypted=encrypted,
            others_heard=others_heard and symptom is Symptom.UNREADABLE,
            tried=speaker.tried,
            told=told_at is not None,
            retry_due=told_at is not None and self._read_at < told_at and now - told_at >= RETRY_S,
        )

    def _affordable(self, speaker: SpeakerRecord, remedy: Remedy | None, now: float) -> Remedy | None:
        """The remedy, if it is within its budgets; otherwise, once, telling people."""
        wanted = (remedy,) if speaker.told_at is not None else (remedy, Remedy.TELL)
        for one in wanted:
            if one and speaker.budget.allows(one, now) and self._call_budget.allows(one, now):
                return one
        return None

    def _try(self, speaker: SpeakerRecord, remedy: Remedy, now: float) -> None:
        """Note the remedy for everybody who is not heard. Only packets that come after it can show whether it helped."""
        speaker.budget.use(remedy, now)
        self._call_budget.use(remedy, now)
        if remedy is Remedy.TELL or speaker.told_at is not None:
            speaker.told_at = now
        for other in self._speakers.values():
            concerned = other is speaker or self._symptom(other, now)
            if remedy is not Remedy.TELL and concerned and other.tried is not Remedy.RECONNECT:
                other.tried = remedy
        for other in self._speakers.values() if remedy is not Remedy.TELL else (speaker,):
            other.clear_suspicion()
