"""LagTracker: how much audio the model was given and how much it returned, in milliseconds. Pure.

A model step answers 80 ms of input with 80 ms of output, so what was sent and not yet answered is how far the server is behind. It never
catches up by leaving something out, and it reports nothing: a server that is too slow, or that stalled for a moment, would answer later and
later. So the sender leaves frames out: first silent ticks, then speech too, since fresh speech matters more than complete speech.
"""

from collections import deque

from discordplex.audio.format import ENGINE, MODEL_STEP_MS

MAX_BACKLOG_BYTES = 8 * 1024
"""Unsent bytes beyond which nothing more is encoded: a second of pages, with the kernel's buffer full in addition."""

SHED_SILENCE_MS = 500.0
"""Beyond this lag silent ticks are not sent."""

SHED_SPEECH_MS = 2000.0
"""Beyond this lag nothing is sent."""

UNANSWERED_FRAMES = 2 * MODEL_STEP_MS // ENGINE.frame_ms
"""What a healthy server may not have answered yet: the step it collects, and the one it works on."""

CALM_S = 2.0
"""Once no frame was left out for this long, the server has caught up."""

TICKS_PER_SECOND = 1000 // ENGINE.frame_ms

TRICKLE_S = 30
"""Seconds of ticks over which a server's output is measured."""

TRICKLE_SHARE = 0.1
"""Less sound than this share of real time is a trickle: nobody can talk with it, although it is never silent for long."""


class LagTracker:
    """The lag of one conversation, from its handshake on. Times are the caller's clock."""

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
        """Audio sent and not answered: the current step, the network both ways, and what the server is behind."""
        return self.sent_ms - self.received_ms

    @property
    def behind_ms(self) -> float:
        """How much longer the server now takes than at its best in this conversation; 0 until it has answered once."""
        return 0.0 if self._usual_lag_ms is None else self.lag_ms - self._usual_lag_ms

    def sent(self, now: float) -> None:
        """One frame was sent at `now`."""
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
        """Audio of about that length came and cannot be decoded. Its steps were taken, but a server that sends nothing else is not well."""
        self.received_ms += duration_ms

    def silent_for_s(self, now: float) -> float:
        """For how long the server was silent while it had something to answer.

        The time since its last audio counts, not what was sent since: a server that is behind may be sent nothing, and one that is frozen
        then would have nothing to answer. Time without ticks does not count: the pause was ours.
        """
        return now - self._ticking_since if self._ticks > UNANSWERED_FRAMES else 0.0

    def excuse(self, late_s: float) -> None:
        """This process was suspended for `late_s`, with what the server sent unread: that time is not the server's silence."""
        self._ticking_since += late_s

    def shedding_for_s(self, now: float) -> float:
        """For how long frames have been left out again and again."""
        return now - self._shedding_since if self._shed_at is not None and now - self._shed_at <= CALM_S else 0.0

    def trickles(self, seconds: int = TRICKLE_S) -> bool:
        """Whether the last `seconds` of ticks, at most `TRICKLE_S`, brought less sound than `TRICKLE_SHARE` of them.

        False until there were so many. Seconds are counted in ticks, sent or left out: a pause of ours does not count.
        """
        before = self._decoded_by_second
        return len(before) > seconds and self._decoded_ms - before[-1 - seconds] < TRICKLE_SHARE * seconds * 1000

    def may_send(self, *, speech: bool, backlog_bytes: int) -> bool:
        """Whether to send this tick's frame; where False, drop its PCM now, before it is encoded."""
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
