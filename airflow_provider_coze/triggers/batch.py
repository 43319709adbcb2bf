"""Watch the chats or runs of a batch from the triggerer, which imports this module on its event loop: it loads the rest when it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_coze.compat import TriggerEvent
from airflow_provider_coze.triggers.base import DEFAULT_CONN_ID, CozeTrigger

__all__ = ["CozeBatchTrigger"]


class CozeBatchTrigger(CozeTrigger):
    """Poll what a batch has going, until enough of it has ended; then yield one :class:`BatchEvent` payload.

    It only polls, and reports which have ended: the worker reads the answers.

    :param folder: of the batch, on its *result_path*.
    :param window_uri: the file that names the chats or runs.
    :param enough: how many of them have to have ended. If that is not all, those that have are reported after a minute at the latest.
    :param started_at: Unix seconds: when this window was handed over.
    :param coze_conn_id: the connection; its secrets never enter the trigger's arguments.
    :param workflow_id: of the runs; "" for chats.
    :param row_timeout: seconds after which a chat or run that still goes on is reported all the same. None: never.
    :param deadline: Unix seconds: the end of the batch. None: there is none.
    :param not_before: Unix seconds before which nothing is reported: with LocalExecutor, Airflow's scheduler can fail a task whose
        deferral is very short (https://github.com/apache/airflow/issues/66374).
    :param poll_interval: the longest time between two polls of one of them, in seconds. None: 10 for chats, 30 for runs.
    """

    def __init__(
        self,
        *,
        folder: str,
        window_uri: str,
        enough: int,
        started_at: float,
        coze_conn_id: str = DEFAULT_CONN_ID,
        workflow_id: str = "",
        row_timeout: float | None = None,
        deadline: float | None = None,
        not_before: float = 0.0,
        poll_interval: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.folder = folder
        self.window_uri = window_uri
        self.enough = enough
        self.started_at = started_at
        self.coze_conn_id = coze_conn_id
        self.workflow_id = workflow_id
        self.row_timeout = row_timeout
        self.deadline = deadline
        self.not_before = not_before
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments; Airflow stores them in clear text."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "folder": self.folder,
                "window_uri": self.window_uri,
                "enough": self.enough,
                "started_at": self.started_at,
                "coze_conn_id": self.coze_conn_id,
                "workflow_id": self.workflow_id,
                "row_timeout": self.row_timeout,
                "deadline": self.deadline,
                "not_before": self.not_before,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, then report once."""
        await self._load()
        from airflow_provider_coze.hooks.loading import load

        await load("airflow_provider_coze.triggers.batch_watching")
        from airflow_provider_coze.triggers.batch_watching import watch_batch

        yield TriggerEvent((await watch_batch(self)).to_payload())

    async def on_kill(self) -> None:
        """Say what goes on (called by Airflow 3.3 and later): a batch is not cancelled, and its journal knows what it has bought."""
        self.log.warning(
            "The batch is not watched any more. What it has going is not cancelled, and is billed; see %s", self.folder
        )
