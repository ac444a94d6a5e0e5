"""Status: what the status page shows, as JSON. Pure, apart from the file that has the process's memory.

It has no word that was said. It has names only if the settings say so. Long lists are cut: a page is for people.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from discordplex import __version__
from discordplex.monitoring.problems import LoggedProblem
from discordplex.monitoring.readiness import Readiness
from discordplex.monitoring.sampler import Sampler
from discordplex.overview import CallOverview, ClusterOverview, EngineServer, Overview, ProcessOverview, VoiceOverview

MOST_CALLS = 40
MOST_PEOPLE = 12
MOST_WAITING = 50
MOST_PROBLEMS = 30
MOST_PROCESSES = 30
MOST_SHARDS = 12

LONG_AGO_S = 100_000.0
"""Of what is older, the age is not told."""

QUIETEST_DBFS = -60.0
"""The lower end of a level's bar."""

STAGES = {
    "uplink.wait_ms": "From a voice to the engine",
    "engine.uplink_write_ms": "Sending it to the engine",
    "cascade.transcribe_ms": "Speech to text",
    "hearing.transcribe_ms": "Speech to text, by the ears",
    "cascade.first_audio_ms": "First sound of a reply",
    "engine.block_spacing_ms": "Between two pieces of its voice",
    "playout.hold_ms": "Buffer of its voice",
    "voice.tx.lateness_ms": "Delay of packets to Discord",
}
"""The histograms on the page, in the order in which sound passes them."""

PHASE_TONES = {"listening": "good", "stopped": "idle"}

SLOW_LOOP_MS = 50.0
"""A loop that is later than this makes speech stutter."""


def status(sampler: Sampler, *, names: bool) -> dict[str, Any]:
    """The state of the bot at this moment."""
    overview, readiness = sampler.overview(names=names) or Overview(), sampler.readiness
    now = sampler.clock.now()
    return {
        "version": __version__,
        "uptime_s": round(now - sampler.began, 1),
        "ready": readiness.ready,
        "why": "" if readiness.ready else why_not(readiness),
        "facts": list(facts(sampler, overview, readiness)),
        "running": len(overview.calls),
        "waiting": len(overview.waiting),
        "capacity": sum(server.capacity for server in overview.engines),
        "busy": sum(server.busy for server in overview.engines),
        "calls": [call_state(call) for call in overview.calls[:MOST_CALLS]],
        "queue": list(overview.waiting[:MOST_WAITING]),
        "engines": [engine_state(server, number, names=names) for number, server in enumerate(overview.engines, start=1)],
        "processes": list(processes(overview.cluster, names=names)) if overview.cluster else None,
        "stages": list(stages(sampler)),
        "problems": [problem_state(problem, now) for problem in sampler.problems.last_hour(now)[:MOST_PROBLEMS]],
    }


def why_not(readiness: Readiness) -> str:
    """Why the bot is not ready."""
    discord, engines = readiness.parts["discord"]["state"], readiness.parts["engines"]["state"]
    if discord not in ("connected", "standby"):
        return {
            "starting": "The bot is starting.",
            "logging in": "The bot is logging in to Discord.",
            "reconnecting": "Discord's gateway was lost. The bot reconnects by itself.",
            "unreachable": "Discord does not answer. The bot tries again by itself.",
            "stopping": "The bot is stopping.",
        }[discord]
    if engines == "failed":
        return "No engine works."
    if "drain" in readiness.parts:
        return "This process ends when its calls have ended. It begins no other."
    if readiness.parts.get("cluster", {}).get("state") == "away":
        return "The database of the cluster does not answer: no call begins. The bot tries again by itself."
    return "The bot is starting."


def facts(sampler: Sampler, overview: Overview, readiness: Readiness) -> Iterator[dict[str, str]]:
    """The line of figures at the top."""
    people = [voice for call in overview.calls for voice in call.people]
    speaking = sum(voice.speaking for voice in people)
    store = readiness.parts["store"]["state"]
    engines = readiness.parts["engines"]
    lag_s = sampler.loop_lag.recent(99)
    memory = memory_bytes()
    yield fact(
        "Discord", readiness.parts["discord"]["state"], servers(overview.guilds), bad=overview.discord not in ("connected", "standby")
    )
    failed = engines.get("failed", 0)
    if overview.cluster:
        yield cluster_fact(overview.cluster)
    yield fact("Engines", engines["state"], f"{failed} failed" if failed else "", bad=engines["state"] == "failed")
    yield fact("Calls", str(len(overview.calls)), f"{len(overview.waiting)} waiting" if overview.waiting else "")
    yield fact("People", str(len(people)), f"{speaking} speaking" if speaking else "")
    yield fact("Database", store, "", warn=store == "away")
    yield fact("CPU", f"{sampler.cpu * 100:.0f} %", "of a core")
    yield fact("Memory", f"{memory / 2**20:.0f} MiB" if memory else "–", "")
    late_ms = (lag_s or 0.0) * 1000
    yield fact("Event loop", f"{late_ms:.0f} ms", "late, 99 %", warn=late_ms > SLOW_LOOP_MS)


