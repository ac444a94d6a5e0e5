"""Pages hold packets, and damage costs no more than what it hit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.ogg import BOS, CONTINUED, PacketReader, Page, PageWriter, crc, parse_page
from discordplex.errors import LocalProtocolError

EMPTY_BOS_PAGE = bytes.fromhex("4f676753 00 02 0000000000000000 01000000 00000000 00000000 00")
packet_lists = st.lists(st.binary(max_size=700), max_size=20)


def slow_crc(data: bytes) -> int:
    """Ogg's CRC as RFC 3533 puts it, bit by bit."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x8000_0000 else 0)
            register &= 0xFFFF_FFFF
    return register


def spread_over_pages(packet: bytes, *, serial: int = 5, first: int = 0) -> list[bytes]:
    """A packet over several pages, as no writer of ours makes them."""
    pages = []
    for number, start in enumerate(range(0, len(packet) + 1, 255 * 2)):
        piece = packet[start : start + 255 * 2]
        last = len(piece) < 255 * 2
        lacing = bytes([255] * (len(piece) // 255)) + (bytes([len(piece) % 255]) if last else b"")
        flags = CONTINUED if number else 0
        head = b"OggS" + bytes([0, flags]) + bytes(8) + serial.to_bytes(4, "little") + (first + number).to_bytes(4, "little")
        body = bytes([len(lacing)]) + lacing + piece
        pages.append(head + crc(head + bytes(4) + body).to_bytes(4, "little") + body)
    return pages


@given(st.binary(max_size=400))
def test_the_quick_checksum_is_the_standards(data: bytes) -> None:
    """Zlib over mirrored bytes gives Ogg's CRC."""
    assert crc(data) == slow_crc(data)


def test_a_page_has_the_bytes_of_the_standard() -> None:
    """A page with one packet, byte by byte, its checksum computed the slow way."""
    page = PageWriter(serial=1).page([b"abc"], granule=960, bos=True)
    head = bytes.fromhex("4f676753 00 02 c003000000000000 01000000 00000000")
    body = bytes.fromhex("01 03") + b"abc"
    assert page == head + slow_crc(head + bytes(4) + body).to_bytes(4, "little") + body


@given(packet_lists, st.integers(1, 4), st.integers(1, 900))
def test_every_packet_comes_back(packets: list[bytes], per_page: int, cut: int) -> None:
    """However many packets on a page and however the pages are cut, the packets come back in order."""
    writer = PageWriter(serial=7)
    stream = b"".join(writer.page(packets[start : start + per_page], granule=start) for start in range(0, len(packets), per_page))
    reader = PacketReader()
    found = [packet for start in range(0, len(stream), cut) for packet in reader.read(stream[start : start + cut])]
    assert found == packets
    assert reader.take_faults() == []


@pytest.mark.parametrize("length", [510, 1020, 1021, 5000])
def test_a_packet_may_span_pages(length: int) -> None:
    """A packet over several pages is joined."""
    packet = bytes(number % 251 for number in range(length))
    reader = PacketReader()
    assert reader.read(b"".join(spread_over_pages(packet))) == [packet]
    assert reader.take_faults() == []


def test_a_packet_with_a_lost_middle_is_dropped() -> None:
    """The rest of a packet whose middle page is missing is no packet; the next one is sound."""
    pages = spread_over_pages(bytes(1500))
    reader = PacketReader()
    assert reader.read(pages[0] + pages[2]) == []
    assert reader.read(spread_over_pages(b"next", first=3)[0]) == [b"next"]
    assert reader.take_faults() == ["the beginning of a packet is missing"]


def test_a_packet_with_a_lost_end_is_dropped() -> None:
    """A page that starts afresh ends an unfinished packet."""
    reader = PacketReader()
    assert reader.read(spread_over_pages(bytes(1500))[0] + spread_over_pages(b"next", first=1)[0]) == [b"next"]
    assert reader.take_faults() == ["the end of a packet is missing"]


def test_an_endless_packet_takes_no_memory() -> None:
    """A packet that grows beyond reason is given up."""
    reader = PacketReader()
    for page in spread_over_pages(bytes(400_000))[:-1]:
        reader.read(page)
    assert reader.read(spread_over_pages(b"next", first=10_000)[0]) == [b"next"]
    assert reader.take_faults()


@given(packet_lists.filter(bool), st.data())
def test_one_bad_byte_costs_one_page(packets: list[bytes], data: st.DataObject) -> None:
    """A flipped bit anywhere in a page loses that page and, once more has come, none beside it."""
    writer = PageWriter(serial=7)
    pages = [bytearray(writer.page([packet], granule=0)) for packet in packets]
    hit = data.draw(st.integers(0, len(pages) - 1))
    pages[hit][data.draw(st.integers(0, len(pages[hit]) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reader = PacketReader()
    found = [packet for page in pages for packet in reader.read(bytes(page))]
    found += reader.read(writer.page([b"after"], granule=0))
    assert found == packets[:hit] + packets[hit + 1 :] + [b"after"]
    assert len(reader.take_faults()) == 1


def test_a_page_that_lies_about_its_length_makes_nobody_deaf() -> None:
    """A header that claims 60 kB is given up as soon as a sound page follows it."""
    liar = EMPTY_BOS_PAGE[:-1] + b"\xff" + b"\xff" * 255
    reader = PacketReader()
    assert reader.read(liar) == []
    assert reader.read(PageWriter(serial=1).page([b"sound"], granule=0)) == [b"sound"]
    assert len(reader.take_faults()) == 1


@pytest.mark.parametrize("garbage", [b"x", b"OggO", b"OggSOggSOggS", b"Og", bytes(3000), b"O" * 9])
def test_garbage_between_pages_is_skipped_and_told_once(garbage: bytes) -> None:
    """Bytes that belong to no page are one fault, and the pages around them are read."""
    writer = PageWriter(serial=1)
    stream = writer.page([b"one"], granule=0) + garbage + writer.page([b"two"], granule=0)
    reader = PacketReader()
    assert reader.read(stream) == [b"one", b"two"]
    assert len(reader.take_faults()) == 1


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_are_survived(batches: list[bytes]) -> None:
    """Noise raises nothing and is not hoarded; a page after it is read."""
    reader = PacketReader()
    for batch in batches:
        reader.read(batch.replace(b"OggS", b""))
    assert reader.read(PageWriter(serial=1).page([b"sound"], granule=0)) == [b"sound"]


def test_an_unknown_version_is_skipped() -> None:
    """Ogg has only version 0."""
    page = bytearray(EMPTY_BOS_PAGE)
    page[4] = 1
    assert parse_page(bytes(page), 0) == "a page has version 1"


def test_flags_are_read() -> None:
    """The first page of a stream says so."""
    page = parse_page(PageWriter(serial=9).page([], granule=3, bos=True), 0)
    assert isinstance(page, Page)
    assert (page.flags, page.serial, page.granule, page.sequence, page.body) == (BOS, 9, 3, 0, b"")


def test_too_much_for_one_page_is_a_bug() -> None:
    """A page holds at most 255 segments."""
    with pytest.raises(LocalProtocolError, match="do not fit"):
        PageWriter(serial=1).page([bytes(255 * 255)], granule=0)


JUNK = [
    b"OggS",
    PageWriter(serial=1).page([], granule=0),
    PageWriter(serial=1).page([b""] * 255, granule=0),
    b"OggS" + bytes(22) + b"\xff" * 31,
]


@pytest.mark.parametrize("unit", JUNK)
def test_junk_costs_a_bounded_amount_of_work(unit: bytes) -> None:
    """However much of it comes at once: what is left of it is dropped, told as damage, and the next page is read."""
    reader = PacketReader()
    for _ in range(3):
        assert len(reader.read(unit * (250_000 // len(unit)))) <= 4096
        assert 0 < reader.take_work() < 500_000
    reader.take_faults()
    assert reader.read(PageWriter(serial=1).page([b"sound"], granule=0))[-1:] == [b"sound"]
