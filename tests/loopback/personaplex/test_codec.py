"""The model's ears and writer."""

import numpy as np
import pytest

from discordplex.audio.format import ENGINE, MODEL
from discordplex.audio.oggopus import OggOpusReader, OggOpusWriter
from discordplex.loopback.personaplex.codec import STEP_BYTES, AudioReader, AudioWriter
from discordplex.loopback.personaplex.ogg import BOS, OggStreamError, write_page
from tests.audio import signals
from tests.audio.signals import pcm


def tone(rate_hz: int, duration_ms: int) -> bytes:
    return pcm(signals.tone(duration_ms / 1000, rate_hz=rate_hz))


def test_the_ear_hears_a_bridge_at_its_own_rate() -> None:
    """48 kHz pages come out as 24 kHz PCM, sample for sample of time."""
    writer, reader = OggOpusWriter(ENGINE.rate_hz), AudioReader()
    sound = tone(ENGINE.rate_hz, 400)
    frames = (sound[start : start + ENGINE.frame_bytes] for start in range(0, len(sound), ENGINE.frame_bytes))
    heard = b"".join(reader.feed(writer.write(frame)) for frame in frames)
    assert len(heard) == MODEL.bytes_of_ms(400)
    assert np.abs(np.frombuffer(heard, "<i2")).max() > 6000


def test_the_mouth_opens_with_the_two_header_pages() -> None:
    """47 and 53 bytes, as measured."""
    assert [len(page) for page in AudioWriter().headers()] == [47, 53]


@pytest.mark.parametrize(("packets_per_step", "pages"), [(1, 1), (2, 2)])
def test_a_step_is_one_message(packets_per_step: int, pages: int) -> None:
    """One page of 80 ms as NVIDIA's server, or two of 40 ms as moshi; a reader at 48 kHz takes either."""
    writer, reader = AudioWriter(packets_per_step), OggOpusReader(ENGINE.rate_hz)
    for page in writer.headers():
        assert reader.read(page) == b""
    sound = tone(MODEL.rate_hz, 80)
    messages = [writer.encode(sound) for _ in range(10)]
    assert {message.count(b"OggS") for message in messages} == {pages}
    assert [len(reader.read(message)) for message in messages] == [ENGINE.bytes_of_ms(80)] * 10


def test_a_corrupt_packet_kills_the_ear() -> None:
    """The real server closes with 1000 over it."""
    reader = AudioReader()
    with pytest.raises(OggStreamError):
        reader.feed(
            write_page([b"OpusHead"], flags=BOS, granule=0, serial=1, number=0)
            + write_page([b"\xff\xff"], flags=0, granule=0, serial=1, number=1)
        )


def test_an_empty_packet_costs_ten_seconds() -> None:
    """What sphn 0.1.12 conceals of it: lag for good."""
    assert len(AudioReader().feed(write_page([b"", b""], flags=BOS, granule=0, serial=1, number=0))) == 2 * MODEL.bytes_of_ms(10_000)
    assert STEP_BYTES == 3840
