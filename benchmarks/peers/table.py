"""The rows about peers, as a table and as JSON. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.row import tidy
from benchmarks.table import aligned, number

NEVER = "not within 30 s"


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One thing that was measured of everybody. The first is ours; an infinite figure is one that never came."""

    what: str
    unit: str
    figures: dict[str, float]

    @property
    def ours(self) -> float:
        """Our figure."""
        return next(iter(self.figures.values()))

    def ratio(self, name: str) -> float | None:
        """Somebody's figure by ours; None where that says nothing."""
        theirs = self.figures[name]
        return theirs / self.ours if self.ours > 0 and math.isfinite(theirs) else None

    def as_json(self) -> dict[str, Any]:
        """Everything about it; what never came is null."""
        figures = {name: tidy(value) if math.isfinite(value) else None for name, value in self.figures.items()}
        return {"what": self.what, "unit": self.unit, "figures": figures}


def lines(rows: Sequence[PeerRow]) -> Iterator[str]:
    """The table, as Markdown that is also aligned: everybody's figure, and how many times ours it is."""
    if not rows:
        return
    ours, *others = rows[0].figures
    yield from aligned([("what", "unit", ours, *(cell for name in others for cell in (name, "of ours"))), *map(cells, rows)])


def cells(row: PeerRow) -> tuple[str, ...]:
    """One row's cells."""
    _, *others = row.figures
    ratios = {name: row.ratio(name) for name in others}
    theirs = [cell for name in others for cell in (figure(row.figures[name]), "" if ratios[name] is None else f"{ratios[name]:.1f}")]
    return row.what, row.unit, figure(row.ours), *theirs


def figure(value: float) -> str:
    """A figure for people."""
    return NEVER if math.isinf(value) else number(value)
