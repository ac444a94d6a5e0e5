"""Several processes on one PostgreSQL database, directly and behind a pooler in transaction mode."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.config import Config
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.loopback import timeouts
from discordplex.store.records import Choice, Owner, PersonSettings, SavedPersona
from discordplex.store.store import open_store
from discordplex.store.watch import TOKEN_CHARACTERS, NotifyListener
from tests.bot.fakes import CountedEngines
from tests.store.conftest import MakePooler

pytestmark = pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)

ANNA, BERT = 100, 200
LONG_S = 25.0
"""Who waits so long waits for ever."""

END_WITHIN_S = 5.0
"""What the command line promises for SIGTERM."""

LISTENERS = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"


@contextlib.asynccontextmanager
async def process(url: str) -> AsyncIterator[StoredPreferences]:
    """As much of a bot as keeps preferences."""
    async with open_store(url) as store, StoredPreferences(config=Config(), provider=CountedEngines(), store=store) as preferences:
        await preferences.load()
        yield preferences


async def until(true: Callable[[], bool]) -> None:
    """Wait for another process's word, which comes by a socket and in real time."""
    with anyio.fail_after(LONG_S * timeouts.FACTOR):
        while not true():  # noqa: ASYNC110 - nothing of this process happens
            await asyncio.sleep(0.01)


async def listening(sql: Callable[[], Any], number: int) -> None:
    """Wait until so many processes listen."""
    with anyio.fail_after(LONG_S * timeouts.FACTOR):
        async with sql() as other:
            while await other(f"SELECT count(*) {LISTENERS}") != [(number,)]:
                await other.commit()
                await asyncio.sleep(0.01)


async def test_a_wish_in_one_process_holds_in_the_other(url: str, sql: Callable[[], Any]) -> None:
    """Being silenced and being heard again; the calls are told, and the others' wishes stay."""
    async with process(url) as one, process(url) as other:
        await listening(sql, 2)
        told: list[frozenset[int]] = []
        other.changed = lambda: told.append(other.opted_out)
        await one.silence(ANNA)
        await until(lambda: other.opted_out == {ANNA})
        await other.silence(BERT)
        await until(lambda: one.opted_out == {ANNA, BERT})
        await one.listen(ANNA)
        await until(lambda: other.opted_out == {BERT})
        assert told == [{ANNA}, {ANNA, BERT}, {BERT}]


@dataclass(frozen=True)
class Row:
    """What one process changes, and what another one that has read it before has then."""

    change: Callable[[StoredPreferences], Awaitable[object]]
    seen: Callable[[StoredPreferences], Awaitable[object]]
    by_notification: bool = False
    """Whether it is of a server: it changes where the server is, and whoever takes the server reads it. So nobody asks for it."""


GUILD = 7


async def choice(preferences: StoredPreferences) -> object:
    return (await preferences.person(ANNA)).choice


async def rules(preferences: StoredPreferences) -> object:
    await preferences.learn(GUILD)
    return preferences.guild(GUILD)


async def opted_out(preferences: StoredPreferences) -> object:
    return preferences.opted_out, (await preferences.person(ANNA)).opted_out


async def personas(preferences: StoredPreferences) -> object:
    return await preferences.personas(Owner("person", ANNA))


def set_voice(voice: str) -> Callable[[StoredPreferences], Awaitable[object]]:
    return lambda one: one.change_person(ANNA, lambda now: replace(now, choice=replace(now.choice, voice=voice)))


def set_guild(**to: Any) -> Callable[[StoredPreferences], Awaitable[object]]:
    return lambda one: one.change_guild(GUILD, lambda now: replace(now, **to))


SAVED = SavedPersona(Owner("person", ANNA), "Pirate", Persona(voice="NATM1.pt", text_prompt="You are a pirate."))

ROWS = {
    "a person's persona": Row(set_voice("NATM1.pt"), choice),
    "a person's other persona": Row(set_voice("NATM2.pt"), choice),
    "a person opts out": Row(lambda one: one.silence(ANNA), opted_out),
    "a person opts in": Row(lambda one: one.listen(ANNA), opted_out),
    "a saved persona": Row(lambda one: one.change_personas(SAVED.owner, {"pirate": SAVED}), personas),
    "a deleted persona": Row(lambda one: one.change_personas(SAVED.owner, {"pirate": None}), personas),
    "a server's channels": Row(set_guild(denied_channels=frozenset({70})), rules, by_notification=True),
    "a server's captions": Row(set_guild(captions_of_people=False), rules, by_notification=True),
    "a server's persona": Row(set_guild(choice=Choice(voice="NATM1.pt")), rules, by_notification=True),
    "a server's transcripts": Row(set_guild(transcripts=True), rules, by_notification=True),
    "a person is forgotten": Row(lambda one: one.forget(ANNA), choice),
    "a server is forgotten": Row(lambda one: one.forget_guild(GUILD), rules, by_notification=True),
}
"""In this order, each on what the ones before have left."""


async def follow(one: StoredPreferences, other: StoredPreferences, *, notified: bool) -> None:
    """Each change is seen, and its neighbour in the process that has not changed it keeps no old value."""
    for name, row in ROWS.items():
        if row.by_notification and not notified:
            continue
        before = await row.seen(other)
        await row.change(one)
        with anyio.fail_after(LONG_S * timeouts.FACTOR):
            while (now := await row.seen(other)) == before or now != await row.seen(one):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        assert now != before, name


