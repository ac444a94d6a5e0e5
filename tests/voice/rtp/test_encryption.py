"""The transport modes against the cryptographic libraries themselves."""

import contextlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt

from discordplex.errors import LocalProtocolError, RemoteProtocolError
from discordplex.voice.rtp.encryption import COUNTERS, MAX_WINDOWS, MODES, WINDOW_PACKETS, Freshness, ReplayWindow, Transport
from discordplex.voice.rtp.packet import RtpError, RtpPacket, build_header

KEY = bytes(range(32))

HEADER = bytes.fromhex("9278 0102 01020304 0a0b0c0d 11111111 22222222 bede0001")
"""Two CSRC and the extension preamble: all of it is authenticated, none of it encrypted."""


def test_gcm_is_preferred() -> None:
    """The cheaper mode comes first."""
    assert MODES == ("aead_aes256_gcm_rtpsize", "aead_xchacha20_poly1305_rtpsize")


def test_gcm_datagram_is_header_ciphertext_tag_counter() -> None:
    """The library itself opens what seal made, with the counter padded to twelve bytes as nonce and the header as associated data."""
    transport = Transport.for_mode("aead_aes256_gcm_rtpsize", KEY)
    transport.seal(HEADER, b"first")
    datagram = transport.seal(HEADER, b"wordopus")
    assert datagram.startswith(HEADER)
    assert datagram.endswith(bytes.fromhex("00000001"))
    nonce = bytes.fromhex("00000001 0000000000000000")
    assert AESGCM(KEY).decrypt(nonce, datagram[len(HEADER) : -4], HEADER) == b"wordopus"


def test_xchacha_datagram_is_header_ciphertext_tag_counter() -> None:
    """The same with a nonce of twenty-four bytes."""
    transport = Transport.for_mode("aead_xchacha20_poly1305_rtpsize", KEY)
    transport.seal(HEADER, b"first")
    datagram = transport.seal(HEADER, b"wordopus")
    assert datagram.endswith(bytes.fromhex("00000001"))
    nonce = bytes.fromhex("00000001") + bytes(20)
    assert crypto_aead_xchacha20poly1305_ietf_decrypt(datagram[len(HEADER) : -4], HEADER, nonce, KEY) == b"wordopus"


def test_open_reads_what_the_libraries_sealed() -> None:
    """Packets of another sender, with a counter of its own choice, open in both modes."""
    counter = bytes.fromhex("fffefdfc")
    gcm = AESGCM(KEY).encrypt(counter + bytes(8), b"wordopus", HEADER)
    chacha = crypto_aead_xchacha20poly1305_ietf_encrypt(b"wordopus", HEADER, counter + bytes(20), KEY)
    for mode, ciphertext in zip(MODES, (gcm, chacha), strict=True):
        packet = RtpPacket.parse(HEADER + ciphertext + counter)
        assert Transport.for_mode(mode, KEY).open(packet) == b"wordopus"


@pytest.mark.parametrize("mode", MODES)
def test_a_changed_header_does_not_open(mode: str) -> None:
    """Every clear byte is authenticated, the extension preamble too."""
    datagram = bytearray(Transport.for_mode(mode, KEY).seal(HEADER, b"wordopus"))
    datagram[len(HEADER) - 3] ^= 1
    with pytest.raises(RtpError) as refused:
        Transport.for_mode(mode, KEY).open(RtpPacket.parse(bytes(datagram)))
    assert refused.value.reason == "unauthentic"


@pytest.mark.parametrize("mode", MODES)
@given(position=st.integers(0, 200), flip=st.integers(1, 255), cut=st.integers(0, 60))
def test_damage_only_ever_raises_remote_protocol_error(mode: str, position: int, flip: int, cut: int) -> None:
    """A datagram with any byte changed and any number cut off is refused as the sender's fault."""
    datagram = bytearray(Transport.for_mode(mode, KEY).seal(HEADER, b"wordopus"))
    datagram[position % len(datagram)] ^= flip
    with contextlib.suppress(RemoteProtocolError):
        Transport.for_mode(mode, KEY).open(RtpPacket.parse(bytes(datagram[: len(datagram) - cut])))
        pytest.fail("a damaged datagram was opened")


@pytest.mark.parametrize("mode", MODES)
def test_no_nonce_is_used_twice(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the counter is spent, sealing stops: with one nonce twice the key is lost."""
    monkeypatch.setattr("discordplex.voice.rtp.encryption.COUNTERS", 3)
    transport = Transport.for_mode(mode, KEY)
    assert len({transport.seal(HEADER, b"same")[-4:] for _ in range(3)}) == 3
    with pytest.raises(LocalProtocolError):
        transport.seal(HEADER, b"same")


@settings(deadline=None)
@given(
    start=st.sampled_from([0, 5, COUNTERS // 2, COUNTERS - 700]),
    steps=st.lists(st.integers(-1500, 1500), max_size=60),
)
def test_each_counter_is_new_once(start: int, steps: list[int]) -> None:
    """Whatever the order: what was taken among the last 1,024 counters is used, what is older is old, all else is new; counters wrap."""
    window, taken, newest, at = ReplayWindow(start), {0}, 0, 0
    window.note(start)
    for step in steps:
        at += step
        found = window.look((start + at) % COUNTERS)
        behind = newest - at
        assert found is (Freshness.OLD if behind >= WINDOW_PACKETS else Freshness.USED if at in taken else Freshness.NEW)
        if found is Freshness.NEW:
            window.note((start + at) % COUNTERS)
            taken.add(at)
            newest = max(newest, at)
            assert window.look((start + at) % COUNTERS) is Freshness.USED


def test_counters_are_remembered_of_so_many_senders() -> None:
    """Each sender has a window of its own, and the oldest makes room."""
    ours, theirs = (Transport.for_mode(MODES[0], KEY) for _ in range(2))
    packets = [RtpPacket.parse(theirs.seal(build_header(sequence=1, timestamp=0, ssrc=ssrc), b"opus")) for ssrc in range(MAX_WINDOWS + 1)]
    for packet in packets:
        assert ours.freshness(packet) is Freshness.NEW
        ours.note(packet)
        assert ours.freshness(packet) is Freshness.USED
    assert len(ours._windows) == MAX_WINDOWS
    assert [ours.freshness(packet) for packet in packets[:2]] == [Freshness.NEW, Freshness.USED]


def test_a_session_description_may_be_wrong() -> None:
    """A mode or a key that does not exist is the server's fault."""
    with pytest.raises(RemoteProtocolError, match="mode"):
        Transport.for_mode("xsalsa20_poly1305", KEY)
    with pytest.raises(RemoteProtocolError, match="32 bytes"):
        Transport.for_mode(MODES[0], KEY[:16])
