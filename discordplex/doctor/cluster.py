"""The check of `cluster.url`: which processes of the bot live, and what nobody holds. It reports nothing where it is not set."""

from discordplex.cluster.rows import NO_TABLE, Rows
from discordplex.cluster.snapshot import Snapshot
from discordplex.config import ClusterConfig
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.store import address
from discordplex.store.reasons import code, is_of_the_database, reason

NAME = "cluster"
TIMEOUT_S = 5.0
MOST_SHOWN = 10

PASSIVE = " (takes nothing: starts, ends, or does not reach Discord)"


async def check_cluster(config: ClusterConfig, shards: int | None = None) -> list[Finding]:
    """Read the rows, and change nothing. `shards` is `discord.shards`."""
    if config.url is None:
        return []
    rows = Rows(address.parse(config.url, "cluster.url"), lambda _: None, timeout_s=TIMEOUT_S)
    try:
        return judge(await rows.read(), shards)
    except Exception as fault:
        if not is_of_the_database(fault):
            raise
        if code(fault) == NO_TABLE:
            return judge(Snapshot())
        return [failure(NAME, f"The database of cluster.url cannot be used: {reason(fault)}.", "Start it, or correct cluster.url.")]
    finally:
        await rows.close()


def judge(snapshot: Snapshot, shards: int | None = None) -> list[Finding]:
    """What the rows say of the processes, and whether they have another number of shards than this one would."""
    alive = [member for name, member in sorted(snapshot.members.items()) if snapshot.is_alive(name)]
    dead = [member for name, member in sorted(snapshot.members.items()) if not snapshot.is_alive(name)]
    if not alive:
        return [ok(NAME, "No process of the bot runs now.")]
    held = [shard.holder for shard in snapshot.shards.values()]
    shown = ", ".join(
        f"{member.name} with {held.count(member.member)} of {len(held)} shards{PASSIVE if member.draining else ''}" for member in alive
    )
    found = [ok(NAME, f"{len(alive)} {'process lives' if len(alive) == 1 else 'processes live'}: {shown}.")]
    if dead:
        said = ", ".join(f"{member.name} for {max(0.0, snapshot.now - member.expires_at):.0f} s" for member in dead)
        found.append(
            warning(NAME, f"Not heard of any more: {said}.", "The others take over within 10 s. Look at its log, and start it again.")
        )
    nobodys = sorted(number for number, shard in snapshot.shards.items() if not snapshot.is_alive(shard.holder))
    if nobodys:
        said = ", ".join(map(str, nobodys[:MOST_SHOWN])) + (", …" if len(nobodys) > MOST_SHOWN else "")
        found.append(
            warning(NAME, f"Shards that no living process has: {said}.", "Run this again in 10 s. If it stays so, look at the logs.")
        )
    versions = sorted({member.version for member in alive})
    if len(versions) > 1:
        found.append(warning(NAME, f"The processes have different versions: {', '.join(versions)}.", "Finish the upgrade."))
    if shards and held and shards != len(held):
        found.append(
            warning(
                NAME,
                f"discord.shards is {shards} here, and the processes that run have {len(held)}: a process that joins them takes theirs.",
                "To change it, end all processes, and start them with the same discord.shards.",
            )
        )
    return found
