"""Watch one workflow run from the triggerer, which imports this module on its event loop: it loads the rest when it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_coze.compat import TriggerEvent
from airflow_provider_coze.triggers.base import DEFAULT_CONN_ID, CozeTrigger

__all__ = ["CozeWorkflowTrigger"]


class CozeWorkflowTrigger(CozeTrigger):
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
    :param lasts: of a task that begins here and was on no worker: seconds until its deadline. *started_at* and *deadline* are then taken
        from what Airflow keeps of the task, and the ids are looked at. None: it began on a worker.
    """

    def __init__(
        self,
        *,
        workflow_id: str,
        execute_id: str,
        started_at: float,
        coze_conn_id: str = DEFAULT_CONN_ID,
        status: str = "",
        debug_url: str | None = None,
        deadline: float | None = None,
        not_before: float = 0.0,
        poll_interval: float | None = None,
        lasts: float | None = None,
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
        self.lasts = lasts

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
                "lasts": self.lasts,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, then report once."""
        await self._load()
        self._begin("workflow_id", "execute_id")
        from airflow_provider_coze.triggers.watching import watch_run

        yield TriggerEvent((await watch_run(self)).to_payload())

    async def on_kill(self) -> None:
        """Say that the run goes on (called by Airflow 3.3 and later): Coze has no way to cancel it."""
        self.log.warning(
            "Run %s of workflow %s goes on and is billed: Coze cannot cancel a run. See %s",
            self.execute_id,
            self.workflow_id,
            self.debug_url,
        )
