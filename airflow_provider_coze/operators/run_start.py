"""Get the run of a task: the one that an earlier try started, or a new one.

Coze lists no runs and knows no marker of ours, so the reply to the start is the only thing that names a run: if it is lost, nobody can
tell whether the run exists. That window is one reply long, or a stream long where only its end names the run, and ``on_unknown`` says
what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_coze.errors import CozeError, CozeNotFoundError, CozeOutcomeUnknownError, CozePlanError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.file_inputs import FileInputs
from airflow_provider_coze.operators.purchase import Purchase, remote_of
from airflow_provider_coze.operators.run_stream import streamed_run
from airflow_provider_coze.protocol import codes, flows
from airflow_provider_coze.protocol.endpoints.workflow import execute_id_in, stream_run
from airflow_provider_coze.protocol.messages import Replay
from airflow_provider_coze.protocol.models import RunHistory, WorkflowRun
from airflow_provider_coze.protocol.recovery import is_worth_repeating, may_have_started
from airflow_provider_coze.protocol.run_streams import RunFold
from airflow_provider_coze.protocol.statuses import run_phase
from airflow_provider_coze.state.reattach import Attach, Remote, Unknown
from airflow_provider_coze.state.record import Intent, Submitted

__all__ = ["MODES", "RunStart", "StartedRun", "started_from", "streamed_as"]

#: Values of ``execution_mode``.
MODES = ("auto", "async", "stream", "sync")
#: The settings of the connections whose plan has refused an asynchronous run of this process.
_STREAMS_ONLY: set[object] = set()


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run, as its record or the reply to its start shows it, and when it was started."""

    history: RunHistory
    since: float  # Unix seconds
    result: flows.RunResult | None = None  # of a run whose start was answered with its output
    streamed: bool = False  # whether it was started as a stream, so that its questions are answered by one


