"""What must be true after a soak. Pure: from what was found to claims in plain sentences."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.soak.census import Holdings
from discordplex.audio.format import ENGINE

CALLS = 2
GROWTH_MIB = 2.0
"""How much more memory the bot may use in the last round than when the second half began."""

SLOWER_MS = ENGINE.frame_ms
"""The phase between two clocks of 20 ms is another one after each reconnect; what is more than that is a delay that stayed."""

KINDS = {"tasks": "task", "threads": "thread", "descriptors": "descriptor"}


@dataclass(frozen=True, slots=True)
class Latency:
    """One call's latency in the calmest two seconds of one round, each way; NaN where nothing arrived."""

    up_ms: float
    down_ms: float


NOTHING = [Latency(math.nan, math.nan)] * CALLS
"""The latencies of a round that was not finished."""


@dataclass(slots=True)
class Round:
    """What one round found."""

    number: int
    began_s: float
    resident_mib: float = float("nan")
    """The median while both calls were calm."""
    cpu_percent: float = float("nan")
    latencies: list[Latency] = field(default_factory=list)
    """One for each call."""
    troubles: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """Everything that a soak found."""

    rounds: list[Round] = field(default_factory=list)
    rests: list[Holdings] = field(default_factory=list)
    """What the bot held with nobody in any call: after the first round, in the middle, at the end."""
    failures: list[str] = field(default_factory=list)
    """Sentences: what did not come back, and after what."""
    errors: list[str] = field(default_factory=list)
    """The bot's log lines of level error."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must be true, and whether it was."""

    holds: bool
    sentence: str


def claims(found: Findings) -> Iterator[Claim]:
    """Judge a whole soak."""
    yield from (Claim(False, sentence) for sentence in found.failures)
    if not found.failures:
        yield Claim(True, "Every call came back after every trouble.")
    yield memory(found.rounds)
    yield left_behind(found.rests)
    yield from (latency(found.rounds, call) for call in range(CALLS if found.rounds else 0))
    yield Claim(not found.errors, f"The bot logged {len(found.errors)} errors{': ' if found.errors else ''}{'; '.join(found.errors[:5])}.")


def memory(rounds: Sequence[Round]) -> Claim:
    """Flat in the second half."""
    if len(rounds) < 2:
        return Claim(False, "There were too few rounds to tell whether memory grows.")
    middle, last = rounds[len(rounds) // 2 - (len(rounds) == 2)], rounds[-1]
    growth = last.resident_mib - middle.resident_mib
    shown = f"{middle.resident_mib:.1f} -> {last.resident_mib:.1f} MiB, {growth:+.1f} MiB"
    return Claim(growth <= GROWTH_MIB, f"Memory in the second half: {shown} (allowed: {GROWTH_MIB:+.0f}).")


def left_behind(rests: Sequence[Holdings]) -> Claim:
    """No task, thread or descriptor more at the end than after the first round."""
    if len(rests) < 2:
        return Claim(False, "The bot was not looked at with nobody in a call, so nothing is known of what it leaves behind.")
    left = list(surplus(rests[0], rests[-1]))
    if left:
        return Claim(False, f"With nobody in a call, the bot holds more at the end than after the first round: {', '.join(left)}.")
    return Claim(True, "No task, thread, socket or file was left behind.")


def surplus(before: Holdings, after: Holdings) -> Iterator[str]:
    """What a process holds more of than before, in words."""
    for kind, word in KINDS.items():
        for name, count in more(getattr(before, kind), getattr(after, kind)).items():
            yield f"{count} x {word} {name}"


def more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """By how much each count grew, where it did."""
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


def latency(rounds: Sequence[Round], call: int) -> Claim:
    """The last round as the first, each way."""
    first, last = ((each.latencies or NOTHING)[call] for each in (rounds[0], rounds[-1]))
    ways = {"person -> engine": (first.up_ms, last.up_ms), "engine -> person": (first.down_ms, last.down_ms)}
    holds = all(after <= before + SLOWER_MS for before, after in ways.values())  # of NaN, nothing holds
    shown = ", ".join(f"{way} {before:.1f} -> {after:.1f} ms" for way, (before, after) in ways.items())
    return Claim(holds, f"Latency of call {call + 1}, first round -> last: {shown} (allowed: {SLOWER_MS:+.0f} ms).")
