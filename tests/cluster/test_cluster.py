"""Several processes on one real database."""

from collections.abc import Callable

import pytest

from discordplex.clock import SystemClock
from discordplex.cluster.cluster import joined
from discordplex.errors import ConfigError
from tests.cluster.conftest import User, World
from tests.store.conftest import Sql

A, B, C = "personaplex:a", "personaplex:b", "personaplex:c"


async def test_processes_divide_the_shards_fairly(world: World) -> None:
    """The first takes all; those that join later get their part, and nobody ever has the same."""
    async with world.process(shards=4) as one:
        assert one.cluster.shards == {0, 1, 2, 3}
        async with world.process(shards=9) as two, world.process() as three:
            await world.advance(30)
            assert sorted(len(process.cluster.shards) for process in (one, two, three)) == [1, 1, 2]
            assert all(len(holders) == 1 for holders in world.shards().values())
        await world.advance(2)
        assert one.cluster.shards == {0, 1, 2, 3}


async def test_a_killed_process_is_replaced_when_it_has_lapsed(world: World) -> None:
    """Not before, and within a beat after."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        assert one.cluster.shards | two.cluster.shards == {0, 1}
        await two.kill()
        await world.advance(3)
        assert len(one.cluster.shards) == 1
        await world.advance(2)
        assert one.cluster.shards == {0, 1}


async def test_a_slot_goes_to_the_first_who_waits_in_any_process(world: World) -> None:
    """One server, two processes: the second one's guild came first."""
    async with world.process(A) as one, world.process(A) as two:
        two.wish(5)
        await two.cluster.beat()
        assert two.cluster.slots.may_take(A, "call")
        user = User()
        two.cluster.slots.take(A, "call", 5, user)
        two.wish()
        one.wish(7)
        two.wish(6)
        await world.beat()
        assert not one.cluster.slots.may_take(A, "call")
        two.cluster.slots.give_back(A)
        await world.beat()
        assert two.cluster.slots.may_take(A, "call")


async def test_the_tables_are_made_where_there_are_none(world: World, sql: Callable[[], Sql]) -> None:
    """`cluster.url` may name another database than `store.url`."""
    async with sql() as other:
        await other("DROP SCHEMA public CASCADE")
        await other("CREATE SCHEMA public")
        await other.commit()
    async with joined(world.url, clock=SystemClock()) as cluster:
        assert not await cluster.beat()
        assert await cluster.beat()
        assert cluster.connected
    async with sql() as other:
        assert await other("SELECT count(*) FROM cluster_members") == [(0,)]


async def test_a_url_of_another_database_is_refused() -> None:
    """In a sentence that names the key."""
    with pytest.raises(ConfigError, match=r"^cluster\.url is 'mysql://db/bot', but must look like"):
        async with joined("mysql://db/bot", clock=SystemClock()):
            pass
