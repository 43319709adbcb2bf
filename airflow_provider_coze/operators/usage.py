"""What a task has used of tokens, piece by piece, over deferrals and tries, and whether it may use more.

A piece is what Coze bills by itself: a chat, a repair turn, a run, a resumed run. Nothing here talks to Coze, and a count that cannot be
kept or read is said to be unknown, and never fails a task; only a budget that is used up does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeTokenBudgetError
from airflow_provider_coze.observing.metrics import count_tokens
from airflow_provider_coze.operators.purchase import identity_of
from airflow_provider_coze.protocol.models import Usage, integer
from airflow_provider_coze.state.usage import usage_store_for

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["UsageLedger", "budget_problems"]

_NOTHING = Usage()


def budget_problems(token_budget: object) -> list[str]:
    """Return what is wrong with an operator's ``token_budget``; None means that there is none."""
    if token_budget is None or (
        isinstance(token_budget, int) and not isinstance(token_budget, bool) and token_budget > 0
    ):
        return []
    return [f"token_budget must be a whole number of tokens over 0, not {token_budget!r}"]


@dataclass(frozen=True, slots=True)
class _Piece:
    what: str
    id: str  # of the chat or run, by which it is known again
    usage: Usage | None  # None: Coze did not say
    try_number: int  # the try that learned of it last
    generation: int  # its max_tries: a clear by hand raises it, a retry does not

    def to_dict(self) -> dict[str, Any]:
        return {
            "try_number": self.try_number,
            "what": self.what,
            "id": self.id,
            **(self.usage or _NOTHING).to_dict(),
            "reported": self.usage is not None,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], generation: int) -> _Piece:
        usage = Usage(*(integer(entry.get(name)) for name in _NOTHING.to_dict())) if entry.get("reported") else None
        return cls(
            what=str(entry.get("what") or ""),
            id=str(entry.get("id") or ""),
            usage=usage,
            try_number=integer(entry.get("try_number")),
            generation=integer(entry.get("generation", generation)),
        )


