"""What an engine may send into a call is bounded in what it becomes, whatever kind of engine it is."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from discordplex.bridge.budget import REPLY_BURST_S, STREAM_BURST_S
from discordplex.bridge.events import Caption, Ended, EngineLost, Trouble
from discordplex.bridge.retry import RetryRule
from discordplex.engine import (
    OVER_BUDGET,
    Audio,
    EngineCaps,
    EngineEvent,
    Interrupted,
    PersonaIgnored,
    PlaybackHeld,
    PlaybackResumed,
    Problem,
    Text,
)
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import PACED, WHOLE_REPLIES, ScriptedEngine, pcm_of_ms
from tests.bridge.scripted_call import Call

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SECOND = pcm_of_ms(1000)

NUMBERS = itertools.count()

FLOODS: dict[str, tuple[Callable[[], EngineEvent], int]] = {
    "sound": (lambda: Audio(SECOND), 400),
    "one long sound": (lambda: Audio(SECOND * 400), 1),
    "text": (lambda: Text("x" * 1000), 100),
    "one long text": (lambda: Text("x" * 100_000), 1),
    "names of replies": (lambda: Audio(b"", item="x" * 1000), 100),
    "words of people": (lambda: Text("x" * 1000, role="person", speaker=7), 100),
    "one word of each of many people": (lambda: Text("x", role="person", speaker=next(NUMBERS)), 1000),
    "empty texts": (lambda: Text(""), 3000),
    "problems": (lambda: Problem("Oh."), 1000),
    "holds": (PlaybackHeld, 3000),
    "resumptions": (PlaybackResumed, 3000),
    "interruptions": (Interrupted, 3000),
    "personas": (PersonaIgnored, 3000),
}


@pytest.mark.parametrize("caps", [PACED, WHOLE_REPLIES], ids=["stream", "replies"])
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_the_conversation(clock: FakeClock, caps: EngineCaps, flood: str) -> None:
    """The engine is left with one sentence and tried again; what was let through is bounded; the call lives."""
    make, count = FLOODS[flood]
    engine, another = ScriptedEngine(clock, caps=caps), ScriptedEngine(clock)
    call = Call(clock, engine, another)
    await call.start()
    engine.does(*(make() for _ in range(count)))
    await settle(250)
    lost = [event for event in call.told if isinstance(event, EngineLost)]
    assert len(lost) == 1
    assert "far more" in lost[0].reason
    assert engine.closed_at is not None
    assert call.source.pushed_samples <= max(REPLY_BURST_S, STREAM_BURST_S) * 48_000
    assert sum(isinstance(event, Trouble) for event in call.told) <= 400
    await clock.advance(5)
    assert another.opened_at is not None
    assert sum(len(event.text) for event in call.told if isinstance(event, Caption) and event.final) <= 25_000
    await call.cancel()


def conversation(seconds: int) -> Iterator[EngineEvent]:
    """A model that speaks all the time, fast: 20 characters a second in pieces."""
    for _ in range(seconds * 25 // 2):
        yield Audio(pcm_of_ms(80))
        yield Text(" so")


async def test_a_long_conversation_is_within_the_budget(clock: FakeClock) -> None:
    """Minutes of speech without a pause, over a network that stands still for 40 s and then brings them at once."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    for _ in range(4):
        for event in conversation(40):
            engine.does(event)
        await settle(200)
        call.source.play(40_000)
        await clock.advance(20)
    assert not [event for event in call.told if isinstance(event, EngineLost)]
    await call.cancel()


async def test_a_whole_reply_is_within_the_budget(clock: FakeClock) -> None:
    """Three minutes of speech and its words at once, from an engine that hands over whole replies; and again when that was heard."""
    engine = ScriptedEngine(clock, caps=WHOLE_REPLIES)
    call = Call(clock, engine)
    await call.start()
    for reply in range(2):
        engine.does(Text("word " * 800, item=str(reply)), *(Audio(SECOND, item=str(reply)) for _ in range(int(REPLY_BURST_S))))
        await settle(400)
        call.source.play(REPLY_BURST_S * 1000)
        await clock.advance(REPLY_BURST_S / 4)
    assert not [event for event in call.told if isinstance(event, EngineLost)]
    await call.cancel()


async def test_a_flood_is_no_sign_of_health(clock: FakeClock) -> None:
    """An engine that floods each time is given up, however much sound it brought."""
    engines = [ScriptedEngine(clock) for _ in range(4)]
    call = Call(clock, *engines, rule=RetryRule(failures=3))
    await call.start()
    for engine in engines[:3]:
        engine.does(*[Audio(SECOND)] * 100)
        await settle(100)
        await clock.advance(5)
    last = call.told[-1]
    assert isinstance(last, Ended)
    assert last.reason is not None
    assert "far more sound" in last.reason


async def test_sentences_that_quote_a_server_are_one_short_line(clock: FakeClock) -> None:
    """A problem and an ending are made visible, one line each, and cut."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Problem("It says:\n\u202eevil" + "x" * 5000))
    await settle()
    told = call.told[-1]
    assert isinstance(told, Trouble)
    assert told.message.startswith("It says: evil")
    assert len(told.message) <= 500
    await call.cancel()
    assert OVER_BUDGET not in told.message
