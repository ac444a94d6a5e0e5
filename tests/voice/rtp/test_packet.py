"""RTP against datagrams written out by hand."""

import contextlib
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.errors import LocalProtocolError
from discordplex.voice.rtp.packet import RtpError, RtpPacket, build_header, build_plaintext, seq_add, seq_diff, strip, ts_add, ts_diff

TAIL = bytes(20)
"""Stands for tag and nonce counter, which parse only measures."""

PLAIN = bytes.fromhex("8078 0102 01020304 0a0b0c0d")
"""Version 2, payload type 120, sequence 0x0102, timestamp 0x01020304, SSRC 0x0a0b0c0d."""

WITH_EXTENSION = bytes.fromhex("9078 0102 01020304 0a0b0c0d bede0002")

WITH_EVERYTHING = bytes.fromhex("b2f8 0102 01020304 0a0b0c0d 11111111 22222222 bede0001")
"""Padding, extension of one word, two CSRC, marker."""


def test_a_plain_header_is_twelve_bytes() -> None:
    """Without extension and CSRC the clear part is the fixed header."""
    packet = RtpPacket.parse(PLAIN + b"cipher" + TAIL)
    assert (packet.header, packet.body) == (PLAIN, b"cipher" + TAIL)
    assert (packet.sequence, packet.timestamp, packet.ssrc) == (0x0102, 0x01020304, 0x0A0B0C0D)
    assert (packet.marker, packet.padded, packet.extension_words) == (False, False, 0)


def test_the_extension_preamble_is_clear_and_its_words_are_not() -> None:
    """The clear part ends after the four preamble bytes; the words belong to the ciphertext."""
    packet = RtpPacket.parse(WITH_EXTENSION + b"8 bytes!cipher" + TAIL)
    assert packet.header == WITH_EXTENSION
    assert packet.extension_words == 2
    assert packet.body == b"8 bytes!cipher" + TAIL


def test_csrc_marker_and_padding_are_read() -> None:
    """Contributing sources lengthen the clear part; marker and padding bits are reported."""
    packet = RtpPacket.parse(WITH_EVERYTHING + TAIL)
    assert packet.header == WITH_EVERYTHING
    assert (packet.marker, packet.padded, packet.extension_words) == (True, True, 1)


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "short"),
        (PLAIN[:11], "short"),
        (PLAIN + TAIL[1:], "short"),
        (WITH_EXTENSION[:14], "short"),
        (WITH_EXTENSION + TAIL[1:], "short"),
        (b"\x8f" + PLAIN[1:] + TAIL, "short"),
        (b"\x40" + PLAIN[1:] + TAIL, "version"),
        (b"\x80\xc9" + PLAIN[2:] + TAIL, "rtcp"),
        (b"\x80\x65" + PLAIN[2:] + TAIL, "payload_type"),
        (b"\x00\x02\x00\x46" + bytes(70), "version"),
    ],
)
def test_what_is_not_a_frame_has_a_reason(datagram: bytes, reason: str) -> None:
    """Each datagram that is not Opus in RTP is refused with a word to count it by."""
    with pytest.raises(RtpError) as refused:
        RtpPacket.parse(datagram)
    assert refused.value.reason == reason


def test_strip_takes_extension_words_off_the_front_and_padding_off_the_end() -> None:
    """What is left between one extension word and three bytes of padding is the payload."""
    packet = RtpPacket.parse(WITH_EVERYTHING + TAIL)
    assert strip(b"word" + b"opus" + b"\x00\x00\x03", packet) == b"opus"


def test_a_packet_of_pure_padding_has_an_empty_payload() -> None:
    """Padding may fill everything after the extension."""
    packet = RtpPacket.parse(WITH_EVERYTHING + TAIL)
    assert strip(b"word" + b"\x00\x00\x03", packet) == b""


