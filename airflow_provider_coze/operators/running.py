"""What a workflow operator does between starting a run and returning its output: waiting, questions, long outputs.

A task is one run. Each answer to a question of it is paid for once by itself, so whatever happens in between is found again by the
next try.

What only a run needs is imported where it is used; see the package.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.errors import CozeError, CozeTriggerEventError
from airflow_provider_coze.operators.base import CozeOperator
from airflow_provider_coze.operators.may_ask import Asking

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.operators.asked import Answered, Asker
    from airflow_provider_coze.operators.run_start import StartedRun
    from airflow_provider_coze.protocol.flows import RunResult
    from airflow_provider_coze.protocol.messages import JsonValue
    from airflow_provider_coze.protocol.models import RunHistory

__all__ = ["RunningOperator"]


#: A function that is asked more often in one run goes in circles with its workflow, and every round is billed.
_MOST_ANSWERS = 50


class RunningOperator(Asking, CozeOperator):
    """Base of operators whose work is a run. Not to be used by itself."""

    what = "run"
    workflow_id: str

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._running: RunHistory | None = None
        self._streamed = False
        self._answered_event = ""
        self._answers = 0  # of this process; people's come one a process

    def _go_on(self, context: Context, started: StartedRun) -> JsonValue:
        """Return the output of a run that was started or answered, when it has one."""
        if started.result is not None:
            self._running = None
            return self._return(context, started.result, started.result.output, self.hook.clock() - started.since)
        self._set_deadline(context)  # the time for the answer; finding or starting the work had as much
        self._streamed = started.streamed
        return self._waited(context, started.history, started.since)

    def _waited(self, context: Context, history: RunHistory, started_at: float) -> JsonValue:
        """Wait for the run, here or in the triggerer, and return its output."""
        from airflow_provider_coze.protocol import flows

        if self.deferrable:
            try:
                history = self._watch(history, started_at, until=self._grace_ends())
            except CozeError as error:
                if not self._is_for_the_triggerer(error):
                    raise
            if flows.is_waiting(history) and not self._is_late():
                self._wait_in_triggerer(history, started_at)
        else:
            history = self._watch(history, started_at, until=self._deadline_at)
        return self._finish(context, history, started_at)

    def _waited_anew(self, context: Context, error: CozeTriggerEventError) -> JsonValue:
        """Wait again for a run whose trigger sent nothing of use: its id is in the record, or in this task's XComs."""
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.models import RunHistory
        from airflow_provider_coze.state.record import Submitted

        record = self._purchase.recorded() if self._purchase is not None else None
        ids = dict(record.ids) if isinstance(record, Submitted) else self._pulled(context, "execute_id", "debug_url")
        if not ids.get("execute_id"):
            raise error
        self.log.warning("%s Reading run %s itself", error, ids["execute_id"])
        known = RunHistory(ids["execute_id"], "Running", debug_url=ids.get("debug_url"))
        self._set_deadline(context)
        history = self._running = self.hook.perform(
            flows.read_run(known, self.hook.retry, workflow_id=self.workflow_id)
        )
        return self._waited(context, history, record.at if isinstance(record, Submitted) else self.hook.clock())

    def _watch(self, history: RunHistory, started_at: float, *, until: float | None) -> RunHistory:
        """Look at the run until it has ended or the time is up."""
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.pacing import RUN_POLLS
        from airflow_provider_coze.triggers.progress import log_run

        watch = flows.Watch(
            polls=RUN_POLLS.below(self.poll_interval), since=started_at, until=until, clock=self.hook.clock
        )
        while flows.is_waiting(history):
            seen = history.execute_status
            history = self.hook.perform(flows.watch_run(history, watch, workflow_id=self.workflow_id))
            if history.execute_status == seen and flows.is_waiting(history):
                break
            log_run(self.log, history, self.hook.clock() - started_at)
        return history

    def _wait_in_triggerer(self, history: RunHistory, started_at: float) -> NoReturn:
        from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger

        self._running = None
        self.log.info("Run %s: %s; waiting for it in the triggerer", history.execute_id, history.execute_status)
        self.defer(
            trigger=CozeWorkflowTrigger(
                workflow_id=self.workflow_id,
                execute_id=history.execute_id,
                started_at=started_at,
                coze_conn_id=self.coze_conn_id,
                status=history.execute_status,
                debug_url=history.debug_url,
                deadline=self._deadline_at,
                not_before=self._not_before(),
                poll_interval=self.poll_interval,
            ),
            method_name="execute_complete",
        )

    def _finish(self, context: Context, history: RunHistory, started_at: float) -> JsonValue:
        """Return the output of a run that has ended."""
        from airflow_provider_coze.operators.interrupts import settled
        from airflow_provider_coze.operators.outputs import whole_output
        from airflow_provider_coze.protocol import flows

        if answered := self._answered_last():
            history = settled(self.hook, history, answered, workflow_id=self.workflow_id)
            if flows.is_waiting(history) and not self._is_late():
                return self._waited(context, history, started_at)
        waited = self.hook.clock() - started_at
        self._running = None
        self._push(context, execute_id=history.execute_id, debug_url=history.debug_url, logid=history.logid)
        if (
            history.interrupt is not None
            and not self._answering.fails
            and flows.needs_input(history)
            and self._answers < _MOST_ANSWERS
        ):
            return self._asked(context, history)
        self._ledger.add(history.usage, "run", history.execute_id)
        result = flows.run_result(history, workflow_id=self.workflow_id, waited=waited)
        output = whole_output(self.hook, history, workflow_id=self.workflow_id, log=self.log)
        return self._return(context, result, output, waited)

    def _return(self, context: Context, result: RunResult, output: JsonValue, waited: float) -> JsonValue:
        self.log.info("Run %s succeeded after %.0f s", result.execute_id, waited)
        self._ledger.add(result.usage, "run", result.execute_id)
        self._tell_span(
            since=self.hook.clock() - waited,
            answered=output,
            workflow_id=self.workflow_id,
            execute_id=result.execute_id,
            logid=result.logid,
        )
        self._push(context, usage=self._ledger.to_xcom())
        if self.output_type is not None:
            from airflow_provider_coze.operators.outputs import checked_output

            output = checked_output(
                output,
                self.output_type,
                what=f"Run {result.execute_id!r} of workflow {self.workflow_id!r}",
                workflow_id=self.workflow_id,
                execute_id=result.execute_id,
                debug_url=result.debug_url,
            )
        stored = self._stored(output, workflow_id=self.workflow_id, execute_id=result.execute_id)
        self._delivered()
        return stored

    # --- questions

    def _asker(self, context: Context, streamed: bool) -> Asker:
        from airflow_provider_coze.operators.asked import Asker

        return Asker(
            context,
            self,
            self.workflow_id,
            "execute_answered",
            notes=self._purchase if self._purchase is not None and self._purchase.is_kept else None,
            kwargs={"streamed": streamed},
        )

    def _asked(self, context: Context, history: RunHistory) -> JsonValue:
        """Have the run's question answered, here or by people, and go on with the run."""
        from airflow_provider_coze.operators.interrupts import question_of

        question = question_of(history)
        self._ledger.add(history.usage, "run", history.execute_id)
        self._ledger.check("the answer to its question", execute_id=history.execute_id, debug_url=history.debug_url)
        self._push(context, usage=self._ledger.to_xcom())
        streamed = self._streamed or self._recorded_as_stream()
        answered = self._answering.ask(self._asker(context, streamed), question)
        return self._resumed(context, answered, streamed)

    def _recorded_as_stream(self) -> bool:
        """Tell whether the record says that the run was started as a stream: what goes on after a deferral knows no better."""
        from airflow_provider_coze.state.record import Submitted

        record = self._purchase.recorded() if self._purchase is not None else None
        return isinstance(record, Submitted) and record.ids.get("mode") == "stream"

    def _resumed(self, context: Context, answered: Answered, streamed: bool) -> JsonValue:
        from airflow_provider_coze.operators.interrupts import Resuming
        from airflow_provider_coze.protocol.models import RunHistory

        self._set_deadline(context)
        self._running = RunHistory(answered.question.execute_id, "Running")
        resuming = Resuming(
            self.hook,
            self.log,
            workflow_id=self.workflow_id,
            until=self._deadline_at,
            resend=self.on_unknown == "resend",
            streamed=streamed,
        )
        self._answers += 1
        started = resuming.resumed(answered, sent_before=context["ti"].try_number > 1)
        self._answered_event = answered.question.event_id
        if self._purchase is not None:
            self._purchase.note(answered=answered.question.event_id)
        self.log.info("Run %s goes on with the answer to event %s", started.history.execute_id, self._answered_event)
        return self._go_on(context, replace(started, streamed=streamed))

    def _answered_last(self) -> str:
        """Return the event of the question that was answered last."""
        if self._answered_event or self._answering.fails or self._purchase is None:
            return self._answered_event
        return self._purchase.noted().get("answered", "")

    def _delivered(self) -> None:
        if self._purchase is not None:
            self._purchase.delivered()
