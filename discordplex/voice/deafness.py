"""Is the bot deaf? What speaks for it, and what is done: new keys first, a new session second, then a word to the people. Pure.

A bot that hears nothing looks like one that nobody talks to. Two things tell them apart:

* **unreadable**: somebody's packets arrive and none of them becomes sound;
* **absent**: somebody is said to speak, or was cut off in the middle of speaking, and nothing arrives from anybody.

Who is silent, muted or opted out gives neither. Who cannot be heard while others can is suspected of having the fault at their own end:
for them, too, both mends are tried once, and then left alone.
"""

import enum
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TypeAlias

UNREADABLE_S = 3.5
"""From the first packet that cannot be read. Longer than a change of keys: the voice server lets late clients have two seconds for one."""

UNREADABLE_PACKETS = 25
"""At least half a second of speech, so that a late rest of the last sentence is no proof."""

ABSENT_S = 3.0
"""From the word that somebody speaks, or from the packet after which their speech broke off."""

FLOW_PACKETS = 50
"""One second of speech: who said less before breaking off may have meant to."""

GRACE_S = 1.5
"""What Discord says of speakers in the first moments of a session may be old; it gives names, and proves nothing."""

RETRY_S = 60.0
"""Where nobody at all is heard, a new session is tried again after so long."""


class Remedy(enum.Enum):
    """What to do about it, mildest first."""

    REKEY = enum.auto()
    """Ask to be removed from the encrypted group and added again: the call goes on meanwhile."""
    RECONNECT = enum.auto()
    TELL = enum.auto()
    """Both have been tried: let people know."""


@dataclass(frozen=True, slots=True)
class Vital:
    """One SSRC as the receiver has counted it since its session began."""

    ssrc: int
    user_id: int | None
    announced: int
    """How often it was said that this person speaks."""
    arrived: int
    """Packets that hold speech, whether or not anything could be made of them."""
    read: int
    """Those that became sound."""
    silences: int
    """Packets of the silence that ends a stretch of speech."""
    ended: bool
    """The last packet was one of these."""


class Symptom(enum.Enum):
    """How somebody is not heard."""

    UNREADABLE = enum.auto()
    ABSENT = enum.auto()


@dataclass(frozen=True, slots=True)
class Deaf:
    """Somebody is not heard."""

    speaker: int
    """Their user id, or their SSRC where nobody has said who they are."""
    symptom: Symptom
    remedy: Remedy


@dataclass(frozen=True, slots=True)
class Again:
    """Somebody of whom people were told is heard."""

    speaker: int


Finding: TypeAlias = Deaf | Again


class Speaker:
    """What is remembered of somebody, over sessions."""

    __slots__ = (
        "announced",
        "announced_at",
        "arrived",
        "arrived_at",
        "flow",
        "read",
        "silences",
        "told_at",
        "tried",
        "unread",
        "unread_at",
    )

    def __init__(self) -> None:
        self.tried: Remedy | None = None
        self.told_at: float | None = None
        self.begin()

    def begin(self) -> None:
        """A new session: the receiver counts from nothing."""
        self.announced = self.arrived = self.read = self.silences = 0
        self.acquit()

    def acquit(self) -> None:
        """Nothing so far speaks for deafness."""
        self.unread = self.flow = 0
        self.announced_at: float | None = None
        self.arrived_at: float | None = None
        self.unread_at: float | None = None


