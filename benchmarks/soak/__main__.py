"""`python -m benchmarks.soak`: two calls for a while, with everything that goes wrong; 1 where something stays that should not."""

import argparse
import asyncio
import json
import logging
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from benchmarks.soak.conduct import CENSUS, Plan, Soak
from benchmarks.soak.judge import Claim, Findings, claims, more
from benchmarks.table import machine

REPORT = Path(__file__).parent.parent / "soak.json"


def main() -> int:
    """Run it, print the claims, write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="length of the calls together with their troubles (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, help="how many rounds these are (default: one for each minute, four at least)")
    parser.add_argument("--out", type=Path, default=REPORT, help="where the report goes (default: %(default)s)")
    parser.add_argument("--bot", default=CENSUS, metavar="MODULE", help="the Python module that is the bot (default: %(default)s)")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # the loopback's news are none of the table
    if not Path("/proc/self/fd").is_dir():
        sys.stdout.write("soak is skipped: it reads the bot's memory and descriptors from /proc, which only Linux has.\n")
        return 0
    where = machine()
    soak = Soak(Plan.of(args.minutes, args.rounds), bot=args.bot, tell=tell)
    try:
        asyncio.run(soak.run())
    except Exception as fault:  # noqa: BLE001  # what was found until then is told all the same
        traceback.print_exc()
        soak.found.failures.append(f"The soak ended early: {type(fault).__name__}: {fault}")
    judged = list(claims(soak.found))
    args.out.write_text(json.dumps(report(soak.found, judged, where), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write("\n" + "".join(f"{'holds ' if claim.holds else 'FAILED'}  {claim.sentence}\n" for claim in judged))
    sys.stdout.write(f"\nAll figures: {args.out}\n")
    return 0 if all(claim.holds for claim in judged) else 1


def tell(line: str) -> None:
    """Print a line at once: a soak is watched."""
    print(line, flush=True)


def report(found: Findings, judged: list[Claim], where: dict[str, Any]) -> dict[str, Any]:
    """Everything, for programs."""
    rests = found.rests
    return {
        "machine": where,
        "claims": [asdict(claim) for claim in judged],
        "rounds": [asdict(each) for each in found.rounds],
        "rests": [{kind: getattr(rest, kind) for kind in ("tasks", "threads", "descriptors")} for rest in rests],
        "objects_left": more(rests[0].objects, rests[-1].objects) if rests else {},
        "errors": found.errors,
    }


if __name__ == "__main__":
    sys.exit(main())
