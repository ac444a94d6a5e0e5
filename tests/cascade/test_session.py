"""A cascade in a call: the real session, sink and source around it, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from discordplex.audio.converter import upmix
from discordplex.audio.ducking import DUCKED_GAIN, Ducking
from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import REPLIES
from discordplex.audio.sink import Sink
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bridge.events import CallEvent, Caption, Listening, Trouble
from discordplex.bridge.gated_sink import GatedSink
from discordplex.bridge.session import VoiceSession
from discordplex.cascade.bargein import BACKCHANNEL_MS
from discordplex.cascade.provider import CascadeProvider
from discordplex.config import CascadeConfig
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.faults import RequestFault, Service
from discordplex.loopback.openai.log import RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from discordplex.metrics import Metrics
from tests.bridge.scripted import ScriptedLink
from tests.cascade.harness import ANNA, NAMES, PERSONA, detectors
from tests.hearing.speech import frames_of, pause, sentences

REPLY = "It is a long way from here. " + "You walk along the river and over the bridge. " * 3
MOST_TICKS = 4000


class Room:
    """A voice channel with one person and the bot in it."""

    def __init__(self, config: CascadeConfig) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.told: list[CallEvent] = []
        self.listening = asyncio.Event()
        self.heard: list[bytes] = []
        """What the bot sent, a frame each tick."""
        ducking = Ducking(clock=self.clock)
        self.sink = Sink(clock=self.clock, metrics=self.metrics, ducking=ducking)
        self.source = StreamingPlaybackSource(clock=self.clock, metrics=self.metrics, profile=REPLIES, ducking=ducking)
        self.pool = detectors()
        lease = CascadeProvider(config, clock=self.clock, detectors=self.pool).acquire()
        assert lease is not None
        lease.name_of = lambda speaker: NAMES[speaker]
        self.session = VoiceSession(
            lease=lease,
            persona=PERSONA,
            sink=GatedSink(self.sink, clock=self.clock),
            source=self.source,
            link=ScriptedLink(ANNA),
            on_event=self.on_event,
            clock=self.clock,
            metrics=self.metrics,
        )

    def on_event(self, event: CallEvent) -> None:
        self.told.append(event)
        if isinstance(event, Listening):
            self.listening.set()

    async def tick(self, frame: bytes | None = None) -> None:
        if frame is not None:
            self.sink.write(upmix(frame), ANNA)
        await self.clock.advance(ENGINE.frame_seconds)
        self.heard.append(self.source.read())

    async def say(self, pcm: bytes) -> None:
        for frame in frames_of(pcm):
            await self.tick(frame)

    async def until(self, predicate: Callable[[], object]) -> None:
        """Time passes until it is true."""
        for _ in range(MOST_TICKS):
            if predicate():
                return
            await self.tick()
        raise AssertionError("it never came true")

    async def answer_begins(self) -> None:
        await self.until(self.sounds)

    def sounds(self, ticks: int = 1) -> bool:
        """Whether the newest frames are all more than silence."""
        return all(np.abs(np.frombuffer(frame, "<i2")).max() > 100 for frame in self.heard[-ticks:])

    def captions(self) -> dict[int, str]:
        return {event.key: f"{event.role}: {event.text}" for event in self.told if isinstance(event, Caption)}


@asynccontextmanager
async def talking(config: CascadeConfig) -> AsyncIterator[Room]:
    room = Room(config)
    running = asyncio.create_task(room.session.run())
    try:
        await room.listening.wait()
        yield room
    finally:
        room.session.stop()
        await running


async def test_a_person_is_answered_again_and_again(server: StandInOpenAI, config: CascadeConfig) -> None:
    """They speak, pause, hear the answer, and speak at once again; captions have both sides."""
    server.hears, server.replies = in_turn(["One?", "Two?"]), in_turn(["First of all.", "Second of all."])
    async with talking(config) as room:
        for sentence in sentences()[:2]:
            await room.say(sentence)
            await room.answer_begins()
            await room.until(lambda: room.source.depth_ms == 0 and not room.sounds())
        await room.until(lambda: len(room.captions()) == 4)
    assert list(room.captions().values()) == ["person: One?", "engine: First of all.", "person: Two?", "engine: Second of all."]
    assert not [event for event in room.told if isinstance(event, Trouble)]


async def test_a_cough_ducks_holds_and_loses_nothing(server: StandInOpenAI, config: CascadeConfig) -> None:
    """The voice is down with the next frame, silent within 150 ms of audible speech, and then goes on where it stopped."""
    server.replies = in_turn([REPLY])
    async with talking(config) as room:
        await room.say(sentences()[0])
        await room.until(lambda: room.sounds(ticks=15))
        cough = frames_of(sentences()[0])[:19]
        loud = next(number for number, frame in enumerate(cough) if np.abs(np.frombuffer(frame, "<i2")).max() > 1500)
        for frame in cough[: loud + 1]:
            await room.tick(frame)
        ducked = np.abs(np.frombuffer(room.heard[-1], "<i2"))[ENGINE.frame_samples // 2 :].max()
        assert ducked < 16_000 * DUCKED_GAIN
        for frame in cough[loud + 1 :]:
            await room.tick(frame)
        since = room.heard[-len(cough) + loud :]
        silent_after = next(number for number, frame in enumerate(since) if frame == ENGINE.silence)
        assert silent_after * ENGINE.frame_ms <= 160
        waiting_ms = room.source.depth_ms
        await room.until(lambda: room.sounds(ticks=10))
        assert waiting_ms > 0
        await room.until(lambda: any(REPLY.strip() in text for text in room.captions().values()))
        await room.until(lambda: room.source.depth_ms == 0)
    assert room.metrics.counter("downlink.flushed_samples").value == 0
    assert room.source.played_samples == room.source.pushed_samples
    assert len([asked for asked in server.log.of(RequestReceived) if asked.service == "transcribe"]) == 1


async def test_an_interruption_silences_and_is_answered(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Who goes on is alone to be heard; what was not said is not in the captions, and the next answer comes."""
    server.replies = in_turn([REPLY, "Sorry, go on."])
    async with talking(config) as room:
        await room.say(sentences()[0])
        await room.until(lambda: room.sounds(ticks=15))
        await room.say(sentences()[2])
        assert ENGINE.duration_ms(len(sentences()[2])) > BACKCHANNEL_MS * 2
        assert not room.sounds()
        await room.until(lambda: any("Sorry" in text for text in room.captions().values()))
    assert room.metrics.counter("downlink.flushed_samples").value > 0
    first = list(room.captions().values())[1]
    assert REPLY.startswith(first.removeprefix("engine: "))
    assert len(first) < len(REPLY)


@pytest.mark.parametrize("service", ["transcribe", "think", "speak"])
async def test_trouble_is_told_and_the_call_goes_on(server: StandInOpenAI, config: CascadeConfig, service: Service) -> None:
    """A service that fails is one sentence in the call; the next sentence is answered."""
    server.fail(service, RequestFault(status=500))
    async with talking(config) as room:
        await room.say(sentences()[0])
        await room.until(lambda: any(isinstance(event, Trouble) for event in room.told))
        await room.say(sentences()[1] + pause(20))
        await room.answer_begins()
    assert len([event for event in room.told if isinstance(event, Trouble)]) == 1
