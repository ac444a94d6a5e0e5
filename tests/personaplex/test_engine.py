"""The engine against a stand-in server: sound and text both ways, the server's clock, and every way to be lost in the middle."""

import asyncio
import functools
import gc
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.oggopus import OggOpusReader, OggOpusWriter
from discordplex.clock import SystemClock
from discordplex.engine import Audio, Closed, EngineEvent, EngineReady, Persona, PersonaIgnored, Problem, Text
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.personaplex import log as records
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.talker import clip
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.personaplex.endpoint import Endpoint
from discordplex.personaplex.engine import PersonaPlexEngine, ServerReport
from discordplex.tasks import beside
from tests.audio import signals
from tests.audio.signals import pcm
from tests.personaplex.harness import PERSONA


class Call:
    """An engine with somebody who listens to it."""

    def __init__(self, url: str, *, persona: Persona = PERSONA, clock: SystemClock | FakeClock | None = None) -> None:
        self.metrics = Metrics()
        self.outcomes: list[ServerReport] = []
        self.events: list[EngineEvent] = []
        self._changes = Changes()
        self.engine = PersonaPlexEngine(
            endpoint=Endpoint.parse(url),
            persona=persona,
            clock=clock or SystemClock(),
            metrics=self.metrics,
            report=self.outcomes.append,
        )

    @property
    def pcm(self) -> bytes:
        """All that the engine said."""
        return b"".join(event.pcm for event in self.events if isinstance(event, Audio))

    @property
    def text(self) -> str:
        """All that it wrote."""
        return "".join(event.text for event in self.events if isinstance(event, Text))

    async def listen(self) -> None:
        async for event in self.engine.events():
            self.events.append(event)
            self._changes.tell()

    async def until(self, predicate: Callable[["Call"], object]) -> None:
        try:
            await self._changes.until(lambda: predicate(self), 10)
        except asyncio.TimeoutError:
            told = [event if isinstance(event, Text | Problem | Closed) else type(event).__name__ for event in self.events]
            heard_ms = ENGINE.duration_ms(len(self.pcm))
            pytest.fail(f"the engine never did what was waited for; it said {heard_ms:.0f} ms of sound and did {told[-10:]}")

    async def closed(self) -> Closed:
        """The last event."""
        await self.until(lambda call: call.events and isinstance(call.events[-1], Closed))
        last = self.events[-1]
        assert isinstance(last, Closed)
        return last

    async def say(self, pcm: bytes) -> None:
        """Push whole frames, as fast as they go."""
        for start in range(0, len(pcm), ENGINE.frame_bytes):
            self.engine.push({1: pcm[start : start + ENGINE.frame_bytes]})

    async def be_silent(self, ticks: int) -> None:
        for _ in range(ticks):
            self.engine.push({})


@asynccontextmanager
async def calling(url: str, *, clock: FakeClock | None = None) -> AsyncIterator[Call]:
    call = Call(url, clock=clock)
    async with call.engine, beside(call.listen()):
        yield call


def tone(duration_ms: int, hz: float = 440.0) -> bytes:
    return pcm(signals.tone(duration_ms / 1000, hz=hz))


def has_said(call: Call, duration_ms: float) -> bool:
    return len(call.pcm) >= ENGINE.bytes_of_ms(duration_ms)


def level(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(np.frombuffer(pcm, "<i2").astype(float))))) if pcm else 0.0


@pytest.mark.parametrize("packets_per_step", [1, 2])
async def test_what_is_said_comes_back(packets_per_step: int) -> None:
    """A second of tone through an echo comes back as a second of tone, in NVIDIA's layout and in moshi's."""
    async with StandInServer("echo", step_ms=0, packets_per_step=packets_per_step) as server, calling(server.url) as call:
        await call.say(tone(1040))
        await call.until(functools.partial(has_said, duration_ms=1040))
        assert len(call.pcm) == ENGINE.bytes_of_ms(1040)
        middle = call.pcm[ENGINE.bytes_of_ms(200) : ENGINE.bytes_of_ms(800)]
        spectrum = np.abs(np.fft.rfft(np.frombuffer(middle, "<i2")))
        assert abs(np.argmax(spectrum) / 0.6 - 440) < 5
        assert level(middle) == pytest.approx(8000 / math.sqrt(2), rel=0.15)
        assert call.events[0] == EngineReady()


