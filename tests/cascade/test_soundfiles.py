"""Files as ffmpeg makes them, whatever a server calls them, are heard at their pitch and to their end."""

import io
import itertools
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.ogg import PageWriter
from discordplex.cascade.sound import SpeechSound, TooMuchSoundError, UnknownSoundError
from discordplex.cascade.soundfiles import MOST_BYTES, MOST_CODEBOOK_ENTRIES, codebook_entries
from tests.cascade.test_sound import HZ, pitch_hz, play

DATA = Path(__file__).parent / "data"
DECODED = ["tone-cbr.mp3", "tone-vbr-streamed.mp3", "tone-stereo.mp3", "tone.flac", "tone.ogg", "tone.opus"]


def read(name: str) -> bytes:
    return (DATA / name).read_bytes()


@pytest.mark.parametrize("name", DECODED)
@pytest.mark.parametrize("content_type", ["", "audio/mpeg", "audio/wav", "application/octet-stream"])
def test_what_the_bytes_are_decides(name: str, content_type: str) -> None:
    """Half a second of a tone is half a second of that tone."""
    heard = play(read(name), content_type, piece=333)
    assert pitch_hz(heard) == pytest.approx(HZ, abs=4)
    assert ENGINE.duration_ms(len(heard)) == pytest.approx(500, abs=120)


@pytest.mark.parametrize("name", DECODED)
def test_joined_files_are_heard_to_their_end(name: str) -> None:
    """A server that joins three sentences is heard three times as long."""
    assert ENGINE.duration_ms(len(play(read(name) * 3))) == pytest.approx(1500, abs=360)


def test_the_first_frame_is_looked_for_where_the_label_says_so() -> None:
    """Padding before an MP3 stream is not played as samples."""
    heard = play(bytes(901) + read("tone-vbr-streamed.mp3"), "audio/mpeg")
    assert pitch_hz(heard) == pytest.approx(HZ, abs=4)


@pytest.mark.parametrize(("name", "kind"), [("tone.aac", "AAC"), ("tone.m4a", "MP4"), ("tone.webm", "WebM")])
@pytest.mark.parametrize("content_type", ["", "audio/mpeg", "audio/pcm"])
def test_what_cannot_be_decoded_is_named(name: str, kind: str, content_type: str) -> None:
    """It is never played as if it were samples."""
    with pytest.raises(UnknownSoundError, match=f"^{kind}$"):
        play(read(name), content_type)


