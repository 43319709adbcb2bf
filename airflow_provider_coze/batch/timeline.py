"""What happened when: steps of equal length that double it as a batch goes on, so that there are never more than some hundreds."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Step", "Timeline"]

#: As many as a plot can show: two or three pixels each.
_MOST_STEPS = 240
_FIRST_WIDTH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in a span of time."""

    begin: float  # seconds since the batch began
    end: float
    ok: int  # rows
    failed: int
    in_flight: int  # calls, the most at any moment
    tokens_in: int
    tokens_out: int
    budget: float | None  # rows per second that were allowed at its end. None: not known.

    @property
    def rate(self) -> float:
        """Rows per second."""
        return (self.ok + self.failed) / (self.end - self.begin)

    def joined(self, later: Step) -> Step:
        """Return this step and the next one as one."""
        return Step(
            self.begin,
            later.end,
            self.ok + later.ok,
            self.failed + later.failed,
            max(self.in_flight, later.in_flight),
            self.tokens_in + later.tokens_in,
            self.tokens_out + later.tokens_out,
            later.budget,
        )


class Timeline:
    """The steps of a batch.

    :param began: when it did, on the clock of every ``now`` here.
    """

    __slots__ = (
        "_budget",
        "_end",
        "_failed",
        "_in_flight",
        "_last",
        "_ok",
        "_seen_in_flight",
        "_tokens_in",
        "_tokens_out",
        "_width",
        "began",
    )

    def __init__(self, began: float) -> None:
        self.began = began
        self._width = _FIRST_WIDTH_SECONDS
        self._ok, self._failed = array("q", [0]), array("q", [0])
        self._in_flight = array("q", [0])
        self._tokens_in, self._tokens_out = array("q", [0]), array("q", [0])
        self._budget = array("d", [0.0])  # 0: not known
        self._last = self._seen_in_flight = 0
        self._end = began + self._width

    def look(self, now: float, in_flight: int, budget: float | None) -> None:
        """Take what is the case now. A clock that was set back is still in the last step.

        :param in_flight: calls.
        :param budget: rows per second that are allowed. None: not known.
        """
        if now >= self._end:
            self._go_on(now)
        last = self._last
        self._seen_in_flight = in_flight
        if in_flight > self._in_flight[last]:
            self._in_flight[last] = in_flight
        self._budget[last] = budget or 0.0

    def answered(self, rows: int, ok: bool, tokens_in: int, tokens_out: int) -> None:
        """Take rows into the step of the last :meth:`look`."""
        (self._ok if ok else self._failed)[self._last] += rows
        if tokens_in:
            self._tokens_in[self._last] += tokens_in
        if tokens_out:
            self._tokens_out[self._last] += tokens_out

    def steps(self, until: float, most: int = _MOST_STEPS) -> list[Step]:
        """Return at most *most* adjacent steps from the beginning until now.

        The last one is shorter than the others if it is not over yet; one that has only just begun is part of the one before.
        """
        took = max(until - self.began, self._last * self._width + 0.001)
        found = [
            Step(
                index * self._width,
                min((index + 1) * self._width, took),
                self._ok[index],
                self._failed[index],
                self._in_flight[index],
                self._tokens_in[index],
                self._tokens_out[index],
                self._budget[index] or None,
            )
            for index in range(self._last + 1)
        ]
        if took > found[-1].end:  # nothing has happened since
            found.append(Step(found[-1].end, took, 0, 0, self._seen_in_flight, 0, 0, found[-1].budget))
        size = -(-len(found) // most)
        joined = [_all_joined(found[begin : begin + size]) for begin in range(0, len(found), size)]
        if len(joined) > 1 and joined[-1].end - joined[-1].begin < (joined[0].end - joined[0].begin) / 2:
            joined[-2:] = [joined[-2].joined(joined[-1])]
        return joined

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` reads, as JSON has it."""
        return {
            "began": self.began,
            "width": self._width,
            "ok": list(self._ok),
            "failed": list(self._failed),
            "in_flight": list(self._in_flight),
            "tokens_in": list(self._tokens_in),
            "tokens_out": list(self._tokens_out),
            "budget": list(self._budget),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Timeline:
        """Return what :meth:`to_dict` was of.

        :raises LookupError, TypeError, ValueError: it is something else.
        """
        self = cls(float(kept["began"]))
        self._width = float(kept["width"])
        for name in ("ok", "failed", "in_flight", "tokens_in", "tokens_out"):
            setattr(self, f"_{name}", array("q", kept[name]))
        self._budget = array("d", kept["budget"])
        sizes = {len(column) for column in self._columns()}
        if len(sizes) > 1 or not 0 < len(self._ok) <= _MOST_STEPS or self._width <= 0:
            raise ValueError("not the steps of a batch")
        self._last, self._seen_in_flight = len(self._ok) - 1, self._in_flight[-1]
        self._end = self.began + len(self._ok) * self._width
        return self

    def _columns(self) -> tuple[array[Any], ...]:
        return self._ok, self._failed, self._in_flight, self._tokens_in, self._tokens_out, self._budget

    def _go_on(self, now: float) -> None:
        """Make the step of *now* the last one; what lies between is like the one before it, without rows."""
        while now - self.began >= self._width * _MOST_STEPS:
            self._halve()
        wanted = int((now - self.began) / self._width)
        budget = self._budget[self._last]
        for index in range(self._last + 1, wanted + 1):
            for column in self._columns():
                column.append(0)
            self._in_flight[-1] = self._seen_in_flight if index < wanted else 0
            self._budget[-1] = budget
        self._last = wanted
        self._end = self.began + (self._last + 1) * self._width

    def _halve(self) -> None:
        """Join the steps by twos."""
        for column in (self._ok, self._failed, self._tokens_in, self._tokens_out):
            column[:] = array("q", [sum(column[at : at + 2]) for at in range(0, len(column), 2)])
        self._in_flight[:] = array("q", [max(self._in_flight[at : at + 2]) for at in range(0, len(self._in_flight), 2)])
        self._budget[:] = array("d", [self._budget[at : at + 2][-1] for at in range(0, len(self._budget), 2)])
        self._last = len(self._ok) - 1
        self._width *= 2


def _all_joined(steps: list[Step]) -> Step:
    whole = steps[0]
    for step in steps[1:]:
        whole = whole.joined(step)
    return whole
