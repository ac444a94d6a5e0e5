"""Cores: which core is the bot's, and which are this process's, so that neither takes time from the other. Linux alone."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BUSY_FIELDS = (0, 1, 2, 5, 6)
"""In a line of /proc/stat: user, nice, system, interrupts, soft interrupts. Idle, waiting and stolen time are not counted."""


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the bot, the others for the harness."""

    bot: int
    harness: frozenset[int]

    @classmethod
    def divide(cls, available: Sequence[int]) -> "Cores | None":
        """The first one is the bot's; None where there is only one."""
        first, *others = sorted(available)
        return cls(first, frozenset(others)) if others else None

    def take(self) -> None:
        """Keep this thread, and those that it starts, off the bot's core."""
        os.sched_setaffinity(0, self.harness)

    @contextlib.contextmanager
    def of_the_bot(self) -> Iterator[None]:
        """Within it, this thread is on the bot's core, and so is a process that it starts, for good."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.bot})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def has_priority() -> bool:
    """Whether this process, and those that it starts, go before all ordinary ones: `chrt -f 5`."""
    return os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def busy_s(core: int) -> float:
    """How long a core has been busy since the start of the machine, whoever used it."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    fields = next(line.split()[1:] for line in lines if line.startswith(f"cpu{core} "))
    return sum(int(fields[place]) for place in BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")