def test_strip_leaves_an_unpadded_packet_alone() -> None:
    """Without the padding bit the last byte is payload."""
    assert strip(b"opus\x03", RtpPacket.parse(PLAIN + TAIL)) == b"opus\x03"


@pytest.mark.parametrize(
    ("plaintext", "reason"),
    [(b"wor", "extension"), (b"word", "padding"), (b"word\x00", "padding"), (b"wordab\x04", "padding")],
)
def test_strip_refuses_what_does_not_fit(plaintext: bytes, reason: str) -> None:
    """More extension or padding than the packet holds is refused with a reason."""
    packet = RtpPacket.parse(WITH_EVERYTHING + TAIL)
    with pytest.raises(RtpError) as refused:
        strip(plaintext, packet)
    assert refused.value.reason == reason


def test_build_header_writes_the_same_bytes() -> None:
    """The three headers written out by hand above are what build_header makes."""
    header = functools.partial(build_header, sequence=0x0102, timestamp=0x01020304, ssrc=0x0A0B0C0D)
    assert header() == PLAIN
    assert header(extension_words=2) == WITH_EXTENSION
    everything = header(marker=True, padded=True, csrc=(0x11111111, 0x22222222), extension_words=1)
    assert everything == WITH_EVERYTHING


def test_build_plaintext_ends_padding_with_its_length() -> None:
    """RFC 3550: the last byte of the padding counts the padding, itself included."""
    assert build_plaintext(b"opus", extension=b"word", padding_bytes=3) == b"wordopus\x00\x00\x03"
    assert build_plaintext(b"opus") == b"opus"


def test_misuse_of_the_builders_is_our_own_fault() -> None:
    """Sixteen CSRC or half an extension word cannot be written."""
    with pytest.raises(LocalProtocolError):
        build_header(sequence=0, timestamp=0, ssrc=0, csrc=(1,) * 16)
    with pytest.raises(LocalProtocolError):
        build_plaintext(b"opus", extension=b"abc")


def test_sequence_numbers_wrap_at_sixteen_bits() -> None:
    """0 comes after 65535, and the shorter way round decides which is later."""
    assert seq_add(65_535, 1) == 0
    assert seq_add(0, -1) == 65_535
    assert seq_diff(0, 65_535) == 1
    assert seq_diff(0, 0) == 0
    assert seq_diff(65_535, 0) == -1
    assert seq_diff(32_768, 0) == -32_768


def test_timestamps_wrap_at_thirty_two_bits() -> None:
    """A frame's 960 samples may cross the end of the 32-bit clock."""
    assert ts_add(0xFFFFFFFF, 960) == 959
    assert ts_diff(959, 0xFFFFFFFF) == 960
    assert ts_diff(0xFFFFFFFF, 959) == -960


@given(
    payload=st.binary(max_size=60),
    words=st.none() | st.integers(0, 4),
    csrc=st.lists(st.integers(0, 2**32 - 1), max_size=15),
    padding=st.integers(0, 255),
)
def test_every_built_packet_parses_back(payload: bytes, words: int | None, csrc: list[int], padding: int) -> None:
    """Whatever a sender may put around a payload comes off again."""
    header = build_header(sequence=7, timestamp=9, ssrc=11, padded=padding > 0, csrc=tuple(csrc), extension_words=words)
    plaintext = build_plaintext(payload, extension=bytes(4 * (words or 0)), padding_bytes=padding)
    packet = RtpPacket.parse(header + plaintext + TAIL)
    assert packet.header == header
    assert strip(plaintext, packet) == payload


@given(datagram=st.binary(max_size=120), plaintext=st.binary(max_size=60))
def test_no_datagram_escapes_as_another_exception(datagram: bytes, plaintext: bytes) -> None:
    """Any bytes whatever either parse and strip, or raise RtpError."""
    with contextlib.suppress(RtpError):
        strip(plaintext, RtpPacket.parse(datagram))
    with contextlib.suppress(RtpError):
        strip(plaintext, RtpPacket.parse(b"\xb3\x78" + datagram))
