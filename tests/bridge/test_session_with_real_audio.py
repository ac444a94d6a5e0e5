"""A call with the real sink and the real source, on a virtual clock: the test plays the wire's two threads."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from discordplex.audio.converter import upmix
from discordplex.audio.fades import fade_out
from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.sink import Sink
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bridge.events import CallEvent, Caption, Ended
from discordplex.bridge.gated_sink import GatedSink
from discordplex.bridge.session import VoiceSession
from discordplex.engine import Audio, Interrupted, Text
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.tasks import cancel_and_wait
from tests.bridge.scripted import PERSONA, ScriptedEngine, ScriptedLease, ScriptedLink

LOUD = b"\x00\x20" * ENGINE.frame_samples
SPEAKERS = (7, 8)


class Call:
    """One call; `said` are the frames its engine will have heard of each speaker."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.sink = Sink(clock=self.clock, metrics=self.metrics)
        self.source = StreamingPlaybackSource(clock=self.clock, metrics=self.metrics)
        self.engine = ScriptedEngine(self.clock)
        self.told: list[tuple[float, CallEvent]] = []
        self.played: list[tuple[float, bytes]] = []
        self.session = VoiceSession(
            lease=ScriptedLease(self.engine),
            persona=PERSONA,
            sink=GatedSink(self.sink, clock=self.clock),
            source=self.source,
            link=ScriptedLink(*SPEAKERS),
            on_event=lambda event: self.told.append((self.clock.now(), event)),
            clock=self.clock,
            metrics=self.metrics,
        )

    async def speak(self, speaker: int, frames: Iterable[bytes], phase_s: float) -> None:
        """A person's packets, one each 20 ms, as the receiver hands them over."""
        due = self.clock.now() + phase_s
        for pcm in frames:
            await self.clock.sleep_until(due)
            self.sink.write(upmix(pcm), speaker)
            due += DISCORD.frame_seconds

    async def play(self) -> None:
        """What the send thread does."""
        due = self.clock.now()
        while True:
            await self.clock.sleep_until(due)
            self.played.append((due, self.source.read()))
            due += DISCORD.frame_seconds

    def heard_of(self, speaker: int) -> list[bytes]:
        """The frames of one speaker that reached the engine."""
        return [frames[speaker] for _, frames in self.engine.heard if speaker in frames]

    @property
    def captions(self) -> list[tuple[float, Caption]]:
        return [(at, event) for at, event in self.told if isinstance(event, Caption)]


@asynccontextmanager
async def live(call: Call) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The call runs for the time of the block; tasks put into the list end with it."""
    running = asyncio.create_task(call.session.run())
    others = [asyncio.create_task(call.play())]
    await call.clock.advance(0)
    try:
        yield others
    finally:
        call.session.stop()
        await running
        await cancel_and_wait(*others)
        call.sink.close()
        call.source.close()


@pytest.mark.parametrize("phase_ms", [0.5, 6, 13, 19.5])
async def test_speech_reaches_the_engine_whole_and_soon(phase_ms: float) -> None:
    """Whatever the phase of the packets: every frame once, in order, none missing, and a second later each goes on with its packet."""
    call = Call()
    said = [bytes([1 + count % 50, 2]) * ENGINE.frame_samples for count in range(150)]
    async with live(call) as tasks:
        await call.clock.advance(0.1)
        tasks.append(asyncio.create_task(call.speak(7, said, phase_ms / 1000)))
        await call.clock.advance(3.5)
    assert call.heard_of(7) == [*said, fade_out(said[-1])]
    waits_ms = list(call.metrics.histogram("uplink.wait_ms").values)
    assert max(waits_ms) <= 25
    assert set(waits_ms[60:]) == {0.0}
    assert len(call.engine.heard) == pytest.approx(3.6 * 50, abs=2)


async def test_two_speakers_reach_the_engine_apart_and_at_once() -> None:
    """Two people who speak at the same time share the ticks: each one's frames are whole, and no tick is added for the second."""
    call = Call()
    chance = random.Random(5)
    said = {speaker: [bytes([chance.randrange(1, 100), speaker]) * ENGINE.frame_samples for _ in range(80)] for speaker in SPEAKERS}
    async with live(call) as tasks:
        tasks.append(asyncio.create_task(call.speak(7, said[7], 0.004)))
        tasks.append(asyncio.create_task(call.speak(8, said[8], 0.013)))
        await call.clock.advance(2.0)
    assert {speaker: call.heard_of(speaker) for speaker in SPEAKERS} == {who: [*sound, fade_out(sound[-1])] for who, sound in said.items()}
    assert len(call.engine.heard) == pytest.approx(100, abs=2)


async def test_what_the_engine_says_is_played_whole_and_read_in_time() -> None:
    """Blocks of 80 ms come out as unbroken sound, and each word is shown no earlier than its sound and at most 120 ms after it."""
    call = Call()
    async with live(call):
        words = [f" word{count}" for count in range(20)]
        for word in words:
            call.engine.does(Text(word), Audio(LOUD * 4))
            await call.clock.advance(0.08)
        await call.clock.advance(0.5)
        sounding = [at for at, pcm in call.played if any(pcm)]
        assert len(sounding) in (80, 81)
        assert sounding[-1] - sounding[0] == pytest.approx((len(sounding) - 1) * DISCORD.frame_seconds)
        for number in range(1, 20):
            shown_at = next(at for at, caption in call.captions if f"word{number}" in caption.text)
            assert sounding[0] + number * 0.08 - 0.021 <= shown_at <= sounding[0] + number * 0.08 + 0.12
    assert call.captions[-1][1].text == "".join(words).strip()
    assert call.captions[-1][1].final
    assert call.told[-1][1] == Ended(None)


async def test_an_interruption_is_heard_within_a_frame() -> None:
    """What waits in the source is gone with the interruption: one fading frame, then silence, and the unheard words stay unread."""
    call = Call()
    async with live(call):
        call.engine.does(Text("One"), Audio(LOUD * 7), Text(" two"), Audio(LOUD))
        await call.clock.advance(0.1)
        assert call.source.depth_ms > 0
        call.engine.does(Interrupted())
        await call.clock.advance(0.001)
        interrupted_at = call.clock.now()
        assert call.source.depth_ms == 0
        await call.clock.advance(0.5)
    assert len([at for at, pcm in call.played if at >= interrupted_at and any(pcm)]) <= 1
    assert [caption.text for _, caption in call.captions] == ["One", "One"]
