"""WAVE files as servers and recorders really write them give every sample that is in them, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.wavreader import WavReader
from discordplex.errors import RemoteProtocolError
from tests.audio.signals import tone
from tests.audio.wavs import FLOAT, STREAMED, chunk, file, fmt, form, stored

SIGNAL = np.rint(tone(0.05))
PCM = SIGNAL.astype("<i2").tobytes()
ODD = b"odd"
LIST = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0")


def read(data: bytes, piece: int = 1 << 20) -> tuple[list[int], bytes]:
    """The rates that came one after the other, and the samples as int16."""
    reader = WavReader()
    runs = [run for start in range(0, len(data), piece) for run in reader.feed(data[start : start + piece])] + reader.finish()
    rates = [rate for index, (rate, _) in enumerate(runs) if index == 0 or runs[index - 1][0] != rate]
    return rates, b"".join(np.rint(samples * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes() for _, samples in runs)


WHOLE = {
    "plain": (file(PCM), 1),
    "form of length 0": (form(fmt(48_000), chunk(b"data", PCM), size=0), 1),
    "form of length -1": (form(fmt(48_000), chunk(b"data", PCM), size=STREAMED), 1),
    "sound of length 0": (file(PCM, size=0), 1),
    "sound of length -1": (file(PCM, size=STREAMED), 1),
    "sound longer than it is": (file(PCM, size=len(PCM) * 9), 1),
    "sound shorter than it is": (file(PCM, size=1000), 1),
    "sound shorter by half a sample": (file(PCM, size=1001), 1),
    "RF64": (form(chunk(b"ds64", bytes(28)), fmt(48_000), chunk(b"data", PCM, STREAMED), name=b"RF64", size=STREAMED), 1),
    "odd chunk before": (form(chunk(b"LIST", ODD), fmt(48_000), chunk(b"data", PCM)), 1),
    "odd chunk before, not padded": (form(fmt(48_000), chunk(b"LIST", ODD, pad=False), chunk(b"data", PCM)), 1),
    "odd unknown chunk before": (form(fmt(48_000), chunk(b"abcd", ODD), chunk(b"data", PCM)), 1),
    "chunk behind": (form(fmt(48_000), chunk(b"data", PCM), LIST), 1),
    "chunk of unknown name behind": (form(fmt(48_000), chunk(b"data", PCM), chunk(b"what", bytes(300))), 1),
    "two sound chunks": (form(fmt(48_000), chunk(b"data", PCM), chunk(b"data", PCM)), 2),
    "a chunk between two of sound": (form(fmt(48_000), chunk(b"data", PCM), LIST, chunk(b"data", PCM)), 2),
    "an empty sound chunk first": (form(fmt(48_000), chunk(b"data", b""), LIST, chunk(b"data", PCM)), 1),
    "odd sound chunk, padded": (form(fmt(48_000), chunk(b"data", PCM + b"\x7f"), chunk(b"data", PCM)), 2),
    "odd sound chunk, not padded": (form(fmt(48_000), chunk(b"data", PCM + b"\x7f", pad=False), chunk(b"data", PCM)), 2),
    "three files joined": (file(PCM) * 3, 3),
    "three streamed files joined": (file(PCM, size=STREAMED) * 3, 3),
    "three files of no length joined": (file(PCM, size=0) * 3, 3),
    "three files that claim too much, joined": (file(PCM, size=1 << 20) * 3, 3),
    "joined behind an odd byte": (form(fmt(48_000), chunk(b"data", PCM + b"\x01", STREAMED, pad=False)) * 2, 2),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_every_sample_is_read_and_nothing_else(name: str, piece: int) -> None:
    """Whatever the headers claim, and however the bytes arrive."""
    data, times = WHOLE[name]
    assert read(data, piece) == ([48_000], PCM * times)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("bits", "is_float", "off"), [(8, False, 129), (16, False, 0), (24, False, 0), (32, False, 0), (32, True, 0), (64, True, 0)]
)
def test_every_kind_of_sample(*, bits: int, is_float: bool, off: int, extensible: bool) -> None:
    """Integers and floats of every usual width, in the plain and the extensible format, are the same sound."""
    head = fmt(22_050, tag=FLOAT if is_float else 1, bits=bits, extensible=extensible)
    rates, heard = read(form(head, chunk(b"data", stored(SIGNAL, bits, is_float=is_float))), piece=11)
    assert rates == [22_050]
    assert np.abs(np.frombuffer(heard, "<i2") - SIGNAL).max() <= off


def test_channels_are_averaged() -> None:
    """Six channels of which one sounds are a sixth of it."""
    channels = np.zeros((len(SIGNAL), 6))
    channels[:, 2] = np.rint(SIGNAL / 6) * 6
    _, heard = read(form(fmt(48_000, channels=6), chunk(b"data", stored(channels.reshape(-1), 16))), piece=13)
    assert np.abs(np.frombuffer(heard, "<i2") - np.rint(SIGNAL / 6)).max() <= 1


def test_a_joined_file_may_have_another_rate() -> None:
    """Each file's samples keep the rate that it names."""
    assert read(file(PCM, 24_000) + file(PCM, 16_000)) == ([24_000, 16_000], PCM * 2)


