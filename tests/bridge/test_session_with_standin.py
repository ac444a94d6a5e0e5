"""Calls over real WebSockets with the stand-in PersonaPlex server, the real pool, the real sink and the real source."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from discordplex.audio.format import DISCORD
from discordplex.audio.sink import Sink
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bridge.events import CallEvent, Caption, Ended, EngineBack, EngineLost, Listening, Opening
from discordplex.bridge.gated_sink import GatedSink
from discordplex.bridge.session import VoiceSession
from discordplex.clock import SystemClock
from discordplex.config import PersonaPlexConfig
from discordplex.engine import Persona
from discordplex.loopback.personaplex.log import AudioReceived, AudioSent, Connected, ConversationClosed, HandshakeSent, MessageDiscarded
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.tasks import cancel_and_wait
from tests.bridge.scripted import PERSONA, ScriptedLink

SPEAKER = 42


class Call:
    """One call on a real engine, its people and its listeners played by the test."""

    def __init__(self, url: str, persona: Persona = PERSONA) -> None:
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.sink = Sink(clock=self.clock, metrics=self.metrics)
        self.source = StreamingPlaybackSource(clock=self.clock, metrics=self.metrics)
        self.told: list[CallEvent] = []
        self.played: list[bytes] = []
        self._changes = Changes()
        lease = PersonaPlexPool(PersonaPlexConfig(urls=(url,)), clock=self.clock).acquire()
        assert lease is not None
        self.session = VoiceSession(
            lease=lease,
            persona=persona,
            sink=GatedSink(self.sink, clock=self.clock),
            source=self.source,
            link=ScriptedLink(SPEAKER),
            on_event=self._hear,
            clock=self.clock,
            metrics=self.metrics,
            chance=lambda: 0.0,
        )

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until something that the call told makes it true."""
        await self._changes.until(predicate, 20)

    def told_of(self, kind: type[CallEvent]) -> list[CallEvent]:
        return [event for event in self.told if isinstance(event, kind)]

    def _hear(self, event: CallEvent) -> None:
        self.told.append(event)
        self._changes.tell()

    async def play_and_speak(self, pcm: bytes) -> None:
        """What the wire's threads do: a frame out and a frame in, every 20 ms."""
        due = self.clock.now()
        while True:
            self.played.append(self.source.read())
            self.sink.write(pcm, SPEAKER)
            self._changes.tell()
            due += DISCORD.frame_seconds
            await self.clock.sleep_until(due)


@asynccontextmanager
async def live(call: Call, pcm: bytes = DISCORD.silence) -> AsyncIterator[None]:
    """The call runs for the time of the block, and is stopped after it."""
    running = asyncio.create_task(call.session.run())
    wire = asyncio.create_task(call.play_and_speak(pcm))
    try:
        yield
    finally:
        call.session.stop()
        await running
        await cancel_and_wait(wire)
        call.sink.close()
        call.source.close()


async def test_a_call_with_a_talking_engine() -> None:
    """Captions and sound come, nothing is sent before the handshake, every tick is one page, one connection ends with a clean close."""
    async with StandInServer(mode="talker") as server:
        call = Call(server.url)
        async with live(call):
            await call.until(lambda: len(call.told_of(Caption)) >= 3 and any(any(frame) for frame in call.played))
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
    assert call.told[:2] == [Opening(), Listening()]
    assert call.told[-1] == Ended(None)
    captions = [event for event in call.told if isinstance(event, Caption)]
    assert captions[-1].final
    assert captions[-1].text == captions[-1].text.strip() != ""
    assert len(server.log.of(Connected)) == 1
    assert not server.log.of(MessageDiscarded)
    handshake = server.log.of(HandshakeSent)[0]
    assert (handshake.voice, handshake.text_prompt) == (PERSONA.voice, PERSONA.text_prompt)
    assert all(record.at >= handshake.at for record in server.log.of(AudioReceived))
    ticks = call.metrics.counter("uplink.ticks").value
    assert sum(record.samples > 0 for record in server.log.of(AudioReceived)) in (ticks, ticks - 1)
    assert call.metrics.counter("engine.frames_dropped").value == 0
    assert [(record.code, record.by) for record in server.log.of(ConversationClosed)] == [(1000, "client")]


async def test_what_is_said_comes_back() -> None:
    """In echo mode a person's sound goes up, round the server and down again to the ears."""
    async with StandInServer(mode="echo") as server:
        call = Call(server.url)
        loud = (b"\x00\x20" * 24 + b"\x00\xe0" * 24) * (DISCORD.frame_bytes // 96)
        async with live(call, pcm=loud):
            await call.until(lambda: sum(max(frame[1::2], default=0) > 8 for frame in call.played) > 10)
    assert call.metrics.histogram("uplink.wait_ms").count > 10


async def test_a_server_that_dies_is_opened_again() -> None:
    """Reset in mid-call: people are told, the same lease opens a second conversation after the first is gone, with its own handshake."""
    async with StandInServer(mode="talker") as server:
        call = Call(server.url)
        async with live(call):
            await server.log.wait_for(lambda log: log.of(AudioSent))
            server.reset()
            await call.until(lambda: call.told_of(EngineBack))
            await server.log.wait_for(lambda log: log.of(AudioSent, client=2))
    lost = [event for event in call.told if isinstance(event, EngineLost)]
    assert [event.retry_in_s for event in lost] == [1]
    assert lost[0].reason.endswith(".")
    assert len(server.log.of(Connected)) == len(server.log.of(HandshakeSent)) == 2
    assert not server.log.of(MessageDiscarded)
    assert server.log.of(ConversationClosed, client=1)[0].at <= server.log.of(Connected)[1].at


async def test_a_server_that_starts_late_is_found() -> None:
    """Nobody answers at first: it is told once a try, and the call listens when the server is there."""
    async with StandInServer() as before:
        url, port = before.url, int(before.url.split(":")[2].split("/")[0])
    call = Call(url)
    async with live(call):
        await call.until(lambda: call.told_of(EngineLost))
        async with StandInServer(port=port):
            await call.until(lambda: call.told_of(Listening))
            call.session.stop()
            await call.until(lambda: call.told_of(Ended))
    assert isinstance(call.told[1], EngineLost)
    assert call.told[-1] == Ended(None)


@pytest.mark.parametrize("persona", [Persona("NOBODY.pt", "x"), Persona("NATF0.pt", "  ")])
async def test_a_persona_that_no_server_takes_ends_the_call_at_once(persona: Persona) -> None:
    """A voice that does not exist, a role without a word: one sentence, no retry, and no connection is made."""
    async with StandInServer() as server:
        call = Call(server.url, persona)
        await call.session.run()
        assert call.told[0] == Opening()
        assert isinstance(call.told[1], Ended)
        assert call.told[1].reason
        assert len(call.told) == 2
        assert not server.log.of(Connected)
        call.sink.close()
        call.source.close()
