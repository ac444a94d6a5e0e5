"""What was said, where somebody wants it kept."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from discordplex.store.records import TranscribedCall, TranscriptLine
from discordplex.store.store import Store

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


def line(text: str, *, guild_id: int = 1, call: str = "a", user_id: int | None = 5, seconds: float = 0) -> TranscriptLine:
    return TranscriptLine(guild_id, call, user_id, NOON + timedelta(seconds=seconds), text)


@pytest.fixture
async def recording(store: Store) -> Store:
    """A store where guild 1 and guild 2 have transcripts on."""
    for guild_id in (1, 2):
        await store.guilds.change(guild_id, lambda now: replace(now, transcripts=True))
    return store


async def test_nothing_is_kept_where_nobody_asked_for_it(store: Store, sql: Callable[[], Any]) -> None:
    """Without an admin's switch no line gets into the database, and after it is switched off none gets in any more."""
    assert await store.transcripts.keep([line("secret")]) == 0
    await store.guilds.change(1, lambda now: replace(now, transcripts=True))
    assert await store.transcripts.keep([line("one"), line("two", guild_id=3)]) == 1
    await store.guilds.change(1, lambda now: replace(now, transcripts=False))
    assert await store.transcripts.keep([line("secret")]) == 0
    async with sql() as other:
        assert await other("SELECT text FROM transcripts") == [("one",)]


async def test_who_opted_out_is_never_kept(recording: Store) -> None:
    """Their lines are left out, the others' and the engine's are not."""
    await recording.people.opt_out(6)
    assert await recording.transcripts.keep([line("mine"), line("theirs", user_id=6), line("engine", user_id=None)]) == 2
    assert [one.text for one in await recording.transcripts.read(1, "a")] == ["mine", "engine"]


async def test_a_transcript_reads_as_it_was_said(recording: Store) -> None:
    """A call's lines come back whole, in the order of their moments and then of their coming."""
    lines = [line("third", seconds=2), line("first"), line("second", user_id=None), line("elsewhere", call="b"), line("far", guild_id=2)]
    assert await recording.transcripts.keep(lines) == 5
    assert await recording.transcripts.keep([]) == 0
    assert await recording.transcripts.read(1, "a") == (lines[1], lines[2], lines[0])


async def test_calls_are_listed_from_the_oldest(recording: Store) -> None:
    """With when they began and how much was said."""
    await recording.transcripts.keep([line("x", call="b"), line("y", seconds=-60), line("z", seconds=5), line("other", guild_id=2)])
    earlier = NOON - timedelta(seconds=60)
    assert await recording.transcripts.calls(1) == (TranscribedCall("a", earlier, 2), TranscribedCall("b", NOON, 1))
    assert await recording.transcripts.calls(3) == ()


async def test_deleting(recording: Store) -> None:
    """One call, then all of the guild's, and no other guild's."""
    await recording.transcripts.keep([line("x"), line("y", call="b"), line("z", call="c"), line("far", guild_id=2)])
    assert await recording.transcripts.delete(1, "a") == 1
    assert await recording.transcripts.delete(1) == 2
    assert await recording.transcripts.calls(1) == ()
    assert len(await recording.transcripts.read(2, "a")) == 1
