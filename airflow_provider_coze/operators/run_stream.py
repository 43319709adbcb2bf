"""Read a run as it goes: its id as soon as Coze names it, what its nodes say into the log, and what broke the stream off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_coze.errors import CozeError, CozeOutcomeUnknownError, CozeProtocolError, CozeTransportError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.growing import GrowingLog, read_stream
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints.workflow import stream_resume
from airflow_provider_coze.protocol.messages import StreamCall
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.questions import Question
from airflow_provider_coze.protocol.recovery import may_have_started
from airflow_provider_coze.protocol.resuming import LOOKS, is_still_asked
from airflow_provider_coze.protocol.run_streams import RunFold
from airflow_provider_coze.protocol.wording import in_brackets

__all__ = ["resumed_stream", "streamed_run"]

#: How often one answer is sent.
_SENDS = 3


def streamed_run(
    hook: CozeHook,
    call: StreamCall,
    fold: RunFold,
    *,
    log: Any,
    named: Callable[[RunFold], object],
    until: float | None,
) -> CozeError | None:
    """Open a stream of a run, and read it into *fold*.

    :param named: is told of the fold when it knows the run's id, which on the cloud is at the end of the stream.
    :param until: Unix seconds: when to stop reading. None: never.
    :returns: what broke the stream off before the run's end was known; the run may go on. None: it has ended, or asks a question.
    :raises CozeError: Coze refused it, or it never left; nothing was started.
    """
    growing, known, failure = GrowingLog(log, hook.clock, "The workflow"), bool(fold.execute_id), None

    def looked() -> None:
        nonlocal known
        if fold.execute_id and not known:
            known = True
            named(fold)

    try:
        read_stream(hook, call, fold, growing, looked=looked, until=until)
    except (CozeTransportError, CozeProtocolError) as error:
        if not may_have_started(error):
            raise
        failure = error
    growing.flush()
    looked()  # half an event at the end may have named it
    if fold.ended:
        return None
    return failure or CozeProtocolError(
        f"The stream of run {fold.execute_id!r} ended without saying how the run did{in_brackets(fold.logid)}. Coze may go on with it, and "
        "bills it.",
        logid=fold.logid,
        execute_id=fold.execute_id or None,
    )


def resumed_stream(
    hook: CozeHook,
    question: Question,
    data: str,
    *,
    workflow_id: str,
    log: Any,
    until: float | None,
    resend: bool,
) -> RunFold | RunHistory:
    """Answer a question of a run that was streamed, once, and read on.

    :param data: the answer as Coze takes it.
    :param resend: send the answer although nobody can tell whether it has been taken.
    :returns: the stream; or, where it broke off, the run's record, which the caller waits on.
    :raises CozeOutcomeUnknownError: an answer may have been taken, and Coze shows no record that could tell.
    :raises CozeError: it could not be sent.
    """
    answer = stream_resume(
        workflow_id=workflow_id,
        event_id=question.event_id,
        interrupt_type=question.interrupt_type,
        resume_data=data,
    )
    for left in reversed(range(_SENDS)):
        fold = RunFold(execute_id=question.execute_id)
        failure = streamed_run(hook, answer, fold, log=log, named=lambda _: None, until=until)
        if failure is None:
            return fold
        seen = None
        for seconds in LOOKS:
            hook.sleep(seconds)
            seen = _record(hook, question, workflow_id)
            if seen is None or not is_still_asked(question, seen):
                break
        if seen is not None and not is_still_asked(question, seen):
            log.warning("%s The run is waited for by its record", failure)
            return seen
        if seen is None and not resend:
            raise CozeOutcomeUnknownError(
                f"Whether run {question.execute_id!r} of workflow {workflow_id!r} has had the answer to event {question.event_id!r}, and "
                f"billed it, cannot be told: {str(failure).rstrip('.')}, and Coze shows no record of the run. Nothing more was sent. Look "
                'at the run in Coze; to send the answer again, and maybe pay twice, run the task once with on_unknown="resend".',
                workflow_id=workflow_id,
                execute_id=question.execute_id or None,
            ) from failure
        if not left:
            raise failure
    raise AssertionError("unreachable")  # pragma: no cover


def _record(hook: CozeHook, question: Question, workflow_id: str) -> RunHistory | None:
    if not question.execute_id:
        return None
    try:
        return hook.perform(
            flows.read_run(RunHistory(question.execute_id, "Running"), hook.retry, workflow_id=workflow_id)
        )
    except CozeError:
        return None
