"""Numbers, and how they are shown: medians, percentiles, Markdown tables, and what was wanted beside what was seen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


def median(values: Iterable[float]) -> float:
    """Return the median of those that are numbers; nan if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return statistics.median(numbers) if numbers else math.nan


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest of *values* that at least *share* (0 to 1) of them do not exceed; nan if there are none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers are rounded to three digits."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(shown, row)) + " |" for row in rows]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """Return a cell: numbers with three digits that count, the others as they are."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Check:
    """A figure that was promised.

    :param seen: what was measured, in words.
    :param ok: None: it was not measured.
    """

    what: str
    wanted: str
    seen: str
    ok: bool | None


@dataclass
class Result:
    """What one benchmark has to show."""

    name: str
    tables: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the tables, one below the other; a text between them is a paragraph."""
        return "\n\n".join(self.tables)


def verdicts(results: Iterable[Result]) -> str:
    """Return one table of all that was promised."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    checks = [check for result in results for check in result.checks]
    return table(["figure", "wanted", "seen", "ok"], [(c.what, c.wanted, c.seen, words[c.ok]) for c in checks])
