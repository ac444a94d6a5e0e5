"""`python -m benchmarks.load`: how many calls one process carries on one core, and how it grows with calls, people and guilds."""

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

import structlog

from benchmarks.load.conduct import caches, crowds, ramp
from benchmarks.load.cores import Cores
from benchmarks.load.sizing import Window, lines, sizing
from benchmarks.stage import SWITCH_INTERVAL_S
from benchmarks.table import aligned, machine

REPORT = Path(__file__).parent.parent / "load.json"
PARTS = ("calls", "people", "guilds")
MOST_CALLS = 60
SOME_CALLS = 4
PEOPLE = (1, 2, 4, 8)
GUILDS = (10, 1_000, 10_000)


def main() -> int:
    """Measure, print, write; 1 where a window said nothing, 0 else."""
    args = arguments()
    cores = Cores.divide(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None
    if cores is None:
        sys.stdout.write("load is skipped: it needs Linux and two cores, one for the bot and one for those who load it.\n")
        return 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # the loopback's news are none of the table
    cores.take()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.disable()  # as in `benchmarks.stage`: its pauses would be lateness of the harness
    where = machine() | {"bot_core": cores.bot, "harness_cores": sorted(cores.harness)}
    found = asyncio.run(measured(args, cores))
    everything = [window for part in PARTS for window in found[part]]
    table = list(sizing(*(usable(found[part]) for part in PARTS)))
    report = {"machine": where, "e2ee": args.e2ee, "windows": {part: [asdict(each) for each in found[part]] for part in PARTS}}
    args.out.write_text(json.dumps(report | {"sizing": dict(table)}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write("\n" + "\n".join(aligned(list(lines(everything)))) + "\n\n")
    sys.stdout.write("\n".join(aligned([("size", "measured"), *table])) + "\n\n")
    faults = [
        f"{window.calls} calls, {window.people} people, {window.guilds} guilds: {window.fault}" for window in everything if window.fault
    ]
    sys.stdout.write("".join(f"not counted: {fault}\n" for fault in faults))
    place = f"{where['processor']}, {where['platform']}, Python {where['python']}"
    sys.stdout.write(f"{place}; the bot on core {cores.bot}, load before: {where.get('load_before')}\nAll figures: {args.out}\n")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--calls", type=int, nargs="+", help="the numbers of calls (default: 1 5 10 14 16 18 ... until pacing fails)")
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE, help="the numbers of people in a call (default: 1 2 4 8)")
    parser.add_argument("--guilds", type=int, nargs="+", default=GUILDS, help="the numbers of guilds (default: 10 1000 10000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of what is measured of each (default: %(default)s)")
    parser.add_argument("--e2ee", action="store_true", help="encrypt calls end to end, in the parts `calls` and `people`")
    parser.add_argument("--out", type=Path, default=REPORT, help="where the JSON goes (default: %(default)s)")
    return parser.parse_args()


async def measured(args: argparse.Namespace, cores: Cores) -> dict[str, list[Window]]:
    """The windows of every part; none of one that was not asked for."""
    found: dict[str, list[Window]] = {part: [] for part in PARTS}
    seconds, e2ee = args.seconds, args.e2ee
    if "calls" in args.only:
        steps = args.calls or [1, 5, 10, *range(14, MOST_CALLS + 1, 2)]
        found["calls"] = await ramp(steps, most=max(steps), cores=cores, seconds=seconds, e2ee=e2ee, tell=tell)
    if "people" in args.only:
        found["people"] = await crowds(args.people, calls=SOME_CALLS, cores=cores, seconds=seconds, e2ee=e2ee, tell=tell)
    if "guilds" in args.only:
        found["guilds"] = await caches(args.guilds, calls=SOME_CALLS, cores=cores, seconds=seconds, tell=tell)
    return found


def usable(windows: list[Window]) -> list[Window]:
    """Those that say something about the bot."""
    return [window for window in windows if not window.fault]


def tell(window: Window) -> None:
    """One line at once: a load is watched."""
    print("  ".join(window.cells), window.fault or "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
