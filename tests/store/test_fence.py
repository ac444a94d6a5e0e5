"""A process that stood still: what it may still write, on both databases."""

import ast
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from discordplex import store as package
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store import backends
from discordplex.store.fence import NoFence, TakenOverError
from discordplex.store.records import HourOfUse, Owner, QueueEntry, SavedPersona, TranscriptLine, UnfinishedNotice
from discordplex.store.store import Store
from discordplex.store.tables import METADATA

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
LOST, KEPT = 7, 8
"""Two guilds: while this process stood still, another one has taken the first."""

ANNA = 100


@dataclass
class Woken:
    """The fence of a process that has just woken, was taken for dead, and has not asked the others yet."""

    alive: bool = False
    deaths: int = 0
    reachable: bool = True
    guilds: frozenset[int] = frozenset({LOST, KEPT})
    asked: list[str] = field(default_factory=list)

    async def passable(self) -> None:
        """It asks the others, and learns what it has lost, unless the database is away."""
        if not self.alive:
            self.asked.append("passable")
            self.alive = True
            if self.reachable:
                self.guilds, self.deaths = frozenset({KEPT}), self.deaths + 1

    async def is_sure(self) -> bool:
        return self.reachable

    def holds(self, guild_id: int) -> bool:
        return guild_id in self.guilds


def persona(name: str) -> SavedPersona:
    return SavedPersona(Owner("person", ANNA), name, Persona(voice="NATF0.pt", text_prompt=name))


def line(guild_id: int) -> TranscriptLine:
    return TranscriptLine(guild_id, "call", ANNA + 1, NOON, "words")


async def rows(sql: Callable[[], Any]) -> dict[str, list[tuple[object, ...]]]:
    """Everything that is stored."""
    async with sql() as other:
        return {name: sorted(await other(f"SELECT * FROM {name}"), key=str) for name in METADATA.tables}  # noqa: S608 - names of ours


@pytest.fixture
async def furnished(store: Store) -> Store:
    """Something of each kind is stored of both guilds and of Anna."""
    for guild_id in (LOST, KEPT):
        await store.guilds.change(guild_id, lambda now: replace(now, transcripts=True))
        await store.queue.enter(QueueEntry(guild_id, 70, ANNA, NOON))
        await store.transcripts.keep([line(guild_id)])
        await store.notices.add(UnfinishedNotice(guild_id, 70, guild_id, 5))
    await store.people.opt_out(ANNA)
    await store.personas.save(persona("pirate"))
    return store


Change: TypeAlias = Callable[[Store, int], Awaitable[object]]

BY_THE_HOLDER_ALONE: dict[str, Change] = {
    "queue.enter": lambda store, guild: store.queue.enter(QueueEntry(guild, 71, ANNA, NOON)),
    "queue.move": lambda store, guild: store.queue.move(guild, 70, 72),
    "queue.leave": lambda store, guild: store.queue.leave(guild, 70),
    "transcripts.keep": lambda store, guild: store.transcripts.keep([line(guild)]),
    "privacy.forget_guild": lambda store, guild: store.privacy.forget_guild(guild),
}
"""What a process writes of a guild because it has the guild."""

BY_WHOEVER_WAS_ASKED: dict[str, Change] = {
    "guilds.change": lambda store, guild: store.guilds.change(guild, lambda now: replace(now, idle_minutes=9)),
    "people.change": lambda store, _: store.people.change(ANNA, lambda now: replace(now, choice=replace(now.choice, voice="NATM1.pt"))),
    "people.opt_out": lambda store, _: store.people.opt_out(ANNA + 1),
    "people.opt_in": lambda store, _: store.people.opt_in(ANNA),
    "personas.apply": lambda store, _: store.personas.save(persona("judge")),
    "privacy.forget": lambda store, _: store.privacy.forget(ANNA),
    "transcripts.delete": lambda store, guild: store.transcripts.delete(guild),
    "usage.add": lambda store, guild: store.usage.add([HourOfUse(guild, 1, 60)], since_hour=0),
    "notices.add": lambda store, guild: store.notices.add(UnfinishedNotice(90, 70, guild, 5)),
    "notices.remove": lambda store, guild: store.notices.remove(guild),
}
"""What people asked for, what has been used, and what a message says: true in whichever process it happened."""


