"""Who waits for an engine."""

from datetime import datetime, timedelta, timezone

from discordplex.store.records import QueueEntry
from discordplex.store.store import Store, open_store

NOON = datetime(2026, 1, 2, 12, 0, 0, 123_000, tzinfo=timezone.utc)


def waiting(guild_id: int, channel_id: int = 1, minutes: float = 0) -> QueueEntry:
    return QueueEntry(guild_id, channel_id, user_id=9, since=NOON + timedelta(minutes=minutes))


async def test_the_order_outlives_a_restart(url: str) -> None:
    """First come is first after a restart too, whatever the clocks said when they came."""
    line = [waiting(3), waiting(1, minutes=2), waiting(2, minutes=1), waiting(1, channel_id=2)]
    async with open_store(url) as store:
        for one in line:
            await store.queue.enter(one)
    async with open_store(url) as store:
        assert await store.queue.list() == tuple(line)
        await store.queue.enter(waiting(9))
        assert await store.queue.list() == (*line, waiting(9))


async def test_asking_again_keeps_the_place(store: Store) -> None:
    """Who waits already neither moves nor stands there twice."""
    await store.queue.enter(waiting(1))
    await store.queue.enter(waiting(2))
    await store.queue.enter(waiting(1, minutes=5))
    assert await store.queue.list() == (waiting(1), waiting(2))


async def test_leaving(store: Store) -> None:
    """Those who leave are gone, whoever stood behind keeps the order, and entering again means the end."""
    for guild_id in (1, 2, 3):
        await store.queue.enter(waiting(guild_id))
    await store.queue.enter(waiting(2, channel_id=2))
    assert await store.queue.leave(1, 1) is True
    assert await store.queue.leave(1, 1) is False
    assert await store.queue.leave(2, 1) is True
    assert await store.queue.leave(2, 2) is True
    await store.queue.enter(waiting(1))
    assert await store.queue.list() == (waiting(3), waiting(1))


async def test_moving_keeps_the_place(store: Store) -> None:
    """Another channel of the guild stands where the first one stood, and not a second time."""
    for guild_id in (1, 2):
        await store.queue.enter(waiting(guild_id))
    await store.queue.enter(waiting(1, channel_id=2))
    assert await store.queue.move(1, 1, 2) is True
    assert await store.queue.list() == (waiting(1, channel_id=2), waiting(2))
    assert await store.queue.move(1, 2, 2) is True
    assert await store.queue.move(1, 1, 3) is False
    assert await store.queue.list() == (waiting(1, channel_id=2), waiting(2))


async def test_moments_come_back_in_utc(store: Store) -> None:
    """A moment given in another zone is the same moment, in UTC."""
    tokyo = timezone(timedelta(hours=9))
    await store.queue.enter(QueueEntry(1, 1, None, NOON.astimezone(tokyo)))
    (found,) = await store.queue.list()
    assert found.since == NOON
    assert found.since.tzinfo == timezone.utc
