"""One sender's packets, back in order: duplicates out, gaps found, and no packet in order ever waits. Pure.

Sequence numbers are contiguous over a speaker's pauses (only the timestamp jumps), so a gap in them is loss or reordering, never silence.
"""

import enum
from collections import deque
from dataclasses import dataclass

from discordplex.voice.rtp.packet import seq_add, seq_diff

REACH_PACKETS = 4
"""How many later packets may wait for a missing one before it is given up."""

PATIENCE_S = 0.06
"""How long they may wait: longer and the reordered packet would be later than a listener forgives."""

LOST_GAPS = 4
"""So many gaps in a row that waiting did not fill: this network loses packets and does not reorder them. Waiting for them would only delay
what comes after, so a gap is given up at once until a packet is found to have been reordered again."""

RESYNC_PACKETS = 100
"""A jump further than this, either way, is a sender that started anew (2 s of packets)."""


class Arrival(enum.Enum):
    """What the sequence number of a packet says, before decryption."""

    WANTED = enum.auto()
    DUPLICATE = enum.auto()
    LATE = enum.auto()
    """It comes after it was given up."""
    RESYNC = enum.auto()
    """It is wanted, and everything before it is history."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The next payload in order."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Missing:
    """`count` packets were given up; `following` is the payload behind them, whose FEC may recover the last. It is still to come.

    `following` is None for a packet that arrived but could not be read.
    """

    count: int
    following: bytes | None


class Wait(enum.Enum):
    """Nothing can be decided before another packet, or `Reorder.due`."""

    WAIT = enum.auto()


WAIT = Wait.WAIT


class Reorder:
    """The order of one SSRC. Not thread-safe.

    `look` at each sequence number, `push` what is wanted unless it `passes`, then `pull` until WAIT. Tell `came_late` of what is LATE.
    """

    __slots__ = ("_expected", "_given_up", "_held", "_held_since", "_lost_gaps")

    def __init__(self) -> None:
        self._expected: int | None = None
        self._held: dict[int, bytes | None] = {}
        self._held_since = 0.0
        self._given_up: deque[int] = deque(maxlen=RESYNC_PACKETS)
        self._lost_gaps = 0

    def look(self, sequence: int) -> Arrival:
        """Whether this packet is worth decrypting. Changes nothing."""
        if self._expected is None or sequence == self._expected:
            return Arrival.WANTED
        ahead = seq_diff(sequence, self._expected)
        if abs(ahead) > RESYNC_PACKETS:
            return Arrival.RESYNC
        if ahead < 0:
            return Arrival.LATE if sequence in self._given_up else Arrival.DUPLICATE
        return Arrival.DUPLICATE if sequence in self._held else Arrival.WANTED

    def passes(self, sequence: int) -> bool:
        """Whether this packet is the next one and nothing waits: then it is in order, and needs neither `push` nor `pull`."""
        if sequence != self._expected or self._held:
            return False
        self._expected = seq_add(sequence, 1)
        return True

    def push(self, sequence: int, payload: bytes | None, now: float) -> None:
        """Keep the payload of a packet that `look` called WANTED or RESYNC; None for one that nobody could read."""
        if self._expected is None or abs(seq_diff(sequence, self._expected)) > RESYNC_PACKETS:
            self._held.clear()
            self._given_up.clear()
            self._expected = sequence
        if not self._held:
            self._held_since = now
        elif sequence == self._expected:
            self._lost_gaps = 0
        self._held[sequence] = payload

    def came_late(self) -> None:
        """A packet came after it was given up: from now on gaps are waited for."""
        self._lost_gaps = 0

    def pull(self, now: float) -> Packet | Missing | Wait:
        """The next fact in order. Each packet is pulled once; a Missing is followed by the packet behind the gap."""
        if not self._held or self._expected is None:
            return WAIT
        if self._expected in self._held:
            return self._take(self._expected, now)
        if self._lost_gaps < LOST_GAPS and len(self._held) < REACH_PACKETS and now < self._held_since + PATIENCE_S:
            return WAIT
        return self._give_up(self._expected)

    @property
    def due(self) -> float | None:
        """When `pull` will decide without another packet; None where nothing waits."""
        return self._held_since + PATIENCE_S if self._held else None

    def _take(self, sequence: int, now: float) -> Packet | Missing:
        payload = self._held.pop(sequence)
        self._expected = seq_add(sequence, 1)
        if self._held and self._expected not in self._held:
            self._held_since = now
        return Missing(1, None) if payload is None else Packet(payload)

    def _give_up(self, expected: int) -> Missing:
        nearest = min(self._held, key=lambda sequence: seq_diff(sequence, expected))
        count = seq_diff(nearest, expected)
        self._given_up.extend(seq_add(expected, offset) for offset in range(count))
        self._expected = nearest
        self._lost_gaps += 1
        return Missing(count, self._held[nearest])
