"""Ogg as the real server reads it: what passes and what kills."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.oggopus import OggOpusWriter
from discordplex.loopback.personaplex.ogg import BOS, OggStreamError, PageReader, checksum, write_page

EOS = 4


def page(*packets: bytes, flags: int = 0, serial: int = 7, number: int = 0) -> bytes:
    return write_page(list(packets), flags=flags, granule=0, serial=serial, number=number)


HEAD = page(b"OpusHead", flags=BOS)


def read(*parts: bytes) -> list[bytes]:
    reader = PageReader()
    return [packet for part in parts for packet in reader.feed(part)]


def test_the_checksum_is_oggs() -> None:
    """A page that sphn or libopus wrote carries the checksum that this module computes."""
    stream = OggOpusWriter(48_000).write(bytes(1920))
    assert read(stream)
    raw = stream[: 28 + stream[27]]
    assert checksum(raw[:22] + bytes(4) + raw[26:]).to_bytes(4, "little") == raw[22:26]


@given(st.lists(st.binary(min_size=1, max_size=1000).filter(lambda packet: not packet.startswith(b"Opus")), max_size=5), st.data())
def test_any_packets_in_any_cut_come_out_whole(packets: list[bytes], data: st.DataObject) -> None:
    """Packets of any size, several to a page, split over messages wherever one likes."""
    stream = HEAD + page(*packets) + page(b"last")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*parts) == [*packets, b"last"]


def test_a_packet_may_go_on_in_the_next_page() -> None:
    """A page whose last segment is full is continued by the next."""
    first = page(b"x" * 255)
    # Cut the terminating zero segment off: the packet is then unfinished.
    raw = bytearray(first[:26] + b"\x01\xff" + first[29:])
    raw[22:26] = bytes(4)
    raw[22:26] = checksum(bytes(raw)).to_bytes(4, "little")
    assert read(HEAD, bytes(raw), page(b"tail", flags=1)) == [b"x" * 255 + b"tail"]


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD, page(b"a", number=1), page(b"b", number=9)),
        (b"garbage" + HEAD, b"Ogg?" + page(b"a"), b"OggO" + page(b"b")),
        (HEAD, page(b"a", flags=EOS), page(b"b")),
        (HEAD, page(b"a"), page(b"OpusHead", flags=BOS, serial=8), page(b"b", serial=8)),
        (page(b"a", flags=BOS), page(b"b")),
    ],
    ids=["lost pages", "garbage", "EOS and on", "a new stream", "no header at all"],
)
def test_what_the_real_reader_forgives(parts: tuple[bytes, ...]) -> None:
    """Holes, rubbish between pages, an end that is none, a new stream with its first page: both packets come out."""
    assert read(*parts) == [b"a", b"b"]


@pytest.mark.parametrize(
    "parts",
    [
        (page(b"a"),),
        (HEAD, HEAD),
        (HEAD, page(b"a", serial=8)),
        (HEAD, page(b"a")[:-1] + b"b"),
    ],
    ids=["no first page", "begun twice", "another stream", "bad checksum"],
)
def test_what_the_real_reader_dies_of(parts: tuple[bytes, ...]) -> None:
    """And it stays dead."""
    reader = PageReader()
    for part in parts[:-1]:
        reader.feed(part)
    with pytest.raises(OggStreamError):
        reader.feed(parts[-1])
    with pytest.raises(OggStreamError):
        reader.feed(HEAD)


@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Rubbish is skipped, or deadly; never another error."""
    assert all(isinstance(packet, bytes) for packet in read(data))
