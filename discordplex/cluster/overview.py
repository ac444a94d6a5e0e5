"""Overview of a cluster: what its rows say to an observer. Pure: values only."""

from discordplex.cluster.snapshot import MemberRow, Snapshot
from discordplex.overview import ClusterOverview, ProcessOverview


def overview_of(snapshot: Snapshot, member: str, *, connected: bool, age_s: float) -> ClusterOverview:
    """The processes, this `member` first and then by name; the shards that nobody has; who waits. `age_s` is the snapshot's age."""
    members = sorted(snapshot.members.values(), key=lambda row: (row.member != member, row.name, row.member))
    alive = {row.member for row in members if row.member == member or snapshot.is_alive(row.member)}
    return ClusterOverview(
        connected=connected,
        age_s=age_s,
        processes=tuple(process(snapshot, row, own=row.member == member, lapsed=row.member not in alive) for row in members),
        shards=len(snapshot.shards),
        free_shards=tuple(sorted(shard.shard for shard in snapshot.shards.values() if shard.holder not in alive)),
        waiting=len(
            {(wish.guild_id, wish.channel_id) for wish in snapshot.wishes.values() if wish.purpose == "call" and wish.guild_id > 0}
        ),
    )


def process(snapshot: Snapshot, row: MemberRow, *, own: bool, lapsed: bool) -> ProcessOverview:
    """One process."""
    return ProcessOverview(
        name=row.name,
        version=row.version,
        shards=tuple(sorted(shard.shard for shard in snapshot.shards.values() if shard.holder == row.member)),
        calls=sum(wish.holder == row.member and wish.purpose == "running" for wish in snapshot.wishes.values()),
        draining=row.draining,
        lapsed=lapsed,
        own=own,
    )
