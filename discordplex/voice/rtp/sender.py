"""Sender: our sound, from the source's frame to the socket, every 20 ms on absolute deadlines.

RTP timestamps follow the clock, silence included; sequence numbers count what is sent. The deadlines slide to where the source's frames
wait no longer than its jitter requires, within one frame of the timestamps. Each stretch of sound begins with exact timestamps.
"""

import math
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.opus import LIGHT, SILENCE_PACKET, OpusEncoder
from discordplex.audio.phase import PhaseAdjuster
from discordplex.audio.samples import peak_reaches
from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.rtp import packet as rtp
from discordplex.voice.rtp.encryption import Transport

SILENCES = (ENGINE.silence, DISCORD.silence)

GATE_PEAK = 32
"""A frame whose loudest sample is below this (-60 dBFS) is silence."""

HANGOVER_FRAMES = 15
"""Frames below the gate that are still sent: 300 ms, longer than a pause between two words."""

SILENCE_FRAMES = 5
"""What Discord asks for before a pause, so that the listeners' decoders do not smear the last sound."""

CATCH_UP_FRAMES = 2
"""A thread that wakes later than this skips what it missed: a burst would only stay in the listeners' jitter buffers."""

BITRATE = 128_000
"""In CELT, without FEC: that would double the time a frame takes and halve the bits that the speech itself gets. Clients conceal a lost
CELT frame well. `audio.opus.LIGHT` says why so many bits. The low-delay mode is CELT too, and is heard 4 ms earlier."""

HOLD_FRAMES = 10
"""While nothing may be sent, the source is left alone for so long (200 ms: a repair takes 20 to 70); then its frames are dropped."""


class PcmSource(Protocol):
    """Gives our sound."""

    channels: int
    """1 or 2. Every client plays both, and a frame with one channel takes three quarters of the time to encode."""

    def read(self) -> bytes:
        """The next 20 ms of 48 kHz int16, b"" once it has ended. Thread: send. Never blocks."""
        ...


@dataclass(frozen=True, slots=True)
class SendPath:
    """What one voice session sends with."""

    ssrc: int
    transport: Transport
    e2ee: DaveSession
    socket: socket.socket


class Sender:
    """Sends one call's sound, over all of its voice sessions. `tick` is for the send thread, everything else for the loop."""

    def __init__(
        self, *, source: PcmSource, clock: Clock, metrics: Metrics, on_speaking: Callable[[bool], None], alone: Callable[[], bool]
    ) -> None:
        """`alone` says whether nobody else is in the channel: then a frame that cannot be sent is not counted as dropped. Thread: send."""
        self.deadline = clock.now() + DISCORD.frame_seconds
        self._source = source
        self._clock = clock
        self._metrics = metrics
        self._on_speaking = on_speaking
        self._alone = alone
        self._encoder = OpusEncoder(
            DISCORD.rate_hz,
            source.channels,
            bitrate=BITRATE,
            application="lowdelay",
            fec=False,
            expected_loss_percent=0,
            complexity=LIGHT,
        )
        self._lock = threading.Lock()
        self._path: SendPath | None = None
        self._transport: Transport | None = None
        self._begun = False
        self._held_frames = 0
        self._phase = PhaseAdjuster(DISCORD.frame_seconds)
        self._sequence = random.randrange(rtp.SEQUENCES)
        self._timestamp = random.randrange(rtp.TIMESTAMPS)
        self._speaking = False
        self._quiet_frames = 0
        self._lateness = metrics.histogram("voice.tx.lateness_ms")
        self._sent = metrics.counter("voice.tx.packets")
        self._skipped = metrics.counter("voice.tx.skipped")

    def attach(self, path: SendPath) -> None:
        """Send through this session from the next frame on. Thread: loop."""
        with self._lock:
            if not self._begun:  # nobody ticks yet: the beat begins now, and not when the call was made
                self._begun = True
                self.deadline = self._clock.now() + DISCORD.frame_seconds
            # One count for all keys of a call: a key that comes again must not meet a nonce again.
            if self._transport is not None:
                path.transport.sealed = self._transport.sealed
            self._transport = path.transport
            self._path = path
            self._held_frames = 0

    def detach(self) -> None:
        """Send nothing more; when this returns the socket is not used again. Thread: loop."""
        with self._lock:
            self._path = None
            self._speaking = False

    def failed(self, error: Exception) -> None:
        """A bug of ours: sending raised. It has been logged, and the call goes on. Thread: send."""
        del error
        self._metrics.counter("voice.tx.faults").add()

    def tick(self, now: float) -> None:
        """Send the frame that is due. Thread: send."""
        self._lateness.record((now - self.deadline) * 1000)
        late_frames = math.floor((now - self.deadline) / DISCORD.frame_seconds)
        skipped = late_frames if late_frames > CATCH_UP_FRAMES else 0
        self._skipped.add(skipped)
        self.deadline += (1 + skipped) * DISCORD.frame_seconds
        self._timestamp = rtp.ts_add(self._timestamp, (1 + skipped) * DISCORD.frame_samples)
        with self._lock:
            self._send_frame(self._path)
        # A source of py-cord's kind knows of no surplus, and keeps the beat where it is.
        self.deadline += self._phase.step(getattr(self._source, "surplus_s", None))

    def _send_frame(self, path: SendPath | None) -> None:
        if path is None or not path.e2ee.ready:
            self._held_frames += 1
            if self._held_frames > HOLD_FRAMES and is_audible(self._source.read()) and not self._alone():
                self._metrics.counter("voice.tx.dropped").add()
            return
        self._held_frames = 0
        pcm = self._source.read()
        self._quiet_frames = 0 if is_audible(pcm) else self._quiet_frames + 1
        if self._quiet_frames == 0:
            self._say_speaking(speaking=True)
        elif not pcm:  # the source has ended: no hangover
            self._quiet_frames = max(self._quiet_frames, HANGOVER_FRAMES + 1)
        if not self._speaking:
            return
        if self._quiet_frames <= HANGOVER_FRAMES:
            self._send(path, self._encoder.encode(pcm))
        elif self._quiet_frames <= HANGOVER_FRAMES + SILENCE_FRAMES:
            self._send(path, SILENCE_PACKET)
        else:
            self._say_speaking(speaking=False)

    def _say_speaking(self, *, speaking: bool) -> None:
        if speaking is not self._speaking:
            self._speaking = speaking
            self._timestamp = rtp.ts_add(self._timestamp, round(self._phase.offset_s * DISCORD.rate_hz))
            self._phase.offset_s = 0.0
            self._on_speaking(speaking)

    def _send(self, path: SendPath, packet: bytes) -> None:
        payload = path.e2ee.encrypt(packet)
        if payload is None:
            self._metrics.counter("voice.tx.dropped").add()
            return
        header = rtp.build_header(sequence=self._sequence, timestamp=self._timestamp, ssrc=path.ssrc)
        self._sequence = rtp.seq_add(self._sequence, 1)
        try:
            path.socket.send(path.transport.seal(header, payload))
        except OSError:  # the network is away, or full: the next frame tries again
            self._metrics.counter("voice.tx.socket_errors").add()
        else:
            self._sent.add()


def is_audible(pcm: bytes) -> bool:
    """Whether any sample of the frame reaches the gate."""
    return pcm not in SILENCES and peak_reaches(pcm, GATE_PEAK)
