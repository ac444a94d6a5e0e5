"""Readiness: whether the bot can hold a call, and the state of each part of it. Pure."""

from dataclasses import dataclass
from typing import Any

from discordplex.overview import ClusterOverview, Overview, StoreState


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `/readyz`."""

    ready: bool
    parts: dict[str, dict[str, Any]]


def readiness(overview: Overview | None, store: StoreState | None) -> Readiness:
    """Ready: logged in, and at least one engine could take or holds a call.

    The database is named but does not count: calls work without it. In a cluster no call begins without it, so there only a call that runs
    counts then; and a process that stands by, because the others have all shards, is as good as logged in. `overview` and `store` are None
    until the bot has begun.
    """
    if overview is None:
        return Readiness(
            ready=False, parts={"discord": {"state": "starting"}, "engines": {"state": "starting"}, "store": {"state": "opening"}}
        )
    engines, working = overview.engines, [server for server in overview.engines if not server.failed]
    capacity, busy = sum(server.capacity for server in engines), sum(server.busy for server in engines)
    usable = any(server.capacity for server in working)
    if not usable:
        state = "failed"
    elif sum(server.capacity - server.busy for server in working) > 0:
        state = "free"
    else:
        state = "busy"
    begins_calls = not overview.draining and (overview.cluster is None or overview.cluster.connected)
    several: dict[str, dict[str, Any]] = {"cluster": cluster_part(overview.cluster)} if overview.cluster else {}
    drain: dict[str, dict[str, Any]] = {"drain": {"state": "draining"}} if overview.draining else {}
    return Readiness(
        ready=overview.discord in ("connected", "standby") and usable and (begins_calls or bool(overview.calls)),
        parts={
            "discord": {"state": overview.discord, "guilds": overview.guilds},
            "engines": {
                "state": state,
                "capacity": capacity,
                "busy": busy,
                "failed": sum(server.capacity for server in engines if server.failures),
            },
            "calls": {"state": "running" if overview.calls else "none", "running": len(overview.calls), "waiting": len(overview.waiting)},
            "store": {"state": store or "opening"},
            **several,
            **drain,
        },
    )


def cluster_part(cluster: ClusterOverview) -> dict[str, Any]:
    """The processes of the bot, as counts."""
    alive = [process for process in cluster.processes if not process.lapsed]
    return {
        "state": "connected" if cluster.connected else "away",
        "processes": len(alive),
        "own_shards": sum(len(process.shards) for process in alive if process.own),
        "free_shards": len(cluster.free_shards),
    }
