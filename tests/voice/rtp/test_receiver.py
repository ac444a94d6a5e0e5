"""From datagrams to sound: each datagram that is not sound has its reason."""

import random
from collections.abc import Container, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import SILENCE_PACKET, OpusDecoder, OpusEncoder
from discordplex.metrics import Metrics
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.rtp import packet as rtp
from discordplex.voice.rtp.encryption import MODES, WINDOW_PACKETS, Transport
from discordplex.voice.rtp.receiver import DISCOVERY, EVERYBODY, KEEPALIVE, MAX_STREAMS, Receiver
from discordplex.voice.rtp.stream import MAX_CONCEALED, MAX_HELD
from tests.voice.booth import Ear, tone
from tests.voice.delivery import Member, call_of

KEY = bytes(range(32))
ANN, BOB, CAT = 11, 22, 33
SSRC = 500


def packets_of(pcm: bytes, *, fec: bool = False) -> list[bytes]:
    encoder = OpusEncoder(application="voip" if fec else "audio", bitrate=32_000, fec=fec, expected_loss_percent=20 if fec else 0)
    return [encoder.encode(pcm[at : at + DISCORD.frame_bytes]) for at in range(0, len(pcm), DISCORD.frame_bytes)]


def opus_packets(count: int = 20, *, fec: bool = False) -> list[bytes]:
    return packets_of(tone(count / 50), fec=fec)


PACKETS = opus_packets()


class Studio:
    """A receiver, and a sender of datagrams for it."""

    def __init__(self, e2ee: DaveSession | None = None) -> None:
        self.metrics = Metrics()
        self.ear = Ear()
        if e2ee is None:
            e2ee = DaveSession(user_id=1, metrics=self.metrics)
            e2ee.start(channel_id=7, ssrc=1, protocol_version=0)
        self.e2ee = e2ee
        self.found: list[tuple[str, int]] = []
        self.receiver = Receiver(e2ee=e2ee, sink=self.ear, metrics=self.metrics, on_discovery=lambda *where: self.found.append(where))
        self.receiver.transport = Transport.for_mode(MODES[0], KEY)
        self._outside = Transport.for_mode(MODES[0], KEY)
        self.now = 100.0

    def datagram(self, sequence: int, payload: bytes, *, ssrc: int = SSRC, padding: int = 0, words: int | None = 1) -> bytes:
        header = rtp.build_header(sequence=sequence, timestamp=sequence * 960, ssrc=ssrc, padded=padding > 0, extension_words=words)
        return self._outside.seal(header, rtp.build_plaintext(payload, extension=bytes(4 * (words or 0)), padding_bytes=padding))

    def seal_from(self, counter: int) -> None:
        """The next datagram has this counter."""
        self._outside.sealed = counter

    def send(self, sequences: Iterable[int], *, ssrc: int = SSRC) -> None:
        for sequence in sequences:
            self.receiver.receive(self.datagram(sequence, PACKETS[sequence % len(PACKETS)], ssrc=ssrc), self.now)
            self.now += 0.02

    def counts(self) -> dict[str, int]:
        return {
            name.removeprefix("voice.rx."): value
            for name, value in self.metrics.snapshot().items()
            if name.startswith("voice.rx.") and value
        }


@pytest.fixture
def studio() -> Studio:
    return Studio()


def test_named_frames_are_heard_at_once(studio: Studio) -> None:
    """Each datagram of a known speaker is a frame in the sink by the time `receive` returns."""
    studio.receiver.name(SSRC, ANN)
    for sequence in range(5):
        studio.send([sequence])
        assert studio.ear.frames(ANN) == sequence + 1
    assert studio.counts() == {"frames": 5}
    assert studio.receiver.opened == 5


def test_padding_and_extensions_come_off(studio: Studio) -> None:
    """With any dress around it the same Opus packet arrives."""
    studio.receiver.name(SSRC, ANN)
    for sequence, (padding, words) in enumerate([(0, None), (5, 0), (255, 3), (1, 1)]):
        studio.receiver.receive(studio.datagram(sequence, PACKETS[0], padding=padding, words=words), 100.0)
    assert studio.counts() == {"frames": 4}


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "short"),
        (b"12345678", "keepalives_unasked"),
        (b"\x80\xc9" + bytes(30), "rtcp"),
        (b"\x80\x65" + bytes(40), "payload_type"),
        (b"\x80\x78" + bytes(60), "unauthentic"),
        (b"\x00" * 74, "version"),
    ],
)
def test_what_is_no_frame_has_a_reason(studio: Studio, datagram: bytes, reason: str) -> None:
    """Each is counted under its own name."""
    studio.receiver.name(0, ANN)
    studio.receiver.receive(datagram, 100.0)
    assert studio.counts() == {reason: 1}


