"""Rows as runs of a workflow: how one is started, waited for and read. Flows; no deciding whether, and no sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from airflow_provider_coze.batch import packing
from airflow_provider_coze.batch.asks import Answered, Ask, Failed, Live, Outcome
from airflow_provider_coze.batch.reading import Reader
from airflow_provider_coze.batch.rhythm import LastAsked, Rhythm
from airflow_provider_coze.errors import (
    CozeError,
    CozeNotFoundError,
    CozeOutcomeError,
    CozeOutcomeUnknownError,
    CozePlanError,
)
from airflow_provider_coze.protocol import codes, flows
from airflow_provider_coze.protocol.endpoints.workflow import run_workflow
from airflow_provider_coze.protocol.messages import Flow, JsonValue
from airflow_provider_coze.protocol.models import RunHistory, WorkflowRun
from airflow_provider_coze.protocol.outcomes import run_error
from airflow_provider_coze.protocol.outputs import history_output, run_output
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import Phase, run_phase
from airflow_provider_coze.protocol.trimmed import assembled_output

__all__ = ["MODES", "Runs", "unknown_run"]

#: Values of ``execution_mode``.
MODES = ("auto", "async", "sync")


@dataclass(slots=True)
class Runs:
    """What all runs of a batch have in common.

    :param options: further body fields of a run, by Coze's names.
    :param mode: ``async``, ``sync``, or ``auto``: async, and sync where the plan has no asynchronous runs (code 6003).
    :param row_timeout: seconds that one run is waited for. None: without end.
    :param until: Unix seconds: the end of the batch. None: there is none.
    :param packed_parameter: the parameter that takes the rows of a request that carries several.
    """

    workflow_id: str
    options: Mapping[str, JsonValue]
    reader: Reader
    retry: RetryPolicy
    rhythm: Rhythm
    clock: Callable[[], float]
    row_timeout: float | None
    until: float | None
    mode: str = "auto"
    packed_parameter: str = "rows"
    _is_async: bool = field(default=True, init=False)

    @property
    def replies_soon(self) -> bool:
        """Whether the reply to a start comes at once; that of a synchronous run comes with its output."""
        return self._is_async and self.mode != "sync"

    def start(self, ask: Ask, marker: str, conversation_id: str | None) -> Flow[Live]:
        """Start the rows' run.

        :raises CozeError: it was refused, or its reply was lost.
        """
        at = self.clock()
        parameters = self._parameters(ask)
        is_async = self._is_async and self.mode != "sync"

        def sent(*, is_async: bool) -> Flow[WorkflowRun]:
            call = run_workflow(
                workflow_id=self.workflow_id, parameters=parameters, is_async=is_async, options=self.options
            )
            return flows.call(call, self.retry)

        try:
            run = yield from sent(is_async=is_async)
        except CozePlanError as error:
            if self.mode != "auto" or error.code != codes.NO_ASYNC or not is_async:
                raise
            self._is_async = False
            run = yield from sent(is_async=False)
        ids = {"execute_id": run.execute_id, **({"debug_url": run.debug_url} if run.debug_url else {})}
        answered = None
        if run.data is not None and run.interrupt is None:
            outputs, invalid = self.reader.read(run_output(run.data), ask.indexes)
            answered = Answered(outputs, run.usage, ids, invalid)
        return Live(ask, marker, at, ids, answered=answered)

    def to_end(self, live: Live) -> Flow[Outcome | None]:
        """Wait for a run, and read its output. None: the batch's time is up first, and the run goes on.

        :raises CozeError: Coze could not be asked. The run goes on, or is over and paid for.
        """
        history = RunHistory(live.ids["execute_id"], "Running", debug_url=live.ids.get("debug_url"))
        limit = None if self.row_timeout is None else live.at + self.row_timeout
        ends = [end for end in (limit, self.until) if end is not None]
        asked = LastAsked(self.clock, live.at)
        watch = flows.Watch(polls=self.rhythm.polls, since=live.at, until=min(ends, default=None), clock=asked)
        if live.is_old:
            history = yield from self._looked_at(history, watch)
        while flows.is_waiting(history):
            seen = history.execute_status
            history = yield from flows.watch_run(history, watch, workflow_id=self.workflow_id)
            if history.execute_status == seen:
                break
        if flows.is_waiting(history) and (limit is None or self.clock() < limit):
            return None
        if run_phase(history.execute_status, interrupted=history.interrupt is not None) is not Phase.DONE:
            return Failed(self._error(history, live), live.ids, history.usage)
        if not live.is_old:
            before, age = asked.at - live.at, self.clock() - live.at
            self.rhythm.learn(history.create_time, history.update_time, before=before, age=age)
        missing: tuple[str, ...] = ()
        if history.is_output_trimmed:
            assembled = yield from assembled_output(history, self.retry, workflow_id=self.workflow_id)
            output, missing = assembled.output, assembled.missing
        else:
            output = None if history.output is None else history_output(history.output)
        outputs, invalid = self.reader.read(output, live.ask.indexes)
        return Answered(outputs, history.usage, live.ids, invalid, missing)

    def _looked_at(self, history: RunHistory, watch: flows.Watch) -> Flow[RunHistory]:
        """Look at once; the record of a run that was started a moment ago may not be visible yet."""
        try:
            return (yield from flows.read_run(history, watch.retry(), workflow_id=self.workflow_id))
        except CozeNotFoundError as error:
            if error.code != codes.NOT_VISIBLE_YET:
                raise
            return history

    def _error(self, history: RunHistory, live: Live) -> CozeOutcomeError:
        return run_error(history, workflow_id=self.workflow_id, waited=self.clock() - live.at)

    def _parameters(self, ask: Ask) -> dict[str, JsonValue]:
        requests = [_mapping(item.request) for item in ask.items]
        if len(requests) == 1:
            return requests[0]
        indexes = (item.index for item in ask.items)
        return packing.pack_parameters(self.packed_parameter, list(zip(indexes, requests, strict=True)))


def unknown_run(marker: str, error: CozeError | None = None) -> CozeOutcomeUnknownError:
    """Return the error of a run of which nobody can tell whether it was bought.

    :param error: what became of the reply to its start. None: it was lost with a process.
    """
    why = f": {str(error).rstrip('.')}" if error is not None else ", because the process that started it was killed"
    return CozeOutcomeUnknownError(
        f"Whether a run is going on, and billed, cannot be told{why}. Coze lists no runs: see the workflow's own log (运行日志) in Coze. "
        f"Nothing more was sent for its rows (marker {marker}). To start, and pay for, another, run the failed rows again, or set "
        'on_unknown="resend".'
    )


def _mapping(request: JsonValue) -> dict[str, JsonValue]:
    return dict(request) if isinstance(request, Mapping) else {}