def test_what_is_no_number_is_silence() -> None:
    """Floats that are not numbers, or endless, do not become noise beyond full scale."""
    samples = np.array([np.nan, np.inf, -np.inf, 1e300, 0.5])
    reader = WavReader()
    ((_, heard),) = reader.feed(form(fmt(48_000, tag=FLOAT, bits=64), chunk(b"data", samples.astype("<f8").tobytes())))
    assert heard.tolist() == [0.0, 1.0, -1.0, 1.0, 0.5]


REFUSED = {
    "no WAV file": [b"", b"RIFF", b"ID3 no wave at all", b"RIFF\x10\0\0\0AVI LIST"],
    "a WAV file without sound": [form(), form(fmt(48_000)), form(fmt(48_000), chunk(b"LIST", b"", 1 << 31))],
    "a damaged WAV file": [
        form(chunk(b"data", PCM)),
        form(chunk(b"fmt ", bytes(10))),
        form(chunk(b"fmt ", bytes(100), 1 << 30)),
        form(chunk(b"JUNK", b"") * 20_000),
    ],
    "of an unusual kind": [form(fmt(48_000, tag=6, bits=8)), form(fmt(48_000, bits=0)), form(fmt(48_000, tag=FLOAT, bits=16))],
    "channels": [form(fmt(48_000, channels=0)), form(fmt(48_000, channels=65_535))],
}


@pytest.mark.parametrize(("words", "data"), [(words, data) for words, files in REFUSED.items() for data in files])
def test_what_is_no_sound_is_named(words: str, data: bytes) -> None:
    """A sentence's worth of words for each."""
    with pytest.raises(RemoteProtocolError, match=words):
        read(data)


@given(data=st.sampled_from([data for data, _ in WHOLE.values()]), cuts=st.lists(st.integers(1, 400), max_size=40))
def test_cuts_change_nothing(data: bytes, cuts: list[int]) -> None:
    """However the bytes arrive, the samples are the same."""
    reader, place = WavReader(), 0
    pieces = []
    for cut in [*cuts, len(data)]:
        pieces += [samples for _, samples in reader.feed(data[place : place + cut])]
        place += cut
    pieces += [samples for _, samples in reader.finish()]
    assert np.rint(np.concatenate(pieces) * 32_768).astype("<i2").tobytes() == read(data)[1]


@given(
    data=st.sampled_from([data for data, _ in WHOLE.values()]),
    damage=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=9),
)
def test_damage_never_crashes(data: bytes, damage: list[tuple[int, int]]) -> None:
    """A file with wrong bytes in its headers is samples between -1 and 1, or RemoteProtocolError."""
    spoilt = bytearray(data)
    for place, value in damage:
        spoilt[place % len(spoilt)] = value
    reader = WavReader()
    try:
        runs = reader.feed(bytes(spoilt)) + reader.finish()
    except RemoteProtocolError:
        return
    assert all(np.abs(samples).max(initial=0) <= 1 for _, samples in runs)
