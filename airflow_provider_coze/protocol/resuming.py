"""Answer a run's question so that the answer is paid for once, also when the reply to it is lost.

An answer is billed, and Coze takes one for each event: a run that has gone on, asked something else or ended has had it. So the run's
record is what a lost reply, or a lost process, is found again by.
https://www.coze.cn/open/docs/developer_guides/resume_workflow, workflow_history.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_coze.errors import (
    CozeAlreadyEndedError,
    CozeError,
    CozeNotFoundError,
    CozeOutcomeUnknownError,
    CozePermissionError,
    CozeRejectedError,
)
from airflow_provider_coze.protocol.endpoints import workflow as workflows
from airflow_provider_coze.protocol.flows import call, read_run
from airflow_provider_coze.protocol.messages import Flow, Sleep
from airflow_provider_coze.protocol.models import RunHistory, WorkflowRun
from airflow_provider_coze.protocol.questions import Question
from airflow_provider_coze.protocol.recovery import may_have_started
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import Phase, run_phase

__all__ = ["LOOKS", "Resumed", "is_still_asked", "resume_once"]

#: Looks after a lost reply, and the seconds before each. Coze documents no delay between an answer and the record that shows it; what
#: is not there after 7 s is taken for never arrived.
LOOKS = (1.0, 2.0, 4.0)
#: How often one answer is sent.
_SENDS = 3


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that has had its answer.

    :ivar history: how it stands now; it may have asked again.
    :ivar reply: Coze's reply to the answer; of a synchronous run it holds the output or the next question. None: the answer had been
        taken before, or the reply was lost, and *history* comes from the run's record.
    """

    history: RunHistory
    reply: WorkflowRun | None = None


def is_still_asked(question: Question, history: RunHistory) -> bool:
    """Tell whether a run's record shows that it waits for the answer to just this question."""
    waits = run_phase(history.execute_status, interrupted=history.interrupt is not None) is Phase.NEEDS_INPUT
    asked = str((history.interrupt or {}).get("event_id") or "").strip()
    return waits and asked == question.event_id


def resume_once(
    question: Question,
    data: str,
    *,
    workflow_id: str,
    retry: RetryPolicy,
    sent_before: bool = False,
    resend: bool = False,
) -> Flow[Resumed]:
    """Answer a question of a run that was not streamed.

    :param data: what :func:`~airflow_provider_coze.protocol.answers.resume_data` made of the answer.
    :param sent_before: whether an earlier try of the task may have sent an answer to this question: then the record is read first.
    :param resend: send the answer although nobody can tell whether it has been taken.
    :raises CozeOutcomeUnknownError: an answer may have been taken, Coze shows no record that could tell, and *resend* is False.
    :raises CozeError: it could not be sent, or what became of it could not be read; a later try may look with *sent_before*.
    """
    if sent_before:
        seen = yield from _record(question, workflow_id, retry)
        if seen is not None and not is_still_asked(question, seen):
            return Resumed(seen)
        if seen is None and not resend:
            raise _unknown(question, workflow_id, "an earlier try sent one")
    answer = workflows.resume_workflow(
        workflow_id=workflow_id,
        event_id=question.event_id,
        interrupt_type=question.interrupt_type,
        resume_data=data,
    )
    for left in reversed(range(_SENDS)):
        try:
            run = yield from call(answer, retry)
        except (CozeAlreadyEndedError, CozeRejectedError) as error:
            # So is an answer refused that comes second: after another try's, or a person's in Coze.
            seen = yield from _record(question, workflow_id, retry)
            if seen is None or is_still_asked(question, seen):
                raise _located(error, question, workflow_id) from None
            return Resumed(seen)
        except CozeError as error:
            if not may_have_started(error):
                raise _located(error, question, workflow_id) from None
            seen = yield from _settled(question, workflow_id, retry)
            if seen is not None and not is_still_asked(question, seen):
                return Resumed(seen)
            if seen is None and not resend:
                raise _unknown(question, workflow_id, str(error)) from error
            if not left:
                raise _located(error, question, workflow_id) from None
        else:
            return Resumed(_history(question, run), run)
    raise AssertionError("unreachable")  # pragma: no cover


def _settled(question: Question, workflow_id: str, retry: RetryPolicy) -> Flow[RunHistory | None]:
    """Return the run's record once it shows that the answer was taken, or when it has had the time to."""
    seen = None
    for seconds in LOOKS:
        yield Sleep(seconds)
        seen = yield from _record(question, workflow_id, retry)
        if seen is None or not is_still_asked(question, seen):
            break
    return seen


def _record(question: Question, workflow_id: str, retry: RetryPolicy) -> Flow[RunHistory | None]:
    """Return the run's record; None where Coze has none to show."""
    if not question.execute_id:
        return None
    try:
        return (yield from read_run(RunHistory(question.execute_id, "Running"), retry, workflow_id=workflow_id))
    except (CozeNotFoundError, CozePermissionError):
        return None


def _history(question: Question, run: WorkflowRun) -> RunHistory:
    return RunHistory(
        execute_id=run.execute_id or question.execute_id,
        execute_status="Running",
        debug_url=run.debug_url,
        interrupt=run.interrupt,
        logid=run.logid,
    )


def _located(error: CozeError, question: Question, workflow_id: str) -> CozeError:
    return error.located(
        f"It is about the answer to event {question.event_id!r} of run {question.execute_id!r}, which waits in Coze; what it used so far "
        "is billed. A retry of the task goes on with it, unless durable is False.",
        workflow_id=workflow_id,
        execute_id=question.execute_id or None,
    )


def _unknown(question: Question, workflow_id: str, reason: str) -> CozeOutcomeUnknownError:
    return CozeOutcomeUnknownError(
        f"Whether run {question.execute_id!r} of workflow {workflow_id!r} has had the answer to event {question.event_id!r}, and billed "
        f"it, cannot be told: {reason.rstrip('.')}, and Coze shows no record of the run. Nothing more was sent, and no retry sends "
        "anything. Look at the run in Coze; to send the answer again, and maybe pay twice, run the task once with "
        'on_unknown="resend".',
        workflow_id=workflow_id,
        execute_id=question.execute_id or None,
    )