@pytest.mark.parametrize("name", BY_THE_HOLDER_ALONE)
async def test_what_only_the_holder_of_a_guild_may_say_is_dropped(name: str, furnished: Store, sql: Callable[[], Any]) -> None:
    """Of the guild that it lost a woken process writes nothing, and of the one that it kept, everything, after it has asked the others."""
    before = await rows(sql)
    fence = furnished.fence = Woken()
    if name == "transcripts.keep":
        assert await BY_THE_HOLDER_ALONE[name](furnished, LOST) == 0
    else:
        with pytest.raises(TakenOverError, match="another process of the bot is responsible for it now"):
            await BY_THE_HOLDER_ALONE[name](furnished, LOST)
    assert fence.asked == ["passable"]
    assert await rows(sql) == before
    await BY_THE_HOLDER_ALONE[name](furnished, KEPT)
    assert await rows(sql) != before


@pytest.mark.parametrize("name", BY_WHOEVER_WAS_ASKED)
async def test_what_people_asked_for_is_saved(name: str, furnished: Store, sql: Callable[[], Any]) -> None:
    """Wherever the guild is now, and also where the others cannot be asked; but not before they were."""
    before = await rows(sql)
    fence = furnished.fence = Woken(reachable=name == "guilds.change")
    await BY_WHOEVER_WAS_ASKED[name](furnished, LOST)
    assert fence.asked == ["passable"]
    assert await rows(sql) != before


@pytest.mark.parametrize("name", BY_THE_HOLDER_ALONE)
async def test_while_nobody_can_tell_who_has_a_guild_nothing_is_said_for_it(name: str, furnished: Store, sql: Callable[[], Any]) -> None:
    """The cluster's database is away, and the store's is not: it may be tried again."""
    before = await rows(sql)
    furnished.fence = Woken(reachable=False)
    with pytest.raises(StoreError, match="cannot be reached") as raised:
        await BY_THE_HOLDER_ALONE[name](furnished, LOST)
    assert raised.value.retry
    assert await rows(sql) == before


async def test_in_doubt_a_person_is_not_heard(furnished: Store) -> None:
    """Whoever asked to be heard before the process was taken for dead may have opted out in another one since."""
    fence = furnished.fence = Woken()
    with pytest.raises(TakenOverError):
        await furnished.people.opt_in(ANNA, deaths=fence.deaths)
    assert await furnished.people.opted_out() == {ANNA}
    await furnished.people.opt_in(ANNA, deaths=fence.deaths)
    assert await furnished.people.opted_out() == frozenset()


async def test_a_process_that_stands_still_in_the_middle_of_a_transaction_writes_nothing(furnished: Store, sql: Callable[[], Any]) -> None:
    """It notices before the commit; tried again, the change is saved."""
    before = await rows(sql)
    fence = furnished.fence = Woken(alive=True)

    def stands_still(settings: Any) -> Any:
        fence.alive = False
        return replace(settings, idle_minutes=9)

    with pytest.raises(StoreError, match="stood still") as raised:
        await furnished.guilds.change(LOST, stands_still)
    assert raised.value.retry
    assert await rows(sql) == before
    await furnished.guilds.change(LOST, lambda now: replace(now, idle_minutes=9))
    assert (await furnished.guilds.get(LOST)).idle_minutes == 9


@pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)
async def test_the_server_ends_what_a_stopped_process_has_begun(store: Store) -> None:
    """Others do not wait for the locks of a process that is frozen in the middle of a deletion."""
    found = await store._database.write(
        "Nothing was asked", lambda connection: connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
    )
    assert found.scalar() == f"{backends.STANDSTILL_MS // 1000}s"


async def test_a_process_that_is_alone_passes() -> None:
    """Nobody else writes."""
    fence = NoFence()
    await fence.passable()
    assert await fence.is_sure()
    assert fence.holds(LOST)


def test_every_write_is_decided_above() -> None:
    """Whoever adds a write says here what a process that stood still does with it."""
    known = {name.partition(".")[2] for name in (*BY_THE_HOLDER_ALONE, *BY_WHOEVER_WAS_ASKED)} | {"_change"}
    folder = Path(inspect.getfile(package)).parent
    found = {
        function.name
        for file in ("guilds", "people", "personas", "queue", "notices", "usage", "transcripts", "privacy")
        for function in ast.walk(ast.parse((folder / f"{file}.py").read_text(encoding="utf-8")))
        if isinstance(function, ast.AsyncFunctionDef) and "self._database.write(" in ast.unparse(function)
    }
    assert found == known - {"opt_in", "opt_out"} | ({"change"} & known)
