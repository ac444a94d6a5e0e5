"""LagTracker: what the model has been given and what it gave back, in milliseconds of audio. Pure.

A model step answers 80 ms of input with 80 ms of output, so what was sent and not yet answered is how far the server is behind. It
never catches up by leaving something out, and it tells nobody: a server that is too slow, or that stood still for a moment, would answer
later and later. So the sender leaves out: first ticks in which nobody speaks, then speech too, for fresh speech beats complete speech.
"""

from collections import deque

from discordplex.audio.format import ENGINE, MODEL_STEP_MS

MAX_BACKLOG_BYTES = 8 * 1024
"""Unsent bytes beyond which nothing more is encoded: a second of pages, with the kernel's buffer full before it."""

SHED_SILENCE_MS = 500.0
"""Behind by more than this, silent ticks are not sent."""

SHED_SPEECH_MS = 2000.0
"""Behind by more than this, nothing is sent."""

UNANSWERED_FRAMES = 2 * MODEL_STEP_MS // ENGINE.frame_ms
"""What the server may owe us in good health: the step it collects, and the one it works on."""

CALM_S = 2.0
"""Without a frame left out for so long, the server has caught up."""

TICKS_PER_SECOND = 1000 // ENGINE.frame_ms

TRICKLE_S = 30
"""Over so many seconds of ticks a server has to show what it can do."""

TRICKLE_SHARE = 0.1
"""Less sound than this share of real time is a trickle: nobody can talk with it, though it is never silent for long."""


class LagTracker:
    """The account of one conversation, from its handshake on. Times are the caller's clock."""

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.received_ms = 0.0
        self._usual_lag_ms: float | None = None
        self._ticks = 0
        self._ticking_since = 0.0
        self._shedding_since = 0.0
        self._shed_at: float | None = None
        self._ticks_in_second = 0
        self._decoded_ms = 0.0
        self._decoded_by_second: deque[float] = deque([0.0], maxlen=TRICKLE_S + 1)

    @property
    def lag_ms(self) -> float:
        """Audio sent and not answered: the step under way, the road there and back, and what the server is behind."""
        return self.sent_ms - self.received_ms

    @property
    def behind_ms(self) -> float:
        """How much longer the server now takes than at its best in this conversation; 0 until it has answered once."""
        return 0.0 if self._usual_lag_ms is None else self.lag_ms - self._usual_lag_ms

    def sent(self, now: float) -> None:
        """One frame went out at `now`."""
        self._tick(now)
        self.sent_ms += ENGINE.frame_ms

    def shed(self, now: float) -> None:
        """One frame was left out at `now`."""
        self._tick(now)
        if self._shed_at is None or now - self._shed_at > CALM_S:
            self._shedding_since = now
        self._shed_at = now

    def received(self, duration_ms: float) -> None:
        """Audio of that length came."""
        self._ticks = 0
        self.received_ms += duration_ms
        self._decoded_ms += duration_ms
        self._usual_lag_ms = min(self.lag_ms, self._usual_lag_ms if self._usual_lag_ms is not None else self.lag_ms)

    def damaged(self, duration_ms: float) -> None:
        """Audio of about that length came and cannot be decoded: its steps were taken, but a server that sends nothing else is not well."""
        self.received_ms += duration_ms

    def silent_for_s(self, now: float) -> float:
        """For how long nothing was heard of the server while it had something to hear.

        What counts is the time since its last audio, not what was sent since: to a server that is behind nothing may be sent, and one that
        is frozen then would owe nothing. Time in which no tick came counts for nothing: the pause was ours.
        """
        return now - self._ticking_since if self._ticks > UNANSWERED_FRAMES else 0.0

    def excuse(self, late_s: float) -> None:
        """For so long this process stood still, with what the server sent meanwhile unread: that is no silence of the server's."""
        self._ticking_since += late_s

    def shedding_for_s(self, now: float) -> float:
        """For how long frames have been left out again and again."""
        return now - self._shedding_since if self._shed_at is not None and now - self._shed_at <= CALM_S else 0.0

    def trickles(self, seconds: int = TRICKLE_S) -> bool:
        """Whether the last so many seconds of ticks, at most `TRICKLE_S`, brought less sound than `TRICKLE_SHARE` of them.

        False until there were so many. Seconds are counted in ticks, sent or left out: a pause of ours counts for nothing.
        """
        before = self._decoded_by_second
        return len(before) > seconds and self._decoded_ms - before[-1 - seconds] < TRICKLE_SHARE * seconds * 1000

    def may_send(self, *, speech: bool, backlog_bytes: int) -> bool:
        """Whether this tick's frame shall be sent; False means: drop its PCM now, before it is encoded."""
        limit_ms = SHED_SPEECH_MS if speech else SHED_SILENCE_MS
        return backlog_bytes <= MAX_BACKLOG_BYTES and self.behind_ms <= limit_ms

    def _tick(self, now: float) -> None:
        if not self._ticks:
            self._ticking_since = now
        self._ticks += 1
        self._ticks_in_second += 1
        if self._ticks_in_second == TICKS_PER_SECOND:
            self._ticks_in_second = 0
            self._decoded_by_second.append(self._decoded_ms)
