"""Timeline: what a listener hears, or says, as PCM: each stream where a Discord client would play it. No loop and no socket, one lock.

A stream's first packet fixes which RTP timestamp is played when; the others follow by their timestamps. A gap stays silent: nothing is
concealed here, so that a hole in the sender's stream is a hole in what was heard. After a pause, a stream whose timestamps did not advance
is fixed anew, as a client's jitter buffer does.
"""

import itertools
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from discordplex.audio.format import ENGINE, SAMPLE_BYTES
from discordplex.audio.opus import SILENCE_PACKET
from discordplex.voice.rtp.packet import ts_diff

PAUSE_S = 0.1
"""After this long without a packet, the next one begins a new stretch."""

SLIP_S = 0.06
"""At a new stretch, timestamps that disagree with the clock by more than this are fixed anew."""

KEEP_S = 600.0
"""The newest sound kept of each stream, about 60 MB: a speaker on the loopback may talk for days."""

AUDIBLE_PEAK = 100
"""Peak (of 32767) from which a frame counts as sound: -50 dBFS, well above what a codec makes of silence."""


@dataclass(frozen=True, slots=True)
class PlacedPacket:
    """One packet of a stream."""

    sequence: int
    timestamp: int
    at: float
    """When it was received or sent, in seconds of `time.perf_counter`, measured at the socket."""
    position: int
    """Where its first sample is played, in samples from the timeline's beginning."""
    opus: bytes
    """The Opus packet without any encryption."""
    pcm: bytes
    audible: bool


class Track:
    """One SSRC's stream. `user_id` is None until its owner is known."""

    def __init__(self, ssrc: int, origin_s: float, keep_packets: int) -> None:
        self.ssrc = ssrc
        self.user_id: str | None = None
        self.packets: deque[PlacedPacket] = deque(maxlen=keep_packets)
        self._origin_s = origin_s
        self._anchor: tuple[int, int] | None = None
        self._audible_frames = 0

    @property
    def audible_s(self) -> float:
        """Seconds of sound so far."""
        return self._audible_frames * ENGINE.frame_seconds

    def newest(self, count: int) -> list[PlacedPacket]:
        """The `count` newest packets at most, the newest first. Thread: any; `packets` itself may change while it is walked through."""
        return list(itertools.islice(reversed(self.packets), count))

    def late_ms(self) -> list[float]:
        """How much later than by its own timestamp each packet came, measured from the earliest of them."""
        ahead = [packet.at - packet.position / ENGINE.rate_hz for packet in list(self.packets)]
        first = min(ahead, default=0.0)
        return [(value - first) * 1000 for value in ahead]

    def add(self, *, sequence: int, timestamp: int, at: float, opus: bytes, pcm: bytes) -> PlacedPacket:
        """Place one decoded packet where it is played."""
        position = self._place(timestamp, at)
        packet = PlacedPacket(sequence, timestamp, at, position, opus, pcm, peak(pcm) >= AUDIBLE_PEAK)
        self.packets.append(packet)
        self._audible_frames += packet.audible
        return packet

    def _place(self, timestamp: int, at: float) -> int:
        by_clock = round((at - self._origin_s) * ENGINE.rate_hz)
        if self._anchor is None:
            self._anchor = (timestamp, by_clock)
        by_timestamp = self._anchor[1] + ts_diff(timestamp, self._anchor[0])
        paused = self.packets and at - self.packets[-1].at > PAUSE_S
        if paused and abs(by_clock - by_timestamp) > SLIP_S * ENGINE.rate_hz:
            self._anchor = (timestamp, by_clock)
            return by_clock
        return by_timestamp


class Timeline:
    """All streams on one clock. One thread adds packets; any thread may read."""

    def __init__(self, origin_s: float, *, keep_s: float = KEEP_S) -> None:
        """`origin_s`: the moment (`time.perf_counter`) of the timeline's first sample; `keep_s` of each stream's sound are kept."""
        self.origin_s = origin_s
        self._keep_packets = round(keep_s / ENGINE.frame_seconds)
        self._tracks: dict[int, Track] = {}
        self._lock = threading.Lock()

    def track(self, ssrc: int) -> Track:
        """The stream of an SSRC, created on first use."""
        with self._lock:
            return self._tracks.setdefault(ssrc, Track(ssrc, self.origin_s, self._keep_packets))

    def tracks(self, user_id: str | None = None) -> list[Track]:
        """All streams, or those of one user in the order in which they began."""
        with self._lock:
            return [track for track in self._tracks.values() if user_id in (None, track.user_id)]

    def claim(self, ssrc: int, user_id: str) -> None:
        """Record the owner of an SSRC, also for earlier packets."""
        self.track(ssrc).user_id = user_id

    def audible_s(self, user_id: str | None = None) -> float:
        """Seconds of sound heard from a user, or from anybody."""
        return sum(track.audible_s for track in self.tracks(user_id))

    def packets(self, user_id: str | None = None) -> list[PlacedPacket]:
        """A user's packets, or everybody's, in the order of arrival."""
        found = [packet for track in self.tracks(user_id) for packet in list(track.packets)]
        return sorted(found, key=lambda packet: packet.at)

    def opus(self, user_id: str | None = None) -> list[bytes]:
        """A user's Opus packets in the order of arrival, silence packets left out: what has to match bit for bit at both ends."""
        return [packet.opus for packet in self.packets(user_id) if packet.opus != SILENCE_PACKET]

    def pcm(self, user_id: str | None = None, *, start_s: float | None = None, end_s: float | None = None) -> bytes:
        """What a user was heard to say between two moments of `time.perf_counter`; ENGINE PCM, silence where nothing was.

        By default from the timeline's beginning to the end of the last packet; without a user the sum of all.
        """
        packets = self.packets(user_id)
        begin_s = self.origin_s if start_s is None else start_s
        first = round((begin_s - self.origin_s) * ENGINE.rate_hz)
        if end_s is None:
            last = max((packet.position + len(packet.pcm) // SAMPLE_BYTES for packet in packets), default=first)
        else:
            last = first + round((end_s - begin_s) * ENGINE.rate_hz)  # ranges of one duration are equally long on every timeline
        mixed = np.zeros(max(0, last - first), np.int32)
        for packet in packets:
            _lay(mixed, packet.position - first, packet.pcm)
        return mixed.clip(-32768, 32767).astype("<i2").tobytes()


def _lay(canvas: "np.ndarray[tuple[int], np.dtype[np.int32]]", start: int, pcm: bytes) -> None:
    samples = np.frombuffer(pcm, "<i2")
    skip = max(0, -start)
    take = min(len(samples), len(canvas) - start)
    if take > skip:
        canvas[start + skip : start + take] += samples[skip:take]


def peak(pcm: bytes) -> int:
    """The largest magnitude in int16 PCM; 0 where there is none."""
    samples = np.frombuffer(pcm, "<i2")
    return max(int(samples.max()), -int(samples.min())) if len(samples) else 0