class Deafness:
    """A call's judgement of its own ears. Ask it a few times a second; not thread-safe."""

    def __init__(self) -> None:
        self._speakers: dict[int, Speaker] = {}
        self._since = 0.0
        self._arrived_at = self._read_at = float("-inf")

    def begin_session(self, now: float) -> None:
        """Another receiver counts from now on; what was tried is remembered."""
        self._since = now
        for speaker in self._speakers.values():
            speaker.begin()

    def look(self, now: float, vitals: Iterable[Vital], *, excused: Container[int | None], encrypted: bool) -> list[Finding]:
        """Take in what was counted until now, and say what follows. `excused`: who need not be heard."""
        found: list[Finding] = []
        counted = {vital.ssrc if vital.user_id is None else vital.user_id: vital for vital in vitals}
        self._speakers = {key: speaker for key, speaker in self._speakers.items() if key in counted or speaker.tried}
        for key, vital in counted.items():
            speaker = self._speakers.setdefault(key, Speaker())
            if speaker.told_at is not None and vital.read > speaker.read:
                found.append(Again(key))
            self._take(speaker, vital, now)
            if vital.user_id in excused:
                speaker.acquit()
        return found + self._judge(now, encrypted=encrypted)

    def _take(self, speaker: Speaker, vital: Vital, now: float) -> None:
        arrived, read = vital.arrived - speaker.arrived, vital.read - speaker.read
        if vital.announced > speaker.announced and now >= self._since + GRACE_S:
            speaker.announced_at = speaker.announced_at or now  # who is announced again and again is still the same who is missed
        if arrived > 0 or vital.silences > speaker.silences:
            self._arrived_at = speaker.arrived_at = now
            speaker.announced_at = None
        if arrived > 0:
            speaker.flow += arrived
            speaker.unread += arrived
            speaker.unread_at = speaker.unread_at or now
        if read > 0:
            self._read_at = now
            speaker.unread, speaker.unread_at = 0, None
            speaker.tried = speaker.told_at = None
        if vital.ended:
            speaker.flow = 0
        speaker.announced, speaker.arrived, speaker.read, speaker.silences = vital.announced, vital.arrived, vital.read, vital.silences

    def _judge(self, now: float, *, encrypted: bool) -> list[Finding]:
        for key, speaker in self._speakers.items():
            symptom = self._symptom(speaker, now)
            remedy = symptom and self._remedy(speaker, symptom, now, encrypted=encrypted)
            if symptom and remedy:
                self._try(speaker, remedy, now)
                return [Deaf(key, symptom, remedy)]
            if symptom:
                speaker.acquit()
        return []

    def _symptom(self, speaker: Speaker, now: float) -> Symptom | None:
        if speaker.unread >= UNREADABLE_PACKETS and speaker.unread_at is not None and now - speaker.unread_at >= UNREADABLE_S:
            return Symptom.UNREADABLE
        cut_off_at = speaker.arrived_at if speaker.flow >= FLOW_PACKETS else None
        since = cut_off_at if speaker.announced_at is None else speaker.announced_at
        if since is None or now - since < ABSENT_S:
            return None
        # Where others arrive the way to us is open: it is their own that is not.
        return Symptom.ABSENT if self._arrived_at <= since else None

    def _remedy(self, speaker: Speaker, symptom: Symptom, now: float, *, encrypted: bool) -> Remedy | None:
        if speaker.told_at is not None:
            nobody_heard = self._read_at < speaker.told_at
            return Remedy.RECONNECT if nobody_heard and now - speaker.told_at >= RETRY_S else None
        if speaker.tried is Remedy.RECONNECT:
            return Remedy.TELL
        if speaker.tried is None and encrypted and symptom is Symptom.UNREADABLE:
            return Remedy.REKEY
        return Remedy.RECONNECT

    def _try(self, speaker: Speaker, remedy: Remedy, now: float) -> None:
        """A mend is for everybody whom we do not hear; whether it helped, only what comes after it can show."""
        if remedy is Remedy.TELL or speaker.told_at is not None:
            speaker.told_at = now
        for other in self._speakers.values():
            concerned = other is speaker or self._symptom(other, now)
            if remedy is not Remedy.TELL and concerned and other.tried is not Remedy.RECONNECT:
                other.tried = remedy
        for other in self._speakers.values() if remedy is not Remedy.TELL else (speaker,):
            other.acquit()
