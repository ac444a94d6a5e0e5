"""Ledger: what the model has been given and what it gave back, in milliseconds of audio. Pure.

A model step answers 80 ms of input with 80 ms of output, so what was sent and not yet answered is how far the server is behind. It
never catches up by leaving something out, and it tells nobody: a server that is too slow, or that stood still for a moment, would answer
later and later. So the sender leaves out: first ticks in which nobody speaks, then speech too, for fresh speech beats complete speech.
"""

from discordplex.audio.format import ENGINE, MODEL_STEP_MS

MAX_BACKLOG_BYTES = 8 * 1024
"""Unsent bytes beyond which nothing more is encoded: a second of pages, with the kernel's buffer full before it."""

SHED_SILENCE_MS = 500.0
"""Behind by more than this, silent ticks are not sent."""

SHED_SPEECH_MS = 2000.0
"""Behind by more than this, nothing is sent."""

UNANSWERED_FRAMES = 2 * MODEL_STEP_MS // ENGINE.frame_ms
"""What the server may owe us in good health: the step it collects, and the one it works on."""


class Ledger:
    """The account of one conversation, from its handshake on."""

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.received_ms = 0.0
        self._usual_lag_ms: float | None = None
        self._unanswered = 0
        self._unanswered_since = 0.0

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
        if not self._unanswered:
            self._unanswered_since = now
        self._unanswered += 1
        self.sent_ms += ENGINE.frame_ms

    def received(self, duration_ms: float) -> None:
        """Audio of that length came."""
        self._unanswered = 0
        self.received_ms += duration_ms
        if duration_ms:
            self._usual_lag_ms = min(self.lag_ms, self._usual_lag_ms if self._usual_lag_ms is not None else self.lag_ms)

    def silent_for_s(self, now: float) -> float:
        """For how long the server has owed us an answer and sent nothing."""
        return now - self._unanswered_since if self._unanswered > UNANSWERED_FRAMES else 0.0

    def may_send(self, *, speech: bool, backlog_bytes: int) -> bool:
        """Whether this tick's frame shall be sent; False means: drop its PCM now, before it is encoded."""
        limit_ms = SHED_SPEECH_MS if speech else SHED_SILENCE_MS
        return backlog_bytes <= MAX_BACKLOG_BYTES and self.behind_ms <= limit_ms
