"""A call whose engine is gone need not wait for its next try when another engine becomes free."""

import pytest

from discordplex.bridge.events import EngineLost, Listening
from discordplex.engine import Audio, Closed
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import ScriptedEngine, pcm_of_ms
from tests.bridge.scripted_call import Call, failing, for_ever

pytestmark = pytest.mark.usefixtures("nothing_is_left")


async def test_it_tries_at_once_when_told(clock: FakeClock) -> None:
    """The third pause is 4 s long; told to, it opens in the middle of it."""
    refusal = EngineError("Nobody there.", retry=True)
    good = ScriptedEngine(clock)
    call = Call(clock, *(ScriptedEngine(clock, on_open=failing(refusal)) for _ in range(3)), good)
    await call.start()
    await clock.advance(1.2 + 2.3 + 0.5)
    assert len([event for event in call.told if isinstance(event, EngineLost)]) == 3
    assert list(call.lease.waiting) == [good]
    call.session.try_now()
    await settle()
    assert good.opened_at == clock.now()
    assert isinstance(call.told[-1], Listening)
    await call.cancel()


async def test_an_opening_that_hangs_is_left(clock: FakeClock) -> None:
    """A dead server may take a minute to say nothing at all."""
    good = ScriptedEngine(clock)
    call = Call(clock, ScriptedEngine(clock, on_open=for_ever), good)
    await call.start()
    await clock.advance(5)
    call.session.try_now()
    await settle()
    assert good.opened_at == clock.now()
    await call.cancel()


async def test_an_engine_that_is_there_is_kept(clock: FakeClock) -> None:
    """Being told in the middle of a conversation changes nothing."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    call.session.try_now()
    engine.does(Audio(pcm_of_ms(80)))
    await clock.advance(1)
    assert call.source.depth_ms == 80
    assert engine.closed_at is None
    engine.does(Closed("Gone.", retry=False))
    await settle()
