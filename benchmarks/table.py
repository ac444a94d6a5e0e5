"""The rows as a table for people and as JSON for programs."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.row import Row

HEAD = ("subject", "what", "measured", "p50 / p95 / p99", "budget", "of budget", "naive", "of naive")
LIBRARIES = ("py-cord", "dave.py", "numpy", "sphn", "opuslib-next-bundled", "websockets", "aiohttp", "cryptography")


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table, as Markdown that is also aligned."""
    return aligned([HEAD, *map(cells_of, rows)])


def aligned(cells: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Markdown of these cells; the first line is the head."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, line in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        if not number:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def cells_of(row: Row) -> tuple[str, ...]:
    """One row's cells."""
    spread = row.spread
    points = "" if spread is None else " / ".join(map(number, (spread.p50, spread.p95, spread.p99)))
    budget = "" if row.budget is None else f"{number(row.budget)}{' MISSED' if row.holds is False else ''}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    naive = "" if row.naive is None else number(row.naive)
    beside = f"{row.measured / row.naive:.2f}" if row.naive else ""
    return row.subject, row.what, f"{number(row.measured)} {row.unit}".strip(), points, budget, ratio, naive, beside


def number(value: float) -> str:
    """A number with as many digits as one can use."""
    if value != value:  # noqa: PLR0124  # NaN alone differs from itself
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def machine() -> dict[str, Any]:
    """What it was measured on."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": processor(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in LIBRARIES},
    }
    if hasattr(os, "getloadavg"):
        found["load_before"] = [round(value, 2) for value in os.getloadavg()]
    return found


def processor() -> str:
    """Its name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def write(path: Path, rows: Sequence[Row], where: dict[str, Any], seconds: float, **more: Any) -> None:
    """Everything, as JSON."""
    content = {"machine": where, "seconds": round(seconds, 1), "rows": [row.as_json() for row in rows], **more}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
