"""The impairments alone: what they do to a stream, and that they do it again."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.loopback.discord.voice.impairments import ImpairedPath, Impairments, MediaPacket, OtherDatagram, ScheduledDatagram

FRAME_S = 0.02


def packets(count: int, first_sequence: int = 65_500) -> list[MediaPacket]:
    return [MediaPacket(7, (first_sequence + index) & 0xFFFF, index * 960, bytes((index & 0xFF, 1))) for index in range(count)]


def walk(impairments: Impairments, count: int = 400, stream: int = 0) -> tuple[ImpairedPath, list[ScheduledDatagram]]:
    path = ImpairedPath(impairments, stream=stream)
    shipments = [shipment for index, media in enumerate(packets(count)) for shipment in path.carry(media, index * FRAME_S)]
    return path, sorted(shipments, key=lambda shipment: shipment.at)


def media_of(shipments: Iterable[ScheduledDatagram]) -> list[MediaPacket]:
    return [shipment.cargo for shipment in shipments if isinstance(shipment.cargo, MediaPacket)]


def test_without_impairments_everything_passes_as_it_came() -> None:
    """A clean path delivers each packet once, unchanged, at once."""
    _, shipments = walk(Impairments())
    assert media_of(shipments) == packets(400)
    assert [shipment.at for shipment in shipments] == [index * FRAME_S for index in range(400)]


def test_the_same_seed_gives_the_same_day() -> None:
    """Two walks with one seed agree in every byte and every moment; another seed or stream differs."""
    bad_day = Impairments(loss=0.1, duplicate=0.1, reorder=0.1, padding=0.2, extensions=0.5, junk=0.2, jitter_ms=30, seed=5)
    assert walk(bad_day)[1] == walk(bad_day)[1]
    assert walk(bad_day)[1] != walk(bad_day, stream=1)[1]


def test_one_kind_does_not_move_another() -> None:
    """The same packets are lost whether or not others are duplicated beside it."""
    alone = {media.sequence for media in media_of(walk(Impairments(loss=0.1, seed=3))[1])}
    beside = {media.sequence for media in media_of(walk(Impairments(loss=0.1, duplicate=0.3, padding=0.3, seed=3))[1])}
    assert alone == beside


def test_loss_takes_its_share_and_counts_it() -> None:
    """What was lost and what arrived add up to what was taken."""
    path, shipments = walk(Impairments(loss=0.05, seed=1), count=1000)
    assert path.counts["lost"] + len(shipments) == path.counts["taken"] == 1000
    assert 20 < path.counts["lost"] < 90


def test_a_burst_takes_neighbours() -> None:
    """With bursts of five, losses come in runs of five or more."""
    _, shipments = walk(Impairments(loss=0.02, burst_packets=5, seed=2))
    arrived = {media.timestamp // 960 for media in media_of(shipments)}
    lost = sorted(set(range(400)) - arrived)
    runs = [index for index in lost if index - 1 not in lost]
    assert runs
    assert all(set(range(start, min(start + 5, 400))) <= set(lost) for start in runs)


def test_scripted_loss_takes_exactly_what_it_names() -> None:
    """The packets named by their place in the stream are gone, no others."""
    _, shipments = walk(Impairments(lost=frozenset({0, 7, 8})), count=10)
    assert [media.timestamp // 960 for media in media_of(shipments)] == [1, 2, 3, 4, 5, 6, 9]


def test_a_duplicate_is_the_same_packet_again() -> None:
    """Each packet arrives, some twice, none three times."""
    path, shipments = walk(Impairments(duplicate=0.1, seed=4))
    assert len(shipments) == 400 + path.counts["duplicated"]
    assert path.counts["duplicated"] > 10
    assert set(media_of(shipments)) == set(packets(400))


def test_a_reordered_packet_is_overtaken_by_the_next() -> None:
    """Reordering changes the order of arrival and loses nothing."""
    path, shipments = walk(Impairments(reorder=0.05, seed=6))
    arrived = media_of(shipments)
    assert path.counts["reordered"] > 5
    assert arrived != packets(400)
    assert sorted(arrived, key=lambda media: media.timestamp) == packets(400)


def test_jitter_delays_but_keeps_the_order() -> None:
    """Under jitter each packet is late by at most the stated time, and none overtakes another."""
    _, shipments = walk(Impairments(jitter_ms=50, delay_ms=10, seed=8))
    assert media_of(shipments) == packets(400)
    late_ms = [(shipment.at - index * FRAME_S) * 1000 for index, shipment in enumerate(shipments)]
    assert min(late_ms) >= 10 - 1e-6
    assert max(late_ms) <= 60 + 1e-6
    assert max(late_ms) > 40


def test_pure_padding_takes_a_sequence_number_of_its_own() -> None:
    """With padding-only packets between them, sequence numbers stay contiguous and the payloads whole."""
    path, shipments = walk(Impairments(pure_padding=0.1, seed=9))
    arrived = media_of(shipments)
    assert path.counts["pure_padding"] > 10
    assert [media.payload for media in arrived if media.payload] == [media.payload for media in packets(400)]
    assert all((later.sequence - earlier.sequence) & 0xFFFF == 1 for earlier, later in itertools.pairwise(arrived))


def test_dressing_leaves_the_payload_alone() -> None:
    """Padding, extension words and CSRCs change the packet around the payload, never the payload."""
    path, shipments = walk(Impairments(padding=0.3, extensions=0.8, csrc=0.3, seed=10))
    arrived = media_of(shipments)
    assert [media.payload for media in arrived] == [media.payload for media in packets(400)]
    assert {media.extension_words for media in arrived} == {None, 0, 1, 2, 3}
    assert min(path.counts[kind] for kind in ("padded", "extended", "csrc")) > 50


@pytest.mark.parametrize("kind", ["rtcp", "junk", "other_payload"])
def test_foreign_datagrams_come_beside_the_stream(kind: str) -> None:
    """RTCP, junk and video arrive between the packets and never in their place."""
    path, shipments = walk(Impairments(**{kind: 0.2}, seed=11))  # type: ignore[arg-type]  # one field by its name
    strangers = [s for s in shipments if isinstance(s.cargo, OtherDatagram) or s.cargo.payload_type != 120]
    assert len(strangers) == path.counts[kind] > 30
    assert [media for media in media_of(shipments) if media.payload_type == 120] == packets(400)


@given(
    shares=st.fixed_dictionaries({kind: st.floats(0, 0.5) for kind in ("duplicate", "reorder", "padding", "junk", "pure_padding")}),
    seed=st.integers(0, 1000),
)
def test_nothing_but_loss_ever_loses(shares: dict[str, float], seed: int) -> None:
    """Whatever else is switched on, each payload arrives at least once and never before it was sent."""
    _, shipments = walk(Impairments(**shares, seed=seed), count=60)  # type: ignore[arg-type]  # fields by their names
    assert {media.payload for media in media_of(shipments)} >= {media.payload for media in packets(60)}
    assert all(shipment.at >= shipment.cargo.timestamp / 960 * FRAME_S for shipment in shipments if isinstance(shipment.cargo, MediaPacket))
