"""What the doctor says of `cluster.url`. That it reads real rows is in `tests/cluster/test_cluster.py`."""

from discordplex.cluster.snapshot import MemberRow, ShardRow, Snapshot
from discordplex.config import ClusterConfig
from discordplex.doctor.cluster import PASSIVE, check_cluster, judge

NOW = 1000.0


def member(name: str, *, version: str = "1", expires_at: float = NOW + 3, draining: bool = False) -> MemberRow:
    return MemberRow(name, f"host:{name}", version, (), draining, 0.0, expires_at)


def snapshot(*members: MemberRow, holders: tuple[str | None, ...] = ()) -> Snapshot:
    shards = {number: ShardRow(number, holder) for number, holder in enumerate(holders)}
    return Snapshot(NOW, members={one.member: one for one in members}, shards=shards)


async def test_one_process_needs_no_database() -> None:
    """The default."""
    assert await check_cluster(ClusterConfig()) == []


async def test_a_database_that_cannot_be_reached(closed_port: int) -> None:
    """In one sentence, without the password."""
    (found,) = await check_cluster(ClusterConfig(url=f"postgresql://bot:hunter22@127.0.0.1:{closed_port}/bot"))
    assert found.verdict == "failure"
    assert found.says.startswith("The database of cluster.url cannot be used: ")
    assert "hunter22" not in found.says


def test_everybody_lives() -> None:
    """Who they are, and what they hold."""
    (found,) = judge(snapshot(member("a"), member("b", draining=True), holders=("a", "a", "b")))
    assert (found.verdict, found.says) == (
        "ok",
        f"2 processes live: host:a with 2 of 3 shards, host:b with 1 of 3 shards{PASSIVE}.",
    )


def test_nobody_runs() -> None:
    """That is no fault: somebody looks before the start."""
    (found,) = judge(snapshot())
    assert (found.verdict, found.says) == ("ok", "No process of the bot runs now.")


def test_what_is_not_as_it_should_be() -> None:
    """A process that is dead, shards that are nobody's, versions that differ."""
    lives, *warnings = judge(
        snapshot(member("a"), member("b", expires_at=NOW - 12), member("c", version="2"), holders=("a", "b", None, "c"))
    )
    assert lives.verdict == "ok"
    assert [found.verdict for found in warnings] == ["warning"] * 3
    assert [found.says for found in warnings] == [
        "Not heard of any more: host:b for 12 s.",
        "Shards that no living process has: 1, 2.",
        "The processes have different versions: 1, 2.",
    ]


def test_another_number_of_shards() -> None:
    """The first process that started has set it, and `discord.shards` of a later one changes nothing."""
    running = snapshot(member("a"), holders=("a", "a"))
    _, found = judge(running, 8)
    assert found.verdict == "warning"
    assert found.says == "discord.shards is 8 here, and the processes that run have 2: a process that joins them takes theirs."
    assert [one.verdict for one in (*judge(running, 2), *judge(running, None), *judge(snapshot(member("a")), 8))] == ["ok"] * 3
