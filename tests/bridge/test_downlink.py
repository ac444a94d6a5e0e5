"""Engine -> people."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from discordplex.bridge.captions import OpenCaptions
from discordplex.bridge.downlink import Downlink
from discordplex.bridge.events import CallEvent, Trouble
from discordplex.engine import Audio, Closed, EngineEvent, EngineReady, Interrupted, PlaybackHeld, PlaybackResumed, Problem, Text
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bridge.scripted import WHOLE_REPLIES, ScriptedEngine, ScriptedSource, pcm_of_ms


class Call:
    """A downlink with everything that it joins."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.source = ScriptedSource()
        self.captions = OpenCaptions()
        self.told: list[CallEvent] = []
        self.engine = ScriptedEngine(self.clock, caps=WHOLE_REPLIES)
        self.downlink = Downlink(source=self.source, captions=self.captions, tell=self.told.append, clock=self.clock, metrics=self.metrics)

    async def pass_on(self, *events: Audio | Text | Interrupted | Problem) -> Closed:
        """All of these events, and the engine's end."""
        self.engine.does(*events, Closed("over"))
        return await self.downlink.run(self.engine)

    def shown(self) -> list[str]:
        """What people read at this moment."""
        return [caption.text for caption in self.captions.advance(heard=self.source.played_samples, now=self.clock.now())]


@pytest.fixture
def call() -> Call:
    return Call()


async def test_audio_is_queued_and_counted(call: Call) -> None:
    """Every sample that the engine sends reaches the source, and the received time is known."""
    closed = await call.pass_on(Audio(pcm_of_ms(80)), Audio(pcm_of_ms(40)))
    assert closed == Closed("over")
    assert call.source.depth_ms == 120
    assert call.downlink.received_s == pytest.approx(0.12)
    assert call.metrics.counter("downlink.samples").value == 5760


async def test_text_is_shown_with_its_sound(call: Call) -> None:
    """A piece appears when what was pushed before it has been played."""
    await call.pass_on(Text(" Hel"), Audio(pcm_of_ms(80)), Text("lo"), Audio(pcm_of_ms(80)))
    assert call.shown() == ["Hel"]
    call.source.play(79)
    assert call.shown() == []
    call.source.play(1)
    assert call.shown() == ["Hello"]


async def test_samples_that_a_buffer_threw_away_do_not_delay_the_text(call: Call) -> None:
    """A trimmed backlog was never played, and yet the text after it comes with its own sound."""
    await call.pass_on(Audio(pcm_of_ms(500)), Text("now"), Audio(pcm_of_ms(20)))
    call.source.flush()
    assert call.shown() == ["now"]


async def test_a_problem_is_told(call: Call) -> None:
    """What failed inside the engine reaches the bot as trouble, in the engine's words."""
    await call.pass_on(Problem("The transcription took too long."))
    assert call.told == [Trouble("The transcription took too long.")]


async def test_complaints_without_end_are_told_a_few_times(call: Call) -> None:
    """A server that words each complaint anew does not fill the channel: three at once, then one a minute, the rest counted."""
    await call.pass_on(*(Problem(f"Complaint number {number}.") for number in range(10)))
    assert len(call.told) == 3
    await call.clock.advance(60)
    await call.pass_on(*(Problem(f"Complaint number {number}.") for number in range(10, 20)))
    assert len(call.told) == 4
    assert call.metrics.counter("downlink.untold_problems").value == 16


async def test_an_interruption_is_silent_at_once(call: Call) -> None:
    """Barge-in throws away all that waits, and tells the engine how much of its reply was heard."""
    call.engine.does(Text("Once upon", item="a"), Audio(pcm_of_ms(1000), item="a"), Text(" a time", item="a"), Closed("."))
    await call.downlink.run(call.engine)
    call.source.play(300)
    await call.downlink.interrupt(call.engine, "a")
    assert call.source.depth_ms == 0
    assert call.engine.interrupts == [("a", 300)]
    assert call.metrics.counter("downlink.flushed_samples").value == 700 * 48
    assert [caption.text for caption in call.captions.close()] == ["Once upon"]


async def test_the_engine_s_own_interruption_takes_the_same_way(call: Call) -> None:
    """`Interrupted` from the engine flushes, and its second one, an echo of our report, does nothing."""
    await call.pass_on(Audio(pcm_of_ms(1000), item="a"), Interrupted(), Interrupted("a"))
    assert call.source.flushes == 1
    assert call.engine.interrupts == [("a", 0)]


async def test_played_time_counts_from_the_reply_being_heard(call: Call) -> None:
    """With two replies queued, the one that sounds is cut, at its own offset."""
    call.engine.does(Audio(pcm_of_ms(100), item="a"), Audio(pcm_of_ms(50), item="b"), Audio(pcm_of_ms(50), item="b"), Closed("."))
    await call.downlink.run(call.engine)
    call.source.play(130)
    await call.downlink.interrupt(call.engine)
    assert call.engine.interrupts == [("b", 30)]


async def test_a_reply_that_was_heard_to_its_end_is_not_cut(call: Call) -> None:
    """An interruption of what is over leaves what is being said alone."""
    call.engine.does(Audio(pcm_of_ms(100), item="a"), Audio(pcm_of_ms(100), item="b"), Closed("."))
    await call.downlink.run(call.engine)
    call.source.play(120)
    await call.downlink.interrupt(call.engine, "a")
    assert call.source.flushes == 0
    assert call.engine.interrupts == []


