"""From windows of a load to what a process carries, and to the sizing table. Pure."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

PACING_P99_MS = 5.0
"""A process carries as many calls as leave the p99 of its pacing lateness at most here."""

HARNESS_P99_MS = 5.0
"""A harness that is later than this itself does not play the load that it says."""

OTHERS_PERCENT = 10.0
"""Other work on the bot's core beyond this makes the bot late."""

HEAD = (
    *("calls", "people", "guilds", "pacing p50 / p99 ms", "on the wire p99 ms", "CPU %", "MiB", "holes"),
    *("harness p99 ms", "harness CPU %", "others %"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a steady load."""

    calls: int
    people: int
    """In each call."""
    guilds: int
    seconds: float
    pacing_p50_ms: float
    pacing_p99_ms: float
    """How late the send thread was, by the bot's own histogram."""
    wire_p99_ms: float
    """How much later than its 20 ms after the one before it a packet left the bot, by the kernel's clock."""
    packets_per_call_s: float
    """What the bot sends."""
    heard_per_call_s: float
    """Packets of people that the bot has decoded."""
    cpu_percent: float
    """Of one core."""
    resident_mib: float
    holes: float
    """Frames of engines that were due and had not come."""
    uplink_skipped: float
    """Frames that engines did not get because the process stalled."""
    loop_lag_p99_ms: float
    """The bot's event loop."""
    harness_p99_ms: float
    """The worse of: how late people's packets left, how late the harness's loop was."""
    read_p99_ms: float
    """How long a packet of the bot lay in the harness's socket; it is in no other figure."""
    harness_cpu_percent: float
    others_percent: float
    """Of the bot's core, used by other processes."""
    priority: bool
    """Whether bot and harness have real-time priority: then others have the core only while the bot does not want it."""

    @property
    def holds(self) -> bool:
        """Whether the bot paces as it should."""
        return self.pacing_p99_ms <= PACING_P99_MS

    @property
    def fault(self) -> str | None:
        """Why this says nothing about the bot; None where it does."""
        if not self.harness_p99_ms <= HARNESS_P99_MS:
            return f"the harness itself was late by {self.harness_p99_ms:.1f} ms (p99; at most {HARNESS_P99_MS:.0f})"
        if self.others_percent > OTHERS_PERCENT and not self.priority:
            return f"other processes took {self.others_percent:.0f} % of the bot's core (at most {OTHERS_PERCENT:.0f} %)"
        return None

    @property
    def cells(self) -> tuple[str, ...]:
        """A line of the table."""
        return (
            str(self.calls),
            str(self.people),
            str(self.guilds),
            f"{self.pacing_p50_ms:.2f} / {self.pacing_p99_ms:.2f}",
            f"{self.wire_p99_ms:.2f}",
            f"{self.cpu_percent:.1f}",
            f"{self.resident_mib:.1f}",
            f"{self.holes:.0f}",
            f"{self.harness_p99_ms:.2f}",
            f"{self.harness_cpu_percent:.0f}",
            f"{self.others_percent:.1f}",
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """A line through windows: so much for nothing, and so much more for each."""

    base: float
    each: float

    @classmethod
    def of(cls, windows: Sequence[Window], size: Callable[[Window], float], taken: Callable[[Window], float]) -> "Growth":
        """By least squares; NaN of fewer than two sizes."""
        sizes = [size(window) for window in windows]
        if len(set(sizes)) < 2:
            return cls(math.nan, math.nan)
        each, base = np.polyfit(sizes, [taken(window) for window in windows], 1)
        return cls(round(float(base), 6) + 0.0, round(float(each), 6) + 0.0)  # the fit's own noise would print as -0.00


def carried(windows: Sequence[Window]) -> int:
    """The most calls of an ascending load until pacing fails; 0 where it fails at once."""
    most = 0
    for window in windows:
        if not window.holds:
            break
        most = max(most, window.calls)
    return most


def sizing(calls: Sequence[Window], people: Sequence[Window], guilds: Sequence[Window]) -> Iterator[tuple[str, str]]:
    """The sizing table, of what was measured."""
    sound = [window for window in calls if window.holds]
    if calls:
        found = carried(calls)
        passed = any(not window.holds for window in calls)
        yield f"calls on a core, p99 of pacing at most {PACING_P99_MS:.0f} ms", f"{found}" if passed else f"more than {found}"
    if sound:
        memory = Growth.of(sound, lambda window: window.calls, lambda window: window.resident_mib)
        cpu = Growth.of(sound, lambda window: window.calls, lambda window: window.cpu_percent)
        yield "MiB for each call", f"{memory.each:.1f}"
        yield "CPU for each call, % of a core", f"{cpu.each:.1f}"
    if people:
        each = Growth.of(people, lambda window: window.calls * (window.people - 1), lambda window: window.cpu_percent)
        memory = Growth.of(people, lambda window: window.calls * (window.people - 1), lambda window: window.resident_mib)
        yield "CPU for each further person who speaks, % of a core", f"{each.each:.2f}"
        yield "MiB for each further person who speaks", f"{memory.each:.2f}"
    if guilds:
        memory = Growth.of(guilds, lambda window: window.guilds / 1000, lambda window: window.resident_mib)
        yield "MiB for 1,000 guilds", f"{memory.each:.1f}"
        yield "MiB without guilds and calls", f"{memory.base:.1f}"


def lines(windows: Sequence[Window]) -> Iterator[tuple[str, ...]]:
    """The table of all windows, its head first."""
    yield HEAD
    yield from (window.cells for window in windows)
