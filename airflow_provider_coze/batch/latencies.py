"""How long answers took: a histogram of fixed size, however many there are.

Its buckets grow by 5 %, so what is read from it is within 2.5 % of the truth. Least, most and sum are exact.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

__all__ = ["Latencies"]

_GROWTH = 1.05
#: The first bucket: up to here. Nothing that crosses a network is quicker.
_LEAST_SECONDS = 0.001
#: The last of them begins after a day and more: log(86,400 / 0.001) / log(1.05) = 375.
_BUCKETS = 380
_PER_LOG = 1 / math.log(_GROWTH)
_OFFSET = 1 - math.log(_LEAST_SECONDS) * _PER_LOG


class Latencies:
    """Seconds, each with the number of rows that took them."""

    __slots__ = ("_counts", "count", "least", "most", "seconds")

    def __init__(self) -> None:
        self._counts = array("q", bytes(8 * _BUCKETS))
        self.count = 0
        self.least = math.inf
        self.most = 0.0
        self.seconds = 0.0

    def add(self, seconds: float, rows: int) -> None:
        """Take *rows* that took *seconds* each."""
        bucket = int(math.log(seconds) * _PER_LOG + _OFFSET) if seconds > _LEAST_SECONDS else 0
        self._counts[bucket if bucket < _BUCKETS else _BUCKETS - 1] += rows
        self.count += rows
        self.seconds += seconds * rows
        if seconds > self.most:
            self.most = seconds
        if seconds < self.least:
            self.least = seconds

    def percentile(self, percent: float) -> float | None:
        """Return the seconds within which *percent* of the rows were answered. None: there are none."""
        if not self.count:
            return None
        rank, seen = math.ceil(self.count * percent / 100), 0
        if rank >= self.count:
            return self.most
        for bucket, rows in enumerate(self._counts):
            seen += rows
            if rows and seen >= rank:
                middle = float(_LEAST_SECONDS * _GROWTH ** (bucket - 0.5))
                return min(self.most, max(self.least, middle))
        return self.most

    def bars(self, most: int) -> list[tuple[float, float, int]]:
        """Return at most *most* adjacent bars, from the quickest answer to the slowest: from and to, in seconds, and rows.

        Each is as many times as long as it begins late: they are of one width on a logarithmic axis.
        """
        used = [bucket for bucket, rows in enumerate(self._counts) if rows]
        if not used:
            return []
        first, last = used[0], used[-1]
        width = -(-(last - first + 1) // most)
        return [
            (_edge(begin), _edge(begin + width), sum(self._counts[begin : begin + width]))
            for begin in range(first, last + 1, width)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` reads, as JSON has it."""
        counts = {str(bucket): rows for bucket, rows in enumerate(self._counts) if rows}
        return {
            "counts": counts,
            "least": self.least if self.count else None,
            "most": self.most,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Latencies:
        """Return what :meth:`to_dict` was of.

        :raises LookupError, TypeError, ValueError: it is something else.
        """
        self = cls()
        for bucket, rows in kept["counts"].items():
            self._counts[int(bucket)] = int(rows)
        self.count = sum(self._counts)
        self.least = math.inf if kept["least"] is None else float(kept["least"])
        self.most, self.seconds = float(kept["most"]), float(kept["seconds"])
        return self


def _edge(bucket: int) -> float:
    """Return where a bucket begins, in seconds."""
    return float(_LEAST_SECONDS * _GROWTH ** (bucket - 1))
