"""The queue's order over a restart, in a real store."""

from collections.abc import AsyncIterator

import pytest

from discordplex.bot.queuememory import StoredQueue
from discordplex.bot.sessions import Place
from discordplex.store.store import Store, open_store

A1, A2, B1 = Place(1, 11), Place(1, 12), Place(2, 21)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite://") as opened:
        yield opened


async def test_the_order_is_there_after_a_restart(store: Store) -> None:
    """Who asked first is first, under the channel they are in now; who left is not there. The asker is known."""
    before = StoredQueue(store)
    before.entered(A1, 100)
    before.entered(B1, None)
    before.entered(Place(3, 31), 300)
    before.moved(A1, A2)
    before.left(Place(3, 31))
    await before.close()
    assert await StoredQueue(store).load() == [(A2, 100), (B1, None)]


async def test_a_database_that_fails_stops_no_queue(store: Store) -> None:
    """Nothing raises, and after a restart nobody is remembered."""
    async with open_store("sqlite://") as closed:
        pass
    memory = StoredQueue(closed)
    memory.entered(A1, 100)
    memory.left(A1)
    assert await memory.load() == ()
    await memory.close()
    assert await StoredQueue(store).load() == []


async def test_a_new_login_reads_what_the_last_one_wrote(store: Store) -> None:
    """Also what is still being written."""
    memory = StoredQueue(store)
    memory.entered(A1, None)
    assert await memory.load() == [(A1, None)]
