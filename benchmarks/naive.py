"""The naive path, in the same bot: what one writes first.

A queue of 200 frames for each direction that nobody trims, 24 kHz on the way to the model and from it, `scipy.signal.resample_poly` for
each chunk by itself, and a player that begins with the first frame it is given. Everything else is the bot as it is, so that what is
measured of both differs by this alone.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Container
from typing import Any, Final

import discord
import numpy as np
import sphn
from discord.sinks.core import Sink as LibrarySink
from scipy.signal import resample_poly

from discordplex.audio.format import DISCORD, ENGINE, MODEL
from discordplex.bot.call import call
from discordplex.bot.call import hearing as call_hearing
from discordplex.cli import main
from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.personaplex import engine

QUEUE_FRAMES: Final = 200


class NaiveWriter:
    """48 kHz PCM to pages of 24 kHz."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._writer: Any = sphn.OpusStreamWriter(MODEL.rate_hz)

    def write(self, pcm: bytes) -> bytes:
        """One frame."""
        wave = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        pages = self._writer.append_pcm(resample_poly(wave, 1, 2).astype(np.float32))
        if hasattr(self._writer, "read_bytes"):
            pages = self._writer.read_bytes()
        return bytes(pages or b"")


class NaiveReader:
    """Pages of 24 kHz to 48 kHz PCM."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._reader: Any = sphn.OpusStreamReader(MODEL.rate_hz)

    def read(self, pages: bytes) -> bytes:
        """One message."""
        wave = self._reader.append_bytes(pages)
        if hasattr(self._reader, "read_pcm"):
            wave = self._reader.read_pcm()
        if wave is None or not len(wave):
            return b""
        return bytes((resample_poly(wave, 2, 1).clip(-1, 1) * 32767).astype("<i2").tobytes())


class NaiveSink(LibrarySink):
    """A queue for each speaker."""

    def __init__(self, *, clock: Clock, metrics: Metrics, **_: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # py-cord's sinks carry no types
        del metrics
        self._clock = clock
        self._queues: dict[int, deque[tuple[float, bytes]]] = {}
        self._ignored: Container[int] = ()
        self.last_arrival: float | None = None
        self.surplus_s: float | None = None
        self.on_all_heard: Callable[[], None] | None = None

    def write(self, data: Any, user: Any) -> None:
        """Frames of one speaker."""
        if user in self._ignored:
            return
        queue = self._queues.setdefault(user, deque(maxlen=QUEUE_FRAMES))
        for start in range(0, len(data), DISCORD.frame_bytes):
            stereo = np.frombuffer(data[start : start + DISCORD.frame_bytes], "<i2").reshape(-1, 2)
            queue.append((self._clock.now(), stereo.mean(axis=1).astype("<i2").tobytes()))

    def take(self, _now: float | None = None, /) -> dict[int, bytes]:
        """The oldest frame of each."""
        self.last_arrival = None
        frames = {}
        for user, queue in list(self._queues.items()):
            if queue:
                self.last_arrival, frames[user] = queue.popleft()
        return frames

    def ignore(self, user_ids: Container[int]) -> None:
        """Take no more of these."""
        self._ignored = user_ids
        for user in [user for user in self._queues if user in user_ids]:
            self.forget(user)

    def forget(self, user_id: int) -> None:
        """Drop one speaker's."""
        self._queues.pop(user_id, None)

    def close(self) -> None:
        """Drop all."""
        self._queues.clear()


class NaiveSource(discord.AudioSource):
    """One queue."""

    channels = DISCORD.channels

    def __init__(self, *, clock: Clock, metrics: Metrics, **_: Any) -> None:
        del clock
        self._queue: deque[tuple[float, bytes]] = deque(maxlen=QUEUE_FRAMES)
        self._hold_ms = metrics.histogram("playout.hold_ms")
        self._holes = metrics.counter("playout.underruns")
        self._playing = self._closed = False
        self.pushed_samples = self.played_samples = 0
        self.surplus_s: float | None = None

    @property
    def depth_ms(self) -> float:
        """What waits."""
        return float(len(self._queue) * ENGINE.frame_ms)

    level_dbfs = -100.0
    """Only a hand-over asks for it."""

    def begin_anew(self, **_: Any) -> None:
        """Another engine."""
        self.flush()

    def push(self, pcm: bytes) -> None:
        """One block. Thread: loop."""
        self.pushed_samples += len(pcm) // ENGINE.sample_bytes
        for start in range(0, len(pcm), ENGINE.frame_bytes):
            mono = np.frombuffer(pcm[start : start + ENGINE.frame_bytes], "<i2")
            self._queue.append((time.perf_counter(), np.repeat(mono, 2).tobytes().ljust(DISCORD.frame_bytes, b"\0")))

    def flush(self) -> int:
        """Drop it."""
        flushed = len(self._queue) * ENGINE.frame_samples
        self._queue.clear()
        return flushed

    def hold(self) -> None:
        """Only an engine that takes turns is held."""

    def go_on(self) -> None:
        """Likewise."""

    def read(self) -> bytes:
        """The oldest frame, or silence. Thread: send."""
        if self._closed:
            return b""
        try:
            arrived, frame = self._queue.popleft()
        except IndexError:
            self._holes.add(self._playing)
            self._playing = False
            return DISCORD.silence
        self._playing = True
        self._hold_ms.record((time.perf_counter() - arrived) * 1000)
        self.played_samples += ENGINE.frame_samples
        return frame

    def is_opus(self) -> bool:
        """It is PCM."""
        return False

    def close(self) -> None:
        """End it."""
        self._closed = True


PARTS: Final = (
    (call_hearing, "Sink", NaiveSink),
    (call, "StreamingPlaybackSource", NaiveSource),
    (engine, "OggOpusWriter", NaiveWriter),
    (engine, "OggOpusReader", NaiveReader),
)
"""Module, name there, what takes its place."""


def put_in_place() -> None:
    """Let the bot be built of these."""
    for module, name, naive in PARTS:
        setattr(module, name, naive)


if __name__ == "__main__":
    put_in_place()
    sys.exit(main())
