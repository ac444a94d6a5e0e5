"""The engine port's own code."""

import pytest

from discordplex.engine import Audio, Closed, EngineEvent, EngineReady, Text, until_closed
from discordplex.fifo import Fifo


async def test_events_end_after_closed() -> None:
    """Everything up to `Closed` and `Closed` itself is passed on in order; what was put after it stays in the queue."""
    fifo: Fifo[EngineEvent] = Fifo()
    for event in (EngineReady(), Audio(b"12"), Closed("over"), Text("late")):
        fifo.put(event)
    assert [event async for event in until_closed(fifo.take)] == [EngineReady(), Audio(b"12"), Closed("over")]
    assert list(fifo) == [Text("late")]


async def test_a_failure_of_the_queue_is_passed_on() -> None:
    """What `take` raises ends the events with that error."""

    async def take() -> EngineEvent:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await anext(until_closed(take))
