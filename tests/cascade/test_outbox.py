"""Events leave in order, and nobody fills the box for ever."""

import asyncio

from discordplex.cascade.outbox import CAPACITY, Outbox
from discordplex.engine import Audio, EngineEvent, Held, Problem, Text
from discordplex.loopback.clock import settle


async def test_much_to_say_waits_for_room_and_urgent_news_do_not() -> None:
    """With a full box sound waits until the consumer has taken something; a hold is left at once."""
    outbox = Outbox()
    for _ in range(CAPACITY):
        await outbox.say(Audio(b"", item="a"))
    waiting = asyncio.create_task(outbox.say(Text("late", item="a")))
    await settle()
    outbox.put(Held())
    assert not waiting.done()
    taken: list[EngineEvent] = [await outbox.take() for _ in range(2)]
    await waiting
    assert taken == [Audio(b"", item="a")] * 2


async def test_what_was_cut_is_thrown_away() -> None:
    """Sound and words of a reply go, whatever else waits stays in its order, and who waited for room has it."""
    outbox = Outbox()
    outbox.put(Problem("p"))
    for _ in range(CAPACITY):
        outbox.put(Audio(b"", item="a"))
    waiting = asyncio.create_task(outbox.say(Text("next", item="b")))
    await settle()
    outbox.drop("a")
    await waiting
    assert [await outbox.take(), await outbox.take()] == [Problem("p"), Text("next", item="b")]
