"""OggOpus streams through either backend, read and written by the other and by sphn itself."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio import sphncodec
from discordplex.audio.format import ENGINE
from discordplex.audio.ogg import PacketReader, Page, PageWriter, parse_page
from discordplex.audio.oggheaders import head_packet
from discordplex.audio.oggopus import BACKEND, Backend, OggOpusReader, OggOpusWriter, TooMuchError
from discordplex.audio.opus import OpusDecoder, packet_samples
from discordplex.audio.samples import float_of, pcm_of
from discordplex.audio.sphncodec import SphnPackets, SphnPages
from discordplex.errors import LocalProtocolError, RemoteProtocolError
from tests.audio.signals import best_lag, frames, pcm, samples, snr_db, voice

needs_sphn = pytest.mark.skipif(not sphncodec.AVAILABLE, reason="sphn has no wheel for this platform")
BACKENDS = [pytest.param(name, marks=needs_sphn if name == "sphn" else ()) for name in get_args(Backend)]
LOOKAHEAD = 312
SPEECH = voice(1.0)
SPEECH_FRAMES = frames(pcm(SPEECH), ENGINE.frame_bytes)


def pages_of(writer: OggOpusWriter) -> list[bytes]:
    return [writer.write(frame) for frame in SPEECH_FRAMES]


def speech_survives(heard: bytes) -> bool:
    """Whether the signal is there, a lookahead later. VOIP's high-pass turns phases, so the SNR of a good codec is low."""
    found = samples(heard)
    lag = best_lag(SPEECH[9600:], found[9600:], 960)
    return abs(lag - LOOKAHEAD) < 10 and snr_db(SPEECH[9600 : len(found) - lag], found[9600 + lag :]) > 5


FIRST_PAGES = pages_of(OggOpusWriter())[:3]


@pytest.mark.parametrize("reading", BACKENDS)
@pytest.mark.parametrize("writing", BACKENDS)
def test_each_reads_what_each_writes(writing: Backend, reading: Backend) -> None:
    """Frame in, frame out at once, the same sound, later by the encoder's lookahead alone."""
    writer, reader = OggOpusWriter(backend=writing), OggOpusReader(backend=reading)
    heard = [reader.read(writer.write(frame)) for frame in SPEECH_FRAMES]
    assert {len(frame) for frame in heard} == {ENGINE.frame_bytes}
    assert speech_survives(b"".join(heard))


@needs_sphn
def test_both_readers_hear_the_same() -> None:
    """Sphn decodes with libopus too: the same pages give the same samples, but for rounding."""
    pages = pages_of(OggOpusWriter())
    one, other = OggOpusReader(backend="sphn"), OggOpusReader(backend="libopus")
    difference = samples(b"".join(map(one.read, pages))) - samples(b"".join(map(other.read, pages)))
    assert abs(difference).max() <= 1


