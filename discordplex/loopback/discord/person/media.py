"""RtpSender and RtpReceiver: the sound of a person, sent and received on the media thread.

The person shares the process with the bot under test. If they were paced on the loop of the bot, a busy bot would make the person late, and
the delay would be counted as latency of the bot. The media thread waits on absolute deadlines, encodes one frame ahead, and records the
time of each datagram, so that the remaining lateness (up to 1 ms of the timer) is known.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from discordplex.audio.format import ENGINE
from discordplex.audio.opus import SILENCE_PACKET, OpusDecoder, OpusEncoder
from discordplex.errors import RemoteProtocolError
from discordplex.loopback.discord.person.socket import PersonSocket
from discordplex.loopback.discord.person.timeline import Timeline
from discordplex.voice.rtp.encryption import Transport
from discordplex.voice.rtp.packet import RtpError, RtpPacket, build_header, build_plaintext, seq_add, strip, ts_add

SILENCE_FRAMES = 5
"""Silence packets at the end of speech, so that decoders do not extrapolate into the pause (documented)."""

REMEMBERED_PACKETS = 512
"""Newest sequence numbers per stream among which a duplicate is recognised."""

BITRATE = 64_000
"""What Discord gives a voice channel by default."""


class MediaEncryption(Protocol):
    """End-to-end encryption of single packets. Thread: media."""

    def encrypt(self, ssrc: int, opus: bytes) -> bytes | None:
        """The encrypted packet; None while there is no key."""
        ...

    def decrypt(self, user_id: str | None, payload: bytes) -> tuple[str | None, bytes] | None:
        """The sender and the decrypted Opus packet; None where it cannot be decrypted."""
        ...


class NoEncryption:
    """No end-to-end encryption."""

    def encrypt(self, ssrc: int, opus: bytes) -> bytes:  # noqa: ARG002  # the key would depend on it
        """The Opus packet as it is."""
        return opus

    def decrypt(self, user_id: str | None, payload: bytes) -> tuple[str | None, bytes]:
        """The payload as it is."""
        return user_id, payload


@dataclass(slots=True)
class MediaSession:
    """What is needed to send and receive once a voice session has its key."""

    ssrc: int
    transport: Transport
    wire: PersonSocket


class RtpSender:
    """Sends PCM as RTP, one frame each 20 ms. Thread: media."""

    def __init__(self, encryption: MediaEncryption, timeline: Timeline, user_id: str, on_sent: Callable[[int, float], None] | None) -> None:
        """`on_sent(frame_index, at)` is called after each frame of speech; the index counts all frames ever said."""
        self.media_session: MediaSession | None = None
        self.unsent = 0
        """Frames that were not sent: no session, or no key yet."""
        self.late_ms: deque[float] = deque(maxlen=10_000)
        """How much after its deadline each frame left."""
        self._encryption = encryption
        self._timeline = timeline
        self._user_id = user_id
        self._on_sent = on_sent
        self._encoder = OpusEncoder(channels=2, bitrate=BITRATE)
        self._sequence = random.getrandbits(16)
        self._timestamp = random.getrandbits(32)
        self._next_at = time.perf_counter()
        self._frames = 0
        self._stop_asked = False
        self._turn = asyncio.Lock()

    async def say(self, pcm: bytes, *, marks_end: bool = True) -> None:
        """Say ENGINE PCM in real time, then five silence frames where the end is marked; a second caller waits for its turn.

        It returns when the last frame is over: by then the relay has taken it, so that who leaves next loses nothing.
        """
        async with self._turn:
            self._stop_asked = False
            frames = [pcm[start : start + ENGINE.frame_bytes] for start in range(0, len(pcm), ENGINE.frame_bytes)]
            start = self._begin()
            said = await self._say_frames(frames, start)
            silent = SILENCE_FRAMES if marks_end else 0
            for index in range(said, said + silent):
                await self._deadline(start, index)
                self._send(SILENCE_PACKET, ENGINE.silence)
            self._next_at = start + (said + silent) * ENGINE.frame_seconds
            await sleep_until(self._next_at)

    def stop_speaking(self) -> None:
        """Stop speaking after the frame that is under way."""
        self._stop_asked = True

    async def _say_frames(self, frames: list[bytes], start: float) -> int:
        ahead: tuple[bytes, bytes] | None = None
        for index, frame in enumerate(frames):
            full, packet = ahead or self._encode(frame)
            await self._deadline(start, index)
            self._send(packet, full)
            if self._stop_asked:
                return index + 1
            ahead = self._encode(frames[index + 1]) if index + 1 < len(frames) else None
        return len(frames)

    def _begin(self) -> float:
        """Advance the timestamps over the pause, in whole frames, and return the first deadline."""
        now = time.perf_counter()
        pause = max(0, round((now - self._next_at) / ENGINE.frame_seconds))
        self._timestamp = ts_add(self._timestamp, pause * ENGINE.frame_samples)
        return now

    def _encode(self, frame: bytes) -> tuple[bytes, bytes]:
        full = frame.ljust(ENGINE.frame_bytes, b"\x00")
        return full, self._encoder.encode(np.repeat(np.frombuffer(full, "<i2"), 2).tobytes())

    async def _deadline(self, start: float, index: int) -> None:
        deadline = start + index * ENGINE.frame_seconds
        await sleep_until(deadline)
        self.late_ms.append((time.perf_counter() - deadline) * 1000)

    def _send(self, opus: bytes, pcm: bytes) -> None:
        media_session = self.media_session
        payload = opus if media_session is None or opus == SILENCE_PACKET else self._encryption.encrypt(media_session.ssrc, opus)
        at = time.perf_counter()
        if media_session is None or payload is None:
            self.unsent += 1
        else:
            header = build_header(sequence=self._sequence, timestamp=self._timestamp, ssrc=media_session.ssrc)
            media_session.wire.send(media_session.transport.seal(header, build_plaintext(payload)))
            self._timeline.claim(media_session.ssrc, self._user_id)
            self._timeline.track(media_session.ssrc).add(sequence=self._sequence, timestamp=self._timestamp, at=at, opus=opus, pcm=pcm)
            self._sequence = seq_add(self._sequence, 1)
        self._timestamp = ts_add(self._timestamp, ENGINE.frame_samples)
        if opus != SILENCE_PACKET:
            self._count_frame(at)

    def _count_frame(self, at: float) -> None:
        index, self._frames = self._frames, self._frames + 1
        if self._on_sent is not None:
            self._on_sent(index, at)


async def sleep_until(deadline: float) -> None:
    """Return at this moment of `time.perf_counter`."""
    await asyncio.sleep(max(0.0, deadline - time.perf_counter()))


@dataclass(slots=True)
class ReceivedStream:
    """The state of one received SSRC, beside its track."""

    decoder: OpusDecoder = field(default_factory=lambda: OpusDecoder(channels=1))
    seen: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED_PACKETS))


class RtpReceiver:
    """Decrypts and decodes datagrams and adds them to the timeline. Thread: media. `refused` counts dropped packets by reason."""

    def __init__(
        self,
        encryption: MediaEncryption,
        timeline: Timeline,
        on_heard: Callable[[str | None, bytes, float], None] | None,
        on_packet: Callable[[], None],
    ) -> None:
        """`on_heard(user_id, pcm, at)` gets each decoded packet, None for an unknown speaker; `on_packet` is called after each."""
        self.media_session: MediaSession | None = None
        self.refused: Counter[str] = Counter()
        self._encryption = encryption
        self._timeline = timeline
        self._on_heard = on_heard
        self._on_packet = on_packet
        self._streams: dict[int, ReceivedStream] = {}

    def take(self, datagram: bytes, at: float) -> None:
        """Process one datagram, or count why it is dropped."""
        try:
            self._receive(datagram, at)
        except RtpError as fault:
            self.refused[fault.reason] += 1
        except RemoteProtocolError:
            self.refused["opus"] += 1
        self._on_packet()

    def _receive(self, datagram: bytes, at: float) -> None:
        packet = RtpPacket.parse(datagram)
        payload = self._open(packet)
        track = self._timeline.track(packet.ssrc)
        opened = (track.user_id, payload) if payload == SILENCE_PACKET else self._encryption.decrypt(track.user_id, payload)
        if opened is None:
            raise RtpError("end_to_end", "a packet does not open")
        user_id, opus = opened
        if user_id is not None and track.user_id is None:
            self._timeline.claim(packet.ssrc, user_id)
        pcm = self._streams[packet.ssrc].decoder.decode(opus)
        track.add(sequence=packet.sequence, timestamp=packet.timestamp, at=at, opus=opus, pcm=pcm)
        if self._on_heard is not None:
            self._on_heard(track.user_id, pcm, at)

    def _open(self, packet: RtpPacket) -> bytes:
        if self.media_session is None:
            raise RtpError("no_session", "a packet came before its key")
        payload = strip(self.media_session.transport.open(packet), packet)
        if packet.ssrc not in self._streams:
            self._streams[packet.ssrc] = ReceivedStream()
        seen = self._streams[packet.ssrc].seen
        if packet.sequence in seen:
            raise RtpError("duplicate", "a packet came twice")
        seen.append(packet.sequence)
        if not payload:
            raise RtpError("padding_only", "a packet of padding alone")
        return payload
