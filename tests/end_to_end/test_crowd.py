"""Several people speak at once, and the engine hears all of them: each as said, as loud as said, when said."""

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest
from numpy.typing import NDArray

from discordplex.audio.format import ENGINE, MODEL
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.voice_model import ModelOutput
from tests.audio.signals import samples
from tests.end_to_end.sound import SECOND
from tests.home import home_with

Signal = NDArray[np.float64]

STARTS, VOICE = (0, round(7.5 * SECOND)), round(1.4 * SECOND)
"""Where the clip has no pause. Backwards a voice is another one, of the same loudness and sound."""

FRAME = MODEL.rate_hz * ENGINE.frame_ms // 1000
WINDOW, REACH = 15 * FRAME, 3 * FRAME
"""What is compared at a time, and how far from its place it is looked for."""

ROUNDS = 5
"""How often they speak until one round is as it should be. A machine that stands still delays one voice more than another until the bot has
made up for it; what the bot itself does wrong is wrong in every round."""


class Listener:
    """A model that keeps what it hears and says nothing."""

    def __init__(self) -> None:
        self.heard = bytearray()

    def step(self, heard: bytes) -> ModelOutput:
        self.heard += heard
        return ModelOutput()

    async def heard_from(self, start: int, count: int, server: StandInServer) -> Signal:
        """So many samples from byte `start` on, once they have been heard."""
        await server.log.wait_for(lambda _: len(self.heard) >= start + count * MODEL.sample_bytes)
        return np.frombuffer(bytes(self.heard[start:]), "<i2").astype(np.float64)


def at_model_rate(pcm: bytes) -> Signal:
    """ENGINE PCM at half its rate, by dropping the upper half of its spectrum."""
    signal = samples(pcm)
    signal = signal[: len(signal) // 2 * 2]
    return np.fft.irfft(np.fft.rfft(signal)[: len(signal) // 4 + 1], len(signal) // 2) / 2


def place_of(part: Signal, whole: Signal) -> int:
    """Where `part` begins in `whole`: by their correlation, in which all frequencies count nearly alike, so that other voices do less."""
    size = 1 << (len(part) + len(whole)).bit_length()
    cross = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    return int(np.argmax(np.fft.irfft(cross / (np.abs(cross) ** 0.7 + 1e-9), size)[: max(1, len(whole) - len(part))]))


def shares(mixed: Signal, parts: list[Signal]) -> Signal:
    """By which factor each of the parts is in the mix: least squares."""
    return np.asarray(np.linalg.lstsq(np.stack(parts, axis=1), mixed, rcond=None)[0], np.float64)


def judged(heard: Signal, said: list[Signal]) -> tuple[float, Signal]:
    """How far apart the parts lie in what was heard (samples), and how loud each is in it (dB): medians over short windows.

    A machine that stands still for a moment costs a window or two: the playout drops or stretches a frame, which moves what follows.
    """
    heard = np.pad(heard, (0, len(said[0])))
    places = [place_of(part, heard) for part in said]
    spreads, levels = [], []
    for start in range(REACH, len(said[0]) - WINDOW - REACH, WINDOW // 2):
        local = [
            place - REACH + place_of(part[start : start + WINDOW], heard[place + start - REACH :][: WINDOW + 2 * REACH])
            for part, place in zip(said, places, strict=True)
        ]
        spreads.append(max(local) - min(local))
        first = local[0] + start
        parts = [part[first - place :][:WINDOW] for part, place in zip(said, local, strict=True)]
        if spreads[-1] <= REACH:
            levels.append(20 * np.log10(np.abs(shares(heard[first:][:WINDOW], parts)) + 1e-6))
    return float(np.median(spreads)), np.median(levels, axis=0)


async def everybody_talks(people: list[Person], speeches: list[bytes]) -> list[Signal]:
    """All speak at once; what each said, on one clock."""
    before = [len(person.said.packets()) for person in people]
    await asyncio.gather(*(person.say(pcm) for person, pcm in zip(people, speeches, strict=True)))
    packets = [person.said.packets()[start:] for person, start in zip(people, before, strict=True)]
    origin_s, end_s = min(one[0].at for one in packets), max(one[-1].at for one in packets)
    return [at_model_rate(person.said.pcm(person.user.id, start_s=origin_s, end_s=end_s)) for person in people]


@pytest.mark.parametrize("crowd", [2, 4])
async def test_everybody_is_heard_at_once(speech: bytes, monkeypatch: pytest.MonkeyPatch, crowd: int) -> None:
    """Each one's part of the mix is what they said, within 1 dB of as loud, and the parts are within one frame of where they were said.

    By the loopback's and the model's own clocks, not by this machine's.
    """
    mind = Listener()
    first, second = (samples(speech)[start : start + VOICE] / 4 for start in STARTS)
    speeches = [voice.astype("<i2").tobytes() for voice in (first, first[::-1], second, second[::-1])]
    async with StandInServer(model=lambda: mind) as engine, home_with(engine, monkeypatch=monkeypatch) as home, AsyncExitStack() as exits:
        people = [
            await exits.enter_async_context(Person(home.discord, user, home.lounge.id))
            for user, _ in zip(home.discord.people, speeches[:crowd], strict=False)
        ]
        await home.says(home.lounge, "Go ahead")
        for _ in range(ROUNDS):
            start = len(mind.heard)
            said = await everybody_talks(people, speeches[:crowd])
            heard = await mind.heard_from(start, len(said[0]) + 15 * FRAME, engine)
            spread, levels = judged(heard, said)
            if spread <= FRAME:
                break
    assert spread <= FRAME, "all were said on one clock, and so all lie at one place in what was heard"
    assert levels == pytest.approx(np.zeros(crowd), abs=1.0)
