"""What is to be done about each row that comes in, in the light of what earlier tries of the task did. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from airflow_provider_coze.batch.asks import Ask, Item, Live
from airflow_provider_coze.batch.past import Known, OpenSubmission, Past
from airflow_provider_coze.batch.rows import BadRow

__all__ = ["Doubt", "Job", "Plan", "hash_of"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A request of which nobody knows whether it arrived."""

    ask: Ask
    marker: str
    at: float  # Unix seconds: when it was sent, or was about to be
    conversation_id: str | None = None  # where its chat would be. None: in one that Coze makes, or it is a run
    waits: int = 0  # times that Coze could not be reached to find out
    # Unix seconds: when its reply was lost, for it may have waited to be sent. None: an earlier process lost it.
    lost_at: float | None = None

    @property
    def sent_at(self) -> float:
        """The last moment at which it may have been sent."""
        return self.at if self.lost_at is None else self.lost_at


Job: TypeAlias = "Ask | Live | Doubt | BadRow"


def hash_of(items: Sequence[Item]) -> str:
    """Return the hash of a request that carries these rows."""
    if len(items) == 1:
        return items[0].hash
    return hashlib.sha256("\x00".join(item.hash for item in items).encode()).hexdigest()[:32]


@dataclass
class Plan:
    """Turns rows into jobs.

    :param past: what earlier tries have left.
    :param rows_per_call: how many rows one request carries.
    """

    past: Past
    rows_per_call: int = 1
    seen: int = 0  # rows that have come in
    seen_all: int | None = None  # how many there are, once all have
    changed: int = 0  # rows whose input is another than the one that an earlier try sent
    _waiting: dict[str, dict[int, Item]] = field(default_factory=dict)
    _pack: list[Item] = field(default_factory=list)
    _hashes: dict[int, str] = field(default_factory=dict)

    def jobs(self, rows: Iterable[Item | BadRow]) -> Iterator[Job]:
        """Yield what is to be done, in the order of the rows."""
        open_by_row = {row: submission for submission in self.past.open for row in submission.rows}
        for row in rows:
            self.seen += 1
            self._hashes[row.index] = "" if isinstance(row, BadRow) else row.hash
            if isinstance(row, BadRow):
                known = self.past.result(row.index)
                if known is None or known.input_hash:
                    yield row
                continue
            submission = open_by_row.get(row.index)
            if submission is not None:
                yield from self._adopted(submission, row)
            elif not self._is_done(row):
                yield from self._packed(row)
        if self._pack:
            yield self._take()
        self.seen_all = self.seen
        for items in self._waiting.values():  # the input has fewer rows than it had
            yield from self._anew(items)

    def belongs(self, known: Known) -> bool:
        """Tell whether an outcome is of the input as it is now, as far as that was read."""
        if known.index in self._hashes:
            return self._hashes[known.index] == known.input_hash
        return self.seen_all is None

    def _is_done(self, item: Item) -> bool:
        known = self.past.result(item.index)
        if known is None:
            return False
        if known.input_hash != item.hash:
            self.changed += 1
            return False
        return True

    def _packed(self, item: Item) -> Iterator[Job]:
        self._pack.append(item)
        if len(self._pack) >= self.rows_per_call:
            yield self._take()

    def _take(self) -> Ask:
        items, self._pack = tuple(self._pack), []
        return Ask(items, tries=max(self.past.tries(item.index) for item in items))

    def _adopted(self, submission: OpenSubmission, item: Item) -> Iterator[Job]:
        """Go on with a request of an earlier try as soon as all of its rows have come."""
        items = self._waiting.setdefault(submission.marker, {})
        items[item.index] = item
        if len(items) < len(submission.rows):
            return
        del self._waiting[submission.marker]
        ordered = tuple(items[index] for index in submission.rows)
        if hash_of(ordered) != submission.hash:
            yield from self._anew(items)
            return
        ask = Ask(ordered, tries=max(0, self.past.tries(ordered[0].index) - 1), first_at=submission.at)
        if submission.ids:
            at, sent_to = submission.at, submission.conversation_id
            yield Live(ask, submission.marker, at, dict(submission.ids), sent_to, is_old=True)
        else:
            yield Doubt(ask, submission.marker, submission.at, submission.conversation_id)

    def _anew(self, items: Mapping[int, Item]) -> Iterator[Job]:
        """Ask rows of a request that is not theirs any more, each by itself; other rows of it may have an outcome already."""
        for item in items.values():
            if self.past.result(item.index) is None:
                self.changed += 1
                yield Ask((item,))
            elif not self._is_done(item):
                yield Ask((item,))
