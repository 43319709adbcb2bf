"""What the operators share: the hook, the clock of a wait, and when it is worth deferring.

What only a run needs is imported where it is used; see the package.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import BaseOperator, conf, is_wanted, renders_natively
from airflow_provider_coze.errors import CozeError, CozeInputError
from airflow_provider_coze.observing.lineage import HasLineage

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.hooks.coze import CozeHook
    from airflow_provider_coze.observing.spans import WorkSpan
    from airflow_provider_coze.operators.purchase import Purchase
    from airflow_provider_coze.operators.usage import UsageLedger
    from airflow_provider_coze.protocol.messages import JsonValue
    from airflow_provider_coze.state.stores import Store

__all__ = [
    "DEFAULT_CONN_ID",
    "ON_UNKNOWN",
    "CozeOperator",
    "default_deferrable",
    "min_deferral_seconds",
    "restore_texts",
]

#: ``CozeHook.default_conn_name``, without importing the hook.
DEFAULT_CONN_ID = "coze_default"

#: A deferral that ends within about 5 s can make Airflow's scheduler fail the try under LocalExecutor: it takes the worker's clean
#: exit for a death once the trigger has queued the task again. Measured on 3.3.2: 15 to 45 % of runs at 0 to 5 s, none at 8 s.
#: https://github.com/apache/airflow/issues/66374
_MIN_DEFERRAL_SECONDS = 8.0
#: Of the about 4 s that a worker has between SIGTERM and SIGKILL; cancelling takes up to 3.5 s, both usually some milliseconds.
_QUESTION_SECONDS = 1.0
#: Values of ``on_unknown``.
ON_UNKNOWN = ("fail", "resend")
#: Most chats end within this, and then there is nothing to defer.
_DEFERRAL_GRACE_SECONDS = 5.0


def min_deferral_seconds() -> float:
    """Return how long a deferral lasts at least: ``[coze] min_deferral_seconds``."""
    return float(conf.getfloat("coze", "min_deferral_seconds", fallback=_MIN_DEFERRAL_SECONDS))


def default_deferrable() -> bool:
    """Return Airflow's own default: ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def restore_texts(task: Any, names: Iterable[str]) -> None:
    """Give a task the texts back that native rendering has made numbers of.

    With ``render_template_as_native_obj`` Jinja reads every text as Python, also one without a template in it, and ids are digits.
    """
    if renders_natively(task):
        for name in names:
            setattr(task, name, _as_text(getattr(task, name)))


def _as_text(value: Any) -> Any:
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _as_text(item) for key, item in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else value


def wanted_in_time(ti: Any) -> bool | None:
    """Ask Airflow whether a person ended the task, within what a process that is being killed has for a question.

    In a thread: the signal that ends a task may have met its main thread in the midst of talking to Airflow.
    """
    answers: list[bool | None] = []
    asking = threading.Thread(target=lambda: answers.append(is_wanted(ti)), name="coze-is-wanted", daemon=True)
    asking.start()
    asking.join(_QUESTION_SECONDS)
    return answers[0] if answers else None


