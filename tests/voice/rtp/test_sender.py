"""What leaves the socket, frame by frame: the test is the send thread."""

import socket
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from typing_extensions import Self

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import SILENCE_PACKET, OpusDecoder
from discordplex.clock import SystemClock
from discordplex.metrics import Metrics
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.rtp import packet as rtp
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.sender import HANGOVER_FRAMES, HOLD_FRAMES, SILENCE_FRAMES, Sender, SendPath, is_audible
from tests.voice.booth import Mouth, tone
from tests.voice.delivery import call_of

KEY = bytes(range(32))
FRAME_S = DISCORD.frame_seconds


class Stage:
    """A sender with a socket, and what came out of it."""

    def __init__(self, *, channels: int = DISCORD.channels) -> None:
        self.metrics = Metrics()
        self.mouth = Mouth()
        self.mouth.channels = channels
        self.said: list[bool] = []
        self.alone = False
        self.sender = Sender(
            source=self.mouth,
            clock=SystemClock(),
            metrics=self.metrics,
            on_speaking=self.said.append,
            alone=lambda: self.alone,
        )
        self.near, self.far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.near, self.far):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        self.near.connect(self.far.getsockname())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.near.close()
        self.far.close()

    def attach(self, e2ee: DaveSession | None = None, *, key: bytes = KEY) -> None:
        self._inside = Transport.for_mode(MODES[0], key)
        if e2ee is None:
            e2ee = DaveSession(user_id=1, metrics=self.metrics)
            e2ee.start(channel_id=7, ssrc=1, protocol_version=0)
        self.sender.attach(SendPath(77, Transport.for_mode(MODES[0], key), e2ee, self.near))

    def tick(self, count: int = 1, *, late_s: float = 0.0) -> list[tuple[rtp.RtpPacket, bytes]]:
        """So many turns at their deadlines; the packets that left."""
        packets = []
        for _ in range(count):
            self.sender.tick(self.sender.deadline + late_s)
            try:
                packet = rtp.RtpPacket.parse(self.far.recv(2048))
            except BlockingIOError:
                continue
            packets.append((packet, rtp.strip(self._inside.open(packet), packet)))
        return packets

    def count(self, name: str) -> int:
        return self.metrics.counter(f"voice.tx.{name}").value


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


def test_a_frame_a_tick(stage: Stage) -> None:
    """Speech leaves one packet per tick, numbered in turn, 960 samples apart, under our SSRC, and decodes to what was said."""
    stage.attach()
    stage.mouth.say(tone(0.2))
    packets = stage.tick(10)
    first = packets[0][0]
    assert [rtp.seq_diff(packet.sequence, first.sequence) for packet, _ in packets] == list(range(10))
    assert [rtp.ts_diff(packet.timestamp, first.timestamp) for packet, _ in packets] == [960 * n for n in range(10)]
    assert {packet.ssrc for packet, _ in packets} == {77}
    decoder = OpusDecoder()
    assert all(is_audible(decoder.decode(payload)) for _, payload in packets)
    assert (stage.said, stage.count("packets")) == ([True], 10)


def test_the_beat_begins_with_the_first_session(stage: Stage) -> None:
    """However long a call took to connect, its first frame is not late; a later session leaves the beat as it is."""
    made_for = stage.sender.deadline
    stage.sender.deadline -= 60
    stage.attach()
    begun = stage.sender.deadline
    assert begun >= made_for
    stage.attach()
    assert stage.sender.deadline == begun


def test_silence_ends_a_stretch_and_stops(stage: Stage) -> None:
    """After 300 ms below the gate come five silence frames and then nothing, until the next sound; the timestamps have run on."""
    stage.attach()
    assert stage.tick(5) == []
    stage.mouth.say(tone(0.02))
    packets = stage.tick(60)
    assert len(packets) == 1 + HANGOVER_FRAMES + SILENCE_FRAMES
    assert [payload for _, payload in packets[-SILENCE_FRAMES:]] == [SILENCE_PACKET] * SILENCE_FRAMES
    assert SILENCE_PACKET not in [payload for _, payload in packets[: 1 + HANGOVER_FRAMES]]
    assert stage.said == [True, False]
    stage.mouth.say(tone(0.02))
    ((again, _),) = stage.tick(1)
    assert rtp.seq_diff(again.sequence, packets[-1][0].sequence) == 1
    assert rtp.ts_diff(again.timestamp, packets[0][0].timestamp) == 60 * DISCORD.frame_samples
    assert stage.said == [True, False, True]


