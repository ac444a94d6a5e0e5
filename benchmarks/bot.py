"""The bot under measurement: a process of its own, so that what it uses and how late it is are its own doing."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

OURS = ("-m", "discordplex")
NAIVE = ("-m", "benchmarks.naive")
ROOT = Path(__file__).parent.parent

END_WITHIN_S = 8.0
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process had used at a moment."""

    at_s: float
    cpu_s: float
    resident_mib: float
    peak_mib: float
    threads: int


class Bot:
    """`discordplex run`, or another program with the same arguments, from `async with` to its end."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, program: Sequence[str] = OURS) -> None:
        self.folder = folder
        self._environ = environ
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Whose process it is."""
        if self._process is None:
            raise RuntimeError("the bot was not started")
        return self._process.pid

    async def __aenter__(self) -> Self:
        report = ("run", "--report", str(self.folder / "bot.json"), "--log-format", "json", "--log-level", "info")
        with (self.folder / "bot.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._program,
                *report,
                cwd=self.folder,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.shield(self.stop())

    async def stop(self) -> dict[str, Any]:
        """End it, and give what it measured itself; empty where it left no report."""
        process = self._process
        if process is None:
            return {}
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_WITHIN_S)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()
        try:
            found: dict[str, Any] = json.loads((self.folder / "bot.json").read_text(encoding="utf-8"))["metrics"]
        except (OSError, ValueError):
            return {}
        return found

    def freeze(self) -> None:
        """Stop the process where it stands."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def usage(self) -> Usage:
        """What it has used so far. OSError where the system has no /proc."""
        return usage_of(self.pid)


def usage_of(pid: int) -> Usage:
    """What a process has used so far, by Linux's /proc. OSError elsewhere."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines())
    ticks = int(fields[11]) + int(fields[12])
    return Usage(
        at_s=time.perf_counter(),
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        resident_mib=int(status["VmRSS"].split()[0]) / KIB_PER_MIB,
        peak_mib=int(status["VmHWM"].split()[0]) / KIB_PER_MIB,
        threads=int(status["Threads"]),
    )


def cpu_percent(before: Usage, after: Usage) -> float:
    """Part of one core used between two moments."""
    return 100 * (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)