async def test_speakers_are_mixed() -> None:
    """Two who speak at once are both heard."""
    async with StandInServer("echo", step_ms=0) as server, calling(server.url) as call:
        low, high = tone(800, 300), tone(800, 1700)
        for start in range(0, len(low), ENGINE.frame_bytes):
            frame = slice(start, start + ENGINE.frame_bytes)
            call.engine.push({1: low[frame], 2: high[frame]})
        await call.until(functools.partial(has_said, duration_ms=800))
        spectrum = np.abs(np.fft.rfft(np.frombuffer(call.pcm[-ENGINE.bytes_of_ms(500) :], "<i2")))
        peaks = {round(index / 0.5, -1) for index in np.argsort(spectrum)[-2:]}
        assert peaks == {300.0, 1700.0}


async def test_every_tick_is_one_page_silence_included() -> None:
    """Nothing goes out before the handshake, then one page for each tick, spoken or not: the model's clock is our input."""
    async with StandInServer("echo", step_ms=0) as server:
        async with calling(server.url) as call:
            await call.be_silent(20)
            await call.say(tone(200))
            await call.be_silent(20)
            await server.log.wait_for(lambda log: len(log.of(records.AudioReceived)) >= 50)
            await call.until(functools.partial(has_said, duration_ms=960))
        await server.log.wait_for(lambda log: log.of(records.ConversationClosed))
        assert [record.samples for record in server.log.of(records.AudioReceived)] == [480] * 50
        assert not server.log.of(records.MessageDiscarded)
        assert len(server.log.of(records.Connected)) == 1
        assert [record.code for record in server.log.of(records.ConversationClosed)] == [1000]
    assert call.metrics.counter("engine.frames_sent").value == 50
    assert call.metrics.counter("engine.frames_dropped").value == 0