class UsageLedger:
    """The tokens of one task instance.

    Within a try they are known exactly: over a deferral they are in the store, or else in the XCom ``usage``. Those of earlier tries are
    known where there is a store that outlives tries: Airflow's task state store (3.3), or ``[coze] state_path``.

    :param context: Airflow's.
    :param log: the task's.
    :param kind: ``chat`` or ``run``, for the metric ``coze.tokens``.
    :param budget: the operator's ``token_budget``. It covers all tries since the task was cleared last, as far as they are known.
    :param keeps: whether to use the store: the operator's ``durable``.
    :param resumed: the task goes on after a deferral.
    """

    def __init__(
        self,
        context: Context | Mapping[str, Any],
        *,
        log: Any,
        kind: str,
        budget: int | None = None,
        keeps: bool = True,
        resumed: bool = False,
    ) -> None:
        ti: Any = context["ti"]
        self._ti, self._log, self._kind, self._budget, self._resumed = ti, log, kind, budget, resumed
        self._try_number = int(ti.try_number or 1)
        self._generation = int(getattr(ti, "max_tries", 0) or 0)
        self._store = usage_store_for(context, identity_of(context)) if keeps else None
        self._known: dict[str, _Piece] | None = None
        self._complete = True
        self._said_unreported = False

    def add(self, usage: Usage | None, what: str, id: str) -> None:
        """Count a piece. Coze reports a chat or run as a whole, so a later report of the same id takes the place of the one before.

        :param usage: None: Coze does not say. It then counts as 0, and the log says so once.
        :param what: in words, such as ``chat``, ``repair turn`` or ``resume``.
        """
        pieces = self._pieces()
        before = pieces.get(id)
        if usage is None:
            if before is not None and before.usage is not None:
                usage = before.usage
            elif not self._said_unreported:
                self._said_unreported = True
                self._log.warning("Coze did not say how many tokens %s %s used; it counts as 0", what, id)
        pieces[id] = _Piece(before.what if before else what, id, usage, self._try_number, self._generation)
        count_tokens(
            _minus(usage, before.usage if before else None),
            what=self._kind,
            dag_id=self._ti.dag_id,
            task_id=self._ti.task_id,
        )
        self._keep()

    def used(self) -> int:
        """Return how many tokens count against the budget: of all tries since the last clear, as far as they are known."""
        return _sum(piece for piece in self._pieces().values() if piece.generation == self._generation).token_count

    def check(self, next_what: str, **ids: str | None) -> None:
        """Let *next_what* be sent, or not. To be asked before anything that Coze bills.

        :param next_what: in words that go on with "was not sent", such as ``a repair turn``.
        :param ids: of the work so far, for the error.
        :raises CozeTokenBudgetError: the budget is used up.
        """
        if self._budget is None or (used := self.used()) < self._budget:
            return
        counted = "all tries since the task was cleared last" if self._store is not None else "this try"
        retry = (
            "A retry counts them as well, and would not send anything"
            if self._store is not None
            else "A retry would begin to count at 0, so the task is not retried by itself"
        )
        raise CozeTokenBudgetError(
            f"{next_what[:1].upper()}{next_what[1:]} was not sent: task {self._ti.task_id!r} has used {used} tokens in {counted}, and its "
            f"token_budget is {self._budget} ({self._listed()}). Nothing more was sent to Coze, and what was used is billed. {retry}; to "
            "go on, raise token_budget.",
            **{name: value for name, value in ids.items() if value},
        )

    def total(self) -> Usage:
        """Return the tokens of this try, for a span or a log."""
        return _sum(piece for piece in self._pieces().values() if piece.try_number == self._try_number)

    def to_xcom(self) -> dict[str, Any] | None:
        """Return the XCom ``usage``; None as long as Coze has reported nothing.

        The counts of this try and its number; ``total``: the counts of all tries that are known; ``attempts``: every piece, oldest first;
        ``complete``: False if a piece was not reported, or nobody kept what earlier tries used.
        """
        pieces = list(self._pieces().values())
        if not any(piece.usage for piece in pieces):
            return None
        return {
            **self.total().to_dict(),
            "try_number": self._try_number,
            "total": _sum(pieces).to_dict(),
            "attempts": [piece.to_dict() for piece in pieces],
            "complete": self._complete and all(piece.usage is not None for piece in pieces),
        }

    def _pieces(self) -> dict[str, _Piece]:
        """Return the pieces by id, with what is kept of earlier; read when it is first needed."""
        if self._known is None:
            self._known = {}
            for entry in self._kept():
                piece = _Piece.from_dict(entry, self._generation)
                self._known[piece.id] = piece
        return self._known

    def _kept(self) -> list[Mapping[str, Any]]:
        if self._try_number == 1 and not self._resumed:
            return []  # there was nothing before
        if self._store is not None:
            try:
                kept = self._store.read()
            except Exception as error:
                self._complete, self._store = False, None  # nor must it be written over
                self._log.warning("What earlier tries used could not be read (%s)", type(error).__name__)
            else:
                return _entries(kept)
        self._complete = self._complete and self._try_number == 1
        if not self._resumed:
            return []
        pushed = self._ti.xcom_pull(
            task_ids=self._ti.task_id, key="usage", map_indexes=getattr(self._ti, "map_index", None)
        )
        mine = pushed if isinstance(pushed, Mapping) and pushed.get("try_number") == self._try_number else {}
        return _entries(mine.get("attempts"))

    def _keep(self) -> None:
        if self._store is None:
            return
        entries = [{**piece.to_dict(), "generation": piece.generation} for piece in self._pieces().values()]
        try:
            self._store.write(entries)
        except Exception as error:
            self._log.warning("What this try used could not be kept for later tries (%s)", type(error).__name__)

    def _listed(self) -> str:
        return ", ".join(
            f"{piece.what} {piece.id}: {piece.usage.token_count if piece.usage else 'not reported'}"
            for piece in self._pieces().values()
            if piece.generation == self._generation
        )


def _entries(kept: object) -> list[Mapping[str, Any]]:
    return [entry for entry in kept if isinstance(entry, Mapping)] if isinstance(kept, list) else []


def _sum(pieces: Any) -> Usage:
    total = _NOTHING
    for piece in pieces:
        more = piece.usage or _NOTHING
        total = Usage(
            total.token_count + more.token_count,
            total.input_count + more.input_count,
            total.output_count + more.output_count,
        )
    return total


def _minus(now: Usage | None, before: Usage | None) -> Usage:
    """Return what is new in a report, so that no token is counted twice."""
    now, before = now or _NOTHING, before or _NOTHING
    return replace(
        _NOTHING,
        token_count=max(0, now.token_count - before.token_count),
        input_count=max(0, now.input_count - before.input_count),
        output_count=max(0, now.output_count - before.output_count),
    )