def test_an_answered_keep_alive_proves_the_path_once(studio: Studio) -> None:
    """One that was not sent, or was answered already, proves nothing: anybody may have made it."""
    studio.receiver.keepalives = range(70, 73)
    for number, proven in ((69, False), (73, False), (71, True), (71, False), (70, False), (72, True), (2**64 - 1, False)):
        studio.now += 1
        studio.receiver.receive(KEEPALIVE.pack(number), studio.now)
        assert (studio.receiver.alive_at == studio.now) is proven
    assert studio.receiver.echoes == 2
    assert studio.counts() == {"keepalives": 2, "keepalives_unasked": 5}


def test_datagrams_before_the_key_are_early(studio: Studio) -> None:
    """Without a transport nothing can be opened; the answer to IP discovery is understood all the same."""
    studio.receiver.transport = None
    studio.send([1])
    studio.receiver.receive(DISCOVERY.pack(2, 70, 5, b"203.0.113.7", 50_001), 100.0)
    studio.receiver.receive(DISCOVERY.pack(2, 70, 5, b"\xff" * 10, 50_001), 100.0)
    assert studio.counts() == {"early": 1, "discovery_damaged": 1}
    assert studio.found == [("203.0.113.7", 50_001)]


def test_answers_to_discovery_are_taken_while_they_are_awaited(studio: Studio) -> None:
    """Once there is a key our address is known: whoever sends more of them wakes nobody."""
    studio.receiver.receive(DISCOVERY.pack(2, 70, 5, b"203.0.113.7", 50_001), 100.0)
    assert (studio.found, studio.counts()) == ([], {"discovery_late": 1})


def test_duplicates_and_late_ones_are_dropped(studio: Studio) -> None:
    """Each sequence number is heard once."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0, 1, 1, 0, 2, 4, 5, 6, 7, 3])
    assert studio.counts() == {"frames": 7, "duplicates": 2, "lost": 1, "concealed": 1, "late": 1}


def junk(datagram: bytes) -> bytes:
    """The datagram with a tag that is not the voice server's."""
    return datagram[:-5] + bytes([datagram[-5] ^ 1]) + datagram[-4:]


@pytest.mark.parametrize("encrypted", [False, True])
def test_junk_costs_a_counter(*, encrypted: bool) -> None:
    """Five thousand forged datagrams a second, as of who speaks, of who is named and silent, of nobody known: nobody loses a packet by it.

    Nor is anything kept of them, and nothing of it is taken for speech that cannot be read: that would cost new keys and a new session.
    """
    _, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    studio = Studio(ann.e2ee if encrypted else None)
    studio.receiver.name(SSRC, BOB)
    studio.receiver.name(SSRC + 1, CAT)
    forged = 0
    for number in range(50):
        for sequence in range(100):
            ssrc = (SSRC, SSRC + 1, SSRC + 2, 10_000 + forged)[sequence % 4]
            studio.receiver.receive(junk(studio.datagram(sequence, PACKETS[0], ssrc=ssrc)), studio.now)
            forged += 1
        payload = PACKETS[number % len(PACKETS)]
        studio.receiver.receive(studio.datagram(number, (bob.e2ee.encrypt(payload) or b"") if encrypted else payload), studio.now)
        studio.now += 0.02
    for sequence in range(5):  # somebody new, whose first packets come before their name
        frame = cat.e2ee.encrypt(PACKETS[sequence]) or b""
        studio.receiver.receive(studio.datagram(sequence, frame if encrypted else PACKETS[sequence], ssrc=SSRC + 9), studio.now)
    studio.receiver.name(SSRC + 9, CAT)
    studio.receiver.tick(studio.now)
    assert (studio.ear.frames(BOB), studio.ear.frames(CAT)) == (50, 5)
    assert {name: count for name, count in studio.counts().items() if name != "named_by_key"} == {"frames": 55, "unauthentic": forged}
    assert {counts.ssrc: counts.arrived for counts in studio.receiver.stream_counts()} == {SSRC: 50, SSRC + 1: 0, SSRC + 9: 5}


