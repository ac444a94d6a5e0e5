"""The queue's order in a real store: written behind, in order, whatever the database does meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from discordplex.bot.place import Place
from discordplex.bot.scheduling.queue_store import RETRY_S, StoredOrder
from discordplex.bot.shards import Shard
from discordplex.errors import StoreError
from discordplex.loopback.clock import FakeClock
from discordplex.store.fence import NoFence
from discordplex.store.records import Owner
from discordplex.store.store import Store, open_store

A, B, C, D = Place(1, 11), Place(2, 21), Place(3, 31), Place(1, 12)
ANNA, BERT = 100, 200


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite+aiosqlite://") as store:
        yield store


async def kept(store: Store) -> list[tuple[Place, int | None]]:
    """What a new process finds."""
    return list(await StoredOrder(store.queue, clock=FakeClock()).load())


async def test_the_order_survives(store: Store) -> None:
    """Who asked and in which order, calls that moved in the place they had, without those who left."""
    async with StoredOrder(store.queue, clock=FakeClock()) as memory:
        assert list(await memory.load()) == []
        memory.entered(A, ANNA)
        memory.entered(B, None)
        memory.entered(C, BERT)
        memory.entered(A, BERT)
        memory.left(B)
        memory.moved(A, D)
    assert await kept(store) == [(D, ANNA), (C, BERT)]


async def test_who_is_put_in_front_is_first_in_the_next_process_too(store: Store) -> None:
    """Of those that this process remembers, and of those of others, who asked before them."""
    noon = 1_767_357_000.0
    async with StoredOrder(store.queue, clock=FakeClock(), now=lambda: noon) as memory:
        await memory.load()
        memory.entered(A, ANNA)
        memory.returned(B, BERT, None)
        memory.returned(C, None, noon - 60)
        since = {place: at - noon for place, at in memory.since.items()}
    assert await kept(store) == [(C, None), (B, BERT), (A, ANNA)]
    assert -0.001 < since[B] < since[A] == 0
    assert -60.001 < since[C] < -60


async def test_the_next_process_goes_on_with_it(store: Store) -> None:
    """Whoever comes then stands behind those of before, and who has gone is struck off."""
    async with StoredOrder(store.queue, clock=FakeClock()) as first:
        for place in (A, B):
            first.entered(place, ANNA)
    async with StoredOrder(store.queue, clock=FakeClock()) as second:
        await second.load()
        second.entered(C, BERT)
        second.left(A)
        second.left(D)
    assert await kept(store) == [(B, ANNA), (C, BERT)]


async def test_places_that_another_process_keeps_are_dropped(store: Store) -> None:
    """As after a freeze: what it had not saved of a guild that it lost is not saved any more, and the rest is."""

    class Woken(NoFence):
        def holds(self, guild_id: int) -> bool:
            return guild_id != B.guild_id

    async with StoredOrder(store.queue, clock=FakeClock()) as memory:
        memory.entered(B, BERT)
    async with StoredOrder(store.queue, clock=FakeClock()) as memory:
        await memory.load()
        store.fence = Woken()
        memory.left(B)
        memory.entered(Place(B.guild_id, 22), ANNA)
        memory.entered(A, ANNA)
    assert await kept(store) == [(B, BERT), (A, ANNA)]
    assert memory.is_saved(lambda _: True)


async def test_a_database_that_fails_is_made_up_for(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it; when it is well again it gets what is true by then."""
    tried = asyncio.Event()

    def failing(_: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def fail(*_args: object) -> object:
            tried.set()
            raise StoreError("The place in the queue was not saved: the database is locked.")

        return fail

    async with StoredOrder(store.queue, clock=clock) as memory:
        with monkeypatch.context() as broken:
            for name in ("enter", "leave", "list"):
                broken.setattr(type(store.queue), name, failing(getattr(type(store.queue), name)))
            assert list(await memory.load()) == []
            memory.entered(A, ANNA)
            memory.entered(B, BERT)
            memory.left(A)
            await tried.wait()
        await clock.advance(RETRY_S)
    assert await kept(store) == [(B, BERT)]


async def test_the_end_does_not_wait_for_a_database_that_hangs(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not written by then is lost, which is logged, and nothing is left running."""
    ended = asyncio.Event()

    async def hang(*_args: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr("discordplex.bot.scheduling.queue_store.LAST_WRITES_S", 0.01)
    monkeypatch.setattr(type(store.queue), "enter", hang)
    with capture_logs() as lines:
        async with StoredOrder(store.queue, clock=clock) as memory:
            memory.entered(A, ANNA)
    assert ended.is_set()
    assert "queue order not up to date" in [line["event"] for line in lines]
    assert "queue memory" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_person_who_is_forgotten_leaves_a_place_without_a_name(store: Store) -> None:
    """Neither memory nor the store names them any more, wherever the place was on its way; the others' places stay as they are."""
    for written in (True, False):
        async with StoredOrder(store.queue, clock=FakeClock()) as memory:
            memory.entered(A, ANNA)
            memory.entered(B, BERT)
            if written:
                while await kept(store) != [(A, ANNA), (B, BERT)]:  # noqa: ASYNC110 - it is written behind
                    await asyncio.sleep(0)
            memory.forget(Owner("person", ANNA))
            await store.privacy.forget(ANNA)
            memory.moved(A, D)
        assert await kept(store) == [(D, None), (B, BERT)]
        for place in (D, B):
            await store.queue.leave(place.guild_id, place.channel_id)


async def test_a_guild_that_is_forgotten_has_no_places(store: Store) -> None:
    """Also where one was about to be written."""
    async with StoredOrder(store.queue, clock=FakeClock()) as memory:
        memory.entered(A, ANNA)
        memory.entered(B, BERT)
        memory.forget(Owner("guild", A.guild_id))
        await store.privacy.forget_guild(A.guild_id)
    assert await kept(store) == [(B, BERT)]


async def test_what_is_remembered_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was there first stays."""
    monkeypatch.setattr("discordplex.bot.scheduling.queue_store.MOST_PLACES", 2)
    async with StoredOrder(store.queue, clock=FakeClock()) as memory:
        for place in (A, B, C):
            memory.entered(place, ANNA)
        memory.left(C)
    assert await kept(store) == [(A, ANNA), (B, ANNA)]


async def test_the_places_of_a_shard_are_another_processs_after_it_moved(store: Store) -> None:
    """Each process touches the rows of its own guilds only, and finds them when it takes over a shard, also one that it had before."""
    here, there = Place(0 << 22, 11), Place(1 << 22, 21)
    another = Place(there.guild_id, 22)
    async with (
        StoredOrder(store.queue, clock=FakeClock(), now=lambda: 100.0) as one,
        StoredOrder(store.queue, clock=FakeClock(), now=lambda: 200.0) as two,
    ):
        await one.load(Shard(1, 2))
        await two.load(Shard(0, 2))
        two.entered(here, BERT)
        one.entered(there, ANNA)
        assert not one.is_saved(Shard(1, 2).covers)
        while await kept(store) != [(there, ANNA), (here, BERT)]:  # noqa: ASYNC110 - it is written behind
            await asyncio.sleep(0)
        assert one.is_saved(Shard(1, 2).covers)
        one.release(Shard(1, 2))
        one.left(there)
        one.entered(another, ANNA)
        assert list(await two.load(Shard(1, 2))) == [(there, ANNA)]
        assert two.since == {there: 100.0, here: 200.0}
        two.release(Shard(1, 2))
        assert list(await one.load(Shard(1, 2))) == [(there, ANNA)]
        one.entered(another, BERT)
        one.left(there)
    assert await kept(store) == [(here, BERT), (another, BERT)]
