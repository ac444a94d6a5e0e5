"""The message kinds, byte by byte."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.errors import RemoteProtocolError
from discordplex.personaplex.protocol import AudioBytes, ErrorText, Handshake, Message, Other, TextPiece, encode, parse

VECTORS: list[tuple[bytes, Message]] = [
    (b"\x00", Handshake()),
    (b"\x00\x01\x00", Handshake(b"\x01\x00")),
    (b"\x00" + bytes(8), Handshake(bytes(8))),
    (b"\x01OggS", AudioBytes(b"OggS")),
    (b"\x01", AudioBytes(b"")),
    (b"\x02 caf\xc3\xa9", TextPiece(" café")),
    (b"\x03\x01", Other(3, b"\x01")),
    (b"\x04{}", Other(4, b"{}")),
    (b"\x05no", ErrorText("no")),
    (b"\x06", Other(6)),
    (b"\x07\x02hi", Other(7, b"\x02hi")),
    (b"\xff", Other(255)),
]

MESSAGES = st.one_of(
    st.builds(Handshake, st.binary()),
    st.builds(AudioBytes, st.binary()),
    st.builds(TextPiece, st.text()),
    st.builds(ErrorText, st.text()),
    st.builds(Other, st.sampled_from([3, 4, 6, *range(7, 256)]), st.binary()),
)


@pytest.mark.parametrize(("data", "message"), VECTORS)
def test_every_kind_is_read_and_written_as_seen_on_the_wire(data: bytes, message: Message) -> None:
    """Each kind, as some server or client sends it, parses to its meaning and encodes back to the same bytes."""
    assert parse(data) == message
    assert encode(message) == data


def test_an_empty_message_means_nothing() -> None:
    """Servers ignore an empty message, and so do we."""
    assert parse(b"") is None


@pytest.mark.parametrize("data", ["text", "", b"\x02\xff", b"\x05\x80"])
def test_what_cannot_be_is_the_peers_fault(data: bytes | str) -> None:
    """A WebSocket text message, and text that is not UTF-8, are the server's errors."""
    with pytest.raises(RemoteProtocolError):
        parse(data)


@given(MESSAGES)
def test_every_message_survives_the_round_trip(message: Message) -> None:
    """What was encoded parses to the same message."""
    assert parse(encode(message)) == message


@given(st.one_of(st.binary(), st.text()))
def test_no_bytes_raise_anything_else(data: bytes | str) -> None:
    """Whatever comes, parse returns or blames the peer."""
    with contextlib.suppress(RemoteProtocolError):
        parse(data)
