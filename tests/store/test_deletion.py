"""What is deleted is in none of the database's files any more: their raw bytes are searched."""

import asyncio
import contextlib
import random
import re
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.config import Config
from discordplex.engine import Persona
from discordplex.loopback.clock import FakeClock
from discordplex.store.personas import key
from discordplex.store.records import Choice, Deleted, Owner, QueueEntry, SavedPersona, SaveStatus, TranscriptLine
from discordplex.store.store import Store, open_store
from tests.bot.fakes import CountedEngines

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
GUILD, ANNA = 1, 100
HERS = Owner("person", ANNA)
MARK = "Gëheimnis \N{GRINNING FACE}"
"""What must not be found."""


def on_disk(folder: Path, mark: str = MARK) -> list[str]:
    """The files in which it is."""
    return sorted(file.name for file in folder.iterdir() if mark.encode() in file.read_bytes())


async def fill(preferences: StoredPreferences) -> None:
    """Everything that a person or guild can have stored, with the mark in it."""
    for owner in (HERS, Owner("guild", GUILD)):
        saved = SavedPersona(owner, MARK, Persona("NATF0.pt", MARK))
        await preferences.change_personas(owner, {key(MARK): saved})
    await preferences.change_person(ANNA, lambda now: replace(now, choice=Choice(text_prompt=MARK, name=MARK)))
    await preferences.change_guild(GUILD, lambda now: replace(now, transcripts=True, choice=Choice(text_prompt=MARK)))
    await preferences.store.queue.enter(QueueEntry(GUILD, 11, ANNA, NOON))
    await preferences.store.transcripts.keep([TranscriptLine(GUILD, "call", ANNA, NOON, MARK)] * 200)


async def forget_person(preferences: StoredPreferences) -> list[SaveStatus]:
    return [(await preferences.forget(ANNA)).save_status, (await preferences.forget_guild(GUILD)).save_status]


async def delete_each(preferences: StoredPreferences) -> list[SaveStatus]:
    """/persona delete, /persona reset, /settings reset, /settings forget-transcripts."""
    return [
        *[await preferences.change_personas(owner, {key(MARK): None}) for owner in (HERS, Owner("guild", GUILD))],
        await preferences.change_person(ANNA, lambda now: replace(now, choice=Choice())),
        await preferences.change_guild(GUILD, lambda now: replace(now, choice=Choice())),
        (await preferences.forget_transcripts(GUILD, "call")).save_status,
    ]


async def replace_each(preferences: StoredPreferences) -> list[SaveStatus]:
    """What stands in the place of something else deletes it too."""
    other = Persona("NATF0.pt", "x")
    return [
        *[
            await preferences.change_personas(owner, {key(MARK): SavedPersona(owner, MARK.upper(), other)})
            for owner in (HERS, Owner("guild", GUILD))
        ],
        await preferences.change_person(ANNA, lambda now: replace(now, choice=Choice(text_prompt="x"))),
        await preferences.change_guild(GUILD, lambda now: replace(now, choice=Choice(text_prompt="x"))),
        (await preferences.forget_transcripts(GUILD)).save_status,
    ]


WAYS = pytest.mark.parametrize("delete", [forget_person, delete_each, replace_each])
Way = Callable[[StoredPreferences], Awaitable[list[SaveStatus]]]


