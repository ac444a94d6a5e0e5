"""What networks and other people's clients do to packets, and what is heard of them: the receiver alone, in virtual time.

The first packet that arrives decides where a stream begins; the seeds below let that be its first one.
"""

import heapq
import itertools

import pytest

from discordplex.audio.opus import SILENCE_PACKET
from discordplex.loopback.discord.voice.impairments import ImpairedPath, Impairments, MediaPacket, OtherDatagram
from discordplex.loopback.discord.voice.relay_peer import sealed
from discordplex.voice.rtp.encryption import MODES, Transport
from tests.voice.booth import SOAK, TappedDecoder, noise
from tests.voice.delivery import Member, call_of
from tests.voice.rtp.test_receiver import KEY, SSRC, Studio, packets_of

ANN, BOB = 11, 22
FRAMES = 3000 if SOAK else 1000
SPEECH = packets_of(noise(300))
"""Six seconds that are said again and again."""

DAILY_LIFE = {
    "nothing": Impairments(),
    "padding": Impairments(padding=1 / 7, pure_padding=0.05),
    "csrc and extensions": Impairments(csrc=0.3, extensions=0.5),
    "other things on the socket": Impairments(rtcp=0.2, junk=0.2, other_payload=0.3),
    "duplicates": Impairments(duplicate=0.03),
    "reordering": Impairments(reorder=0.03),
    "everything": Impairments(
        padding=0.2,
        pure_padding=0.05,
        csrc=0.2,
        extensions=0.5,
        rtcp=0.1,
        junk=0.1,
        other_payload=0.1,
        duplicate=0.05,
        reorder=0.05,
        seed=2,
    ),
}


def hear(impairments: Impairments, *, frames: int, sender: Member, receiver: Member, mode: str = MODES[0]) -> tuple[Studio, list[bytes]]:
    """Have `sender` speak through a bad network; the receiver's studio, and what was said."""
    studio = Studio(receiver.e2ee)
    studio.receiver.transport, outside = Transport.for_mode(mode, KEY), Transport.for_mode(mode, KEY)
    studio.receiver.name(SSRC, sender.user_id)
    path, order = ImpairedPath(impairments), itertools.count()
    under_way: list[tuple[float, int, bytes]] = []
    said = [SPEECH[index % len(SPEECH)] for index in range(frames)]
    for index, packet in enumerate([*said, SILENCE_PACKET]):
        payload = sender.e2ee.encrypt(packet)
        assert payload
        studio.now = index * 0.02
        for shipment in path.carry(MediaPacket(SSRC, index & 0xFFFF, index * 960, payload), studio.now):
            cargo = shipment.cargo
            datagram = cargo.datagram if isinstance(cargo, OtherDatagram) else sealed(cargo, outside)
            heapq.heappush(under_way, (shipment.at, next(order), datagram))
        deliver(studio, under_way)
    studio.now += 1.0
    deliver(studio, under_way)
    return studio, said


def deliver(studio: Studio, under_way: list[tuple[float, int, bytes]]) -> None:
    while under_way and under_way[0][0] <= studio.now:
        at, _, datagram = heapq.heappop(under_way)
        studio.receiver.receive(datagram, at)
    studio.receiver.tick(studio.now)


@pytest.fixture(autouse=True)
def taps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discordplex.voice.rtp.stream.OpusDecoder", TappedDecoder)


@pytest.mark.parametrize("dirt", DAILY_LIFE.values(), ids=DAILY_LIFE.keys())
@pytest.mark.parametrize("mode", MODES)
def test_daily_life_loses_nothing(dirt: Impairments, mode: str) -> None:
    """Encrypted speech: every packet is heard, in order, once, and nothing else is; nothing is filled in."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio, said = hear(dirt, frames=FRAMES, sender=bob, receiver=ann, mode=mode)
    assert studio.ear.heard(BOB) == said
    assert studio.counts()["frames"] == FRAMES + 1


LOSSES = {
    "5 % lost": Impairments(loss=0.05, seed=3),
    "bursts of 5 lost": Impairments(lost=frozenset(place + step for place in range(20, FRAMES - 20, 100) for step in range(5))),
    "5 % lost, 3 % doubled, 3 % overtaken": Impairments(loss=0.05, duplicate=0.03, reorder=0.03, padding=0.15, seed=4),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_every_gap_is_filled_in(loss: Impairments) -> None:
    """The timeline stays whole: each frame that is lost is filled in where it was, and all others are the ones that were said."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio, said = hear(loss, frames=FRAMES, sender=bob, receiver=ann)
    heard = studio.ear.heard(BOB)
    assert len(heard) == FRAMES
    filled_in = [place for place, packet in enumerate(heard) if packet is None]
    assert [packet for packet in heard if packet] == [packet for place, packet in enumerate(said) if place not in set(filled_in)]
    assert len(filled_in) == studio.counts()["lost"] == studio.counts()["concealed"] > 0.03 * FRAMES
    if loss.lost:
        assert filled_in == sorted(loss.lost)
