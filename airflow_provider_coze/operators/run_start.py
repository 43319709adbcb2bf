"""Get the run of a task: the one that an earlier try started, or a new one.

Coze lists no runs and knows no marker of ours, so the reply to the start is the only thing that names a run: if it is lost, nobody can
tell whether the run exists. That window is one reply long, and ``on_unknown`` says what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.errors import CozeError, CozeNotFoundError, CozeOutcomeUnknownError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.purchase import Purchase
from airflow_provider_coze.protocol import codes, flows
from airflow_provider_coze.protocol.endpoints.workflow import execute_id_in
from airflow_provider_coze.protocol.messages import Replay
from airflow_provider_coze.protocol.models import RunHistory, WorkflowRun
from airflow_provider_coze.protocol.recovery import is_worth_repeating, may_have_started
from airflow_provider_coze.protocol.statuses import Phase, run_phase
from airflow_provider_coze.state.reattach import Attach, Remote, Unknown
from airflow_provider_coze.state.record import Intent, Submitted

__all__ = ["RunStart", "StartedRun"]

_REMOTE = {Phase.DONE: Remote.DONE, Phase.FAILED: Remote.FAILED, Phase.CANCELLED: Remote.FAILED}


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run, as its record or the reply to its start shows it, and when it was started."""

    history: RunHistory
    since: float  # Unix seconds
    reply: WorkflowRun | None = None  # of a run that was started just now; holds the output of a synchronous one


class RunStart:
    """Start the run of one try, or find the one before it.

    :param on_unknown: ``fail`` or ``resend``.
    :param marker_parameter: the parameter of the workflow that gets the marker.
    """

    def __init__(
        self, hook: CozeHook, purchase: Purchase, log: Any, *, on_unknown: str, marker_parameter: str | None
    ) -> None:
        self._hook, self._purchase, self._log = hook, purchase, log
        self._on_unknown, self._marker_parameter = on_unknown, marker_parameter
        self._seen: RunHistory | None = None

    def run(self, arguments: Mapping[str, Any]) -> StartedRun:
        """Return the run.

        :param arguments: those of :func:`~airflow_provider_coze.protocol.endpoints.workflow.run_workflow`.
        :raises CozeOutcomeUnknownError: nobody can tell whether one was started, and *on_unknown* says to fail then.
        :raises CozeStateError: the record cannot be read or written; nothing was sent.
        """
        workflow_id = str(arguments["workflow_id"])
        decision, record = self._purchase.decided(arguments, lambda found: self._look(found, workflow_id))
        match decision, record:
            case Attach(), Submitted():
                assert self._seen is not None  # noqa: S101 - what _look saw made the decision
                return StartedRun(self._seen, record.at)
            case Unknown(reason), Intent() | Submitted() if self._on_unknown == "fail":
                ids = record.ids if isinstance(record, Submitted) else {}
                raise _unknown(workflow_id, reason, record.marker, **ids)
        resent = record.marker if isinstance(decision, Unknown) and isinstance(record, Intent) else None
        return self._started(arguments, self._purchase.intend(marker=resent))

    def _look(self, record: Submitted, workflow_id: str) -> Remote:
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
        return _REMOTE.get(phase, Remote.ALIVE)

    def _started(self, arguments: Mapping[str, Any], intent: Intent) -> StartedRun:
        given = dict(arguments)
        if self._marker_parameter:
            given["parameters"] = {**given["parameters"], self._marker_parameter: intent.marker}
        run = self._paid(given, intent)
        record = self._purchase.bought(intent, execute_id=run.execute_id, debug_url=run.debug_url)
        history = RunHistory(
            execute_id=run.execute_id, execute_status="Running", debug_url=run.debug_url, logid=run.logid
        )
        return StartedRun(history, record.at, run)

    def _paid(self, given: Mapping[str, Any], intent: Intent) -> WorkflowRun:
        """Start a run; again only if *on_unknown* allows for paying twice."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._hook.run_workflow(**given)
            except CozeError as error:
                if execute_id := execute_id_in(error.debug_url):
                    # It was started and has failed: that is known, so a later try may start another.
                    self._purchase.bought(intent, execute_id=execute_id, debug_url=error.debug_url)
                    raise
                if not may_have_started(error) or not is_worth_repeating(error):
                    self._purchase.nothing_bought()
                    raise
                wait = self._hook.retry.next_wait(error, attempt, Replay.ALWAYS)
                if self._on_unknown == "fail" or wait is None:
                    raise _unknown(str(given["workflow_id"]), str(error), intent.marker, logid=error.logid) from error
                self._log.warning('%s It is sent again, because on_unknown is "resend"', error)
                self._hook.sleep(wait)


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