def made(store: Store, clock: FakeClock) -> StoredPreferences:
    return StoredPreferences(config=Config(), provider=CountedEngines(), store=store, clock=clock)


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """Another program reads the database, and keeps what it reads, as a backup does."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM people").fetchall()
        yield
        other.execute("ROLLBACK")


@WAYS
async def test_nothing_of_it_is_left(tmp_path: Path, clock: FakeClock, delete: Way) -> None:
    """While the store is still open: not in the file, its free pages, or its journal."""
    async with open_store(f"sqlite:///{tmp_path}/settings.db") as store:
        preferences = made(store, clock)
        await fill(preferences)
        assert on_disk(tmp_path) != []
        assert set(await delete(preferences)) == {SaveStatus(saved=True)}
        assert on_disk(tmp_path) == []


@WAYS
async def test_a_reader_who_keeps_the_journal_is_told_of_and_outlasted(tmp_path: Path, clock: FakeClock, delete: Way) -> None:
    """Who asked learns that a copy is left for a while; it goes by itself when the reader has gone."""
    async with open_store(f"sqlite:///{tmp_path}/settings.db") as store, made(store, clock) as preferences:
        await fill(preferences)
        with reading(tmp_path / "settings.db"):
            assert set(await delete(preferences)) == {SaveStatus(saved=True, clean=False)}
            await clock.advance(3)
            assert on_disk(tmp_path) != []
        while store.unclean:
            await clock.advance(5)
            await asyncio.sleep(0.01)  # the database's own thread works in real time
        assert on_disk(tmp_path) == []


DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from typing import Any
from discordplex.store.store import open_store
from tests.store.test_deletion import FakeClock, fill, forget_person, made, on_disk, reading

async def main(folder):
    async with open_store(f"sqlite:///{folder}/settings.db") as store:
        preferences = made(store, FakeClock())
        await fill(preferences)
        with reading(folder / "settings.db"):
            await forget_person(preferences)
            assert on_disk(folder)
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system with kill -9")
async def test_a_process_that_is_killed_in_between_is_made_up_for(tmp_path: Path) -> None:
    """What was deleted but still in the journal is gone once the next process has opened the database."""
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", DIE, str(tmp_path))
    assert await killed.wait() == -9
    assert on_disk(tmp_path) != []
    async with open_store(f"sqlite:///{tmp_path}/settings.db"):
        assert on_disk(tmp_path) == []


def secrets_in(folder: Path) -> set[int]:
    return {int(number) for file in folder.iterdir() for number in re.findall(rb"<secret (\d+)>", file.read_bytes())}


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_left_in_pages_that_were_rebuilt(tmp_path: Path, clock: FakeClock, seed: int) -> None:
    """After hundreds of personas came, grew and went, only those that are there are in the file, whatever SQLite moved around meanwhile."""
    chance = random.Random(seed)
    there: dict[int, str] = {}
    async with open_store(f"sqlite:///{tmp_path}/settings.db") as store:
        preferences = made(store, clock)
        for number in range(100):
            owner, name = Owner("person", chance.randrange(4)), f"name{chance.randrange(20)}"
            if chance.random() < 0.6:
                text = f"<secret {number}>" + "x" * chance.choice((0, 10, 100, 3000))
                await preferences.change_personas(owner, {name: SavedPersona(owner, name, Persona("v", text))})
            else:
                await preferences.change_personas(owner, {name: None})
        for number in range(4):
            for one in await preferences.personas(Owner("person", number)):
                there[int(one.persona.text_prompt.split(">")[0].split()[1])] = one.name
        found = secrets_in(tmp_path)
    assert found == there.keys()


async def test_a_deletion_says_what_was_there(tmp_path: Path, clock: FakeClock) -> None:
    """The lines of a transcript, and all about a person."""
    async with open_store(f"sqlite:///{tmp_path}/settings.db") as store:
        preferences = made(store, clock)
        await fill(preferences)
        assert await preferences.forget_transcripts(GUILD, "another call") == Deleted(SaveStatus(saved=True), lines=0)
        assert await preferences.forget_transcripts(GUILD) == Deleted(SaveStatus(saved=True), lines=200)
        stored = (await preferences.forget(ANNA)).stored
        assert stored
        assert (len(stored.personas), len(stored.waiting), stored.settings.choice.text_prompt) == (1, 1, MARK)
        assert (await preferences.forget_guild(GUILD)).stored is None


async def role_of_a_person(preferences: StoredPreferences, choice: Choice) -> SaveStatus:
    return await preferences.change_person(ANNA, lambda now: replace(now, choice=choice))


async def role_of_a_guild(preferences: StoredPreferences, choice: Choice) -> SaveStatus:
    return await preferences.change_guild(GUILD, lambda now: replace(now, choice=choice))


async def persona(preferences: StoredPreferences, choice: Choice) -> SaveStatus:
    saved = SavedPersona(HERS, "x", Persona("v", choice.text_prompt)) if choice.text_prompt else None
    return await preferences.change_personas(HERS, {"x": saved})


@pytest.mark.parametrize("after", [Choice(), Choice(text_prompt="something else")], ids=["deleted", "replaced"])
@pytest.mark.parametrize("change", [role_of_a_person, role_of_a_guild, persona])
async def test_each_change_alone_leaves_nothing_of_what_was_before(
    tmp_path: Path, clock: FakeClock, change: Callable[[StoredPreferences, Choice], Awaitable[SaveStatus]], after: Choice
) -> None:
    """It does not need another deletion to clear the journal after it."""
    async with open_store(f"sqlite:///{tmp_path}/settings.db") as store:
        preferences = made(store, clock)
        await change(preferences, Choice(text_prompt=MARK))
        assert on_disk(tmp_path) != []
        assert await change(preferences, after) == SaveStatus(saved=True)
        assert on_disk(tmp_path) == []


@pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)
async def test_a_deletion_reaches_what_another_process_is_inserting(store: Store, sql: Callable[[], Any]) -> None:
    """PostgreSQL: a line that is inserted and not committed yet when the deletion begins is gone when it has ended."""
    async with sql() as other:
        await other("INSERT INTO transcripts (guild_id, call, user_id, said_at, text) VALUES (1, 'call', 100, now(), 'x')")
        deletion = asyncio.ensure_future(store.privacy.forget(ANNA))
        async with sql() as watching:
            while not await watching("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"):
                await watching.commit()
        await other.commit()
        await deletion
        assert await other("SELECT count(*) FROM transcripts") == [(0,)]
