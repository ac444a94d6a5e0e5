"""What encryption costs per packet, the way from a datagram to the Sink, and what people hear of a repair.

`python -m benchmarks.encryption` prints it.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from unittest.mock import patch

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import OpusDecoder, OpusEncoder
from discordplex.clock import SystemClock
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.metrics import Metrics, percentile
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.packet import RtpPacket, build_header, strip
from discordplex.voice.rtp.threads import SendThread
from tests.loopback.discord.clients import logged_in
from tests.voice.booth import Booth, TappedDecoder, TappedEncoder, noise
from tests.voice.delivery import call_of
from tests.voice.rtp.test_receiver import KEY, SSRC, Studio, packets_of

ANN, BOB = 11, 22
PACKETS = 2000
SPEECH = packets_of(noise(100))
TALK_FRAMES = 450
LOSSES = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """Time for one packet of 20 ms."""

    what: str
    median_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Repair:
    """A talk both ways during which the connection was lost three times."""

    cause: str
    heard_by_person: int
    heard_by_bot: int
    said: int
    gap_ms: float
    """The longest time between two packets of the bot's that reached the person."""


def costs() -> list[Cost]:
    """Each step alone, and the whole way in and out, with DAVE and without."""
    _, (ann, bob) = call_of(ANN, BOB)
    frames = [bob.e2ee.encrypt(SPEECH[index % len(SPEECH)]) or b"" for index in range(PACKETS)]
    found = [transport_cost(mode, frames) for mode in MODES]
    sealing = iter([SPEECH[index % len(SPEECH)] for index in range(PACKETS)])
    found.append(timed("DAVE, encrypt", lambda: ann.e2ee.encrypt(next(sealing)), PACKETS))
    opening = iter(frames)
    found.append(timed("DAVE, decrypt", lambda: ann.e2ee.decrypt(BOB, next(opening)), PACKETS))
    decoder, encoder, pcm = OpusDecoder(), OpusEncoder(), noise(1)
    decoding = iter([SPEECH[index % len(SPEECH)] for index in range(PACKETS)])
    found.append(timed("Opus, decode", lambda: decoder.decode(next(decoding)), PACKETS))
    found.append(timed("Opus, encode", lambda: encoder.encode(pcm), PACKETS))
    return [*found, way_in(encrypted=True), way_in(encrypted=False)]


def timed(what: str, work: Callable[[], object], times: int) -> Cost:
    """Do it so often, each time by the clock."""
    values = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        values.append((time.perf_counter() - begun) * 1e6)
    return Cost(what, percentile(values, 50) or 0.0, percentile(values, 99) or 0.0)


def transport_cost(mode: str, frames: list[bytes]) -> Cost:
    """Opening the transport's encryption."""
    inside, outside = Transport.for_mode(mode, KEY), Transport.for_mode(mode, KEY)
    sealed = iter([outside.seal(build_header(sequence=index, timestamp=0, ssrc=SSRC), frame) for index, frame in enumerate(frames)])

    def unseal() -> None:
        packet = RtpPacket.parse(next(sealed))
        strip(inside.open(packet), packet)

    return timed(f"transport, open, {mode}", unseal, len(frames))


def way_in(*, encrypted: bool) -> Cost:
    """From a datagram that `recv` has given to the return of `Sink.write`."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio = Studio(ann.e2ee if encrypted else None)
    studio.receiver.name(SSRC, BOB)
    payloads = [SPEECH[index % len(SPEECH)] for index in range(PACKETS)]
    if encrypted:
        payloads = [bob.e2ee.encrypt(payload) or b"" for payload in payloads]
    datagrams = iter([studio.datagram(index, payload) for index, payload in enumerate(payloads)])
    times = itertools.count(step=DISCORD.frame_seconds)  # what came faster than real time would be dropped
    return timed(
        f"datagram to Sink, {'DAVE' if encrypted else 'no DAVE'}", lambda: studio.receiver.receive(next(datagrams), next(times)), PACKETS
    )


@asynccontextmanager
async def booth_alone() -> AsyncIterator[Booth]:
    """A bot in no channel yet, on a loopback of its own."""
    async with LoopbackDiscord() as loopback, logged_in(loopback, loopback.bots[0]) as bot:
        os.environ["SSL_CERT_FILE"] = str(loopback.ca_file)
        metrics = Metrics()
        with SendThread(clock=SystemClock(), metrics=metrics) as send_thread:
            yield Booth(loopback, bot, send_thread, metrics)


async def repair(cause: int | None) -> Repair:
    """Talk both ways for nine seconds, and lose the connection three times: by a close code, or by a TCP reset where there is none."""
    taps = (
        patch("discordplex.voice.rtp.stream.OpusDecoder", TappedDecoder),
        patch("discordplex.voice.rtp.sender.OpusEncoder", TappedEncoder),
    )
    with taps[0], taps[1]:  # so that packets can be told apart
        return await repaired(cause)


async def repaired(cause: int | None) -> Repair:
    """The call itself."""
    async with booth_alone() as booth, booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        booth.mouth.say(noise(TALK_FRAMES))
        talking = asyncio.create_task(ada.say(noise(TALK_FRAMES, channels=1, seed=2)))
        for done in range(LOSSES):
            await ada.wait_for_audio(booth.bot_id, TALK_FRAMES / DISCORD.frames_per_second * (done + 0.5) / LOSSES)
            if cause is None:
                booth.loopback.voice.reset_connection(booth.bot_id)
            else:
                booth.loopback.voice.close_connection(booth.bot_id, cause)
            await booth.until(lambda: booth.restored == done + 1)  # noqa: B023 - awaited at once
        await talking
        await ada.wait_until(lambda: not booth.mouth.frames)
        arrivals = [packet.at for packet in ada.heard.packets(booth.bot_id)]
        gap_s = max(later - earlier for earlier, later in itertools.pairwise(arrivals))
        heard = sum(packet is not None for packet in booth.ear.heard(ada.user.id))
        await link.disconnect()
        return Repair("TCP reset" if cause is None else str(cause), len(ada.heard.opus(booth.bot_id)), heard, TALK_FRAMES, gap_s * 1000)


def main() -> None:
    """Measure everything and print it."""
    for cost in costs():
        print(f"{cost.what:<45}{cost.median_us:8.1f} us median {cost.p99_us:8.1f} us p99")
    for cause in (4015, 4000, None, 4006, 4009, 4004):
        found = asyncio.run(repair(cause))
        counts = f"person heard {found.heard_by_person}, bot heard {found.heard_by_bot} of {found.said}"
        print(f"three times {found.cause:<12}{counts}, longest gap {found.gap_ms:.1f} ms")


if __name__ == "__main__":
    main()