@needs_sphn
@pytest.mark.parametrize(("rate_hz", "packet_ms"), [(48_000, 20), (24_000, 80), (24_000, 20)])
def test_sphn_reads_our_pages(rate_hz: int, packet_ms: int) -> None:
    """A reader of the engine's own kind takes what the pager writes, at the real server's packet length too."""
    writer, decoder = OggOpusWriter(rate_hz, packet_ms=packet_ms, backend="libopus"), SphnPackets(48_000)
    sound = voice(1.0, rate_hz=rate_hz)
    pages = b"".join(writer.write(frame) for frame in frames(pcm(sound), rate_hz // 50 * 2))
    packets = PacketReader().read(pages)
    assert [packet[:8] for packet in packets[:2]] == [b"OpusHead", b"OpusTags"]
    assert {packet_samples(packet) for packet in packets[2:]} == {48 * packet_ms}
    assert speech_survives(b"".join(map(decoder.decode, packets[2:])))
    raw = sphncodec.sphn.OpusStreamReader(48_000)
    if not hasattr(raw, "read_pcm"):
        heard = raw.append_bytes(pages)
        assert len(heard) == 48_000 // (48 * packet_ms) * 48 * packet_ms
        assert speech_survives(pcm_of(heard))


@needs_sphn
@pytest.mark.parametrize("rate_hz", [24_000, 48_000])
@pytest.mark.parametrize("reading", BACKENDS)
def test_we_read_sphns_pages(rate_hz: int, reading: Backend) -> None:
    """What sphn writes at either rate is decoded at 48 kHz."""
    encoder, reader = SphnPages(rate_hz), OggOpusReader(backend=reading)
    sound = voice(1.0, rate_hz=rate_hz)
    packet_bytes = 2 * 960
    heard = b"".join(reader.read(encoder.encode(packet)) for packet in frames(pcm(sound), packet_bytes))
    assert speech_survives(heard)


class OldWriter:
    """sphn 0.1's way to write, over whatever sphn there is."""

    def __init__(self, rate_hz: int) -> None:
        self._pages = SphnPages(rate_hz)
        self._made: list[bytes] = []

    def append_pcm(self, samples: Any) -> None:
        stream = self._pages.encode(pcm_of(samples))
        starts = [at for at in range(len(stream)) if stream.startswith(b"OggS", at)]
        self._made += [stream[start:end] for start, end in zip(starts, [*starts[1:], len(stream)], strict=True)]

    def read_bytes(self) -> bytes:
        return self._made.pop(0) if self._made else b""


class OldReader:
    """sphn 0.1's way to read: what is decoded comes a few calls later, and a stream that it cannot read ends in None."""

    def __init__(self, rate_hz: int) -> None:
        self._decoder = OpusDecoder(rate_hz, channels=1)
        self._packets = PacketReader()
        self._waiting: list[Any] = []
        self._dead = False

    def append_bytes(self, pages: bytes) -> None:
        for packet in self._packets.read(pages):
            if not packet.startswith(b"Opus"):
                self._decode(packet)

    def _decode(self, packet: bytes) -> None:
        try:
            found = float_of(self._decoder.decode(packet))
        except RemoteProtocolError:
            self._dead = True
            return
        self._waiting += [np.zeros(0, np.float32), np.zeros(0, np.float32), found]

    def read_pcm(self) -> Any:
        if self._dead:
            return None
        return self._waiting.pop(0) if self._waiting else np.zeros(0, np.float32)


class OldSphn:
    """The shape of sphn 0.1."""

    OpusStreamWriter = OldWriter
    OpusStreamReader = OldReader


@needs_sphn
def test_the_old_api_is_spoken() -> None:
    """Pages that wait in the writer are all fetched, and PCM that is not there yet is waited for."""
    encoder, decoder, reader = SphnPages(48_000, OldSphn), SphnPackets(48_000, OldSphn), PacketReader()
    heard = b""
    for number, frame in enumerate(SPEECH_FRAMES):
        packets = reader.read(encoder.encode(frame))
        assert len(packets) == (3 if number == 0 else 1)
        heard += b"".join(decoder.decode(packet) for packet in packets if not packet.startswith(b"Opus"))
    assert len(heard) == len(SPEECH_FRAMES) * ENGINE.frame_bytes
    assert speech_survives(heard)


class MortalSphn:
    """A 0.1 whose readers die of their third page, which is the first with sound."""

    OpusStreamWriter = OldWriter

    class OpusStreamReader(OldReader):
        """Counts the pages of all readers together."""

        pages = 0

        def append_bytes(self, pages: bytes) -> None:
            type(self).pages += 1
            super().append_bytes(PageWriter(serial=1).page([b"\xff\xff"], granule=0) if self.pages == 3 else pages)


@needs_sphn
def test_an_old_reader_that_died_is_replaced() -> None:
    """A packet that ends a 0.1 reader costs itself alone."""
    packets = PacketReader().read(b"".join(pages_of(OggOpusWriter())))[2:]
    decoder = SphnPackets(48_000, MortalSphn)
    with pytest.raises(RemoteProtocolError):
        decoder.decode(packets[0])
    assert len(decoder.decode(packets[1])) == ENGINE.frame_bytes


@pytest.mark.parametrize("reading", BACKENDS)
def test_a_stream_without_its_first_pages_is_read(reading: Backend) -> None:
    """A reader that never saw the headers hears everything from where it came in."""
    pages = pages_of(OggOpusWriter())
    reader = OggOpusReader(backend=reading)
    assert len(b"".join(map(reader.read, pages[10:]))) == 40 * ENGINE.frame_bytes


@pytest.mark.parametrize("reading", BACKENDS)
def test_pages_may_be_cut_and_heaped(reading: Backend) -> None:
    """Pages split over messages, and many in one, hold the same sound."""
    stream = b"".join(pages_of(OggOpusWriter()))
    whole = OggOpusReader(backend=reading).read(stream)
    reader = OggOpusReader(backend=reading)
    cut = b"".join(reader.read(stream[start : start + 77]) for start in range(0, len(stream), 77))
    assert whole == cut
    assert len(whole) == len(SPEECH_FRAMES) * ENGINE.frame_bytes


@pytest.mark.parametrize("reading", BACKENDS)
def test_several_packets_may_share_a_page(reading: Backend) -> None:
    """Five packets on a page are five frames."""
    packets = PacketReader().read(b"".join(pages_of(OggOpusWriter())))[2:]
    page = PageWriter(serial=3).page(packets[:5], granule=0)
    assert len(OggOpusReader(backend=reading).read(page)) == 5 * ENGINE.frame_bytes


def damaged(page: bytes, how: str) -> bytes:
    if how == "checksum":
        return page[:40] + bytes([page[40] ^ 0xFF]) + page[41:]
    if how == "empty packet":
        return PageWriter(serial=1).page([b""], granule=0)
    if how == "corrupt packet":
        return PageWriter(serial=1).page([b"\xff\xff\xff"], granule=0)
    return b"nothing that belongs here"


@pytest.mark.parametrize("how", ["checksum", "empty packet", "corrupt packet", "garbage"])
@pytest.mark.parametrize("reading", BACKENDS)
def test_damage_is_told_once_and_costs_itself_alone(reading: Backend, how: str) -> None:
    """One damaged message raises once; every other frame of the stream is heard."""
    reader = OggOpusReader(backend=reading)
    heard = b""
    faults = 0
    for number, page in enumerate(pages_of(OggOpusWriter())):
        try:
            heard += reader.read(damaged(page, how) if number == 20 else page)
        except RemoteProtocolError:
            faults += 1
    assert faults == 1
    assert len(heard) == (len(SPEECH_FRAMES) - 1) * ENGINE.frame_bytes


@pytest.mark.parametrize("reading", BACKENDS)
def test_what_was_sound_around_the_damage_comes_next(reading: Backend) -> None:
    """A message of three pages whose middle one is broken still yields two frames, with the next call."""
    pages = pages_of(OggOpusWriter())
    reader = OggOpusReader(backend=reading)
    reader.read(pages[0])
    with pytest.raises(RemoteProtocolError, match="checksum"):
        reader.read(pages[1] + damaged(pages[2], "checksum") + pages[3])
    assert len(reader.read(b"")) == 2 * ENGINE.frame_bytes
    assert reader.read(b"") == b""


@pytest.mark.parametrize("reading", BACKENDS)
def test_a_new_stream_may_follow(reading: Backend) -> None:
    """A second writer's pages are read by the same reader, same serial or not."""
    reader = OggOpusReader(backend=reading)
    heard = b"".join(map(reader.read, pages_of(OggOpusWriter()) + pages_of(OggOpusWriter())))
    assert len(heard) == 2 * len(SPEECH_FRAMES) * ENGINE.frame_bytes


@given(st.lists(st.binary(max_size=500), max_size=5))
def test_any_bytes_are_refused_or_read(batches: list[bytes]) -> None:
    """Noise raises RemoteProtocolError or nothing, and the stream after it is read."""
    reader = OggOpusReader()
    for batch in [*batches, *FIRST_PAGES]:
        try:
            reader.read(batch.replace(b"OggS", b""))
        except RemoteProtocolError:
            continue
    for _ in range(2):
        try:
            heard = reader.read(OggOpusWriter().write(SPEECH_FRAMES[0]))
        except RemoteProtocolError:
            continue
    assert len(heard) == ENGINE.frame_bytes


def test_a_writer_takes_any_length() -> None:
    """Half frames wait for their other half; nothing is padded."""
    writer = OggOpusWriter(24_000, packet_ms=80)
    assert writer.write(bytes(3838)) == b""
    assert PacketReader().read(writer.write(bytes(2)))[2:]


def test_the_machines_backend_is_the_default() -> None:
    """Sphn serves where it is installed."""
    assert ("sphn" if sphncodec.AVAILABLE else "libopus") == BACKEND


@needs_sphn
def test_sphn_cannot_make_every_packet() -> None:
    """Who asks sphn by name for what it cannot do is told so."""
    with pytest.raises(LocalProtocolError, match="80 ms"):
        OggOpusWriter(24_000, packet_ms=80, backend="sphn")


def test_lowdelay_has_the_shortest_lookahead() -> None:
    """An own bitrate and application are served, with 2.5 ms of lookahead."""
    writer = OggOpusWriter(bitrate=64_000, application="lowdelay")
    reader = OggOpusReader()
    heard = samples(b"".join(reader.read(writer.write(frame)) for frame in SPEECH_FRAMES))
    assert abs(best_lag(SPEECH[9600:], heard[9600:], 960) - 120) < 10


@pytest.mark.parametrize("packet_ms", [20, 40, 80])
def test_a_page_s_granule_is_the_time_of_its_end(packet_ms: int) -> None:
    """The nth page of sound ends n packets after the beginning, counted at 48 kHz; a strict reader would trim it otherwise."""
    writer = OggOpusWriter(24_000, packet_ms=packet_ms, backend="libopus")
    granules = []
    for count in range(1, 6):
        data = writer.write(bytes(24 * 2 * packet_ms))
        start = 0
        while isinstance(page := parse_page(data, start), Page):
            granules.append(page.granule)
            start += 27 + len(page.lacing) + len(page.body)
        assert granules[-1] == count * packet_ms * 48
    assert granules[:2] == [0, 0], "the two header pages"


HUGE = [
    [bytes((0xFB, 0x86))] * 200,  # 24 s of silence
    [b""] * 255,
    [b"\x80\x00"] * 200,
    [head_packet(rate_hz=48_000, pre_skip=0)] * 20,
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("packets", HUGE)
def test_nothing_is_decoded_that_may_not_be(packets: list[bytes], backend: Backend) -> None:
    """What some bytes stand for is known before: refused whole, and the stream goes on with the next page."""
    asked: list[float] = []

    def may_decode(milliseconds: float) -> bool:
        asked.append(milliseconds)
        return sum(asked) <= 1000

    reader = OggOpusReader(backend=backend, may_decode=may_decode)
    with pytest.raises(TooMuchError):
        reader.read(PageWriter(1).page(packets, granule=0))
    assert sum(asked) > 1000
    asked.clear()
    assert len(reader.read(OggOpusWriter(backend="libopus", application="lowdelay").write(ENGINE.silence))) == ENGINE.frame_bytes


def test_what_is_decoded_was_allowed() -> None:
    """Each packet is accounted for with its length before it is decoded."""
    asked: list[float] = []

    def may_decode(milliseconds: float) -> bool:
        asked.append(milliseconds)
        return True

    reader = OggOpusReader(may_decode=may_decode)
    for packet_ms in (20, 40, 60, 80, 120):
        asked.clear()
        page = OggOpusWriter(48_000, packet_ms=packet_ms, backend="libopus").write(bytes(ENGINE.bytes_of_ms(packet_ms)))
        assert ENGINE.duration_ms(len(reader.read(page))) == packet_ms
        assert packet_ms <= sum(asked) <= packet_ms + 250