class CozeOperator(HasLineage, BaseOperator):
    """Start something on Coze and wait for it. Use one of the subclasses.

    :param coze_conn_id: the connection, of type ``coze``.
    :param wait_for_completion: False returns the ids as soon as Coze has accepted the work.
    :param deferrable: wait in the triggerer and free the worker; Airflow's ``[operators] default_deferrable`` by default.
    :param poll_interval: the longest time between two looks, in seconds. Looks come faster while the work is young, and never
        faster than one a second.
    :param timeout: seconds that a try waits for an answer. None: without end. Airflow's *execution_timeout* bounds the wait as well,
        also while the task is deferred.
    :param deferral_grace: seconds that the worker waits before it defers. A very short deferral can make Airflow fail the try
        (see ``[coze] min_deferral_seconds``), and costs more than it saves.
    :param durable: keep a record of what was bought, so that a later try of the task goes on with it. False: every try buys anew.
    :param reuse: which record a later try goes on with. ``unfinished``: one whose answer the task has not got, so that a clear by
        hand of a task that succeeded asks anew; ``always``: that one too; ``never``: none.
    :param on_unknown: what to do when nobody can tell what became of a request that may have been billed. ``fail``:
        :class:`~airflow_provider_coze.errors.CozeOutcomeUnknownError`; ``resend``: send it again, and maybe pay twice.
    :param output_type: what the answer has to be: a pydantic model, dataclass, TypedDict, Literal, dict, list of them, str… The task
        then returns it as plain JSON types. None: as it comes.
    :param output_path: the file where the answer is written, or, with a slash at its end, the folder, as any URL of object storage; the
        task then returns its URI. None: the answer itself goes into Airflow's XCom.
    :param token_budget: tokens that the task may use up, over its tries as far as they are known, before it sends anything more that is
        billed. None: no limit.
    """

    #: ``chat`` or ``run``: what a record is of.
    what = ""
    _context: Context  # of the try; these two are there from `_begin` on
    _ledger: UsageLedger

    def __init__(
        self,
        *,
        coze_conn_id: str = DEFAULT_CONN_ID,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float | None = None,
        timeout: float | None = None,
        deferral_grace: float = _DEFERRAL_GRACE_SECONDS,
        durable: bool = True,
        reuse: str = "unfinished",
        on_unknown: str = "fail",
        output_type: Any = None,
        output_path: str | None = None,
        token_budget: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.coze_conn_id = coze_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferral_grace = deferral_grace
        self.durable = durable
        self.reuse = reuse
        self.on_unknown = on_unknown
        self.output_type = output_type
        self.output_path = output_path
        self.token_budget = token_budget
        self._deadline_at: float | None = None
        self._purchase: Purchase | None = None
        self._ti: Any = None
        self._span: WorkSpan | None = None

    @cached_property
    def hook(self) -> CozeHook:
        """The hook of the operator's connection."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    def _waiting_problems(self) -> list[str]:
        from airflow_provider_coze.operators.outputs import path_problems
        from airflow_provider_coze.operators.usage import budget_problems
        from airflow_provider_coze.protocol.typed_output import OutputType
        from airflow_provider_coze.state.reattach import REUSES

        problems = [
            f"{name} must be a number of seconds over 0, not {value!r}"
            for name, value in (("poll_interval", self.poll_interval), ("timeout", self.timeout))
            if value is not None and not _is_positive(value)
        ]
        if not _is_positive(self.deferral_grace) and self.deferral_grace != 0:
            problems.append(f"deferral_grace must be a number of seconds, 0 or more, not {self.deferral_grace!r}")
        problems += [
            f"{name} must be one of {allowed}, not {value!r}"
            for name, value, allowed in (
                ("reuse", self.reuse, REUSES),
                ("on_unknown", self.on_unknown, ON_UNKNOWN),
            )
            if value not in allowed
        ]
        problems += budget_problems(self.token_budget)
        if self.output_type is not None:
            problems += [f"output_type {problem}" for problem in OutputType(self.output_type).problems()]
        if self.output_path is not None:
            problems += path_problems(self.output_path)
        return problems

    def _refuse(self, problems: Sequence[str]) -> None:
        """Raise one error that lists every problem, before anything is sent."""
        if not problems:
            return
        listed = "; ".join(problems)
        raise CozeInputError(
            f"Task {self.task_id!r} cannot be sent to Coze: {listed}. Nothing was sent, so nothing is billed; a retry without a "
            "change fails the same way."
        )

    def _begin(self, context: Context, *, resumed: bool) -> None:
        """Note whose try this is. Everything a try does begins with this."""
        from airflow_provider_coze.operators.usage import UsageLedger

        self._context, self._ti = context, context["ti"]
        self._ledger = UsageLedger(
            context,
            log=self.log,
            kind=self.what,
            budget=self.token_budget,
            keeps=self.durable,
            resumed=resumed,
        )

    def _tell_span(
        self, *, since: float, asked: str | None = None, answered: JsonValue = None, **facts: str | None
    ) -> None:
        """Tell the span of this work what has become known of it.

        :param since: Unix seconds: when it began.
        """
        if self._span is not None:
            self._span.began(since)
            self._span.know(**facts, output_type="text" if self.output_type in (None, str) else "json")
            self._span.used(self._ledger.total())
            self._span.asked(asked)
            self._span.answered(answered if isinstance(answered, str) or answered is None else json.dumps(answered))

    def _set_deadline(self, context: Context) -> None:
        """Note when the wait of this try is over: after timeout, or when Airflow's execution_timeout is about to end it.

        Airflow 3 does not count the time of a deferral, and Airflow 2 ends the task without asking it: neither says what Coze is
        doing then, or cancels it.
        """
        now = self.hook.clock()
        ends = [] if self.timeout is None else [now + self.timeout]
        if self.execution_timeout is not None:
            limit = self.execution_timeout.total_seconds()
            began = getattr(context["ti"], "start_date", None)
            began_at = began.timestamp() if began is not None else now
            ends.append(began_at + limit - _time_to_say_so(limit))
        self._deadline_at = min(ends, default=None)

    def _is_late(self) -> bool:
        return self._deadline_at is not None and self.hook.clock() >= self._deadline_at

    def _grace_ends(self) -> float:
        """When the worker stops looking for itself: after the grace, or at the deadline if that comes first."""
        grace = self.hook.clock() + self.deferral_grace
        return grace if self._deadline_at is None else min(grace, self._deadline_at)

    def _is_for_the_triggerer(self, error: CozeError) -> bool:
        """Tell whether a look that failed within the grace should be repeated by the triggerer, which has more patience."""
        from airflow_provider_coze.protocol.messages import Replay
        from airflow_provider_coze.protocol.retry import RetryPolicy

        return RetryPolicy().next_wait(error, 1, Replay.ALWAYS) is not None and not self._is_late()

    def _not_before(self) -> float:
        return self.hook.clock() + min_deferral_seconds()

    def _push(self, context: Context, **values: Any) -> None:
        """Push side results under their names, where pushing is on."""
        if not self.do_xcom_push:
            return
        for key, value in values.items():
            if value is not None:
                context["ti"].xcom_push(key=key, value=value)
        if values.get("debug_url"):
            from airflow_provider_coze.operators.linking import link_run

            link_run(self, context, values["debug_url"])

    def _pulled(self, context: Context, *keys: str) -> dict[str, str]:
        """Return what this very try has pushed, as far as it has: XComs outlive a deferral."""
        ti = context["ti"]
        pulled = {
            key: ti.xcom_pull(task_ids=self.task_id, key=key, map_indexes=getattr(ti, "map_index", None))
            for key in keys
        }
        return {key: value for key, value in pulled.items() if isinstance(value, str)}

    def _purchase_of(self, context: Context, part: str = "") -> Purchase | None:
        """Return the record of this task instance; None: the task keeps none.

        :param part: which of several.
        """
        if not self.durable:
            return None
        from airflow_provider_coze.operators.purchase import Purchase

        return Purchase(
            context,
            log=self.log,
            clock=self.hook.clock,
            reuse=self.reuse,
            what=self.what,
            fallback=lambda key: self._store_in_coze(context, key),
            part=part,
        )

    def _store_in_coze(self, context: Context, key: str) -> Store | None:
        """Return how Coze itself keeps the record, where it can."""
        return None

    def _goes_on(self) -> bool:
        """Tell whether a try that is being killed will be followed by one that goes on with its work."""
        return self.durable and self._ti is not None and wanted_in_time(self._ti) is not False

    def _typed(self, text: str) -> JsonValue:
        """Return an answer as the *output_type*, if there is one.

        :raises Mismatch: it is not of that type.
        """
        if self.output_type is None:
            return text
        from airflow_provider_coze.protocol.typed_output import OutputType

        typed: JsonValue = OutputType(self.output_type).read(text)
        return typed

    def _stored(self, value: JsonValue, **ids: str | None) -> JsonValue:
        """Return what goes into XCom: the answer, or, with *output_path*, where it was written.

        :param ids: of the chat or run that is paid for, for the error.
        """
        if self.output_path is None:
            return value
        from airflow_provider_coze.operators.outputs import stored_output

        return stored_output(value, self.output_path, self.log, **ids)


def _time_to_say_so(limit: float) -> float:
    """How long before Airflow's execution_timeout ours ends the wait: the time for a last look and for cancelling.

    A tenth of it, and not over 30 s: on Airflow 2 a deferred task has to be resumed before its execution_timeout is over as well.
    """
    return min(30.0, limit / 10)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
