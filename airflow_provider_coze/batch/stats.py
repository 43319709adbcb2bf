"""The figures of a batch while it runs: told what happens, asked at any time. Nothing here decides anything.

Its size does not grow with the batch, and being told costs about a microsecond. It knows no row: no index, no question, no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.batch.latencies import Latencies
from airflow_provider_coze.batch.speed import Speed
from airflow_provider_coze.batch.tally import Tally
from airflow_provider_coze.batch.timeline import Timeline

__all__ = ["Figures", "Stats"]

#: After the first answer: before that, a handful of rows says nothing about thousands.
_SECONDS_BEFORE_ETA = 5.0
#: What is kept as it is, over a deferral.
_PLAIN = (
    "began",
    "ended",
    "reason",
    "total",
    "done_before",
    "failed_before",
    "in_flight",
    "queue",
    "budget",
    "ok",
    "failed",
    "calls",
    "asked_rows",
    "splits",
    "recovered_rows",
    "tokens_in",
    "tokens_out",
    "metered_rows",
    "waits",
    "waited_seconds",
    "_last",
    "_covered",
    "_waits_until",
)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """A batch at one moment."""

    total: int | None  # rows. None: nobody knows yet
    done: int  # rows that have an outcome, by this try or an earlier one
    ok: int  # of them, by this try
    failed: int  # by this try
    rate: float  # rows per second, of late
    in_flight: int  # calls
    queue: int  # rows that are ready to be asked
    eta: float | None  # seconds until the end. None: it cannot be told
    retried: int  # calls that were sent again
    tokens_in: int
    tokens_out: int
    waiting: float  # part of the time so far, 0 to 1, in which a call was held back by the budget
    elapsed: float  # seconds


class Stats:
    """What a runner tells of a batch.

    Every *now* is in Unix seconds: a batch that is deferred goes on in another process (:meth:`to_dict`, :meth:`from_dict`).
    The gauges are set whenever they change; what is told next takes them along.
    """

    __slots__ = (*_PLAIN, "errors", "latencies", "retries", "speed", "timeline")

    def __init__(self) -> None:
        self.began = self._last = 0.0
        self.ended: float | None = None
        self.reason: str | None = None  # why it ended
        self.total: int | None = None
        self.done_before = self.failed_before = 0
        # gauges
        self.in_flight = 0  # calls
        self.queue = 0  # rows that are ready to be asked
        self.budget: float | None = None  # rows per second that the connection and requests_per_minute allow now
        # counts of this try
        self.ok = self.failed = 0  # rows
        self.calls = self.asked_rows = self.splits = self.recovered_rows = 0
        self.tokens_in = self.tokens_out = self.metered_rows = 0
        self.waits, self.waited_seconds = 0, 0.0  # of all calls together
        self._covered = self._waits_until = 0.0  # seconds in which some call waited, and until when they are counted
        self.errors, self.retries = Tally(), Tally()
        self.latencies, self.speed, self.timeline = Latencies(), Speed(), Timeline(0.0)

    def begin(self, now: float, total: int | None = None, done_before: int = 0, *, failed_before: int = 0) -> None:
        """Begin.

        :param total: rows of the whole batch, those of earlier tries included. None: not known yet, see :meth:`set_total`.
        :param done_before: rows that have an outcome by an earlier try.
        :param failed_before: how many of them failed.
        """
        self.began = self._last = self._waits_until = now
        self.timeline = Timeline(now)
        self.total, self.done_before, self.failed_before = total, done_before, failed_before

    def set_total(self, total: int) -> None:
        """Say how many rows there are, once the input has been read to its end."""
        self.total = total

    def asked(self, now: float, rows: int) -> None:
        """Take a call for *rows* that was sent, for the first time or again."""
        self.calls += 1
        self.asked_rows += rows
        self._last = now
        self.timeline.look(now, self.in_flight, self.budget)

    def answered(
        self,
        now: float,
        rows: int,
        ok: bool,
        seconds: float | None,
        code: str | None = None,
        tokens_in: int | None = None,
        tokens_out: int | None = None,
    ) -> None:
        """Take rows that have their outcome.

        If those of one call differ, this is told once for each kind, with the call's tokens in one of them.

        :param seconds: since the first call for them. None: they were never asked, such as rows that no message could be made of.
        :param code: why they failed; nothing for rows that are ok.
        :param tokens_in: None: Coze did not say.
        """
        if ok:
            self.ok += rows
        else:
            self.failed += rows
            self.errors.add(code, rows)
        if seconds is not None:
            self.latencies.add(seconds, rows)
        self._last = now
        self.timeline.look(now, self.in_flight, self.budget)
        if tokens_in is None and tokens_out is None:
            self.timeline.answered(rows, ok, 0, 0)
        else:
            tokens_in, tokens_out = tokens_in or 0, tokens_out or 0
            self.tokens_in += tokens_in
            self.tokens_out += tokens_out
            self.metered_rows += rows
            self.timeline.answered(rows, ok, tokens_in, tokens_out)
        self.speed.add(now, rows)

    def retried(self, code: str | None) -> None:
        """Take a call that is sent again, because of *code*."""
        self.retries.add(code)

    def recovered(self, rows: int) -> None:
        """Take rows whose chat or run an earlier try began, and this one goes on with."""
        self.recovered_rows += rows

    def split(self) -> None:
        """Take a call whose rows are asked again in two halves."""
        self.splits += 1

    def waited_for_quota(self, now: float, seconds: float) -> None:
        """Take a call that the budget holds back, from *now* on for *seconds*."""
        self.waits += 1
        self.waited_seconds += seconds
        until = now + seconds
        if until > self._waits_until:
            self._covered += until - max(now, self._waits_until)
            self._waits_until = until

    def held(self, since: float, now: float, seconds: float) -> None:
        """Take calls that the connection's budget has held back in a while, for so many seconds together."""
        if seconds > 0:
            self.waited_seconds += seconds
            if now > self._waits_until:
                self._covered += now - max(since, self._waits_until)
                self._waits_until = now

    def end(self, now: float, reason: str) -> None:
        """End.

        :param reason: in a word, as in the manifest: ``complete``, ``timeout`` …
        """
        self.ended, self.reason = max(now, self.began), reason
        self.in_flight = self.queue = 0
        self.timeline.look(now, 0, self.budget)

    def elapsed(self, now: float | None = None) -> float:
        """Return the seconds from the beginning to the end, or until *now*, or until something was told last."""
        if self.ended is not None:
            return self.ended - self.began
        return max(0.0, (self._last if now is None else now) - self.began)

    def left(self) -> int | None:
        """Return how many rows have no outcome. None: nobody knows."""
        return None if self.total is None else max(0, self.total - self.done_before - self.ok - self.failed)

    def waiting(self, now: float | None = None) -> float:
        """Return the part of the time in which some call was held back by the budget, 0 to 1."""
        elapsed = self.elapsed(now)
        to_come = max(0.0, self._waits_until - self.began - elapsed)
        return min(1.0, max(0.0, self._covered - to_come) / elapsed) if elapsed > 0 else 0.0

    def eta(self, now: float) -> float | None:
        """Return the seconds until the end at the rate of late. None: it cannot be told."""
        left, first = self.left(), self.speed.first
        if left == 0 or self.ended is not None:
            return 0.0
        if left is None or first is None or now - first < _SECONDS_BEFORE_ETA:
            return None
        rate = self.speed.rate(now)
        # The last rows take as long as a row takes, however many were answered a second.
        return max(left / rate, self.latencies.percentile(50) or 0.0) if rate > 0 else None

    def figures(self, now: float) -> Figures:
        """Return how the batch is doing now."""
        return Figures(
            total=self.total,
            done=self.done_before + self.ok + self.failed,
            ok=self.ok,
            failed=self.failed,
            rate=self.speed.rate(now) if self.ended is None else 0.0,
            in_flight=self.in_flight,
            queue=self.queue,
            eta=self.eta(now),
            retried=self.retries.total,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            waiting=self.waiting(now),
            elapsed=self.elapsed(now),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it, some 10 KB at most, for :meth:`from_dict` in another process."""
        return {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in _PLAIN},
            "errors": self.errors.to_dict(),
            "retries": self.retries.to_dict(),
            "latencies": self.latencies.to_dict(),
            "speed": self.speed.to_dict(),
            "timeline": self.timeline.to_dict(),
        }

    @classmethod
    def from_dict(cls, kept: Any) -> Stats:
        """Go on where another process left off.

        :raises ValueError: these are no figures, or not of this version. A batch whose figures are lost can begin new ones.
        """
        try:
            if kept["format"] != _FORMAT:
                raise ValueError(f"figures of format {kept['format']!r}, and not {_FORMAT}")
            return cls._read(kept)
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no figures of a batch: {type(error).__name__}") from error

    @classmethod
    def _read(cls, kept: Mapping[str, Any]) -> Stats:
        self = cls()
        for name in _PLAIN:
            setattr(self, name, kept[name])
        self.errors, self.retries = Tally.from_dict(kept["errors"]), Tally.from_dict(kept["retries"])
        self.latencies = Latencies.from_dict(kept["latencies"])
        self.speed = Speed.from_dict(kept["speed"])
        self.timeline = Timeline.from_dict(kept["timeline"])
        return self
