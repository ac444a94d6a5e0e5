"""What one packet costs, measured in this process on real ones: encrypted end to end and for transport, as they come from the network."""

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterable

import numpy as np

from benchmarks.naive import NaiveReader, NaiveSink, NaiveWriter
from benchmarks.resources import endless
from benchmarks.row import Row, Spread
from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.oggopus import OggOpusReader, OggOpusWriter
from discordplex.audio.opus import LIGHT, OpusEncoder
from discordplex.audio.sink import Sink
from discordplex.clock import SystemClock
from discordplex.loopback.personaplex.codec import STEP_BYTES, AudioWriter
from discordplex.metrics import Metrics
from discordplex.personaplex.engine import HEARD_HZ, UPLINK_BITRATE
from discordplex.voice.rtp import packet as rtp
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.receiver import PcmSink, Receiver
from discordplex.voice.rtp.sender import Sender, SendPath
from tests.voice.delivery import Member, call_of

SECONDS = 12
KEY = bytes(32)
PERSON, BOT = 11, 22
CACHE_BYTES = 16 << 20
"""Walked through before each packet: in a call 20 ms of other work lie between two of them, and little of ours is left in the cache."""


def measure() -> list[Row]:
    """The rows about single packets."""
    _, (person, bot) = call_of(PERSON, BOT)
    frames = list(cut(endless(SECONDS), ENGINE.frame_bytes))
    pages = list(spoken(frames))
    # Each gets datagrams of its own: nobody opens one twice.
    ours = timed(receiving(bot, Sink(clock=SystemClock(), metrics=Metrics())), list(sealed(person, frames)))
    naive = timed(receiving(bot, NaiveSink(clock=SystemClock(), metrics=Metrics())), list(sealed(person, frames)))
    writer = OggOpusWriter(ENGINE.rate_hz, bitrate=UPLINK_BITRATE, application="lowdelay", complexity=LIGHT, highest_hz=HEARD_HZ)
    return [
        row("datagram -> Sink, with DAVE", ours, naive),
        row("frame -> page to the engine", timed(writer.write, frames), timed(NaiveWriter().write, frames)),
        row("block of 80 ms from the engine -> PCM", timed(OggOpusReader(ENGINE.rate_hz).read, pages), timed(NaiveReader().read, pages)),
        row("frame -> datagram, with DAVE", timed(sending(bot, frames), frames), None),
    ]


def row(what: str, ours: list[float], naive: list[float] | None) -> Row:
    """One kind of packet."""
    found = Spread.of(ours)
    return Row("one packet", what, "us", found.p50, spread=found, naive=None if naive is None else Spread.of(naive).p50)


def timed(work: Callable[..., object], items: Iterable[object]) -> list[float]:
    """Microseconds of each, with a cold cache."""
    other = np.zeros(CACHE_BYTES // 8)
    found = []
    for item in items:
        other += 1
        begun = time.perf_counter()
        work(item)
        found.append((time.perf_counter() - begun) * 1e6)
    return found


def cut(pcm: bytes, size: int) -> Iterable[bytes]:
    """Whole pieces."""
    return (pcm[start : start + size] for start in range(0, len(pcm) - size + 1, size))


def sealed(person: Member, frames: list[bytes]) -> Iterable[bytes]:
    """The person's speech as Discord would deliver it."""
    encoder, transport = OpusEncoder(DISCORD.rate_hz, DISCORD.channels), Transport.for_mode(MODES[0], KEY)
    for number, frame in enumerate(frames):
        opus = encoder.encode(np.repeat(np.frombuffer(frame, "<i2"), 2).tobytes())
        payload = person.e2ee.encrypt(opus) or b""
        stamp = number * DISCORD.frame_samples
        header = rtp.build_header(sequence=number, timestamp=stamp, ssrc=person.ssrc, extension_words=1)
        yield transport.seal(header, rtp.build_plaintext(payload, extension=bytes(4)))


def spoken(frames: list[bytes]) -> Iterable[bytes]:
    """The same speech as an engine sends it: 80 ms in a message."""
    writer = AudioWriter()
    model = b"".join((np.frombuffer(frame, "<i2")[::2]).tobytes() for frame in frames)
    head = b"".join(writer.headers())
    for number, step in enumerate(cut(model, STEP_BYTES)):
        yield (b"" if number else head) + writer.encode(step)


def receiving(bot: Member, sink: PcmSink) -> Callable[[bytes], None]:
    """All that happens to a datagram until it is a frame in the sink."""
    receiver = Receiver(e2ee=bot.e2ee, sink=sink, metrics=Metrics(), on_discovery=lambda _address, _port: None)
    receiver.transport = Transport.for_mode(MODES[0], KEY)
    times = itertools.count(step=DISCORD.frame_seconds)  # what came faster than real time would be dropped
    return lambda datagram: receiver.receive(datagram, next(times))


class Reading:
    """A source that gives one frame after another."""

    channels = ENGINE.channels

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = iter(frames)

    def read(self) -> bytes:
        """The next one."""
        return next(self._frames)


def sending(bot: Member, frames: list[bytes]) -> Callable[[object], None]:
    """All that happens on the send thread when a frame is due."""
    clock = SystemClock()
    sender = Sender(source=Reading(frames), clock=clock, metrics=Metrics(), on_speaking=lambda _: None, alone=bool)
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    near.setblocking(False)
    near.connect(near.getsockname())
    sender.attach(SendPath(bot.ssrc, Transport.for_mode(MODES[0], KEY), bot.e2ee, near))

    def send(_: object) -> None:
        sender.deadline = clock.now()
        sender.tick(sender.deadline)
        with contextlib.suppress(BlockingIOError):
            near.recv(2048)

    return send
