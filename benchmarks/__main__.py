"""`python -m benchmarks`: everything that is budgeted, measured on this machine beside the naive path."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from benchmarks import backlog, cascade, crowd, ears, handover, jitter, latency, mending, packets, realtime, recovery, resources, starting
from benchmarks.peers import measure as peers
from benchmarks.peers import table as peers_table
from benchmarks.row import Row
from benchmarks.table import lines, machine, write

RESULTS = Path(__file__).parent / "results.json"

Subject = Callable[[argparse.Namespace], Awaitable[list[Row]]]


async def measure_packets() -> list[Row]:
    """In this process and on this thread: nothing else shall run beside it."""
    return packets.measure()


SUBJECTS: dict[str, Subject] = {
    "packets": lambda _: measure_packets(),
    "start": lambda _: starting.measure(),
    "latency": lambda args: latency.measure(args.calls, max(2, args.calls // 4)),
    "resources": lambda args: resources.measure(args.seconds, args.seconds / 2),
    "crowd": lambda _: crowd.measure(),
    "jitter": lambda args: jitter.measure(1.5 * args.seconds, 0.8 * args.seconds),
    "backlog": lambda _: backlog.measure(),
    "recovery": lambda _: recovery.measure(),
    "mending": lambda _: mending.measure(),
    "handover": lambda _: handover.measure(),
    "cascade": lambda _: cascade.measure(),
    "realtime": lambda args: realtime.measure(args.calls, args.seconds),
    "ears": lambda args: ears.measure(args.calls, args.seconds),
}


def main() -> int:
    """Measure, print, write; 1 where a budget was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--calls", type=int, default=6, help="calls of random phase for the latencies (default: %(default)s; full: 50)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a steady stretch (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=SUBJECTS, default=list(SUBJECTS), metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument(
        "--peers", action="store_true", help="measure discord.js and hermes-talk as well, fetched from npm and PyPI: ten minutes more"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes (default: %(default)s)")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # the loopback's news are none of the table
    where, begun = machine(), time.perf_counter()
    rows = asyncio.run(measured(args))
    beside = asyncio.run(peers.measure(tell)) if args.peers else []
    write(args.out, rows, where, time.perf_counter() - begun, peers=[row.as_json() for row in beside])
    tables = "\n\n".join("\n".join(table) for table in (lines(rows) if rows else (), peers_table.lines(beside)))
    sys.stdout.write(f"\n{tables.strip()}\n\n{describe(where)}\nAll figures: {args.out}\n")
    missed = [f"{row.subject}: {row.what}" for row in rows if row.holds is False]
    sys.stdout.write(f"Budgets missed: {'; '.join(missed) or 'none'}\n")
    return 1 if missed else 0


async def measured(args: argparse.Namespace) -> list[Row]:
    """The rows of every subject that was asked for, one subject after the other."""
    rows: list[Row] = []
    for name in args.only:
        begun = time.perf_counter()
        sys.stderr.write(f"measuring: {name} ... ")
        sys.stderr.flush()
        rows += await SUBJECTS[name](args)
        sys.stderr.write(f"{time.perf_counter() - begun:.0f} s\n")
    return rows


def tell(line: str) -> None:
    """Say why somebody is not measured."""
    sys.stderr.write(line + "\n")


def describe(where: dict[str, object]) -> str:
    """The machine in one line."""
    place = f"{where['processor']}, {where['cores']} cores, {where['platform']}, Python {where['python']}"
    return f"{place}, load before: {where.get('load_before')}"


if __name__ == "__main__":
    sys.exit(main())
