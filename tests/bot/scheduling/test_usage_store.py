"""Used minutes in a real store: saved behind, whatever the database does meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from discordplex.bot.scheduling.usage import HOUR_S, HOURS, Usage
from discordplex.bot.scheduling.usage_store import SAVE_S, UsageMemory
from discordplex.errors import StoreError
from discordplex.loopback.clock import FakeClock
from discordplex.store.records import HourOfUse
from discordplex.store.store import Store, open_store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite+aiosqlite://") as store:
        yield store


async def stored(store: Store) -> list[HourOfUse]:
    return sorted(await store.usage.list(0), key=lambda one: (one.guild_id, one.hour))


async def test_a_restart_resets_nothing(store: Store, clock: FakeClock) -> None:
    """The end of a process saves the last seconds, and the next process continues with them."""
    for _ in range(3):
        usage = Usage(clock.now)
        memory = UsageMemory(usage, store.usage, clock=clock)
        await memory.load()
        async with memory:
            usage.add(1, 20)
    assert usage.used_s(1) == 60


async def test_a_killed_process_loses_a_minute(store: Store, clock: FakeClock) -> None:
    """The rest is saved once a minute; hours that no longer count are deleted."""
    usage = Usage(clock.now)
    memory = UsageMemory(usage, store.usage, clock=clock)
    await memory.load()
    hour = int(clock.now() // HOUR_S)
    async with memory:
        usage.add(1, 20.5)
        await clock.advance(SAVE_S)
        assert await stored(store) == [HourOfUse(1, hour, 20)]
        usage.add(1, 20.5)
        await clock.advance(SAVE_S)
        assert await stored(store) == [HourOfUse(1, hour, 41)]
        await clock.advance(HOURS * HOUR_S)
        await stored(store)  # the database serves this after the save that runs
        await clock.advance(SAVE_S)
        assert await stored(store) == []


async def test_what_the_next_process_has_to_know_is_saved_when_somebody_asks(store: Store, clock: FakeClock) -> None:
    """Not after a minute: a guild that moves to another process takes its minutes along."""
    usage = Usage(clock.now)
    memory = UsageMemory(usage, store.usage, clock=clock)
    await memory.load()
    async with memory:
        usage.add(1, 20.5)
        assert memory.is_saved(lambda guild_id: guild_id == 2)
        assert not memory.is_saved(lambda guild_id: guild_id == 1)
        while not memory.is_saved(lambda guild_id: guild_id == 1):  # noqa: ASYNC110 - the database's threads work in real time
            await asyncio.sleep(0.001)
        assert [one.seconds for one in await stored(store)] == [20]


async def test_a_database_that_fails_is_made_up_for(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was counted meanwhile goes on top of what an earlier process had saved."""
    hour = int(clock.now() // HOUR_S)
    await store.usage.add([HourOfUse(1, hour, 100)], since_hour=0)
    usage = Usage(clock.now)
    memory = UsageMemory(usage, store.usage, clock=clock)

    async def fail(*_: object, **__: object) -> None:
        raise StoreError("The database is locked.")

    with monkeypatch.context() as broken:
        for name in ("list", "add"):
            broken.setattr(type(store.usage), name, fail)
        await memory.load()
        await memory.__aenter__()
        usage.add(1, 20)
        await clock.advance(SAVE_S)
        assert usage.used_s(1) == 20
    await clock.advance(SAVE_S)
    await stored(store)
    assert usage.used_s(1) == 120
    await memory.__aexit__(None, None, None)
    assert await stored(store) == [HourOfUse(1, hour, 120)]
