"""Messages that say that a call goes on."""

import pytest

from discordplex.store import notices
from discordplex.store.records import UnfinishedNotice
from discordplex.store.store import Store, open_store

LARGEST = 2**63 - 1


def notice(message_id: int, *, guild_id: int = 1, bot_id: int = 5) -> UnfinishedNotice:
    return UnfinishedNotice(message_id, channel_id=11, guild_id=guild_id, bot_id=bot_id)


async def test_they_outlive_a_restart(url: str) -> None:
    """What was added and not removed is there, of every bot; adding or removing twice is once."""
    async with open_store(url) as store:
        for one in (notice(LARGEST), notice(1, bot_id=6), notice(2), notice(2)):
            await store.notices.add(one)
        await store.notices.remove(2)
        await store.notices.remove(2)
    async with open_store(url) as store:
        assert await store.notices.list() == (notice(1, bot_id=6), notice(LARGEST))


async def test_a_bot_has_so_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further one takes the place of that bot's oldest."""
    monkeypatch.setattr(notices, "MOST_NOTICES", 3)
    await store.notices.add(notice(1, bot_id=6))
    for number in range(2, 7):
        await store.notices.add(notice(number))
    assert await store.notices.list() == (notice(1, bot_id=6), notice(4), notice(5), notice(6))


async def test_a_guild_takes_its_own_along(store: Store) -> None:
    """A guild of which only a message is stored is known, and deleting it deletes the message."""
    await store.notices.add(notice(1, guild_id=7))
    await store.notices.add(notice(2, guild_id=8))
    assert await store.privacy.guilds() == {7, 8}
    await store.privacy.forget_guild(7)
    assert await store.notices.list() == (notice(2, guild_id=8),)
