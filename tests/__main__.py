"""`python -m tests`: the whole suite, its two halves side by side; `--check` looks closer, as CI does.

Calls in real time wait most of the time; the other tests take what they leave of the processor, at a lower priority.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import coverage

from tests.store.conftest import postgresql_programs

LIVE = ("-m", "live", "--reruns", "1", "--reruns-delay", "2")
"""A call may stutter once where the machine does: it is played again once, and named in the end."""

OTHERS = ("-m", "not live", "-n", "3")
"""These need no real time, so none is played again."""

NICE = 5

FACTOR = "3"
"""Six processes share the machine: a limit that is three times as long costs nothing where nothing fails."""

CALLS_AT_ONCE, CALLS_AT_ONCE_IN_CHECK = ("-n", "3"), ("-n", "2")
"""What two busy cores bear; the closer look makes each call dearer, and the others take longer anyway."""

SPREAD = ("-q", "--dist", "worksteal")

DEBUG = ("-o", "asyncio_debug=true")
TRACED = ("--cov", "--cov-report=")
"""How `--check` looks closer: asyncio's debug mode for calls, in which threads meet, coverage for the others.

Both at once would take four times as long.
"""

FLOORS = {
    "(top)": 92,
    "audio": 99,
    "bot": 96,
    "bridge": 99,
    "cascade": 98,
    "cluster": 96,
    "config": 99,
    "demo": 86,
    "doctor": 57,
    "hearing": 96,
    "loopback": 93,
    "monitoring": 95,
    "personaplex": 98,
    "realtime": 94,
    "services": 98,
    "store": 97,
    "voice": 95,
}
"""Percent of lines and branches of each room that the second half reaches at least. They go up only."""


def main() -> int:
    """Exit code: 0 where every test passed and no room fell below its floor."""
    parser = argparse.ArgumentParser(prog="python -m tests", description="Run every test but those of `make interop`.")
    parser.add_argument("--check", action="store_true", help="with asyncio's debug mode, and with coverage, which may not fall")
    check = parser.parse_args().check
    os.environ.setdefault("TEST_TIME_FACTOR", FACTOR)
    with tempfile.TemporaryFile() as said:
        others = subprocess.Popen(  # noqa: S603 - our own tests
            [sys.executable, "-m", "pytest", *OTHERS, *SPREAD, *(TRACED if check else ())],
            stdout=said,
            stderr=subprocess.STDOUT,
            **lower_priority(),
        )
        calls = (*CALLS_AT_ONCE_IN_CHECK, *DEBUG) if check else CALLS_AT_ONCE
        live = subprocess.run([sys.executable, "-m", "pytest", *LIVE, *SPREAD, *calls], check=False).returncode  # noqa: S603 - the same
        other = others.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
    return live or other or (check and gate())


def lower_priority() -> dict[str, Any]:
    """How `subprocess` starts a program that lets the calls have the processor first."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    return {"preexec_fn": lambda: os.nice(NICE)}


def gate() -> int:
    """Print the coverage of each room; 1 where one is below its floor."""
    found = measured()
    print(f"\n{'coverage':14}{'is':>7}{'floor':>7}")
    for room, percent in sorted(found.items()):
        print(f"{room:14}{percent:7.1f}{FLOORS.get(room, 0):7}")
    if not complete():
        print("no floor holds here: Linux and a PostgreSQL server are needed to run every test")
        return 0
    low = sorted(room for room, floor in FLOORS.items() if found.get(room, 0) < floor)
    missing = sorted(found.keys() - FLOORS.keys())
    if low:
        print(f"coverage fell below its floor: {', '.join(low)}")
    if missing:
        print(f"without a floor in tests/__main__.py: {', '.join(missing)}")
    return 1 if low or missing else 0


def measured() -> dict[str, float]:
    """Percent of the lines and branches of each room that ran."""
    data = coverage.Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "coverage.json")
        data.json_report(outfile=str(file))
        files: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["files"]
    ran, there = Counter[str](), Counter[str]()
    for name, each in files.items():
        parts, totals = Path(name).parts, each["summary"]
        room = parts[1] if len(parts) > 2 else "(top)"
        ran[room] += totals["covered_lines"] + totals["covered_branches"]
        there[room] += totals["num_statements"] + totals["num_branches"]
    return {room: 100 * ran[room] / there[room] for room in there if there[room]}


def complete() -> bool:
    """Whether every test can run here, and not only those for any system."""
    return sys.platform == "linux" and postgresql_programs() is not None


if __name__ == "__main__":
    sys.exit(main())
