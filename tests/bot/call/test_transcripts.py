"""What is said is kept where a guild's admins want that, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest

from discordplex.bot.call.transcripts import BATCH, TranscriptWriter
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
    """As much of a call as a transcript writer looks at."""

    room: ScriptedRoom = field(default_factory=lambda: ScriptedRoom(Place(GUILD, 11), None))


class CommandServices:
    """A transcript writer with everything around it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.metrics = Metrics()
        self.preferences = StoredPreferences(config=Config(), provider=CountedEngines(), store=store)
        self.told: list[str] = []
        self.time = NOON
        self.transcripts = TranscriptWriter(
            preferences=self.preferences, metrics=self.metrics, tell=lambda _call, why: self.told.append(why), now=lambda: self.time
        )

    async def switch(self, *, on: bool) -> None:
        await self.preferences.change_guild(GUILD, lambda now: replace(now, transcripts=on))

    def says(self, call: Any, text: str, *, final: bool = True, speaker: int | None = None) -> None:
        self.time += timedelta(seconds=1)
        self.transcripts.hear(call, Caption(1, text, final, speaker))

    async def kept(self) -> dict[str, list[tuple[int | None, str]]]:
        await self.transcripts.close()
        calls = await self.store.transcripts.calls(GUILD)
        return {one.call: [(line.user_id, line.text) for line in await self.store.transcripts.read(GUILD, one.call)] for one in calls}


@pytest.fixture
async def services() -> AsyncIterator[CommandServices]:
    async with open_store("sqlite://") as store:
        yield CommandServices(store)


async def test_nothing_is_kept_unless_switched_on(services: CommandServices) -> None:
    """Not before, and not after it was switched off again."""
    call = QuietCall()
    services.says(call, "before")
    await services.switch(on=True)
    services.says(call, "while")
    await services.transcripts.close()
    await services.switch(on=False)
    services.says(call, "after")
    assert list((await services.kept()).values()) == [[(None, "while")]]


async def test_a_call_that_is_stopped_saves_no_more_of_its_people(services: CommandServices) -> None:
    """Its own words stay, and other calls are not concerned; what is said when it goes on is kept."""
    await services.switch(on=True)
    stopped, other = QuietCall(), QuietCall()
    for call in (stopped, other):
        services.says(call, "Anna's", speaker=ANNA)
        services.says(call, "the engine's")
    services.transcripts.drop_people(cast("Any", stopped))
    services.says(stopped, "later", speaker=ANNA)
    kept = await services.kept()
    lines = [line for call in kept.values() for line in call]
    assert (lines.count((ANNA, "Anna's")), lines.count((None, "the engine's")), lines.count((ANNA, "later"))) == (1, 2, 1)


async def test_a_transcript_has_whole_stretches_with_who_said_them(services: CommandServices) -> None:
    """Only what is final, each call for itself, in order."""
    await services.switch(on=True)
    first, second = QuietCall(), QuietCall()
    services.says(first, "Hel", final=False)
    services.says(first, "Hello.")
    services.says(second, "Another call.")
    services.says(first, "Hi!", speaker=ANNA)
    kept = await services.kept()
    assert list(kept.values()) == [[(None, "Hello."), (ANNA, "Hi!")], [(None, "Another call.")]]
    assert all(name.startswith("2026-11-20 12:00 ") for name in kept)


async def test_a_database_that_fails_is_told_and_costs_no_call(services: CommandServices) -> None:
    """The lines are lost and counted; the call hears why."""
    await services.switch(on=True)
    async with open_store("sqlite://") as closed:
        pass
    services.preferences.store = closed
    services.says(QuietCall(), "lost")
    await services.transcripts.close()
    assert len(services.told) == 1
    assert "not saved" in services.told[0]
    assert services.metrics.counter("transcripts.dropped").value == 1


async def test_what_waits_is_bounded_in_bytes(services: CommandServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest lines make room, and are counted; a character may have four bytes."""
    monkeypatch.setattr("discordplex.bot.call.transcripts.MOST_BYTES", 12)
    await services.switch(on=True)
    call = QuietCall()
    for text in ("0123", "1", "\N{GRINNING FACE}", "3", "4567"):
        services.says(call, text)
    assert list((await services.kept()).values()) == [[(None, "1"), (None, "\N{GRINNING FACE}"), (None, "3"), (None, "4567")]]
    assert services.metrics.counter("transcripts.dropped").value == 1
    services.says(call, "a line that is longer than all that may wait")
    assert services.metrics.counter("transcripts.dropped").value == 2


async def test_many_lines_are_saved_a_few_at_a_time(services: CommandServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others want to use the database too."""
    kept: list[int] = []
    keep = Transcripts.keep

    async def counted(self: Transcripts, lines: Sequence[TranscriptLine], *more: Any) -> int:
        kept.append(len(lines))
        return await keep(self, lines, *more)

    monkeypatch.setattr(Transcripts, "keep", counted)
    await services.switch(on=True)
    call = QuietCall()
    for number in range(2 * BATCH + 1):
        services.says(call, str(number))
    assert [len(lines) for lines in (await services.kept()).values()] == [2 * BATCH + 1]
    assert kept == [BATCH, BATCH, 1]


@pytest.mark.parametrize("saving", [False, True], ids=["waiting", "in the middle of being saved"])
@pytest.mark.parametrize("what", ["person", "guild", "call"])
async def test_a_deletion_reaches_what_is_not_saved_yet(
    services: CommandServices, what: str, monkeypatch: pytest.MonkeyPatch, *, saving: bool
) -> None:
    """Lines that wait, or that are in a transaction which has not begun to write, are not saved after it."""
    await services.switch(on=True)
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
    services.says(call, "Anna's", speaker=ANNA)
    services.says(call, "the engine's")
    if saving:
        await reached.wait()
    name = services.transcripts._name(call)
    deletion = {
        "person": lambda: services.preferences.forget(ANNA),
        "guild": lambda: services.preferences.forget_guild(GUILD),
        "call": lambda: services.preferences.forget_transcripts(GUILD, name),
    }[what]()
    gate.set()
    await deletion
    kept = await services.kept()
    assert [text for lines in kept.values() for _, text in lines] == (["the engine's"] if what in ("person", "stop") else [])