async def test_text_is_folded_and_joined() -> None:
    """What the talker says arrives as its sentence, while it speaks."""
    async with StandInServer("talker", step_ms=0) as server, calling(server.url) as call:
        await call.be_silent(clip().duration_ms // ENGINE.frame_ms)
        await call.until(functools.partial(has_said, duration_ms=clip().duration_ms))
        assert call.text == clip().text
        assert level(call.pcm) > 500


@pytest.mark.parametrize(("versions", "packets", "ignored"), [(b"", 1, False), (b"", 2, True), (bytes(8), 1, True), (bytes(8), 2, True)])
async def test_a_server_that_takes_no_persona_is_recognised(versions: bytes, packets: int, ignored: bool) -> None:  # noqa: FBT001 -- a table's column
    """kyutai's: its Rust server by the handshake, its Python server by the first sound; told once, after EngineReady. NVIDIA's: never."""
    async with (
        StandInServer("echo", step_ms=0, prompt_step_ms=0, versions=versions, packets_per_step=packets) as server,
        calling(server.url) as call,
    ):
        await call.be_silent(20)
        await call.until(functools.partial(has_said, duration_ms=400))
        assert call.events[0] == EngineReady()
        assert call.events.count(PersonaIgnored()) == ignored


async def test_bytes_of_a_character_are_joined_and_an_unfinished_one_is_shown() -> None:
    """Byte pieces become characters; what the end of the call leaves unfinished is marked."""
    async with StandInServer("echo") as server, calling(server.url) as call:
        for piece in ("<0xC3>", "<0xA9>", "<s>", " au", "<0xF0>"):
            server.inject(b"\x02" + piece.encode())
        await call.until(lambda call: call.text == "é au")
        server.crash()
        await call.closed()
        assert call.text == "é au\ufffd"


async def test_damaged_audio_is_a_hole_and_not_the_end() -> None:
    """A page with a wrong checksum is counted and skipped, and the next ones are heard."""
    async with StandInServer("echo", step_ms=0) as server, calling(server.url) as call:
        await call.say(tone(400))
        await call.until(functools.partial(has_said, duration_ms=400))
        broken = b"\x01OggS\x00\x00" + bytes(20) + b"\x01\x04abcd"
        server.inject(broken)
        await call.say(tone(800))
        await call.until(functools.partial(has_said, duration_ms=1200))
        assert call.metrics.counter("engine.blocks_damaged").value == 1
        assert isinstance(call.events[-1], Audio)


FOR_EVER_MS = 60_000_000


async def tick(call: Call, clock: FakeClock, seconds: float, *, speech: bool, at_once: int = 1) -> None:
    """Push every 20 ms, as a call does; `at_once` frames for each step of the clock, where their times do not count."""
    for _ in range(round(seconds * 50) // at_once):
        for _frame in range(at_once):
            call.engine.push({1: ENGINE.silence} if speech else {})
        await clock.advance(0.02 * at_once)


async def mute(server: StandInServer) -> None:
    """What SIGTERM does: no audio, no close, nobody else is let in."""
    await server.go_silent()


async def freeze(server: StandInServer) -> None:
    """Nothing is read and nothing is sent: SIGSTOP, or a network that drops everything, with TCP still up."""
    server.stop_reading()
    server.step_ms = FOR_EVER_MS


def has_more(call: Call, than: int) -> bool:
    return len(call.pcm) > than


def problems(call: Call) -> list[str]:
    return [event.message for event in call.events if isinstance(event, Problem)]


@pytest.mark.parametrize("speech", [False, True])
@pytest.mark.parametrize("behind_s", [0, 3])
@pytest.mark.parametrize("stall", [mute, freeze])
async def test_a_server_that_falls_silent_is_given_up(
    speech: bool,  # noqa: FBT001 -- a table's column
    behind_s: int,
    stall: Callable[[StandInServer], Awaitable[None]],
) -> None:
    """Whatever state it was in, three seconds after its last audio it is given up, and one sentence says so; before, nothing is said."""
    clock = FakeClock()
    async with StandInServer("echo", step_ms=0) as server, calling(server.url, clock=clock) as call:
        await call.be_silent(20)
        await call.until(functools.partial(has_said, duration_ms=400))
        if behind_s:
            server.step_ms = FOR_EVER_MS
            await call.say(bytes(ENGINE.bytes_of_ms(behind_s * 1000)))
            server.inject(b"\x01" + OggOpusWriter(ENGINE.rate_hz).write(ENGINE.silence))
            await call.until(functools.partial(has_said, duration_ms=420))
        await stall(server)
        await tick(call, clock, 2.9, speech=speech)
        assert not isinstance(call.events[-1], Closed)
        assert problems(call) == []
        await tick(call, clock, 0.6, speech=speech)
        closed = await call.closed()
    assert closed.retry
    assert closed.cause == "stalled"
    assert "has sent no sound for 3 s" in closed.reason
    assert problems(call) == []
    assert call.outcomes == [ServerReport.FAILED]


async def test_a_pause_of_ours_is_no_fault_of_the_server() -> None:
    """Where nothing is sent nothing is owed: a call that is being repaired is not given up."""
    clock = FakeClock()
    async with StandInServer("echo", step_ms=0) as server, calling(server.url, clock=clock) as call:
        await call.be_silent(21)
        await call.until(functools.partial(has_said, duration_ms=400))
        await clock.advance(60)
        assert not isinstance(call.events[-1], Closed)


async def test_a_hiccup_tells_people_nothing() -> None:
    """A server that stands still for two seconds and goes on is neither given up nor called slow; all that it was given is answered."""
    clock = FakeClock()
    async with StandInServer("echo", step_ms=0) as server, calling(server.url, clock=clock) as call:
        await call.be_silent(20)
        await call.until(functools.partial(has_said, duration_ms=400))
        server.stop_reading()
        await tick(call, clock, 2.0, speech=True)
        server.read_again()
        sent = call.metrics.counter("engine.frames_sent").value
        await call.until(functools.partial(has_said, duration_ms=sent // 4 * 80))
        await tick(call, clock, 20.0, speech=True)
        assert problems(call) == []
        assert not isinstance(call.events[-1], Closed)
        assert call.outcomes in ([], [ServerReport.SERVED])


async def test_a_server_that_is_too_slow_is_told_once() -> None:
    """It answers all the time and falls behind all the same: one sentence after ten seconds of that, and the call goes on."""
    clock = FakeClock()
    async with StandInServer("echo", step_ms=0) as server, calling(server.url, clock=clock) as call:
        await call.be_silent(20)
        await call.until(functools.partial(has_said, duration_ms=400))
        server.step_ms = FOR_EVER_MS
        voice = OggOpusWriter(ENGINE.rate_hz)
        for second in range(16):
            await tick(call, clock, 1.0, speech=True, at_once=10)
            said = len(call.pcm)
            for _ in range(6):  # 120 ms of each second
                server.inject(b"\x01" + voice.write(ENGINE.silence))
            await call.until(functools.partial(has_more, than=said))
            assert (second > 12) <= len(problems(call)) <= (second >= 10)
        assert "cannot keep up" in problems(call)[0]
        assert not isinstance(call.events[-1], Closed)


async def test_a_server_that_drips_is_given_up() -> None:
    """20 ms of sound each 2.5 s never leave three seconds of silence: after half a minute one sentence says so, and nothing before."""
    clock = FakeClock()
    async with StandInServer("echo", step_ms=FOR_EVER_MS) as server, calling(server.url, clock=clock) as call:
        voice = OggOpusWriter(ENGINE.rate_hz)
        for count in range(12):
            assert not any(isinstance(event, Closed) for event in call.events)
            server.inject(b"\x01" + voice.write(ENGINE.silence))
            await call.until(functools.partial(has_said, duration_ms=20 * (count + 1)))
            await tick(call, clock, 2.5, speech=True, at_once=25)
        closed = await call.closed()
    assert closed.retry
    assert closed.cause == "trickle"
    assert "less than 10% of the sound that a call needs, for 30 s" in closed.reason
    assert problems(call) == []
    assert call.outcomes == [ServerReport.FAILED]


async def test_the_codec_of_a_conversation_is_free_when_it_ends() -> None:
    """Whether we leave or the server does: a decoder holds a megabyte, and a collector that looks for cycles comes later."""
    gc.disable()
    try:
        async with StandInServer("echo", step_ms=0) as server:
            for ended in (False, True):
                async with calling(server.url) as call:
                    await call.be_silent(8)
                    await call.until(functools.partial(has_said, duration_ms=160))
                    codec = decoders()
                    assert codec
                    if ended:
                        server.reset()
                        await call.closed()
                    del call
                assert decoders() == 0
    finally:
        gc.enable()


def decoders() -> int:
    return sum(isinstance(each, OggOpusReader) for each in gc.get_objects())


async def test_a_server_that_does_not_read_never_stops_the_metronome() -> None:
    """Frames are dropped before they are encoded and counted; push returns at once all the while."""
    async with StandInServer("echo", step_ms=0) as server, calling(server.url) as call:
        await call.be_silent(8)
        await call.until(functools.partial(has_said, duration_ms=160))
        server.stop_reading()
        # Noise is what costs most bytes.
        noise = np.random.default_rng(1).integers(-20_000, 20_000, ENGINE.rate_hz * 4).astype("<i2").tobytes()
        await timeouts.wait_for(call.say(noise), 10)
        dropped = call.metrics.counter("engine.frames_dropped").value
        assert dropped > 50
        server.read_again()
        sent = call.metrics.counter("engine.frames_sent").value
        await call.until(functools.partial(has_said, duration_ms=sent // 4 * 80))
        assert server.log.of(records.Crashed) == []


async def test_a_slow_server_is_not_left_behind_for_good() -> None:
    """Steps that take too long let the lag grow, and then silence is left out instead of piling up."""
    async with StandInServer("echo", step_ms=0) as server, calling(server.url) as call:
        await call.be_silent(8)
        await call.until(functools.partial(has_said, duration_ms=160))
        server.step_ms = 60_000
        await call.be_silent(100)
        assert call.metrics.gauge("engine.lag_ms").value < 800
        assert call.metrics.counter("engine.frames_dropped").value > 60


@pytest.mark.parametrize(
    ("fault", "words"),
    [(Faults(crash_after_steps=3), "audio loop crashed"), (Faults(reset_after_steps=3), "was lost")],
)
async def test_a_server_that_dies_in_the_middle(fault: Faults, words: str) -> None:
    """The last event says in a sentence what happened and that another try can help; pushing on does nothing."""
    async with StandInServer("echo", step_ms=0, faults=fault) as server, calling(server.url) as call:
        await call.be_silent(20)
        closed = await call.closed()
        await call.be_silent(5)
    assert closed.retry
    assert words in closed.reason
    assert call.outcomes == [ServerReport.FAILED]


async def test_a_complaint_of_the_server_is_passed_on() -> None:
    """An error message is a problem in the server's words, cut to a bearable length, and the call goes on."""
    async with StandInServer("echo") as server, calling(server.url) as call:
        server.inject(b"\x05" + b"x" * 1000)
        await call.until(lambda call: any(isinstance(event, Problem) for event in call.events))
        problem = call.events[-1]
        assert isinstance(problem, Problem)
        assert len(problem.message) < 300


async def test_the_server_shows_that_it_is_well_by_ten_seconds_of_audio() -> None:
    """Neither connect nor handshake counts; ten seconds of what it said do, once."""
    async with StandInServer("echo", step_ms=0) as server, calling(server.url) as call:
        for seconds in range(1, 10):
            await call.say(bytes(ENGINE.bytes_of_ms(1000)))
            await call.until(functools.partial(has_said, duration_ms=seconds * 1000 - 80))
            assert call.outcomes == []
        await call.say(bytes(ENGINE.bytes_of_ms(2000)))
        await call.until(functools.partial(has_said, duration_ms=10_000))
        assert call.outcomes == [ServerReport.SERVED]


async def test_leaving_is_no_failure() -> None:
    """Who hangs up leaves a closed socket and a last event, and nothing is held against the server."""
    async with StandInServer("echo") as server:
        async with calling(server.url) as call:
            pass
        await server.log.wait_for(lambda log: log.of(records.ConversationClosed))
    await call.listen()
    assert isinstance(call.events[-1], Closed)
    assert call.outcomes == []


@pytest.mark.parametrize("persona", [Persona("NATF2", "hi"), Persona("NATF2.pt", " ")])
async def test_a_persona_the_server_would_die_of_is_never_sent(persona: Persona) -> None:
    """A bad voice or role is refused before anything is connected."""
    async with StandInServer("echo") as server:
        with pytest.raises(EngineError) as refusal:
            await Call(server.url, persona=persona).engine.__aenter__()
        assert not refusal.value.retry
        assert not list(server.log)


async def test_an_engine_is_opened_once() -> None:
    """A second opening is a bug of the caller."""
    async with StandInServer("echo") as server, calling(server.url) as call:
        with pytest.raises(LocalProtocolError):
            await call.engine.__aenter__()


async def hold(url: str) -> None:
    async with calling(url):
        await asyncio.Event().wait()


async def test_a_call_that_is_cancelled_closes_its_socket() -> None:
    """However a call ends, the server is free afterwards."""
    async with StandInServer("echo") as server:
        call = asyncio.create_task(hold(server.url))
        await server.log.wait_for(lambda log: log.of(records.HandshakeSent))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.log.wait_for(lambda log: [record.code for record in log.of(records.ConversationClosed)] == [1000])


async def test_a_cancelled_task_group_closes_the_socket_too() -> None:
    """A scope that is cancelled interrupts every wait in it; the goodbye is said all the same."""
    async with StandInServer("echo") as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, server.url)
            await server.log.wait_for(lambda log: log.of(records.HandshakeSent))
            tasks.cancel_scope.cancel()
        await server.log.wait_for(lambda log: [record.code for record in log.of(records.ConversationClosed)] == [1000])


async def test_what_the_call_measures() -> None:
    """Handshake, lag, write and read times and block spacing are there for the benchmarks."""
    async with StandInServer("echo") as server, calling(server.url) as call:
        await call.be_silent(12)
        await call.until(functools.partial(has_said, duration_ms=240))
    found = call.metrics.snapshot()
    assert found["engine.handshake_ms"] > 0
    assert found["engine.lag_ms"] == 0
    assert found["engine.uplink_write_ms"]["count"] == 12
    assert found["engine.downlink_read_ms"]["count"] == 3
    assert found["engine.block_spacing_ms"]["count"] == 2
