"""The minutes that guilds have used."""

from discordplex.store.records import HourOfUse
from discordplex.store.store import Store, open_store

LARGEST = 2**63 - 1


async def test_seconds_add_up_and_outlive_a_restart(url: str) -> None:
    """Each addition goes on top of what is stored for the guild and hour; what is older than asked is deleted or not read."""
    async with open_store(url) as store:
        await store.usage.add([HourOfUse(LARGEST, 100, 30), HourOfUse(2, 100, 5), HourOfUse(LARGEST, 101, 7)], since_hour=77)
    async with open_store(url) as store:
        await store.usage.add([HourOfUse(LARGEST, 100, 12)], since_hour=78)
        assert set(await store.usage.list(78)) == {HourOfUse(LARGEST, 100, 42), HourOfUse(2, 100, 5), HourOfUse(LARGEST, 101, 7)}
        assert await store.usage.list(101) == (HourOfUse(LARGEST, 101, 7),)
        await store.usage.add([], since_hour=101)
        assert await store.usage.list(0) == (HourOfUse(LARGEST, 101, 7),)


async def test_a_guild_that_removes_the_bot_keeps_what_it_has_used(store: Store) -> None:
    """It does not count as data of a guild: nobody asks Discord about a guild of which nothing else is stored."""
    await store.usage.add([HourOfUse(7, 100, 30)], since_hour=0)
    await store.privacy.forget_guild(7)
    assert await store.usage.list(0) == (HourOfUse(7, 100, 30),)
    assert await store.privacy.guilds() == frozenset()