def test_what_may_be_of_the_ignored_is_kept_unopened_and_counts_for_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose a stream without a name is cannot be known: where it may be of somebody who opted out, not even its transport is opened."""
    opened: list[int] = []
    transport_open = Transport.open

    def noted(self: Transport, packet: rtp.RtpPacket) -> bytes:
        opened.append(packet.sequence)
        return transport_open(self, packet)

    monkeypatch.setattr(Transport, "open", noted)
    studio.e2ee.join([ANN, BOB])
    studio.receiver.ignore(frozenset({BOB}))
    studio.send(range(5))
    assert opened == []
    assert [(counts.announced, counts.arrived) for counts in studio.receiver.stream_counts()] == [(0, 0)]
    studio.receiver.name(SSRC, ANN)
    studio.receiver.name(SSRC + 1, BOB)
    studio.receiver.tick(studio.now)
    assert (studio.ear.frames(ANN), opened) == (5, list(range(5)))
    studio.send(range(5, 8), ssrc=SSRC + 2)  # Bob has a stream: this one is not his
    assert opened == list(range(8))
    assert [counts.arrived for counts in studio.receiver.stream_counts() if counts.ssrc == SSRC + 2] == [3]


def test_a_captured_datagram_is_heard_once(studio: Studio) -> None:
    """Sent again at once, after a hundred others, after so many that its counter is forgotten: it changes nothing and proves no path."""
    studio.receiver.name(SSRC, ANN)
    captured = [studio.datagram(sequence, PACKETS[0]) for sequence in range(5)]
    for datagram in captured:
        studio.receiver.receive(datagram, studio.now)
    taken = 5
    for more in (0, 150, WINDOW_PACKETS):
        studio.send(range(taken, taken + more))
        taken += more
        before = studio.counts(), studio.receiver.opened, studio.receiver.alive_at, studio.receiver.stream_counts()
        for datagram in captured:
            studio.receiver.receive(datagram, studio.now + 1)
        assert studio.counts().pop("replayed") == before[0].pop("replayed", 0) + 5
        assert (studio.receiver.opened, studio.receiver.alive_at, studio.receiver.stream_counts()) == before[1:]
    assert studio.ear.frames(ANN) == taken
    assert set(studio.counts()) == {"frames", "replayed"}


def test_a_captured_datagram_of_a_former_stream_begins_none(studio: Studio) -> None:
    """Also where nothing of the stream is left but its counters."""
    studio.receiver.name(SSRC, ANN)
    captured = studio.datagram(7, PACKETS[0])
    studio.receiver.receive(captured, studio.now)
    studio.receiver.ignore(frozenset({ANN}))
    studio.send([8])
    studio.receiver.ignore(frozenset())
    studio.receiver.receive(captured, studio.now)
    assert studio.counts() == {"frames": 1, "ignored": 1, "replayed": 1}


def test_counters_that_do_not_grow_deafen_nobody(studio: Studio) -> None:
    """Where the voice server takes any counters, each packet that is next in its stream is heard."""
    studio.receiver.name(SSRC, ANN)
    counters = random.Random(1).sample(range(2**32), 200)
    for sequence, counter in enumerate(counters):
        studio.seal_from(counter)
        studio.send([sequence])
    assert studio.ear.frames(ANN) == 200
    assert studio.counts() == {"frames": 200}


def test_a_lost_frame_is_filled_in() -> None:
    """The sink gets a frame for the one that was lost, made from the next packet's FEC where it carries any."""
    studio = Studio()
    studio.receiver.name(SSRC, ANN)
    packets = opus_packets(fec=True)
    for sequence in [*range(10), *range(11, 16)]:
        studio.receiver.receive(studio.datagram(sequence, packets[sequence]), 100.0)
    assert studio.ear.frames(ANN) == 16
    decoder = OpusDecoder()
    for packet in packets[:10]:
        decoder.decode(packet)
    at = 10 * DISCORD.frame_bytes
    assert studio.ear.pcm[ANN][at : at + DISCORD.frame_bytes] == decoder.conceal(packets[11])
    assert studio.counts() == {"frames": 15, "lost": 1, "concealed": 1}


def test_a_long_gap_is_filled_in_for_a_while_only(studio: Studio) -> None:
    """Of thirty lost frames five are filled in: more would only be late."""
    studio.receiver.name(SSRC, ANN)
    studio.send([*range(3), *range(33, 40)])
    assert studio.counts() == {"frames": 10, "lost": 30, "concealed": MAX_CONCEALED}


