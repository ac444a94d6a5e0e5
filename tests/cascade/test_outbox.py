"""Events leave in order, and nobody fills the box for ever."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.cascade.outbox import CAPACITY, CAPACITY_BYTES, MOST_URGENT, Outbox
from discordplex.engine import Audio, EngineEvent, Interrupted, PlaybackHeld, PlaybackResumed, Problem, SpeakerId, Text
from discordplex.loopback import timeouts
from discordplex.loopback.clock import settle

ANNA, BEN = 1, 2


async def taken(outbox: Outbox) -> list[EngineEvent]:
    """Everything that waits in it."""
    outbox.put(Interrupted("the end"))
    found = []
    while (event := await timeouts.wait_for(outbox.take(), 1)) != Interrupted("the end"):
        found.append(event)
    return found


async def waits_for_room(outbox: Outbox) -> bool:
    waiting = asyncio.create_task(outbox.room())
    await settle()
    waits = not waiting.done()
    waiting.cancel()
    return waits


async def test_much_to_say_waits_for_room_and_urgent_news_do_not() -> None:
    """With a full box sound waits until the consumer has taken something; a hold is left at once."""
    outbox = Outbox()
    for _ in range(CAPACITY):
        await outbox.room()
        outbox.put(Audio(b"", item="a"))
    waiting = asyncio.create_task(outbox.room())
    await settle()
    outbox.put(PlaybackHeld())
    assert not waiting.done()
    assert [await outbox.take(), await outbox.take()] == [Audio(b"", item="a")] * 2
    await settle()
    assert waiting.done()


async def test_few_events_of_much_sound_fill_it_too() -> None:
    """Bytes count as well as events, of sound and of text."""
    for event in (Audio(bytes(CAPACITY_BYTES // 4)), Text("x" * (CAPACITY_BYTES // 16))):
        outbox = Outbox()
        for _ in range(4):
            assert not await waits_for_room(outbox)
            outbox.put(event)
        assert await waits_for_room(outbox)
        await outbox.take()
        assert not await waits_for_room(outbox)


@pytest.mark.parametrize("event", [Problem("p"), Text("words", role="person", speaker=ANNA, final=True)])
async def test_a_call_that_is_stuck_piles_up_no_news(event: EngineEvent) -> None:
    """Of problems and people's words that nobody reads the oldest are dropped."""
    outbox = Outbox()
    for _ in range(3 * MOST_URGENT):
        outbox.put(event)
    assert len(await taken(outbox)) == MOST_URGENT
    assert outbox.held_bytes == 0


async def test_a_cough_that_nobody_saw_leaves_nothing() -> None:
    """Held and resumed before the call has read either is as if neither had been."""
    outbox = Outbox()
    for _ in range(3):
        outbox.put(PlaybackHeld())
        outbox.put(PlaybackResumed())
    outbox.put(PlaybackHeld())
    assert await taken(outbox) == [PlaybackHeld()]


async def test_what_was_cut_is_thrown_away() -> None:
    """Sound and words of a reply go, and whatever else waits stays in its order."""
    outbox = Outbox()
    for event in (Problem("p"), Audio(b"12", item="a"), Text("t", item="a"), Audio(b"34", item="b"), PlaybackHeld()):
        outbox.put(event)
    outbox.drop("a")
    assert await taken(outbox) == [Problem("p"), Audio(b"34", item="b"), PlaybackHeld()]


async def test_a_cut_makes_room() -> None:
    """Who waited for room has it once a reply was thrown away."""
    outbox = Outbox()
    for _ in range(CAPACITY):
        outbox.put(Audio(b"", item="a"))
    waiting = asyncio.create_task(outbox.room())
    await settle()
    outbox.drop("a")
    await settle()
    assert waiting.done()


@given(st.lists(st.tuples(st.sets(st.sampled_from([ANNA, BEN])), st.binary(max_size=8)), max_size=20))
async def test_nothing_of_a_forgotten_person_is_left(parcels: list[tuple[set[SpeakerId], bytes]]) -> None:
    """Everything made from their words goes, everything else stays in its order, and the bytes are counted anew."""
    outbox = Outbox()
    for sources, pcm in parcels:
        outbox.put(Audio(pcm), frozenset(sources))
    outbox.forget(ANNA)
    assert outbox.held_bytes == sum(len(pcm) for sources, pcm in parcels if ANNA not in sources)
    assert await taken(outbox) == [Audio(pcm) for sources, pcm in parcels if ANNA not in sources]


async def test_what_people_said_and_nobody_saw_is_dropped() -> None:
    """Their words go; sound, the engine's words and problems stay in their order."""
    outbox = Outbox()
    for event in (Text("hers", role="person", speaker=ANNA), Audio(b"12", item="a"), Text("t", item="a"), Problem("p")):
        outbox.put(event)
    outbox.drop_unanswered()
    assert await taken(outbox) == [Audio(b"12", item="a"), Text("t", item="a"), Problem("p")]


def test_a_character_counts_as_four_bytes_and_news_as_none() -> None:
    """As much as a character can take; a hold and a problem are few."""
    outbox = Outbox()
    for event, held_bytes in ((Text("abc"), 12), (Audio(b"12"), 14), (PlaybackHeld(), 14), (Problem("p"), 14)):
        outbox.put(event)
        assert outbox.held_bytes == held_bytes