@pytest.mark.parametrize(("name", "kind"), [("tone-cbr.mp3", "MP3"), ("tone.flac", "FLAC"), ("tone.ogg", "Ogg Vorbis")])
def test_without_the_library_it_is_refused_by_name(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is optional."""
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UnknownSoundError, match=f"^{kind}$"):
        play(read(name))


def heard_before(error: type[Exception], sound: SpeechSound, blocks: Iterable[bytes]) -> int:
    """How many bytes of sound come out before it raises."""
    heard = 0
    try:
        for pcm in itertools.chain(*(sound.feed(block) for block in blocks), sound.finish()):
            heard += len(pcm)
    except error:
        return heard
    raise AssertionError("it was not refused")


@pytest.mark.parametrize("name", DECODED)
def test_every_file_has_the_same_budget(name: str) -> None:
    """What a file becomes is counted while it is decoded, and no more than the budget comes out."""
    heard = heard_before(TooMuchSoundError, SpeechSound(longest_ms=200), [read(name)])
    assert ENGINE.duration_ms(heard) <= 200


def test_a_file_that_does_not_end_is_given_up() -> None:
    """No more is kept than a piece of speech has."""
    block = read("tone-cbr.mp3") * 100
    assert heard_before(TooMuchSoundError, SpeechSound(), [block] * (MOST_BYTES // len(block) + 2)) == 0


@pytest.mark.parametrize("name", DECODED)
@pytest.mark.parametrize("cut", [0.3, 0.7, 0.98])
def test_a_file_that_is_cut_short_is_heard_or_refused(name: str, cut: float) -> None:
    """Half a file is half the sound, or one of our own errors."""
    data = read(name)
    try:
        heard = play(data[: int(len(data) * cut)])
    except UnknownSoundError:
        return
    assert ENGINE.duration_ms(len(heard)) < 600


def test_a_vorbis_header_that_claims_much_is_refused() -> None:
    """Memory for codebooks is claimed in a few bytes; encoders' own claims are far below the bound."""
    assert 1_000 < codebook_entries(read("tone.ogg")) < MOST_CODEBOOK_ENTRIES // 2
    pages = PageWriter(7)
    books = b"".join(b"BCV" + struct.pack("<H", 1) + (1 << 23).to_bytes(3, "little") for _ in range(4))
    head = b"\x01vorbis" + struct.pack("<IBIIIIBB", 0, 1, 48_000, 0, 0, 0, 0xB8, 1)
    data = pages.page([head], granule=0, bos=True) + pages.page([b"\x03vorbis" + bytes(9), b"\x05vorbis\x03" + books], granule=0)
    assert codebook_entries(data) == 4 << 23
    with pytest.raises(UnknownSoundError, match="damaged Ogg Vorbis"):
        play(data)


def test_absurd_headers_are_refused() -> None:
    """Rates and channels that no speech has."""
    flac = bytearray(read("tone.flac"))
    for rate_hz in (48, 655_350):
        flac[18:21] = ((rate_hz << 4) | (int.from_bytes(flac[18:21], "big") & 15)).to_bytes(3, "big")
        with pytest.raises(UnknownSoundError):
            play(bytes(flac))


def test_a_block_is_small() -> None:
    """A few bytes may stand for hours, so what comes at once is bounded."""
    sound = SpeechSound()
    pieces = [*sound.feed(read("tone.flac")), *sound.finish()]
    assert max(len(np.frombuffer(pcm, "<i2")) for pcm in pieces) <= 6 * 960 + 1000


EXOTIC = [
    "AVR",
    "HTK",
    "IRCAM",
    "MPC2K",
    "PAF",
    "PVF",
    "SDS",
    "SVX",
    "VOC",
    "W64",
    "WVE",
    "NIST",
    "MAT4",
    "MAT5",
    "XI",
    "AU",
    "AIFF",
    "CAF",
]


@pytest.mark.parametrize("kind", EXOTIC)
@pytest.mark.parametrize("content_type", ["", "audio/pcm", "audio/mpeg", "audio/x-unknown"])
def test_a_rare_kind_is_never_played_as_samples(kind: str, content_type: str) -> None:
    """Whatever libsndfile can write and we do not read is refused, whatever it is called."""
    soundfile = pytest.importorskip("soundfile")
    target = io.BytesIO()
    subtypes = soundfile.available_subtypes(kind)
    subtype = next(name for name in ("PCM_16", "ALAW", "DPCM_16") if name in subtypes)
    rate_hz = 8_000 if kind == "WVE" else 24_000
    samples = (np.sin(np.arange(12_000) / 9) * 0.3).astype(np.float32)
    soundfile.write(target, samples, rate_hz, format=kind, subtype=subtype)
    with pytest.raises(UnknownSoundError):
        play(target.getvalue(), content_type)


@pytest.mark.parametrize("content_type", ["", "audio/mpeg"])
def test_mpeg_layer_ii_is_refused(content_type: str) -> None:
    """Its frames begin like those of MP3."""
    frame = b"\xff\xfd\x84\x00" + bytes(range(1, 256)) + bytes(125)  # 128 kbit/s at 48 kHz: 384 bytes
    with pytest.raises(UnknownSoundError, match="MP2"):
        play(frame * 20, content_type)


def test_a_label_that_names_another_kind_is_believed_where_the_bytes_tell_nothing() -> None:
    """8-bit mu-law has no beginning of its own."""
    with pytest.raises(UnknownSoundError):
        play(bytes(range(256)) * 20, "audio/basic")


def test_an_mp3_with_a_picture_before_it_is_heard() -> None:
    """A tag of 200 kB with a cover image, in which anything may stand."""
    picture = b"APIC" + (200_000).to_bytes(4, "big") + bytes(2) + b"\0image/png\0\3\0" + (b"\xff\xfb\x90\x00Xing" * 25_000)[: 200_000 - 14]
    size = len(picture)
    tag = b"ID3\x03\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + picture
    heard = play(tag + read("tone-cbr.mp3"))
    assert pitch_hz(heard) == pytest.approx(HZ, abs=4)
    assert ENGINE.duration_ms(len(heard)) == pytest.approx(500, abs=120)