def test_a_gap_is_given_up_by_time(studio: Studio) -> None:
    """When nothing more arrives, `due` says when the held packets come out."""
    studio.receiver.name(SSRC, ANN)
    assert studio.receiver.due is None
    studio.send([0, 2])
    assert studio.receiver.due == pytest.approx(100.08)
    studio.receiver.tick(100.07)
    assert studio.ear.frames(ANN) == 1
    studio.receiver.tick(100.08)
    assert studio.ear.frames(ANN) == 3
    assert studio.receiver.due is None


def test_a_pause_is_not_a_loss(studio: Studio) -> None:
    """After the silence marker nothing is filled in, even where the markers themselves were lost."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0])
    studio.receiver.receive(studio.datagram(1, SILENCE_PACKET), 100.0)
    studio.send([4, 5, 6, 7])
    assert studio.counts() == {"frames": 6, "lost": 2}


def test_pure_padding_takes_a_number_and_nothing_else(studio: Studio) -> None:
    """An empty packet is no sound and no gap."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0])
    studio.receiver.receive(studio.datagram(1, b"", padding=9), 100.0)
    studio.send([2])
    assert studio.counts() == {"frames": 2, "empty": 1}


def test_corrupt_opus_is_counted_and_filled_in(studio: Studio) -> None:
    """The stream goes on behind a packet that no decoder takes."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0])
    studio.receiver.receive(studio.datagram(1, b"\xff\xff\xff"), 100.0)
    studio.send([2])
    assert studio.counts() == {"frames": 2, "corrupt": 1, "lost": 1, "concealed": 1}


def test_frames_wait_for_their_name(studio: Studio) -> None:
    """Without encryption only Discord knows whose they are: they are held, in order, and the oldest go first."""
    studio.send(range(MAX_HELD + 2))
    assert studio.ear.pcm == {}
    studio.receiver.name(SSRC, ANN)
    studio.receiver.tick(studio.now)
    assert studio.ear.frames(ANN) == MAX_HELD
    assert studio.counts() == {"unnamed": 2, "frames": MAX_HELD}


def test_who_leaves_takes_the_stream_along(studio: Studio) -> None:
    """After `forget` the SSRC is unknown again; the next session's stream under the same number starts from nothing."""
    studio.receiver.name(SSRC, ANN)
    studio.send(range(3))
    studio.receiver.forget(ANN)
    studio.send(range(3, 5))
    studio.receiver.name(SSRC, BOB)
    studio.send([5])
    assert (studio.ear.frames(ANN), studio.ear.frames(BOB)) == (3, 3)


def test_who_opted_out_is_not_decoded(studio: Studio) -> None:
    """Ignored speakers leave no sound, whether they were ignored before or while they spoke."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0])
    studio.receiver.ignore(frozenset({ANN}))
    studio.send([1, 2])
    assert studio.counts() == {"frames": 1, "ignored": 2}


def test_who_is_heard_again_begins_anew(studio: Studio) -> None:
    """What was said meanwhile is neither missed nor concealed, and what waited for order when it began is not decoded."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0, 2])
    studio.receiver.ignore(frozenset({ANN}))
    studio.receiver.tick(200.0)
    studio.send(range(3, 200))
    studio.receiver.ignore(frozenset())
    studio.send([200])
    assert studio.ear.frames(ANN) == 2
    assert {name for name in studio.counts() if name not in ("ignored", "resyncs")} == {"frames"}


def test_a_deaf_bot_decodes_nobody(studio: Studio) -> None:
    """Neither those it knows nor those whom it does not know yet, and nothing is kept for later."""
    studio.receiver.name(SSRC, ANN)
    studio.receiver.ignore(EVERYBODY)
    studio.send([0, 1])
    studio.send([0, 1], ssrc=SSRC + 1)
    studio.receiver.ignore(frozenset())
    studio.receiver.name(SSRC + 1, BOB)
    assert studio.ear.pcm == {}
    assert studio.counts() == {"ignored": 4}


def test_streams_are_bounded(studio: Studio) -> None:
    """One speaker too many takes the place of the one that was silent longest."""
    for ssrc in range(MAX_STREAMS + 1):
        studio.receiver.name(ssrc, ANN + ssrc)
        studio.send([0], ssrc=ssrc)
    assert studio.counts() == {"frames": MAX_STREAMS + 1, "streams_evicted": 1}
    studio.send([1], ssrc=MAX_STREAMS)
    assert studio.ear.frames(ANN + MAX_STREAMS) == 2


