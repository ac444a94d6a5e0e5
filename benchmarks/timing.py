"""From what was said and what was heard to milliseconds and holes. Pure."""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.probe import CLICKS_HZ, STEPS_PER_CLICK, TONE_PEAK, clicks
from benchmarks.stage import Timed
from discordplex.audio.format import ENGINE, MODEL
from discordplex.audio.samples import FULL_SCALE, rms_of
from discordplex.loopback.discord.person.timeline import PlacedPacket

HOLE_RMS = 0.6 * TONE_PEAK / 2**0.5
"""A hole of one tick leaves 5 ms of a frame's sound, half of its level; what is crossfaded or faded in keeps more than this."""


@dataclass(frozen=True, slots=True)
class Way:
    """One click's way through the bot."""

    left: float
    """When it was sent, in seconds of `time.perf_counter`."""
    took_ms: float


Sighting = tuple[float, int]
"""A click's time and pitch."""


def ways_up(talk: Timed, packets: Sequence[PlacedPacket], clicked: Sequence[int]) -> list[Way]:
    """From the person's datagram with a click to the arrival of the page with it at the engine."""
    if talk.probe is None:
        return []
    pages = talk.heard
    ends = list(itertools.accumulate(page.samples for page in pages))
    found = clicks(bytes(talk.probe.heard), MODEL.rate_hz)
    came = [(pages[bisect.bisect_right(ends, click.sample)].at, click.pitch) for click in found]
    return matched([(packets[frame].at, number % len(CLICKS_HZ)) for number, frame in enumerate(clicked)], came)


def ways_down(talk: Timed, bot_id: str) -> list[Way]:
    """From the engine's sending of a block with a click to the person's datagram with it."""
    sent = [(block.at, number % len(CLICKS_HZ)) for number, block in enumerate(talk.said[::STEPS_PER_CLICK])]
    heard = talk.person.heard.packets(bot_id)
    return matched(sent, [(packet.at, click.pitch) for packet in heard for click in clicks(packet.pcm, ENGINE.rate_hz)])


def matched(sent: Sequence[Sighting], came: Sequence[Sighting]) -> list[Way]:
    """Each arrival with the last departure of its pitch before it."""
    found = []
    for at, pitch in came:
        left = max((departure for departure, other in sent if other == pitch and departure < at), default=None)
        if left is not None:
            found.append(Way(left, (at - left) * 1000))
    return found


def holes(packets: Sequence[PlacedPacket]) -> list[float]:
    """When each interruption of the tone was heard: silence within it, or nothing sent. One that lasts counts once."""
    found = []
    sounding = False
    for before, packet in itertools.pairwise(packets):
        whole = rms_of(packet.pcm) * FULL_SCALE > HOLE_RMS and packet.position - before.position <= ENGINE.frame_samples
        if sounding and not whole:
            found.append(packet.at)
        sounding = whole
    return found
