"""Opus packets, whole, lost and broken."""

import ctypes.util
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opuslib_next.api import decoder as opuslib_decoder

from discordplex.audio import libopus
from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.opus import LIGHT, SILENCE_PACKET, Application, OpusDecoder, OpusEncoder, packet_samples
from discordplex.errors import DiscordplexError, LocalProtocolError, RemoteProtocolError
from tests.audio.signals import best_lag, frames, noise, pcm, samples, snr_db, stereo, tone, voice


def speech_packets(*, seconds: float = 2.0, expected_loss_percent: int = 10) -> list[bytes]:
    encoder = OpusEncoder(channels=1, bitrate=32_000, application="voip", expected_loss_percent=expected_loss_percent)
    return [encoder.encode(frame) for frame in frames(pcm(voice(seconds)), ENGINE.frame_bytes)]


@pytest.mark.parametrize("application", ["audio", "voip", "lowdelay"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_goes_in_comes_out_a_lookahead_later(application: Application, channels: int) -> None:
    """A sound survives the codec, delayed by the encoder's lookahead."""
    encoder = OpusEncoder(channels=channels, bitrate=96_000, application=application, expected_loss_percent=0)
    decoder = OpusDecoder(channels=channels)
    sound = noise(0.5, below_hz=3000)
    sent = pcm(sound) if channels == 1 else stereo(sound)
    heard = samples(b"".join(decoder.decode(encoder.encode(frame)) for frame in frames(sent, 1920 * channels)), 0, channels)
    lag = encoder.lookahead_samples
    assert abs(best_lag(sound[4800:], heard[4800:], 960) - lag) <= 24
    assert snr_db(sound[4800 : -lag or None], heard[4800 + lag :]) > (0 if application == "voip" else 15)


def test_a_decoder_upmixes_a_mono_packet() -> None:
    """A mono packet fills both channels of a stereo decoder alike."""
    packet = OpusEncoder(channels=1).encode(pcm(tone(0.02)))
    heard = OpusDecoder(channels=2).decode(packet)
    assert len(heard) == DISCORD.frame_bytes
    assert (samples(heard, 0, 2) == samples(heard, 1, 2)).all()


@pytest.mark.parametrize("frame_ms", [5, 10, 20, 40, 60, 80, 120])
def test_a_packet_tells_its_length(frame_ms: int) -> None:
    """packet_samples counts at the rate that it is asked for."""
    packet = OpusEncoder(channels=1).encode(bytes(96 * frame_ms))
    assert packet_samples(packet) == 48 * frame_ms
    assert packet_samples(packet, 24_000) == 24 * frame_ms
    assert len(OpusDecoder(channels=1).decode(packet)) == 96 * frame_ms


def test_the_silence_packet_is_silence() -> None:
    """Discord's silence frame decodes to 20 ms of zeros."""
    assert OpusDecoder().decode(SILENCE_PACKET) == DISCORD.silence


def test_fec_recovers_a_lost_packet() -> None:
    """What the next packet repeats of a lost one is nearer to the truth than extrapolation."""
    packets = speech_packets()
    whole, lossy, deaf = OpusDecoder(channels=1), OpusDecoder(channels=1), OpusDecoder(channels=1)
    recovered, guessed, truth = [], [], []
    for number, packet in enumerate(packets[:-1]):
        sound = whole.decode(packet)
        if number % 10 != 5:
            lossy.decode(packet)
            deaf.decode(packet)
            continue
        truth.append(sound)
        recovered.append(lossy.conceal(packets[number + 1]))
        guessed.append(deaf.conceal())
    wanted = samples(b"".join(truth))
    assert len(b"".join(recovered)) == len(b"".join(guessed)) == len(b"".join(truth))
    assert snr_db(wanted, samples(b"".join(recovered))) > snr_db(wanted, samples(b"".join(guessed))) + 3


@pytest.mark.parametrize("lost", [120, 480, 960, 1920, 2880])
def test_concealment_has_the_length_that_is_missing(lost: int) -> None:
    """With or without a next packet, and with a broken one, the hole is filled exactly."""
    packets = speech_packets(seconds=0.5)
    decoder = OpusDecoder(channels=1)
    for packet in packets[:10]:
        decoder.decode(packet)
    for following in (None, packets[11], b"\xff\xff", b""):
        assert len(decoder.conceal(following, samples=lost)) == 2 * lost


def test_concealment_sounds_like_what_went_before() -> None:
    """A packet lost within speech leaves no silence."""
    packets = speech_packets()
    decoder = OpusDecoder(channels=1)
    heard = [decoder.decode(packet) for packet in packets[:30]]
    assert abs(samples(decoder.conceal())).max() > abs(samples(heard[-1])).max() / 8


@pytest.mark.parametrize("length", [0, -960, 10**6, 961])
def test_concealing_an_impossible_length_is_a_bug(length: int) -> None:
    """Nothing, more than a packet can hold, or a length that Opus has no frames for is refused."""
    with pytest.raises(LocalProtocolError):
        OpusDecoder().conceal(samples=length)


@pytest.mark.parametrize("packet", [b"", b"\xff", b"\xff\xff", b"\xff\x3f" + bytes(5), b"\xfb\x31"])
def test_a_corrupt_packet_is_the_peers_fault(packet: bytes) -> None:
    """A packet that breaks RFC 6716 is refused and the decoder goes on."""
    decoder = OpusDecoder()
    with pytest.raises(RemoteProtocolError):
        decoder.decode(packet)
    with pytest.raises(RemoteProtocolError):
        packet_samples(packet)
    assert decoder.decode(SILENCE_PACKET) == DISCORD.silence


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_decode_or_are_refused(packet: bytes) -> None:
    """Whatever arrives, the decoder gives what packet_samples promises or names the peer's fault."""
    try:
        heard = OpusDecoder().decode(packet)
    except RemoteProtocolError:
        return
    assert len(heard) == packet_samples(packet) * DISCORD.sample_bytes


@pytest.mark.parametrize("length", [0, 2, 1000, 3841])
def test_encoding_an_odd_length_is_a_bug(length: int) -> None:
    """A frame that Opus has no length for is refused."""
    with pytest.raises(LocalProtocolError):
        OpusEncoder().encode(bytes(length))


def test_a_rate_that_opus_lacks_is_a_bug() -> None:
    """44.1 kHz is no rate of Opus, in either direction."""
    with pytest.raises(LocalProtocolError, match="44100"):
        OpusEncoder(rate_hz=44_100)
    with pytest.raises(LocalProtocolError, match="44100"):
        OpusDecoder(rate_hz=44_100)


def test_bitrate_is_obeyed() -> None:
    """Twice the bitrate makes about twice the bytes."""

    def size(bitrate: int) -> int:
        encoder = OpusEncoder(channels=1, bitrate=bitrate, expected_loss_percent=0, application="lowdelay")
        return sum(len(encoder.encode(frame)) for frame in frames(pcm(voice(1)), ENGINE.frame_bytes))

    assert 1.7 < size(128_000) / size(64_000) < 2.3


def test_a_light_search_keeps_a_voice() -> None:
    """With the light search a voice at 128 kbit/s comes out 25 dB above what it lost; a search that libopus has not is refused."""
    sound = voice(1.0)
    encoder = OpusEncoder(channels=2, bitrate=128_000, fec=False, expected_loss_percent=0, complexity=LIGHT)
    decoder = OpusDecoder(channels=2)
    heard = samples(b"".join(decoder.decode(encoder.encode(frame)) for frame in frames(stereo(sound), 3840)), 0, 2)
    lag = encoder.lookahead_samples
    assert snr_db(sound[4800:-lag], heard[4800 + lag :]) > 25
    with pytest.raises(LocalProtocolError):
        OpusEncoder(complexity=11)


def test_each_binding_is_our_own() -> None:
    """Binding a function leaves the library's other users with their own prototypes."""
    assert opuslib_decoder.libopus_decode is not libopus.decode
    assert opuslib_decoder.libopus_decode.argtypes != libopus.decode.argtypes


def test_the_bundled_library_comes_first() -> None:
    """Where the wheel has a library that loads, it is the one in use."""
    assert libopus.load()[1] == libopus.origin == "the copy in opuslib-next-bundled"


def test_without_the_bundled_library_the_system_s_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever library the system names is loaded, and named as the one in use."""
    loaded: list[str] = []
    monkeypatch.setitem(sys.modules, "opuslib_next.api", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0")
    monkeypatch.setattr(ctypes, "CDLL", loaded.append)
    assert libopus.load()[1] == "the system's libopus.so.0"
    assert loaded == ["libopus.so.0"]


def test_the_system_s_library_has_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, where there is one, offers what is bound here."""
    if ctypes.util.find_library("opus") is None:
        pytest.skip("this machine has no libopus of its own")
    monkeypatch.setitem(sys.modules, "opuslib_next.api", None)
    library, _ = libopus.load()
    bound = [one.__name__ for one in vars(libopus).values() if hasattr(one, "argtypes")]
    assert len(bound) == 10
    assert all(library[name] for name in bound)


@pytest.mark.parametrize("named", [None, "libopus-that-does-not-load.so.0"])
def test_without_any_library_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    """No library, or one that does not load: the sentence names both ways to get one."""
    monkeypatch.setitem(sys.modules, "opuslib_next.api", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: named)
    with pytest.raises(DiscordplexError, match=r"libopus.*opuslib-next-bundled.*package manager"):
        libopus.load()


def test_what_nobody_hears_is_not_coded() -> None:
    """With a highest frequency of 12 kHz a tone of 5 kHz passes and one of 15 kHz does not; the packets say so to every decoder."""
    for hz, passes in ((5_000, True), (15_000, False)):
        encoder, decoder = OpusEncoder(48_000, 1, application="lowdelay", highest_hz=12_000), OpusDecoder(48_000, 1)
        packets = [encoder.encode(pcm(tone(0.02, hz=hz))) for _ in range(10)]
        heard = samples(b"".join(map(decoder.decode, packets)))[4800:]
        assert (float(abs(heard).max()) > 4000) is passes
        assert {packet[0] >> 3 for packet in packets} == {27}  # CELT, super-wideband, 20 ms: RFC 6716 section 3.1