def test_encrypted_speakers_are_known_by_their_key() -> None:
    """In an encrypted call the first packet is heard although nobody has said whose it is, and the name is kept."""
    _, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    studio = Studio(ann.e2ee)
    for sequence, sender in enumerate([bob, bob, cat]):
        frame = sender.e2ee.encrypt(PACKETS[sequence])
        assert frame
        studio.receiver.receive(studio.datagram(sequence, frame, ssrc=sender.ssrc), 100.0)
    assert (studio.ear.frames(BOB), studio.ear.frames(CAT)) == (2, 1)
    assert studio.counts() == {"frames": 3, "named_by_key": 2}


def sealed(sender: Member, packet: bytes) -> bytes:
    frame = sender.e2ee.encrypt(packet)
    assert frame
    return frame


def test_a_stream_is_of_whose_key_opens_it() -> None:
    """Discord says that Bob's stream is Cat's, before he speaks and while he does: he is heard, as Bob, in every packet."""
    _, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    studio = Studio(ann.e2ee)
    for sequence in range(10):
        studio.receiver.name(SSRC, CAT)
        studio.receiver.receive(studio.datagram(sequence, sealed(bob, PACKETS[sequence])), studio.now)
    assert {user_id: studio.ear.frames(user_id) for user_id in studio.ear.pcm} == {BOB: 10}
    assert studio.counts() == {"frames": 10, "named_by_key": 1, "misnamed": 9}
    for sequence in range(10, 15):  # and where it becomes hers although nobody has said that he left, it is
        studio.receiver.name(SSRC, CAT)
        studio.receiver.receive(studio.datagram(sequence, sealed(cat, PACKETS[sequence])), studio.now)
    assert {user_id: studio.ear.frames(user_id) for user_id in studio.ear.pcm} == {BOB: 10, CAT: 5}


def test_who_is_ignored_cannot_hide_somebody_else() -> None:
    """Discord says that Bob's stream is of Cat, who has opted out, while he speaks: he is heard all the same."""
    _, (ann, bob, _) = call_of(ANN, BOB, CAT)
    studio = Studio(ann.e2ee)
    studio.receiver.ignore(frozenset({CAT}))
    studio.receiver.name(SSRC, BOB)
    for sequence in range(10):
        studio.receiver.receive(studio.datagram(sequence, sealed(bob, PACKETS[sequence])), studio.now)
        studio.receiver.name(SSRC, CAT)
    assert studio.ear.frames(BOB) == 10