def test_a_pause_between_words_is_sent(stage: Stage) -> None:
    """Silence shorter than the hangover does not close the gate."""
    stage.attach()
    stage.mouth.say(tone(0.02) + bytes(DISCORD.frame_bytes * HANGOVER_FRAMES) + tone(0.02))
    assert len(stage.tick(HANGOVER_FRAMES + 2)) == HANGOVER_FRAMES + 2
    assert stage.said == [True]


@pytest.mark.parametrize(("peak", "audible"), [(0, False), (31, False), (32, True), (-31, False), (-32, True), (-32_768, True)])
def test_the_gate_looks_at_the_loudest_sample(peak: int, audible: bool) -> None:  # noqa: FBT001 - a table of values
    """One sample at -60 dBFS opens it, in either direction; the end of the source does not."""
    pcm = bytearray(DISCORD.silence)
    pcm[100:102] = peak.to_bytes(2, "little", signed=True)
    assert is_audible(bytes(pcm)) is audible
    assert not is_audible(b"")


def test_the_end_of_the_source_ends_the_stretch(stage: Stage) -> None:
    """Once the source has ended, the five silence frames follow at once."""
    stage.attach()
    stage.mouth.say(tone(0.02))
    stage.tick(1)
    stage.mouth.frames.extend([b""] * 20)
    assert [payload for _, payload in stage.tick(20)] == [SILENCE_PACKET] * SILENCE_FRAMES


def test_a_late_thread_skips_instead_of_bursting(stage: Stage) -> None:
    """Up to two frames are caught up with; more are skipped, and the timestamps know it."""
    stage.attach()
    stage.mouth.say(tone(1.0))
    ((first, _),) = stage.tick(1)
    ((caught_up, _),) = stage.tick(1, late_s=2.5 * FRAME_S)
    assert rtp.ts_diff(caught_up.timestamp, first.timestamp) == DISCORD.frame_samples
    before = stage.sender.deadline
    ((skipped, _),) = stage.tick(1, late_s=5.5 * FRAME_S)
    assert rtp.ts_diff(skipped.timestamp, caught_up.timestamp) == 6 * DISCORD.frame_samples
    assert stage.sender.deadline == pytest.approx(before + 6 * FRAME_S)
    assert stage.count("skipped") == 5
    assert stage.metrics.histogram("voice.tx.lateness_ms").maximum == pytest.approx(110)


class Following(Mouth):
    """A source that says how much earlier it could have been read."""

    def __init__(self) -> None:
        super().__init__()
        self.surplus_s: float | None = None


def test_the_beat_slides_to_where_frames_wait_for_nothing(stage: Stage) -> None:
    """A source whose frames wait 5 ms too long is read 5 ms earlier, by half a millisecond a tick; the timestamps stay on their grid."""
    source = Following()
    stage.sender = Sender(source=source, clock=SystemClock(), metrics=stage.metrics, on_speaking=stage.said.append, alone=bool)
    stage.attach()
    source.say(tone(2.0))
    start, waits, packets = stage.sender.deadline, [], []
    for count in range(50):
        source.surplus_s = 0.005 + stage.sender.deadline - start - count * FRAME_S
        waits.append(source.surplus_s)
        packets += stage.tick(1)
    assert max(before - after for before, after in pairwise(waits)) <= 0.0005 + 1e-9
    assert abs(waits[-1]) < 0.0005
    stamps = [packet.timestamp for packet, _ in packets]
    assert {rtp.ts_diff(after, before) for before, after in pairwise(stamps)} == {DISCORD.frame_samples}


