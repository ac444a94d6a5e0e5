"""What a cluster tells an observer."""

from dataclasses import replace

from discordplex.cluster.overview import overview_of
from discordplex.cluster.snapshot import NOBODY, MemberRow, ShardRow, Snapshot, WishRow
from tests.cluster.conftest import World

NOW = 1000.0


def member(name: str, *, lives: bool = True, draining: bool = False) -> MemberRow:
    return MemberRow(name, f"host-{name}", "1.0", (), draining, started_at=0.0, expires_at=NOW + 3 if lives else NOW - 1)


ROWS = Snapshot(
    now=NOW,
    members={name: member(name, lives=name != "dead", draining=name == "a") for name in ("dead", "b", "a")},
    shards={0: ShardRow(0, "b"), 1: ShardRow(1, "a"), 2: ShardRow(2, "b"), 3: ShardRow(3), 4: ShardRow(4, "dead")},
    wishes={
        wish.key: wish
        for wish in (
            WishRow("b", 1, 10, "running"),
            WishRow("b", 2, 20, "call"),
            WishRow(NOBODY, 3, 30, "call"),
            WishRow("a", 3, 30, "call"),
            WishRow("b", -1, 0, "spare"),
        )
    },
)


def test_this_process_comes_first_and_a_dead_one_holds_nothing() -> None:
    """Shards of a lapsed process are nobody's; a channel of which two rows speak waits once, and a wish for a spare is no channel."""
    found = overview_of(ROWS, "b", connected=True, age_s=0.5)
    assert [(one.name, one.shards, one.calls, one.draining, one.lapsed, one.own) for one in found.processes] == [
        ("host-b", (0, 2), 1, False, False, True),
        ("host-a", (1,), 0, True, False, False),
        ("host-dead", (4,), 0, False, True, False),
    ]
    assert (found.shards, found.free_shards, found.waiting, found.connected, found.age_s) == (5, (3, 4), 2, True, 0.5)


def test_one_that_lost_the_database_for_long_says_so_of_itself() -> None:
    """By its last rows it lives: whether it still holds anything only the database knows, and that is told by `connected`."""
    late = replace(ROWS, now=NOW + 3600)
    found = overview_of(late, "b", connected=False, age_s=3600.0)
    assert [one.lapsed for one in found.processes] == [False, True, True]
    assert found.free_shards == (1, 3, 4)


async def test_a_cluster_tells_of_itself(world: World) -> None:
    """Before the first beat nothing is known; then who holds what; without the database, for how long it has been away."""
    world.away = True
    async with world.process("personaplex:one") as first:
        assert (first.cluster.overview.connected, first.cluster.overview.processes) == (False, ())
        world.away = False
        async with world.process("personaplex:one", shards=4) as second:
            await world.advance(40.0)
            await world.advance(2.0)
            found = first.cluster.overview
            assert found.connected
            assert [(one.name, len(one.shards), one.own) for one in found.processes] == [("host:0", 2, True), ("host:1", 2, False)]
            assert (found.shards, found.free_shards) == (4, ())
            assert not first.cluster.is_standby
            world.away = True
            await world.advance(10.0)
            away = first.cluster.overview
            assert not away.connected
            assert 9.0 <= away.age_s <= 13.0
            world.away = False
            await world.advance(30.0)
            assert second.cluster.overview.connected