async def test_a_change_through_one_process_is_seen_by_the_others(url: str, sql: Callable[[], Any]) -> None:
    """Whatever they keep in memory, and calls are told where a server's rules or opt-outs changed."""
    async with process(url) as one, process(url) as other:
        await listening(sql, 2)
        told: list[None] = []
        other.changed = lambda: told.append(None)
        await follow(one, other, notified=True)
        assert len(told) >= sum(row.by_notification for row in ROWS.values()) + 2


async def test_what_is_read_while_another_process_changes_it_is_not_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the database may be older than the message about the change."""
    async with open_store(url) as store:
        other = StoredPreferences(config=Config(), provider=CountedEngines(), store=store)
        read = store.people.get

        async def overtaken(user_id: int) -> PersonSettings:
            found = await read(user_id)
            await store.people.change(ANNA, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
            other._other_process_changed("person", ANNA)
            return found

        monkeypatch.setattr(store.people, "get", overtaken)
        assert (await other.person(ANNA)).choice.voice is None
        monkeypatch.undo()
        assert (await other.person(ANNA)).choice.voice == "NATM1.pt"


@pytest.mark.parametrize("payload", ["person", "person x", f"guild {'9' * 5000}", "forget -1", "rows 7", "x" * 7000])
async def test_a_message_that_nobody_understands_is_ignored(url: str, payload: str) -> None:
    """Anybody who may use the database can send one; a short one may be an older version's and means that anything may have changed."""
    async with open_store(url) as store:
        heard: list[object] = []
        line = NotifyListener(store._database, lambda *what: heard.append(what))
        line.said(None, 0, "", payload)
        assert heard == ([("people", None)] if len(payload) < TOKEN_CHARACTERS else [])


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_read(url: str, sql: Callable[[], Any]) -> None:
    """As when the server is restarted."""
    async with process(url) as other:
        await listening(sql, 1)
        async with sql() as admin:
            await admin("INSERT INTO people (user_id, opted_out) VALUES (100, true)")
            await admin(f"SELECT pg_terminate_backend(pid) {LISTENERS}")
            await admin.commit()
        await until(lambda: other.opted_out == {ANNA})
        await listening(sql, 1)
        async with process(url) as one:
            await one.silence(BERT)
            await until(lambda: other.opted_out == {ANNA, BERT})


async def test_a_person_who_is_forgotten_is_so_everywhere(url: str, sql: Callable[[], Any]) -> None:
    """What the other process holds of theirs in memory is dropped."""
    async with process(url) as one, process(url) as other:
        await listening(sql, 2)
        forgotten: list[Owner] = []
        other.forgetting.add(lambda owner, _: forgotten.append(owner))
        await one.change_person(ANNA, lambda now: replace(now, choice=replace(now.choice, voice="NATM1.pt")))
        assert (await other.person(ANNA)).choice.voice == "NATM1.pt"
        await one.forget(ANNA)
        await until(lambda: forgotten == [Owner("person", ANNA)])
        assert (await other.person(ANNA)).choice.voice is None


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a system that can stop a process")
async def test_a_server_that_stands_still_does_not_keep_a_process_from_ending(
    url: str, sql: Callable[[], Any], cluster: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a listening connection, one in the pool and a wish that is not saved: within what is promised for the whole process."""
    backends = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    frozen: list[int] = []
    running = contextlib.AsyncExitStack()
    try:
        one = await running.enter_async_context(process(url))
        await listening(sql, 1)
        async with sql() as other:
            frozen += [int(str(row[0])) for row in await other(backends)]
        frozen.append(int((cluster / "data" / "postmaster.pid").read_text().split()[0]))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        one.silence(ANNA)
        await timeouts.wait_for(running.aclose(), END_WITHIN_S)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert len(frozen) > 2
    assert one.opted_out == {ANNA}
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture
async def pooled(url: str, make_pooler: MakePooler) -> str:
    """Through a pooler in transaction mode; the database has no tables yet."""
    del url
    return await make_pooler()


async def test_a_pooler_in_transaction_mode_is_like_the_server_itself(pooled: str) -> None:
    """Whichever server connection a transaction gets, at the first start and at every later one, many at once."""
    for start in range(3):
        async with open_store(pooled) as one, open_store(pooled) as other:
            stores = (one, other)
            await asyncio.gather(*(stores[n % 2].people.opt_out(start * 100 + n) for n in range(30)))
            await asyncio.gather(*(stores[n % 2].guilds.change(n, lambda now: replace(now, transcripts=True)) for n in range(20)))
            assert await one.people.opted_out() >= {start * 100 + n for n in range(30)}


async def test_behind_a_pooler_wishes_are_asked_for(pooled: str) -> None:
    """No notification comes through it; the other process learns of each change to people all the same, and the log says why it is late."""
    with capture_logs() as logs:
        async with process(pooled) as one, process(pooled) as other:
            await follow(one, other, notified=False)
    assert {"no notifications: is the database behind a pooler in transaction mode?"} <= {one["event"] for one in logs}


async def test_a_pooler_in_statement_mode_is_refused_in_a_sentence(url: str, make_pooler: MakePooler) -> None:
    """Nothing can be done in it: each change is a transaction."""
    del url
    with pytest.raises(StoreError, match="pool_mode has to be transaction or session"):
        async with open_store(await make_pooler("statement")):
            pass
