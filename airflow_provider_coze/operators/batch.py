"""What the two batch operators share: parameters, where a batch is kept, its legs, and what a task ends in.

A leg is what one process does of a batch: all of it, or, deferred, one burst of sending and reading. Whatever a leg has to know of
those before it is in the batch's journal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.compat import BaseOperator
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.observing.lineage import HasLineage
from airflow_provider_coze.operators.base import ON_UNKNOWN, default_deferrable, min_deferral_seconds, restore_texts
from airflow_provider_coze.operators.fate import decided

if TYPE_CHECKING:
    from airflow_provider_coze.batch.chats import Chats
    from airflow_provider_coze.batch.runs import Runs
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.hooks.coze import CozeHook
    from airflow_provider_coze.operators.batch_leg import Leg, Over

__all__ = ["BatchOperator"]

#: Results of asynchronous runs are kept by Coze for 24 h at least (www.coze.cn/open/docs/developer_guides/workflow_history).
_TIMEOUT_SECONDS = 86_400.0
#: What a kill can leave in doubt on an object store is up to two of these of submissions; each is one small object to be written.
_COMMIT_SECONDS = 2.0
_ON_ERROR = ("record", "fail")


class BatchOperator(HasLineage, BaseOperator):
    """Ask Coze one question for each of many rows. Use one of the subclasses.

    One process sends, waits and reads for all rows; no task for each row is made. Results are written to *result_path*, and the task
    returns a small manifest: ``batch_id``, ``request_count``, ``counts``, ``result_uri``, ``failed_uri``, ``usage``,
    ``terminal_reason``. A try that was killed is taken up by the next one, on any worker that reaches *result_path*: rows that have an
    outcome are not asked again, and what was running is read.

    :param inputs: the rows: a list of texts or objects, also as a template or an XCom; or the path or URL of a file (``.jsonl``, ``.csv``,
        ``.parquet``), of a folder or a glob of such files; or any iterable. ``failed_uri`` of an earlier batch asks its failed rows again.
    :param result_path: the folder, as a path or a URL of object storage, that gets a folder of its own for each batch.
    :param coze_conn_id: the connection, of type ``coze``.
    :param max_in_flight: how many requests run in Coze at the same time. None: 50, and 500 if the task is deferrable.
    :param requests_per_minute: of billed requests, for a limit on the model's side (RPM). None: only the connection's budget counts.
    :param rows_per_call: how many rows share one billed request. Their answers are joined back by index, and a request that fails is
        split in half until only the rows that are bad have failed.
    :param retries_per_row: how often a row is asked again after its chat or run has failed, or its answer is not of the *output_type*;
        each time is billed. What was turned away unbilled is sent again without counting.
    :param row_timeout: seconds that one chat or run is waited for. None: without end.
    :param output_type: what the output of each row has to be: a pydantic model, dataclass, TypedDict, Literal, dict, list of them…
    :param on_error: ``record``: rows that fail are recorded, and the task succeeds; ``fail``: all rows are asked, and then the task fails
        if one has failed; a retry asks only those again.
    :param max_error_ratio: part of the rows, 0 to 1, that may fail; with more the batch stops, and the task fails. It is judged from 100
        rows on, and 0 stops at the first. None: any number may fail.
    :param token_budget: tokens that the batch may use before it sends anything more that is billed. None: no limit.
    :param timeout: seconds that a try of the task may take; 24 h by default. Then nothing more is sent, what there is is written, and the
        task fails; a retry goes on. None: without end.
    :param ordered: write the results in the order of the input. False: in the order in which they came.
    :param report: write a page about the batch, ``report.html``, next to the results.
    :param deferrable: wait in the triggerer and free the worker between bursts of sending and reading; Airflow's
        ``[operators] default_deferrable`` by default.
    :param poll_interval: the longest time between two looks at one chat or run, in seconds.
    :param on_unknown: what to do about rows of which nobody can tell whether they were asked. ``fail``: they are recorded as ``unknown``;
        ``resend``: they are asked again, and maybe paid for twice.
    :param reuse: which batch a later try goes on with. ``unfinished``: one that the task has not got, so that a clear by hand of a task
        that succeeded asks anew; ``always``: that one too; ``never``: none.
    :param commit_seconds: on an object store, how often what was bought is written down. What was sent in twice this time can be in doubt
        after a kill. On a local path every line is written at once.
    """

    #: ``chat`` or ``run``.
    what = ""
    _texts: Sequence[str] = ()

    def __init__(
        self,
        *,
        inputs: Any,
        result_path: str,
        coze_conn_id: str = "coze_default",
        max_in_flight: int | None = None,
        requests_per_minute: float | None = None,
        rows_per_call: int = 1,
        retries_per_row: int = 1,
        row_timeout: float | None = None,
        output_type: Any = None,
        on_error: str = "record",
        max_error_ratio: float | None = None,
        token_budget: int | None = None,
        timeout: float | None = _TIMEOUT_SECONDS,
        ordered: bool = True,
        report: bool = False,
        deferrable: bool | None = None,
        poll_interval: float | None = None,
        on_unknown: str = "fail",
        reuse: str = "unfinished",
        commit_seconds: float = _COMMIT_SECONDS,
        **kwargs: Any,
    ) -> None:
        # Each key of the manifest is an XCom as well, so that `asked.output["failed_uri"]` can be the inputs of the next task.
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.inputs = inputs
        self.result_path = result_path
        self.coze_conn_id = coze_conn_id
        self.max_in_flight = max_in_flight
        self.requests_per_minute = requests_per_minute
        self.rows_per_call = rows_per_call
        self.retries_per_row = retries_per_row
        self.row_timeout = row_timeout
        self.output_type = output_type
        self.on_error = on_error
        self.max_error_ratio = max_error_ratio
        self.token_budget = token_budget
        self.timeout = timeout
        self.ordered = ordered
        self.report = report
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.on_unknown = on_unknown
        self.reuse = reuse
        self.commit_seconds = commit_seconds
        self._leg: Leg | None = None

    @cached_property
    def hook(self) -> CozeHook:
        """The hook of the operator's connection."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    @decided
    def execute(self, context: Context) -> Any:
        """Ask all rows, or go on where an earlier try was killed."""
        self._check()
        limit = None if self.timeout is None else self.hook.clock() + self.timeout
        if self.execution_timeout is not None and not self.deferrable:
            end = self.hook.clock() + 0.9 * self.execution_timeout.total_seconds()  # the rest is for writing results
            limit = end if limit is None else min(limit, end)
        return self._go_on(context, folder=None, until=limit, ended=frozenset())

    @decided
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Read what has ended while the task was deferred, and send more.

        :raises CozeTriggerEventError: the triggerer sent something that is not ours.
        """
        from airflow_provider_coze.triggers.events import BatchEvent

        found = BatchEvent.from_payload(event)
        if found.error is not None:
            raise found.error
        restore_texts(self, self._texts)
        return self._go_on(context, folder=found.folder, until=found.deadline, ended=frozenset(found.ended))

    def on_kill(self) -> None:
        """Send nothing more, and say what goes on."""
        if self._leg is not None:
            self._leg.kill()

    # --- what chats and runs differ in

    def _problems(self) -> list[str]:
        raise NotImplementedError

    def _kind(self, until: float | None) -> Chats | Runs:
        raise NotImplementedError

    def _templates(self) -> Mapping[str, Any]:
        """Return what is rendered for each row, by name; one thing."""
        raise NotImplementedError

    def _common(self) -> Mapping[str, Any]:
        """Return what all rows are asked with: part of what makes an input the same as before."""
        raise NotImplementedError

    # --- legs

    def _go_on(self, context: Context, *, folder: str | None, until: float | None, ended: frozenset[str]) -> Any:
        from airflow_provider_coze.operators.batch_leg import Leg

        self._leg = leg = Leg(self, context, folder=folder, until=until, ended=ended)
        over = leg.run()
        if over is None:
            self._defer(leg, until)
        return self._end(context, over)

    def _end(self, context: Context, over: Over) -> Any:
        """Return the manifest, or raise why the task fails; the manifest is in XCom either way."""
        from airflow_provider_coze.operators.batch_end import ended

        if self.do_xcom_push:
            context["ti"].xcom_push(key="manifest", value=over.manifest)
        return ended(self, over)

    def _defer(self, leg: Leg, until: float | None) -> NoReturn:
        from airflow_provider_coze.triggers.batch import CozeBatchTrigger

        now = self.hook.clock()
        self.log.info("%d in flight; waiting for them in the triggerer", leg.waiting)
        self.defer(
            trigger=CozeBatchTrigger(
                folder=leg.folder,
                window_uri=leg.window_uri,
                started_at=now,
                coze_conn_id=self.coze_conn_id,
                enough=leg.enough,
                workflow_id=str(getattr(self, "workflow_id", "")),
                row_timeout=self.row_timeout,
                deadline=until,
                not_before=now + min_deferral_seconds(),
                poll_interval=self.poll_interval,
            ),
            method_name="execute_complete",
        )

    # --- checks

    def _check(self) -> None:
        """Find what is wrong before anything is sent.

        :raises CozeInputError: one error that lists every problem.
        """
        from airflow_provider_coze.state.reattach import REUSES

        restore_texts(self, self._texts)
        problems = [
            f"{name} must be a whole number over 0, not {value!r}"
            for name, value in (("max_in_flight", self.max_in_flight), ("rows_per_call", self.rows_per_call))
            if value is not None and (not _is_whole(value) or value < 1)
        ]
        problems += [
            f"{name} must be a number over 0, not {value!r}"
            for name, value in (
                ("requests_per_minute", self.requests_per_minute),
                ("row_timeout", self.row_timeout),
                ("timeout", self.timeout),
                ("poll_interval", self.poll_interval),
                ("commit_seconds", self.commit_seconds),
                ("token_budget", self.token_budget),
            )
            if value is not None and not (_is_number(value) and value > 0)
        ]
        if not _is_whole(self.retries_per_row) or self.retries_per_row < 0:
            problems.append(f"retries_per_row must be a whole number, 0 or more, not {self.retries_per_row!r}")
        ratio = self.max_error_ratio
        if ratio is not None and not (_is_number(ratio) and 0 <= ratio <= 1):
            problems.append(f"max_error_ratio must be a number of 0 to 1, not {ratio!r}")
        problems += [
            f"{name} must be one of {allowed}, not {value!r}"
            for name, value, allowed in (
                ("on_error", self.on_error, _ON_ERROR),
                ("on_unknown", self.on_unknown, ON_UNKNOWN),
                ("reuse", self.reuse, REUSES),
            )
            if value not in allowed
        ]
        if not isinstance(self.result_path, str) or self.result_path.strip() in ("", "None"):
            problems.append(f"result_path is {self.result_path!r}: empty, or a template that rendered to nothing")
        if self.output_type is not None:
            from airflow_provider_coze.protocol.typed_output import OutputType

            problems += [f"output_type {problem}" for problem in OutputType(self.output_type).problems()]
        problems += self._problems()
        if problems:
            raise CozeInputError(
                f"Task {self.task_id!r} cannot be sent to Coze: {'; '.join(problems)}. Nothing was sent, so nothing is billed; a retry "
                "without a change fails the same way."
            )
        from airflow_provider_coze.batch.files import check_writable

        check_writable(self.result_path)


def batch_name(ti: Any, key: str) -> str:
    """Return the name of a batch's folder: whose it is for people, and a piece of the identity that all tries share."""
    index = getattr(ti, "map_index", -1)
    parts = [ti.dag_id, ti.task_id, ti.run_id, *([str(index)] if index is not None and index >= 0 else [])]
    return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', '.'.join(parts))[:120]}-{key[:8]}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
