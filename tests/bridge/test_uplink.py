"""People -> engine, on a virtual clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from discordplex.audio.format import ENGINE
from discordplex.bridge.uplink import Uplink
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from discordplex.tasks import beside
from tests.bridge.scripted import ScriptedEngine, ScriptedSink

LOUD = b"\x01\x02" * ENGINE.frame_samples


@asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[None]:
    """An uplink that ticks for the time of the block."""
    async with beside(uplink.run()):
        await settle()
        yield


async def test_silence_is_sent_fifty_times_a_second() -> None:
    """While nobody speaks the engine still gets its clock: one empty push every 20 ms, exactly."""
    clock, metrics = FakeClock(), Metrics()
    engine = ScriptedEngine(clock)
    uplink = Uplink(sink=ScriptedSink(clock), clock=clock, metrics=metrics)
    uplink.engine = engine
    async with running(uplink):
        await clock.advance(2.0)
    assert [frames for _, frames in engine.heard] == [{}] * 101
    assert [round((at - engine.heard[0][0]) * 1000) for at, _ in engine.heard] == list(range(0, 2001, 20))
    assert metrics.counter("uplink.ticks").value == 101
    assert metrics.counter("uplink.silent").value == 101
    assert metrics.counter("uplink.skipped").value == 0


async def test_frames_go_up_once_and_in_order_and_soon() -> None:
    """Each frame is pushed exactly once with its speaker's id, and its wait is measured from its arrival."""
    clock, metrics = FakeClock(), Metrics()
    engine, sink = ScriptedEngine(clock), ScriptedSink(clock)
    uplink = Uplink(sink=sink, clock=clock, metrics=metrics)
    said = [bytes([count]) * ENGINE.frame_bytes for count in range(200)]
    for count, pcm in enumerate(said):
        sink.will_hear(clock.now() + 0.0123 + count * 0.02, speaker=42, pcm=pcm)
    uplink.engine = engine
    async with running(uplink):
        await clock.advance(4.1)
    assert [frames[42] for _, frames in engine.heard if frames] == said
    wait_ms = metrics.histogram("uplink.wait_ms")
    assert wait_ms.count == 200
    assert wait_ms.values[0] == pytest.approx(7.7)
    assert wait_ms.values[-1] == pytest.approx(1.75, abs=0.3)
    assert metrics.gauge("uplink.phase_ms").value == pytest.approx(-6, abs=0.5)


async def test_a_tick_comes_with_the_packet_it_waits_for() -> None:
    """Where the last speaker is heard again up to half a period before the deadline, the tick comes at once; the deadlines stay."""
    clock, metrics = FakeClock(), Metrics()
    engine, sink = ScriptedEngine(clock), ScriptedSink(clock)
    uplink = Uplink(sink=sink, clock=clock, metrics=metrics)
    uplink.engine = engine
    start = clock.now()
    async with running(uplink):
        for before_ms in (4, 11, 9):
            await clock.advance(start + 0.02 * len(engine.heard) - before_ms / 1000 - clock.now())
            sink.on_all_heard()
            sink.on_all_heard()
        await clock.advance(0.1)
    times = [round((at - start) * 1000) for at, _ in engine.heard]
    assert times == [0, 16, 31, 60, 80, 100, 120]
    sink.on_all_heard()
    assert len(engine.heard) == 7, "nobody ticks after the end"


async def test_without_an_engine_people_speak_to_nobody() -> None:
    """What was said before the engine listened, or between two engines, is never pushed."""
    clock, metrics = FakeClock(), Metrics()
    engine, sink = ScriptedEngine(clock), ScriptedSink(clock)
    uplink = Uplink(sink=sink, clock=clock, metrics=metrics)
    for count in range(50):
        sink.will_hear(clock.now() + count * 0.02, pcm=LOUD)
    async with running(uplink):
        await clock.advance(2.0)
        uplink.engine = engine
        await clock.advance(1.0)
        uplink.engine = None
        await clock.advance(1.0)
    assert len(engine.heard) == 50
    assert not any(frames for _, frames in engine.heard)
    assert metrics.counter("uplink.unheard").value == 50


async def test_a_stall_is_not_made_up() -> None:
    """A push that takes 110 ms costs four ticks of model time, counted; the fifth is late, the sixth in time: no burst."""
    clock, metrics = FakeClock(), Metrics()
    stalls = iter([0.0] * 10 + [0.11])

    def stall() -> None:
        clock.stand_still(next(stalls, 0.0))

    engine = ScriptedEngine(clock, on_push=stall)
    uplink = Uplink(sink=ScriptedSink(clock), clock=clock, metrics=metrics)
    uplink.engine = engine
    async with running(uplink):
        await clock.advance(1.0)
    times = [round((at - engine.heard[0][0]) * 1000) for at, _ in engine.heard]
    assert times == [*range(0, 201, 20), 310, *range(320, 1001, 20)]
    assert metrics.counter("uplink.skipped").value == 4


async def test_chores_are_done_ten_times_a_second() -> None:
    """They follow every fifth tick, with an engine or without; what they raise ends the uplink."""
    clock = FakeClock()
    done: list[float] = []
    start = clock.now()
    uplink = Uplink(sink=ScriptedSink(clock), clock=clock, metrics=Metrics(), chores=lambda: done.append(clock.now() - start))
    async with running(uplink):
        await clock.advance(1.0)
    assert done == pytest.approx([count / 10 for count in range(11)])

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Uplink(sink=ScriptedSink(clock), clock=clock, metrics=Metrics(), chores=fail).run()


async def test_a_failing_engine_is_not_hidden() -> None:
    """An exception out of a push ends the uplink: the call decides, not the metronome."""
    clock = FakeClock()

    def fail() -> None:
        raise ZeroDivisionError

    uplink = Uplink(sink=ScriptedSink(clock), clock=clock, metrics=Metrics())
    uplink.engine = ScriptedEngine(clock, on_push=fail)
    with pytest.raises(ZeroDivisionError):
        await uplink.run()
