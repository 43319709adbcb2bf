"""Answer what a run asks, and hand the run on: Coze takes an answer once, by the way that fits how the run was started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.asked import Answered
from airflow_provider_coze.operators.run_start import StartedRun, started_from, streamed_as
from airflow_provider_coze.operators.run_stream import resumed_stream
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.questions import Question
from airflow_provider_coze.protocol.resuming import is_still_asked, resume_once
from airflow_provider_coze.protocol.run_streams import RunFold

__all__ = ["Resuming", "question_of", "settled"]


def question_of(history: RunHistory) -> Question:
    """Return what a run asks.

    :raises CozeProtocolError: it cannot be answered.
    """
    interrupt = dict(history.interrupt or {})
    title, said = interrupt.pop("node_title", None), str(interrupt.pop("said", ""))
    return Question.from_interrupt(
        interrupt,
        node_title=title if isinstance(title, str) else None,
        execute_id=history.execute_id or None,
        said=said,
    )


@dataclass(frozen=True, slots=True)
class Resuming:
    """How the runs of one task are answered.

    :ivar until: Unix seconds: how long a stream is read. None: to its end.
    :ivar resend: whether an answer is sent again when nobody can tell whether it was taken.
    :ivar streamed: whether the run was started as a stream.
    """

    hook: CozeHook
    log: Any
    workflow_id: str
    until: float | None
    resend: bool
    streamed: bool

    def resumed(self, answered: Answered, *, sent_before: bool) -> StartedRun:
        """Send an answer, unless an earlier try has, and return the run as it goes on.

        :raises CozeOutcomeUnknownError: nobody can tell whether it was taken.
        """
        question, now = answered.question, self.hook.clock()
        if not self.streamed:
            done = self.hook.perform(
                resume_once(
                    question,
                    answered.data,
                    workflow_id=self.workflow_id,
                    retry=self.hook.retry,
                    sent_before=sent_before,
                    resend=self.resend,
                )
            )
            return StartedRun(done.history, now) if done.reply is None else started_from(done.reply, now, done.history)
        if sent_before:
            known = RunHistory(question.execute_id, "Running")
            seen = self.hook.perform(flows.read_run(known, self.hook.retry, workflow_id=self.workflow_id))
            if not is_still_asked(question, seen):
                return StartedRun(seen, now)
        got = resumed_stream(
            self.hook,
            question,
            answered.data,
            workflow_id=self.workflow_id,
            log=self.log,
            until=self.until,
            resend=self.resend,
        )
        return streamed_as(got, now) if isinstance(got, RunFold) else StartedRun(got, now)


def settled(hook: CozeHook, history: RunHistory, answered: str, *, workflow_id: str) -> RunHistory:
    """Read a run again while its record still shows the question that has been answered: records can lag behind.

    :param answered: the event of that question.
    """
    for seconds in (1.0, 2.0, 4.0, 8.0):
        if str((history.interrupt or {}).get("event_id") or "").strip() != answered:
            break
        hook.sleep(seconds)
        history = hook.perform(flows.read_run(history, hook.retry, workflow_id=workflow_id))
    return history