def cluster_fact(cluster: ClusterOverview) -> dict[str, str]:
    """How many processes the bot has, and what is wrong with them."""
    alive = sum(not process.lapsed for process in cluster.processes)
    if not cluster.connected:
        return fact(
            "Processes", f"{alive}", f"as of {cluster.age_s:.0f} s ago" if cluster.age_s < LONG_AGO_S else "not known yet", bad=True
        )
    free = len(cluster.free_shards)
    detail = f"{free} of {cluster.shards} shards without one" if free else f"{cluster.waiting} waiting in all" if cluster.waiting else ""
    return fact("Processes", f"{alive}", detail, warn=bool(free))


def processes(cluster: ClusterOverview, *, names: bool) -> Iterator[dict[str, str]]:
    """Each process of the bot, with what it has."""
    others = 1
    for process in cluster.processes[:MOST_PROCESSES]:
        if process.own:
            shown = f"This process, {process.name}" if names else "This process"
        else:
            others += 1
            shown = process.name if names else f"Process {others}"
        state, tone = process_state(process)
        yield {"name": shown, "state": state, "tone": tone, "detail": process_detail(process)}


def process_state(process: ProcessOverview) -> tuple[str, str]:
    """What a process does, in a word or two, and the tone of it."""
    if process.lapsed:
        return "gone", "bad"
    if process.draining:
        return "takes nothing", "warn"
    return ("at work", "good") if process.shards else ("stands by", "idle")


def process_detail(process: ProcessOverview) -> str:
    """Its shards, calls and version."""
    shown = ", ".join(map(str, process.shards[:MOST_SHARDS]))
    more = len(process.shards) - MOST_SHARDS
    shards = f"{'shard' if len(process.shards) == 1 else 'shards'} {shown}" + (f" and {more} more" if more > 0 else "")
    calls = f"{process.calls} {'call' if process.calls == 1 else 'calls'}"
    return " · ".join([*([shards] if process.shards else []), calls, process.version])


def fact(name: str, value: str, detail: str, *, bad: bool = False, warn: bool = False) -> dict[str, str]:
    """One figure."""
    return {"name": name, "value": value, "detail": detail, "tone": "bad" if bad else "warn" if warn else ""}


def servers(count: int) -> str:
    """A number of Discord servers in words."""
    return f"{count} server" if count == 1 else f"{count} servers"


def call_state(call: CallOverview) -> dict[str, Any]:
    """One call."""
    gauges = call.metrics.gauges()
    return {
        "number": call.number,
        "place": call.place,
        "phase": call.phase,
        "tone": PHASE_TONES.get(call.phase, "warn"),
        "engine": call.engine,
        "age_s": round(call.age_s, 1),
        "people": [voice_state(voice, f"Person {number}") for number, voice in enumerate(call.people[:MOST_PEOPLE], start=1)],
        "more_people": max(0, len(call.people) - MOST_PEOPLE),
        "bot": voice_state(call.bot, "Bot"),
        "lag_ms": round(gauges.get("engine.lag_ms", 0.0)),
        "round_trip_ms": round(gauges.get("voice.gateway.rtt_ms", 0.0), 1),
    }


def voice_state(voice: VoiceOverview, unnamed: str) -> dict[str, Any]:
    """Somebody in a call; the level is the percent of a bar."""
    percent = 100 * (voice.level_dbfs - QUIETEST_DBFS) / -QUIETEST_DBFS
    return {"name": voice.name or unnamed, "speaking": voice.speaking, "level": round(min(100.0, max(0.0, percent)))}


def engine_state(server: EngineServer, number: int, *, names: bool) -> dict[str, Any]:
    """One engine server."""
    if server.failed:
        state, tone = "failed", "bad"
        detail = f"failed {times(server.failures)}; tried again in {server.retry_in_s:.0f} s"
    else:
        state, tone = ("in use", "good") if server.busy >= server.capacity else ("free", "idle")
        detail = f"{server.busy} of {server.capacity} in use" if server.capacity > 1 else ""
        if server.failures:
            state, tone, detail = "untested", "warn", f"failed {times(server.failures)}; the next call tries it again"
    shown = f"{server.kind}, {server.address}" if names and server.address else f"{server.kind} {number}"
    return {"name": shown, "state": state, "tone": tone, "detail": detail}


def times(count: int) -> str:
    """How often, in words."""
    return "once" if count == 1 else f"{count} times in a row"


def stages(sampler: Sampler) -> Iterator[dict[str, Any]]:
    """The latency of each stage in the last minute."""
    for dotted, name in STAGES.items():
        distribution = sampler.distributions.get(dotted)
        half, most = (distribution.recent(50), distribution.recent(95)) if distribution else (None, None)
        if half is not None and most is not None:
            yield {"name": name, "p50_ms": round(half * 1000, 2), "p95_ms": round(most * 1000, 2)}


def problem_state(problem: LoggedProblem, now: float) -> dict[str, Any]:
    """One problem."""
    return {
        "code": problem.code,
        "cause": problem.cause,
        "level": problem.level,
        "advice": problem.advice,
        "count": problem.count,
        "age_s": round(now - problem.last),
    }


def memory_bytes() -> int | None:
    """The memory that this process uses, where the platform reports it in a file."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * mmap.PAGESIZE
