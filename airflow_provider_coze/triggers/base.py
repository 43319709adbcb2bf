"""What both triggers share. Like them it is imported on the triggerer's event loop, and so is light."""

from __future__ import annotations

import functools
from datetime import UTC
from typing import TYPE_CHECKING

from airflow_provider_coze.compat import BaseTrigger
from airflow_provider_coze.hooks.loading import load

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_coze.hooks.coze import CozeHook

__all__ = ["DEFAULT_CONN_ID", "NET_SECONDS", "CozeTrigger"]

#: ``CozeHook.default_conn_name``, without importing the hook.
DEFAULT_CONN_ID = "coze_default"

#: How long after our deadline Airflow's own ends a task that began in the triggerer, unless the triggerer is down. The scheduler looks for
#: those every 15 s (``[scheduler] trigger_timeout_check_interval``), and an event may be some seconds on its way.
NET_SECONDS = 60.0


class CozeTrigger(BaseTrigger):
    """A trigger that watches something in Coze. Its fields are read by ``triggers.watching``, which does the watching."""

    started_at: float
    coze_conn_id: str
    deadline: float | None
    not_before: float
    poll_interval: float | None
    lasts: float | None
    #: Set by Airflow 3.3: when it ends the task itself.
    timeout_after: datetime | None

    @functools.cached_property
    def hook(self) -> CozeHook:
        """The hook; made when it is first asked for, because Airflow makes triggers on the loop."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    def _begin(self, *ids: str) -> None:
        """Make up for the worker that a task was not on, if it was on none.

        When the task began its arguments cannot tell, for they are of the DAG file. Airflow's deadline can: it is kept with the task, and
        is the same after a restart of the triggerer.

        :param ids: fields that native rendering may have made numbers of.
        """
        if self.lasts is None:
            return
        for name in ids:
            setattr(self, name, str(getattr(self, name)))
        ends = getattr(self, "timeout_after", None)
        if ends is None:
            self.started_at = self.hook.clock()
        else:
            ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
            self.started_at = ends.timestamp() - NET_SECONDS - self.lasts
        self.deadline = self.started_at + self.lasts

    async def _load(self) -> None:
        """Import what watching takes, beside the loop. Everything a trigger does begins with this."""
        await load("airflow_provider_coze.hooks.coze", "airflow_provider_coze.triggers.watching")