async def test_what_comes_late_for_a_cut_reply_is_dropped(call: Call) -> None:
    """Sound and text that were on their way when their reply was cut are neither heard nor read; the next reply is."""
    await call.pass_on(
        Audio(pcm_of_ms(100), item="a"),
        Interrupted("a"),
        Audio(pcm_of_ms(100), item="a"),
        Text("late", item="a"),
        Text("next", item="b"),
        Audio(pcm_of_ms(60), item="b"),
    )
    assert call.source.depth_ms == 60
    assert call.metrics.counter("downlink.late_samples").value == 4800
    assert [caption.text for caption in call.captions.close()] == ["next"]


async def test_what_comes_late_for_a_reply_that_was_cut_without_a_name_is_dropped(call: Call) -> None:
    """An engine that says only that it was interrupted means the reply being heard: more of that one is neither heard nor read."""
    await call.pass_on(
        Audio(pcm_of_ms(100), item="a"), Interrupted(), Audio(pcm_of_ms(100), item="a"), Text("late", item="a"), Text("next", item="b")
    )
    assert call.source.depth_ms == 0
    assert call.metrics.counter("downlink.late_samples").value == 4800
    assert [caption.text for caption in call.captions.close()] == ["next"]


async def test_what_is_held_waits_and_goes_on(call: Call) -> None:
    """While a person may be interrupting nothing is played and nothing is lost; afterwards it goes on, and captions with it."""
    call.engine.does(
        Text("Once", item="a"), Audio(pcm_of_ms(100), item="a"), Text(" upon", item="a"), Audio(pcm_of_ms(100), item="a"), PlaybackHeld()
    )
    running = asyncio.create_task(call.downlink.run(call.engine))
    await settle()
    call.source.play(200)
    assert call.shown() == ["Once"]
    assert call.source.depth_ms == 200
    call.engine.does(PlaybackResumed())
    await settle()
    call.source.play(200)
    assert call.shown() == ["Once upon"]
    call.engine.does(Closed("."))
    await running


@pytest.mark.parametrize("end", [Interrupted("a"), Interrupted("b"), Interrupted(), Closed("lost")])
async def test_nothing_stays_held(call: Call, end: Interrupted | Closed) -> None:
    """An interruption and the engine's end let the source go on, whatever is left in it."""
    call.engine.does(Audio(pcm_of_ms(100), item="a"), PlaybackHeld(), end, Closed("."))
    await call.downlink.run(call.engine)
    assert not call.source.held


async def test_nothing_more_of_a_held_reply_is_heard_when_it_is_cut(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A send thread that reads in the middle of the interruption gets no sound, and what the engine is told is what was heard."""
    call.engine.does(Audio(pcm_of_ms(1000), item="a"), Closed("."))
    await call.downlink.run(call.engine)
    call.source.play(300)
    call.source.hold()
    flush = call.source.flush

    def read_and_flush() -> int:
        call.source.play(20)
        return flush()

    monkeypatch.setattr(call.source, "flush", read_and_flush)
    await call.downlink.interrupt(call.engine)
    assert call.engine.interrupts == [("a", 300)]
    assert call.metrics.counter("downlink.flushed_samples").value == 700 * 48


async def test_an_engine_that_thinks_can_be_stopped(call: Call) -> None:
    """With nothing to be played, a person's wish for silence reaches the engine all the same; its own interruption does not echo."""
    await call.downlink.interrupt(call.engine)
    assert call.engine.interrupts == [("", None)]
    await call.pass_on(Interrupted("a"))
    assert call.engine.interrupts == [("", None)]


async def test_an_engine_that_falls_silent_without_a_word_is_lost(call: Call) -> None:
    """Events that end without `Closed` are a loss that may be mended."""

    class Mute(ScriptedEngine):
        async def events(self) -> AsyncIterator[EngineEvent]:
            yield EngineReady()

    closed = await call.downlink.run(Mute(call.clock))
    assert closed.retry
    assert closed.reason.endswith(".")


async def test_the_pace_of_real_time_engines_is_measured() -> None:
    """Blocks that come 80 ms apart are recorded as such; a turn-taking engine's pauses are not."""
    call = Call()
    call.engine = ScriptedEngine(call.clock)
    call.engine.does(Audio(pcm_of_ms(80)), Audio(pcm_of_ms(80)), Closed("."))
    await call.downlink.run(call.engine)
    assert list(call.metrics.histogram("downlink.gap_ms").values) == [0]
    await call.pass_on(Audio(pcm_of_ms(80)))
    assert list(call.metrics.histogram("downlink.depth_ms").values) == [0, 80, 160]


@pytest.mark.parametrize("plays_on", [False, True])
async def test_the_end_of_a_block_is_kept_for_who_continues(call: Call, plays_on: bool) -> None:  # noqa: FBT001
    """Of the next block only the lead is played, and nothing that comes later; unless it plays on after all, then all of that block is."""
    kept: list[bytes | None] = []
    call.downlink.keep_tail(lambda: 0.03, lambda: kept.append(call.downlink.tail))
    await call.pass_on(Audio(pcm_of_ms(80)), Audio(pcm_of_ms(40)))
    assert kept == [pcm_of_ms(80)[2 * 1440 :]]
    assert call.source.pushed_samples == 1440
    if plays_on:
        call.downlink.play_on()
        assert call.source.pushed_samples == 3840
        assert call.downlink.tail is None


async def test_playing_on_without_a_tail_plays_nothing(call: Call) -> None:
    """No block has come yet: the next one is played whole."""
    call.downlink.keep_tail(lambda: 0.03, lambda: None)
    call.downlink.play_on()
    await call.pass_on(Audio(pcm_of_ms(80)))
    assert call.source.pushed_samples == 3840