class RunStart:
    """Start the run of one try, or find the one before it.

    :param purchase: the record. None: none is kept, so no later try finds the run.
    :param mode: one of :data:`MODES`.
    :param on_unknown: ``fail`` or ``resend``.
    :param marker_parameter: the parameter of the workflow that gets the marker.
    :param until: Unix seconds: how long a stream is read. None: to its end.
    :param before: is told of the arguments before a new run is started, and may refuse them.
    """

    def __init__(
        self,
        hook: CozeHook,
        purchase: Purchase | None,
        log: Any,
        *,
        mode: str = "async",
        on_unknown: str,
        marker_parameter: str | None,
        until: float | None = None,
        before: Callable[[Mapping[str, Any]], object] = lambda _: None,
    ) -> None:
        self._hook, self._purchase, self._log = hook, purchase, log
        self._mode, self._until, self._before = mode, until, before
        self._on_unknown, self._marker_parameter = on_unknown, marker_parameter
        self._seen: RunHistory | None = None

    def run(self, arguments: Mapping[str, Any]) -> StartedRun:
        """Return the run.

        :param arguments: those of :func:`~airflow_provider_coze.protocol.endpoints.workflow.run_workflow`, without ``is_async``.
        :raises CozeOutcomeUnknownError: nobody can tell whether one was started, and *on_unknown* says to fail then.
        :raises CozeStateError: the record cannot be read or written; nothing was sent.
        """
        workflow_id = str(arguments["workflow_id"])
        if self._purchase is None:
            return self._started(self._prepared(arguments), None)
        decision, record = self._purchase.decided(arguments, lambda found: self._look(found, workflow_id))
        match decision, record:
            case Attach(), Submitted():
                assert self._seen is not None  # noqa: S101 - what _look saw made the decision
                return StartedRun(self._seen, record.at, streamed=record.ids.get("mode") == "stream")
            case Unknown(reason), Intent() | Submitted() if self._on_unknown == "fail":
                ids = record.ids if isinstance(record, Submitted) else {}
                raise _unknown(workflow_id, reason, record.marker, **ids)
        resent = record.marker if isinstance(decision, Unknown) and isinstance(record, Intent) else None
        given = self._prepared(arguments)
        return self._started(given, self._purchase.intend(marker=resent))

    def _prepared(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as they are sent, but for the marker: checked, and their files uploaded."""
        self._before(arguments)
        files = FileInputs(self._hook, self._log)
        return {**arguments, "parameters": files.in_parameters(arguments["parameters"])}

    def _look(self, record: Submitted, workflow_id: str) -> Remote:
        if not record.ids.get("execute_id"):  # a stream that never named its run
            return Remote.GONE
        known = RunHistory(
            execute_id=record.ids.get("execute_id", ""), execute_status="", debug_url=record.ids.get("debug_url")
        )
        try:
            self._seen = self._hook.perform(flows.read_run(known, self._hook.retry, workflow_id=workflow_id))
        except CozeNotFoundError as error:
            young = self._hook.clock() - record.at < flows.NOT_VISIBLE_SECONDS
            if error.code != codes.NOT_VISIBLE_YET or not young:
                return Remote.GONE
            self._seen = known
        phase = run_phase(self._seen.execute_status, interrupted=self._seen.interrupt is not None)
        return remote_of(phase)

    def _started(self, arguments: Mapping[str, Any], intent: Intent | None) -> StartedRun:
        given = dict(arguments)
        if self._marker_parameter and intent is not None:
            given["parameters"] = {**given["parameters"], self._marker_parameter: intent.marker}
        if self._mode == "stream" or (self._mode == "auto" and self._hook.settings in _STREAMS_ONLY):
            return self._streamed(given, intent)
        try:
            run = self._paid({**given, "is_async": self._mode != "sync"}, intent)
        except CozePlanError as error:
            if self._mode != "auto" or error.code != codes.NO_ASYNC:
                raise
            self._log.info("The plan has no asynchronous runs (code %s), so this one is streamed", error.code)
            _STREAMS_ONLY.add(self._hook.settings)
            if self._purchase is not None and intent is not None:
                intent = self._purchase.intend(marker=intent.marker)  # the same submission, another way
            return self._streamed(given, intent)
        at = self._bought(intent, execute_id=run.execute_id, debug_url=run.debug_url)
        return started_from(run, at)

    def _streamed(self, given: Mapping[str, Any], intent: Intent | None) -> StartedRun:
        """Start a run and read it to its end, or as far as its stream goes; again only if *on_unknown* allows for paying twice."""
        attempt, workflow_id = 0, str(given["workflow_id"])
        while True:
            attempt += 1
            fold, times = RunFold(), list[float]()

            def named(fold: RunFold, times: list[float] = times) -> None:
                ids = {"execute_id": fold.execute_id, "debug_url": fold.debug_url, "mode": "stream"}
                times.append(self._bought(intent, **ids))

            try:
                failure = streamed_run(
                    self._hook, stream_run(**given), fold, log=self._log, named=named, until=self._until
                )
            except CozeError as error:
                self._settle(error, intent)
                failure = error
            if fold.execute_id:
                if failure is not None:
                    self._log.warning("%s The run is waited for by its record", failure)
                return streamed_as(fold, times[0])
            if failure is None:
                # It came to its end without ever naming the run: what it says is all that there is.
                if fold.error is not None:
                    self._nothing_bought()
                return streamed_as(fold, self._bought(intent) if fold.error is None else self._hook.clock())
            if intent is None:
                raise failure
            wait = self._hook.retry.next_wait(failure, attempt, Replay.ALWAYS) or 0.0
            if self._on_unknown == "fail" or attempt >= self._hook.retry.attempts or self._is_late():
                raise _unknown(workflow_id, str(failure), intent.marker, logid=fold.logid) from failure
            self._log.warning('%s It is sent again, because on_unknown is "resend"', failure)
            self._hook.sleep(wait)

    def _settle(self, error: CozeError, intent: Intent | None) -> None:
        """Note what became of a start that was refused, and raise the refusal; return if nobody can tell."""
        if execute_id := execute_id_in(error.debug_url):
            # It was started and has failed: that is known, so a later try may start another.
            self._bought(intent, execute_id=execute_id, debug_url=error.debug_url)
            raise error
        if not may_have_started(error) or not is_worth_repeating(error):
            self._nothing_bought()
            raise error

    def _is_late(self) -> bool:
        return self._until is not None and self._hook.clock() >= self._until

    def _bought(self, intent: Intent | None, **ids: str | None) -> float:
        """Note what was bought, and return when."""
        if self._purchase is None or intent is None:
            return self._hook.clock()
        return self._purchase.bought(intent, **ids).at

    def _nothing_bought(self) -> None:
        if self._purchase is not None:
            self._purchase.nothing_bought()

    def _paid(self, given: Mapping[str, Any], intent: Intent | None) -> WorkflowRun:
        """Start a run; again only if *on_unknown* allows for paying twice."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._hook.run_workflow(**given)
            except CozeError as error:
                self._settle(error, intent)
                if intent is None:
                    raise
                wait = self._hook.retry.next_wait(error, attempt, Replay.ALWAYS)
                if self._on_unknown == "fail" or wait is None:
                    raise _unknown(str(given["workflow_id"]), str(error), intent.marker, logid=error.logid) from error
                self._log.warning('%s It is sent again, because on_unknown is "resend"', error)
                self._hook.sleep(wait)


def started_from(run: WorkflowRun, at: float, known: RunHistory | None = None) -> StartedRun:
    """Return what a reply to a start, or to an answer, says: the output of a synchronous run, or a run to wait for.

    :param at: Unix seconds.
    :param known: what is known of the run besides.
    """
    history = RunHistory(
        execute_id=run.execute_id or (known.execute_id if known else ""),
        execute_status="Running",
        debug_url=run.debug_url or (known.debug_url if known else None),
        interrupt=run.interrupt,
        logid=run.logid,
        usage=run.usage,
    )
    is_over = run.data is not None and run.interrupt is None
    return StartedRun(history, at, flows.direct_result(run, workflow_id="", waited=0.0) if is_over else None)


def streamed_as(fold: RunFold, at: float) -> StartedRun:
    """Return what a stream says.

    :param at: Unix seconds.
    """
    history = fold.record()
    if history.interrupt is not None:
        history = replace(history, interrupt={**history.interrupt, "said": fold.question})
    return StartedRun(history, at, fold.result() if _is_success(fold) else None, streamed=True)


def _is_success(fold: RunFold) -> bool:
    done = fold.ended and fold.error is None and fold.interrupt is None
    # Where pieces got lost on the way, the record has them.
    return done and (fold.is_whole or not fold.execute_id)


def _unknown(workflow_id: str, reason: str, marker: str, **facts: str | None) -> CozeOutcomeUnknownError:
    known = {name: facts.get(name) or None for name in ("execute_id", "debug_url", "logid")}
    return CozeOutcomeUnknownError(
        f"Whether a run of workflow {workflow_id!r} is going on, and billed, cannot be told: {reason.rstrip('.')}. Coze lists no runs, so "
        "nobody can look it up through its API: see the workflow's own log (运行日志) in Coze, and what the workflow writes. "
        f"Nothing more was sent, and no retry sends anything (its marker is {marker}). To start, and pay for, another, run the task once "
        'with on_unknown="resend" or reuse="never".',
        workflow_id=workflow_id,
        **known,
    )
