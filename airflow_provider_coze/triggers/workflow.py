"""Watch one workflow run from the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_coze.compat import BaseTrigger, TriggerEvent
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.pacing import RUN_POLLS
from airflow_provider_coze.triggers.events import RunEvent
from airflow_provider_coze.triggers.progress import log_run

__all__ = ["CozeWorkflowTrigger"]


class CozeWorkflowTrigger(BaseTrigger):
    """Poll a run until it has ended, asks a question, or the deadline has passed; then yield one :class:`RunEvent` payload.

    All times are of the wall clock, so a restarted triggerer goes on where the old one was.

    :param workflow_id: the workflow.
    :param execute_id: the run.
    :param started_at: Unix seconds; sets the rhythm of polling and what a timeout says.
    :param coze_conn_id: the connection; its secrets never enter the trigger's arguments.
    :param status: the status seen last; "" if none.
    :param debug_url: for messages only.
    :param deadline: Unix seconds after which to report the run as it stands. None: wait for ever.
    :param not_before: Unix seconds before which nothing is reported: with LocalExecutor, Airflow's scheduler can fail a task whose
        deferral is very short (https://github.com/apache/airflow/issues/66374).
    :param poll_interval: the longest time between two polls, in seconds. None: 30.
    """

    def __init__(
        self,
        *,
        workflow_id: str,
        execute_id: str,
        started_at: float,
        coze_conn_id: str = CozeHook.default_conn_name,
        status: str = "",
        debug_url: str | None = None,
        deadline: float | None = None,
        not_before: float = 0.0,
        poll_interval: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.workflow_id = workflow_id
        self.execute_id = execute_id
        self.started_at = started_at
        self.coze_conn_id = coze_conn_id
        self.status = status
        self.debug_url = debug_url
        self.deadline = deadline
        self.not_before = not_before
        self.poll_interval = poll_interval
        self.hook = CozeHook(coze_conn_id)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments; Airflow stores them in clear text."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "workflow_id": self.workflow_id,
                "execute_id": self.execute_id,
                "started_at": self.started_at,
                "coze_conn_id": self.coze_conn_id,
                "status": self.status,
                "debug_url": self.debug_url,
                "deadline": self.deadline,
                "not_before": self.not_before,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, then report once."""
        history = RunHistory(execute_id=self.execute_id, execute_status=self.status, debug_url=self.debug_url)
        failure = None
        try:
            async with self.hook.pooled():
                while flows.is_waiting(history):
                    seen = history.execute_status
                    history = await self.hook.aperform(
                        flows.watch_run(history, self._watch(), workflow_id=self.workflow_id)
                    )
                    if history.execute_status == seen and flows.is_waiting(history):
                        break  # the deadline
                    log_run(self.log, history, self.hook.clock() - self.started_at)
        except CozeError as error:
            failure = error
        # Also what fails at once is reported no earlier.
        await self.hook.asleep(max(0.0, self.not_before - self.hook.clock()))
        yield TriggerEvent(RunEvent(history, self.workflow_id, self.started_at, failure).to_payload())

    async def on_kill(self) -> None:
        """Say that the run goes on (called by Airflow 3.3 and later): Coze has no way to cancel it."""
        self.log.warning(
            "Run %s of workflow %s goes on and is billed: Coze cannot cancel a run. See %s",
            self.execute_id,
            self.workflow_id,
            self.debug_url,
        )

    def _watch(self) -> flows.Watch:
        return flows.Watch(
            polls=RUN_POLLS.below(self.poll_interval),
            since=self.started_at,
            until=self.deadline,
            not_before=self.not_before,
            clock=self.hook.clock,
        )
