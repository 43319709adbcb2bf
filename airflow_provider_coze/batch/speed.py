"""How many rows a second have been answered of late. Arithmetic on a ``now`` that is given."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

__all__ = ["Speed"]

#: Of late are the last 30 s; the last 5 min where those have too few rows to tell.
_SLOT_SECONDS = 5
_FEW_SLOTS, _MOST_SLOTS = 6, 60
_ENOUGH_ROWS = 20


class Speed:
    """Rows by the slot of time in which they were answered; old slots are dropped."""

    __slots__ = ("_first_rows", "_last", "_rows", "_slots", "first")

    def __init__(self) -> None:
        self.first: float | None = None  # when the first answer came
        self._first_rows = 0
        self._slots, self._rows = array("q"), array("q")
        self._last = -1

    def add(self, now: float, rows: int) -> None:
        """Take rows that are answered now."""
        slot = int(now) // _SLOT_SECONDS
        if slot > self._last:  # a clock that was set back is still in the last slot
            if self.first is None:
                self.first, self._first_rows = now, rows
            self._last = slot
            self._slots.append(slot)
            self._rows.append(0)
            if len(self._slots) > _MOST_SLOTS + 1:
                del self._slots[0], self._rows[0]
        self._rows[-1] += rows

    def rate(self, now: float) -> float:
        """Return the rows per second; 0 if there were none."""
        if self.first is None:
            return 0.0
        rows, seconds = self._since(self.first, now, _FEW_SLOTS)
        if rows < _ENOUGH_ROWS:
            rows, seconds = self._since(self.first, now, _MOST_SLOTS)
        return rows / seconds if seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` reads, as JSON has it."""
        return {
            "first": self.first,
            "first_rows": self._first_rows,
            "slots": list(self._slots),
            "rows": list(self._rows),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Speed:
        """Return what :meth:`to_dict` was of.

        :raises LookupError, TypeError, ValueError: it is something else.
        """
        self = cls()
        self.first = None if kept["first"] is None else float(kept["first"])
        self._first_rows = int(kept["first_rows"])
        self._slots, self._rows = array("q", kept["slots"]), array("q", kept["rows"])
        self._last = self._slots[-1] if self._slots else -1
        if len(self._slots) != len(self._rows) or bool(self._slots) is (self.first is None):
            raise ValueError("not the slots of a batch")
        return self

    def _since(self, first: float, now: float, slots: int) -> tuple[int, float]:
        """Return the rows of the last *slots* and of the one that is not over, and over how many seconds they are spread.

        The first answer ends a stretch that has no beginning: the time is counted from it, and its rows are not.
        """
        from_slot = int(now) // _SLOT_SECONDS - slots
        rows = sum(rows for slot, rows in zip(self._slots, self._rows, strict=True) if slot >= from_slot)
        begin = float(from_slot * _SLOT_SECONDS)
        if first >= begin:
            return rows - self._first_rows, now - first
        return rows, now - begin
