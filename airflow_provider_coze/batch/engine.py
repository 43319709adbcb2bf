"""What becomes of a row that has no answer, and when a batch is to stop: decisions only, on a ``now`` that is given."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_coze import errors as e
from airflow_provider_coze.batch.asks import Ask
from airflow_provider_coze.batch.packing import halves
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.messages import changed
from airflow_provider_coze.protocol.policy import Action, verdict

__all__ = ["Again", "Engine", "Limits", "Record", "Split", "Stop", "Terminal", "Verdict"]

#: So many rows have to have an outcome before their ratio of errors says something about the rest.
_SAMPLE = 100
#: The waits of a row between its tries: full jitter would spread rows that a budget spreads already.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2.0, 60.0
#: A request that is turned away unbilled (429, no network …) is sent again so often, with waits that grow from a second to a minute:
#: some eight minutes in all. After that it is Coze, or the way to it, that is in trouble, and not the row.
_PATIENCE = 12
_TURNED_AWAY_SECONDS = 1.0
#: The longest wait that somebody else asks for, such as a gateway with its Retry-After: a batch does not sleep for a day.
_LONGEST_ASKED_SECONDS = 600.0
#: How often a request in doubt is sent again with on_unknown="resend", each time maybe billed, if retries_per_row is not more.
_RESENDS = 5
#: What says nothing about the row: the next request fares the same until it passes.
_TURNED_AWAY = (
    e.CozeTransportError,
    e.CozeProtocolError,
    e.CozeRateLimitedError,
    e.CozeUnavailableError,
    e.CozeConversationBusyError,
)
#: What says that every other row would fail the same way.
_OF_ALL_ROWS = (
    e.CozeAuthError,
    e.CozePermissionError,
    e.CozePlanError,
    e.CozeQuotaError,
    e.CozeConnectionConfigError,
    e.CozeStateError,
)
#: Codes that say it of a class which else speaks of one row: no history, a retired model, an unpublished bot, no workflow.
_CODES_OF_ALL_ROWS = frozenset({4007, 4012, 4015, 4021})


class Terminal(enum.Enum):
    """Why a batch is over."""

    COMPLETE = "complete"  # every row has an outcome
    ERRORS = "too_many_errors"
    BUDGET = "token_budget"
    TIMEOUT = "timeout"
    REFUSED = "refused"  # an error that every row would meet
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Again:
    """Ask these rows once more."""

    ask: Ask
    wait: float  # seconds


@dataclass(frozen=True, slots=True)
class Split:
    """Ask the rows of a request that failed as two halves, so that one bad row does not spoil the others."""

    asks: tuple[Ask, Ask]


@dataclass(frozen=True, slots=True)
class Record:
    """The rows have failed for good."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask no more rows at all."""

    reason: Terminal
    error: e.CozeError | None = None


Verdict: TypeAlias = Again | Split | Record | Stop


@dataclass(frozen=True, slots=True)
class Limits:
    """What the DAG's author allows."""

    retries_per_row: int = 0
    max_error_ratio: float | None = None  # of rows. None: any number of rows may fail
    token_budget: int | None = None
    until: float | None = None  # Unix seconds. None: no end
    requests_per_minute: float | None = None
    resends: bool = False  # on_unknown="resend"