def test_an_unknown_opted_out_speaker_is_dropped_too() -> None:
    """Where nobody but the ignored can be the sender, a stream without a name is not opened, not even its transport."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio = Studio(ann.e2ee)
    studio.receiver.ignore(frozenset({BOB}))
    for sequence in range(2):
        frame = bob.e2ee.encrypt(PACKETS[sequence])
        assert frame
        studio.receiver.receive(studio.datagram(sequence, frame), 100.0)
    assert studio.ear.pcm == {}
    assert studio.counts() == {"unnamed": 2}
    assert studio.receiver.opened == 0


def test_the_keys_of_those_who_opted_out_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one candidate who may be heard only that key is tried; what it does not open is dropped, and nothing else is learnt of it."""
    tried: list[int] = []
    _, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    studio = Studio(ann.e2ee)
    studio.receiver.ignore(frozenset({BOB}))
    decrypt = ann.e2ee.decrypt

    def noted(user_id: int, payload: bytes) -> bytes | None:
        tried.append(user_id)
        return decrypt(user_id, payload)

    monkeypatch.setattr(ann.e2ee, "decrypt", noted)
    for sequence, sender in enumerate([bob, cat, bob, cat]):
        frame = sender.e2ee.encrypt(PACKETS[sequence])
        assert frame
        studio.receiver.receive(studio.datagram(sequence // 2, frame, ssrc=sender.ssrc), 100.0)
    assert set(tried) == {CAT}
    assert list(studio.ear.pcm) == [CAT]
    assert studio.receiver.opened == 3  # once Cat's stream has a name, the other can only be Bob's, and stays closed
    assert studio.counts() == {"frames": 2, "named_by_key": 1, "unnamed": 2}


@pytest.mark.parametrize("dropped", [frozenset({ANN}), EVERYBODY])
def test_nothing_of_the_ignored_is_opened(studio: Studio, monkeypatch: pytest.MonkeyPatch, dropped: Container[int | None]) -> None:
    """No transport, no end-to-end decryption, no Opus: for who opted out, and for everybody while the bot is stopped."""
    opened: list[str] = []
    studio.receiver.name(SSRC, ANN)
    studio.receiver.ignore(dropped)
    for owner, name in ((Transport, "open"), (DaveSession, "decrypt"), (OpusDecoder, "decode"), (OpusDecoder, "conceal")):
        monkeypatch.setattr(owner, name, lambda *_, name=name: opened.append(name))
    studio.send([0, 1, 5])
    studio.receiver.tick(200.0)
    assert opened == []
    assert studio.counts() == {"ignored": 3}


def test_a_name_that_comes_late_opens_nothing_of_the_ignored(studio: Studio) -> None:
    """Packets that waited for it are thrown away as they came."""
    studio.send(range(5))
    studio.receiver.ignore(frozenset({ANN}))
    studio.receiver.name(SSRC, ANN)
    studio.receiver.tick(studio.now)
    assert studio.receiver.opened == 0
    assert studio.counts() == {"ignored": 5}
    studio.receiver.ignore(frozenset())
    studio.receiver.tick(studio.now)
    assert studio.ear.pcm == {}


def test_what_is_held_goes_at_once(studio: Studio) -> None:
    """There is neither a packet that waits for its order nor the decoder that knows the last sound."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0, 2])
    studio.send(range(3), ssrc=SSRC + 1)
    due = [studio.receiver.due is None]
    studio.receiver.ignore(EVERYBODY)
    studio.receiver.tick(studio.now)
    due.append(studio.receiver.due is None)
    assert due == [False, True]
    assert (studio.receiver._streams, studio.receiver._waiting) == ({}, {})


def test_a_stream_that_changes_hands_keeps_nothing(studio: Studio) -> None:
    """What one person said is not used to fill a gap in what the next one says."""
    studio.receiver.name(SSRC, ANN)
    studio.send([0, 2])
    studio.receiver.name(SSRC, BOB)
    studio.send([3])
    assert (studio.ear.frames(ANN), studio.ear.frames(BOB)) == (1, 1)
    assert studio.counts() == {"frames": 2, "renamed": 1}


def test_clear_frames_in_an_encrypted_call_are_dropped() -> None:
    """An unencrypted frame is counted apart from a damaged one, and the silence marker is exempt."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio = Studio(ann.e2ee)
    studio.receiver.name(SSRC, BOB)
    frame = bob.e2ee.encrypt(PACKETS[0])
    assert frame
    for sequence, payload in enumerate([frame, PACKETS[1], frame, SILENCE_PACKET]):
        studio.receiver.receive(studio.datagram(sequence, payload), 100.0)
    assert studio.counts() == {"frames": 2, "unencrypted": 1, "unopened": 1, "lost": 2, "concealed": 2}


def test_loss_by_script_leaves_the_timeline_whole(studio: Studio) -> None:
    """With every twentieth packet lost, as many frames reach the sink as were sent."""
    studio.receiver.name(SSRC, ANN)
    studio.send(sequence for sequence in range(200) if sequence % 20 != 10)
    assert studio.ear.frames(ANN) == 200
    assert studio.counts() == {"frames": 190, "lost": 10, "concealed": 10}


STUDIO = Studio()
STUDIO.receiver.name(SSRC, ANN)


@settings(deadline=None)
@given(payload=st.binary(max_size=80), sequence=st.integers(0, 65_535), ssrc=st.sampled_from([SSRC, 1, 2, 3]), seed=st.integers(0, 999))
def test_no_datagram_raises(payload: bytes, sequence: int, ssrc: int, seed: int) -> None:
    """Authentic nonsense, and the same damaged, cut or without its transport's dress: the receiver counts and goes on."""
    datagram = STUDIO.datagram(sequence, payload, ssrc=ssrc)
    dice = random.Random(seed)
    damaged = bytearray(datagram)
    damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    for candidate in (datagram, bytes(damaged), datagram[: dice.randrange(len(datagram))], payload):
        STUDIO.receiver.receive(candidate, STUDIO.now)
    STUDIO.now += dice.random()
    STUDIO.receiver.tick(STUDIO.now)
    assert STUDIO.receiver.due is None or STUDIO.receiver.due > STUDIO.now
