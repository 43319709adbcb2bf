"""What both triggers share. Like them it is imported on the triggerer's event loop, and so is light."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from airflow_provider_coze.compat import BaseTrigger
from airflow_provider_coze.hooks.loading import load

if TYPE_CHECKING:
    from airflow_provider_coze.hooks.coze import CozeHook

__all__ = ["DEFAULT_CONN_ID", "CozeTrigger"]

#: ``CozeHook.default_conn_name``, without importing the hook.
DEFAULT_CONN_ID = "coze_default"


class CozeTrigger(BaseTrigger):
    """A trigger that watches something in Coze. Its fields are read by ``triggers.watching``, which does the watching."""

    started_at: float
    coze_conn_id: str
    deadline: float | None
    not_before: float
    poll_interval: float | None

    @functools.cached_property
    def hook(self) -> CozeHook:
        """The hook; made when it is first asked for, because Airflow makes triggers on the loop."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    async def _load(self) -> None:
        """Import what watching takes, beside the loop. Everything a trigger does begins with this."""
        await load("airflow_provider_coze.hooks.coze", "airflow_provider_coze.triggers.watching")
