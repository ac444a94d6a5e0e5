"""What is said is kept where a guild's admins want that, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest

from discordplex.bot.call.transcripts import BATCH, Scribe
from discordplex.bot.place import Place
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bridge.events import Caption
from discordplex.config import Config
from discordplex.metrics import Metrics
from discordplex.store import transcripts
from discordplex.store.records import TranscriptLine
from discordplex.store.store import Store, open_store
from discordplex.store.transcripts import Transcripts
from tests.bot.fakes import CountedEngines, ScriptedRoom

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
GUILD, ANNA = 1, 100


@dataclass(eq=False)
class QuietCall:
    """As much of a call as a scribe looks at."""

    room: ScriptedRoom = field(default_factory=lambda: ScriptedRoom(Place(GUILD, 11), None))


class Desk:
    """A scribe with everything around it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.metrics = Metrics()
        self.preferences = StoredPreferences(config=Config(), provider=CountedEngines(), store=store)
        self.told: list[str] = []
        self.time = NOON
        self.scribe = Scribe(
            preferences=self.preferences, metrics=self.metrics, tell=lambda _call, why: self.told.append(why), now=lambda: self.time
        )

    async def switch(self, *, on: bool) -> None:
        await self.preferences.change_guild(GUILD, lambda now: replace(now, transcripts=on))

    def says(self, call: Any, text: str, *, final: bool = True, speaker: int | None = None) -> None:
        self.time += timedelta(seconds=1)
        self.scribe.hear(call, Caption(1, text, final, speaker))

    async def kept(self) -> dict[str, list[tuple[int | None, str]]]:
        await self.scribe.close()
        calls = await self.store.transcripts.calls(GUILD)
        return {one.call: [(line.user_id, line.text) for line in await self.store.transcripts.read(GUILD, one.call)] for one in calls}


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_store("sqlite://") as store:
        yield Desk(store)


async def test_nothing_is_kept_unless_switched_on(desk: Desk) -> None:
    """Not before, and not after it was switched off again."""
    call = QuietCall()
    desk.says(call, "before")
    await desk.switch(on=True)
    desk.says(call, "while")
    await desk.scribe.close()
    await desk.switch(on=False)
    desk.says(call, "after")
    assert list((await desk.kept()).values()) == [[(None, "while")]]


async def test_a_call_that_is_stopped_saves_no_more_of_its_people(desk: Desk) -> None:
    """Its own words stay, and other calls are not concerned; what is said when it goes on is kept."""
    await desk.switch(on=True)
    stopped, other = QuietCall(), QuietCall()
    for call in (stopped, other):
        desk.says(call, "Anna's", speaker=ANNA)
        desk.says(call, "the engine's")
    desk.scribe.drop_people(cast("Any", stopped))
    desk.says(stopped, "later", speaker=ANNA)
    kept = await desk.kept()
    lines = [line for call in kept.values() for line in call]
    assert (lines.count((ANNA, "Anna's")), lines.count((None, "the engine's")), lines.count((ANNA, "later"))) == (1, 2, 1)


async def test_a_transcript_has_whole_stretches_with_who_said_them(desk: Desk) -> None:
    """Only what is final, each call for itself, in order."""
    await desk.switch(on=True)
    first, second = QuietCall(), QuietCall()
    desk.says(first, "Hel", final=False)
    desk.says(first, "Hello.")
    desk.says(second, "Another call.")
    desk.says(first, "Hi!", speaker=ANNA)
    kept = await desk.kept()
    assert list(kept.values()) == [[(None, "Hello."), (ANNA, "Hi!")], [(None, "Another call.")]]
    assert all(name.startswith("2026-11-20 12:00 ") for name in kept)


async def test_a_database_that_fails_is_told_and_costs_no_call(desk: Desk) -> None:
    """The lines are lost and counted; the call hears why."""
    await desk.switch(on=True)
    async with open_store("sqlite://") as closed:
        pass
    desk.preferences.store = closed
    desk.says(QuietCall(), "lost")
    await desk.scribe.close()
    assert len(desk.told) == 1
    assert "not saved" in desk.told[0]
    assert desk.metrics.counter("transcripts.dropped").value == 1


async def test_what_waits_is_bounded_in_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest lines make room, and are counted; a character may have four bytes."""
    monkeypatch.setattr("discordplex.bot.call.transcripts.MOST_BYTES", 12)
    await desk.switch(on=True)
    call = QuietCall()
    for text in ("0123", "1", "\N{GRINNING FACE}", "3", "4567"):
        desk.says(call, text)
    assert list((await desk.kept()).values()) == [[(None, "1"), (None, "\N{GRINNING FACE}"), (None, "3"), (None, "4567")]]
    assert desk.metrics.counter("transcripts.dropped").value == 1
    desk.says(call, "a line that is longer than all that may wait")
    assert desk.metrics.counter("transcripts.dropped").value == 2


async def test_many_lines_are_saved_a_few_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others want to use the database too."""
    kept: list[int] = []
    keep = Transcripts.keep

    async def counted(self: Transcripts, lines: Sequence[TranscriptLine], *more: Any) -> int:
        kept.append(len(lines))
        return await keep(self, lines, *more)

    monkeypatch.setattr(Transcripts, "keep", counted)
    await desk.switch(on=True)
    call = QuietCall()
    for number in range(2 * BATCH + 1):
        desk.says(call, str(number))
    assert [len(lines) for lines in (await desk.kept()).values()] == [2 * BATCH + 1]
    assert kept == [BATCH, BATCH, 1]


@pytest.mark.parametrize("saving", [False, True], ids=["waiting", "in the middle of being saved"])
@pytest.mark.parametrize("what", ["person", "guild", "call"])
async def test_a_deletion_reaches_what_is_not_saved_yet(desk: Desk, what: str, monkeypatch: pytest.MonkeyPatch, *, saving: bool) -> None:
    """Lines that wait, or that are in a transaction which has not begun to write, are not saved after it."""
    await desk.switch(on=True)
    call: Any = QuietCall()
    gate, reached = asyncio.Event(), asyncio.Event()
    welcome = transcripts.welcome

    async def slow(connection: Any, lines: Any) -> Any:
        wanted = await welcome(connection, lines)
        reached.set()
        await gate.wait()
        return wanted

    if saving:
        monkeypatch.setattr(transcripts, "welcome", slow)
    desk.says(call, "Anna's", speaker=ANNA)
    desk.says(call, "the engine's")
    if saving:
        await reached.wait()
    name = desk.scribe._name(call)
    deletion = {
        "person": lambda: desk.preferences.forget(ANNA),
        "guild": lambda: desk.preferences.forget_guild(GUILD),
        "call": lambda: desk.preferences.forget_transcripts(GUILD, name),
    }[what]()
    gate.set()
    await deletion
    kept = await desk.kept()
    assert [text for lines in kept.values() for _, text in lines] == (["the engine's"] if what in ("person", "stop") else [])
