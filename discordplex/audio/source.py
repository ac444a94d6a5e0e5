"""StreamingPlaybackSource: the engine's sound for Discord, 20 ms at a time."""

from discordplex.audio.ducking import Ducking
from discordplex.audio.fades import fade_in, fade_out, with_gain
from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import STREAM, Profile
from discordplex.audio.playout import PlayoutBuffer
from discordplex.audio.vad import FLOOR_DBFS, level_dbfs
from discordplex.clock import Clock
from discordplex.metrics import Metrics


class StreamingPlaybackSource:
    """A source that always answers: a whole ENGINE frame or silence; `b""` only after it is closed.

    When the engine's audio starts, ends, is held or is flushed, a ramp of 5 ms avoids a click.
    """

    channels = ENGINE.channels

    def __init__(self, *, clock: Clock, metrics: Metrics, profile: Profile = STREAM, ducking: Ducking | None = None) -> None:
        """`profile` is REPLIES for an engine that sends whole replies at once; `ducking` gives the gain. Metrics: `playout.*`."""
        self._clock = clock
        self._playout = PlayoutBuffer(profile=profile, metrics=metrics, name="playout")
        self._sounding: bytes | None = None
        self._closed = False
        self._held = False
        self._ducking = ducking
        self._gain = 1.0

    def begin_anew(self, *, profile: Profile, ducking: Ducking | None) -> None:
        """Drop what was not read, and play another kind of engine from now on. Thread: loop."""
        self._held = False
        self._playout.begin_anew(profile)
        self._ducking = ducking

    def push(self, pcm: bytes) -> None:
        """Take ENGINE PCM of any length. Thread: loop. Never blocks."""
        self._playout.push(pcm, self._clock.now())

    def flush(self) -> int:
        """Drop what was not read; returns how many samples that were. Thread: loop. The sound ends within 5 ms of the next read."""
        return self._playout.flush()

    def hold(self) -> None:
        """Be silent until `go_on` and keep what waits. Thread: loop. The sound ends within 5 ms of the next read."""
        self._held = True

    def go_on(self) -> None:
        """Play on from where `hold` stopped. Thread: loop. Does nothing without `hold`."""
        self._held = False

    def read(self) -> bytes:
        """The frame that is due. Thread: send, once each 20 ms. Never blocks; always `ENGINE.frame_bytes` long until closed."""
        if self._closed:
            return b""
        frame = None if self._held else self._playout.pop(self._clock.now())
        before, self._sounding = self._sounding, frame
        if frame is None:
            return ENGINE.silence if before is None else self._ducked(fade_out(before))
        return self._ducked(fade_in(frame) if before is None else frame)

    def _ducked(self, frame: bytes) -> bytes:
        """The frame at the gain of the ducking."""
        ducking = self._ducking
        if ducking is None and self._gain == 1.0:
            return frame
        before, self._gain = self._gain, 1.0 if ducking is None else ducking.gain
        return with_gain(frame, before, self._gain)

    @property
    def level_dbfs(self) -> float:
        """The level of the frame of the last `read`, before its gain. Thread: any."""
        frame = self._sounding
        return FLOOR_DBFS if frame is None else level_dbfs(frame)

    @property
    def surplus_s(self) -> float | None:
        """How much earlier the last `read` could have been, with all sound in time; None if unknown. Thread: send."""
        return self._playout.surplus_s

    def close(self) -> None:
        """End the stream: every later read returns `b""`. Thread: any. Idempotent."""
        self._closed = True

    @property
    def pushed_samples(self) -> int:
        """ENGINE samples taken so far. Thread: any."""
        return self._playout.pushed_samples

    @property
    def played_samples(self) -> int:
        """The position of the sender in the pushed samples. Thread: any.

        Dropped and flushed samples count as played, so that a caption stays with the sound that was pushed with it.
        """
        return self._playout.passed_samples

    @property
    def depth_ms(self) -> float:
        """ENGINE audio that waits to be read. Thread: any."""
        return self._playout.depth_ms