def test_a_new_stretch_begins_with_true_timestamps(stage: Stage) -> None:
    """After a slide of 5 ms and a silence, the next sound's timestamp is as far from the first as the clock is: 5 ms short of frames."""
    source = Following()
    stage.sender = Sender(source=source, clock=SystemClock(), metrics=stage.metrics, on_speaking=stage.said.append, alone=bool)
    stage.attach()
    start = stage.sender.deadline
    source.say(tone(0.02))
    ((first, _),) = stage.tick(1)
    source.surplus_s = 0.1
    stage.tick(10)
    source.surplus_s = None
    stage.tick(49)
    source.say(tone(0.02))
    elapsed_s = stage.sender.deadline - start
    ((again, _),) = stage.tick(1)
    assert elapsed_s == pytest.approx(60 * FRAME_S - 0.005)
    assert rtp.ts_diff(again.timestamp, first.timestamp) == pytest.approx(elapsed_s * DISCORD.rate_hz)


def test_what_cannot_be_sent_is_held_and_then_dropped(stage: Stage) -> None:
    """While the wire is being mended the source is left alone for 200 ms, so that nothing is cut; then its frames go nowhere."""
    stage.mouth.say(tone(1.0))
    stage.tick(HOLD_FRAMES)
    assert len(stage.mouth.frames) == 50
    stage.tick(5)
    assert len(stage.mouth.frames) == 45
    assert stage.count("dropped") == 5
    stage.alone = True
    stage.tick(2)
    assert len(stage.mouth.frames) == 43
    assert stage.count("dropped") == 5, "nobody misses what is said in an empty channel"
    stage.attach()
    assert len(stage.tick(3)) == 3
    stage.sender.detach()
    assert stage.tick(3) == []


def test_nothing_is_sent_in_the_clear_before_the_group_exists(stage: Stage) -> None:
    """In an encrypted call without a key not a byte leaves; with the key every frame but silence is encrypted."""
    alone = DaveSession(user_id=1, metrics=stage.metrics)
    alone.start(channel_id=7, ssrc=77, protocol_version=1)
    stage.attach(alone)
    stage.mouth.say(tone(1.0))
    assert stage.tick(HOLD_FRAMES) == []
    assert len(stage.mouth.frames) == 50
    assert stage.tick(10) == []
    _, (ann, bob) = call_of(11, 22)
    stage.attach(ann.e2ee)
    packets = stage.tick(5)
    decoder = OpusDecoder()
    for _, payload in packets:
        opened = bob.e2ee.decrypt(11, payload)
        assert opened is not None
        assert is_audible(decoder.decode(opened))
    assert len(packets) == 5


def test_a_key_that_comes_again_meets_no_nonce_again(stage: Stage) -> None:
    """A server describes the session with one key, with another, with the first again; and so does the next session of the call."""
    stage.mouth.say(tone(1.0))
    sealed: list[tuple[bytes, bytes]] = []
    for key in (KEY, bytes(32), KEY, KEY):
        stage.attach(key=key)
        sealed += [(key, packet.body[-4:]) for packet, _ in stage.tick(5)]
        stage.sender.detach()
    assert len(sealed) == 20
    assert len(set(sealed)) == 20


def test_a_network_that_is_away_is_counted(stage: Stage) -> None:
    """An error of the socket costs one packet, not the thread."""
    stage.attach()
    stage.mouth.say(tone(0.2))
    stage.near.close()
    assert stage.tick(3) == []
    assert stage.count("socket_errors") == 3


def test_a_source_with_one_channel_is_sent_with_one() -> None:
    """A listener whose decoder has two channels hears the same on both."""
    with Stage(channels=1) as stage:
        stage.attach()
        stage.mouth.say(tone(0.1, channels=1))
        packets = stage.tick(5)
    decoder = OpusDecoder(channels=2)
    heard = [np.frombuffer(decoder.decode(payload), "<i2").reshape(-1, 2) for _, payload in packets]
    assert len(heard) == 5
    assert all((frame[:, 0] == frame[:, 1]).all() for frame in heard)
    assert max(int(frame.max()) for frame in heard) > 8000
