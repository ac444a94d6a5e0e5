"""A row of the table: what was measured, what is budgeted, and how the two compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from discordplex.metrics import percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """Many values of one thing."""

    count: int
    p50: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value; NaN where there is none."""
        points = [percentile(list(values), percent) for percent in (50, 95, 99, 100)]
        p50, p95, p99, maximum = (math.nan if point is None else point for point in points)
        return cls(len(values), p50, p95, p99, maximum)


@dataclass(slots=True)
class Row:
    """One line. `measured` is what the budget is about; `spread` shows how it varies; `naive` is the same of the naive path."""

    subject: str
    what: str
    unit: str
    measured: float
    budget: float | None = None
    spread: Spread | None = None
    naive: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Measured by budget: below 1 it holds."""
        return None if not self.budget else self.measured / self.budget

    @property
    def holds(self) -> bool | None:
        """Whether the budget holds; None where there is none."""
        return None if self.budget is None or math.isnan(self.measured) else self.measured <= self.budget

    def as_json(self) -> dict[str, Any]:
        """Everything about it."""
        spread = self.spread
        return {
            "subject": self.subject,
            "what": self.what,
            "unit": self.unit,
            "measured": tidy(self.measured),
            "budget": self.budget,
            "holds": self.holds,
            "naive": tidy(self.naive),
            "note": self.note,
            **({} if spread is None else {name: tidy(getattr(spread, name)) for name in ("count", "p50", "p95", "p99", "maximum")}),
            **({"details": self.details} if self.details else {}),
        }


def tidy(value: float | None) -> float | None:
    """Three digits behind the point, and no NaN, which is no JSON."""
    return None if value is None or math.isnan(value) else round(value, 3)