class Engine:
    """Keeps count of one batch, and decides.

    :param total: number of rows, None while nobody knows.
    """

    def __init__(self, limits: Limits, *, total: int | None = None) -> None:
        self.limits, self.total = limits, total
        self.succeeded = self.failed = self.tokens = 0
        self.stop: Stop | None = None
        self._next_free = float("-inf")

    @property
    def goes_on(self) -> bool:
        """Whether rows may still be asked."""
        return self.stop is None

    def book(self, now: float) -> float:
        """Book the next of ``requests_per_minute`` and return how many seconds it is away."""
        if self.limits.requests_per_minute is None:
            return 0.0
        free = max(self._next_free, now)
        self._next_free = free + 60.0 / self.limits.requests_per_minute
        return free - now

    def count(self, *, ok: bool, tokens: int = 0) -> None:
        """Count the outcome of one row, and stop the batch if that was one too much."""
        self.tokens += tokens
        if ok:
            self.succeeded += 1
        else:
            self.failed += 1
            if self._fails_too_much():
                self.halt(Stop(Terminal.ERRORS))

    def check(self, now: float) -> bool:
        """Tell whether another billed request may be made, and stop the batch if not."""
        if self.limits.until is not None and now >= self.limits.until:
            self.halt(Stop(Terminal.TIMEOUT))
        budget = self.limits.token_budget
        if budget is not None and self.tokens >= budget:
            self.halt(Stop(Terminal.BUDGET))
        return self.goes_on

    def halt(self, stop: Stop) -> None:
        """Stop the batch; the first reason counts."""
        if self.stop is None:
            self.stop = stop

    def judge(self, ask: Ask, error: e.CozeError, now: float, *, spent: bool) -> Verdict:
        """Decide what becomes of the rows of a request that has no answer.

        :param spent: whether it was billed.
        """
        match error:
            case e.CozeOutcomeUnknownError() if self._may_resend(ask):
                return Again(changed(ask, tries=ask.tries + 1), _backoff(ask.tries, _FIRST_WAIT_SECONDS))
            case e.CozeOutcomeUnknownError() | e.CozeChatTimeoutError() | e.CozeRunTimeoutError():
                return Record()  # it may go on, or be found by somebody: another would be a second one
            case e.CozeNotFoundError() if not spent:
                return Stop(Terminal.REFUSED, error)  # the bot or the workflow, which all rows have in common
        if _is_of_all_rows(error):
            return Stop(Terminal.REFUSED, error)
        found = verdict(error, spent=spent, now=now)
        final = found.action is Action.FAIL and not isinstance(error, e.CozeOutputTypeError)
        asked = min(_LONGEST_ASKED_SECONDS, max(error.retry_after or 0.0, found.wait_seconds or 0.0))
        if isinstance(error, _TURNED_AWAY) and not spent and not final:
            if ask.waits >= _PATIENCE:
                return Stop(Terminal.REFUSED, error)
            return Again(changed(ask, waits=ask.waits + 1), max(_backoff(ask.waits, _TURNED_AWAY_SECONDS), asked))
        if len(ask.items) > 1:
            first, second = halves(ask.items)
            ask = changed(ask, tries=ask.tries + spent, waits=0)
            return Split((changed(ask, items=tuple(first)), changed(ask, items=tuple(second))))
        if final or ask.tries >= self.limits.retries_per_row:
            return Record()
        return Again(changed(ask, tries=ask.tries + 1), max(_backoff(ask.tries, _FIRST_WAIT_SECONDS), asked))

    def wait_for_coze(self, error: e.CozeError, times: int) -> float | None:
        """Return the seconds until Coze is asked again about what it runs, or may run. None: something else than time has to help.

        :param times: how often that was done for the same already.
        """
        if times >= _PATIENCE or not isinstance(error, _TURNED_AWAY):
            return None
        return max(_backoff(times, _TURNED_AWAY_SECONDS), min(_LONGEST_ASKED_SECONDS, error.retry_after or 0.0))

    def _may_resend(self, ask: Ask) -> bool:
        return self.limits.resends and ask.tries < max(_RESENDS, self.limits.retries_per_row)

    def _fails_too_much(self) -> bool:
        allowed = self.limits.max_error_ratio
        if allowed is None:
            return False
        if allowed == 0 or (self.total is not None and self.failed > allowed * self.total):
            return True
        done = self.succeeded + self.failed
        return done >= _SAMPLE and self.failed > allowed * done


def _is_of_all_rows(error: e.CozeError) -> bool:
    """Tell whether the next request meets the same, such as a quota that is used up; a chat or run can fail of that as well."""
    if isinstance(error, _OF_ALL_ROWS) or error.code in _CODES_OF_ALL_ROWS or 300 <= (error.status or 0) < 400:
        return True
    known = codes.BY_CODE.get(error.code or 0) if isinstance(error, e.CozeOutcomeError) else None
    return known is not None and issubclass(known.error, _OF_ALL_ROWS)


def _backoff(times: int, first: float) -> float:
    return min(_LONGEST_WAIT_SECONDS, first * 2.0 ** min(times, 10))
