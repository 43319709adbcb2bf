"""Buttons on a task's page in Airflow: to the run, the bot and the workflow in Coze. Each reads one XCom; nothing is asked.

Airflow 2 calls ``get_link`` in its web server. Airflow 3 calls it on the worker whenever a task lets go of it, and keeps what it returns
under ``xcom_key``, which is all that its web server reads. So the operators push the address under that key as soon as they know it: it is
there while the task runs, waits or is killed, and ``get_link`` says it again.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_provider_coze.compat import BaseOperatorLink, link_in_xcom

__all__ = ["CozeBotLink", "CozeLink", "CozeRunLink", "CozeWorkflowLink"]


class CozeLink(BaseOperatorLink):
    """Base of links of this provider. Not to be used by itself."""

    name = ""
    #: The XCom that holds the address.
    key: ClassVar[str] = ""

    @property
    def xcom_key(self) -> str:
        """Where Airflow 3 looks for the address."""
        return self.key

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; "": there is none, and the button stays away."""
        return link_in_xcom(ti_key, self.key)


class CozeRunLink(CozeLink):
    """To a workflow's run, node by node: its ``debug_url``. Coze keeps the page for 7 days."""

    name = "Coze run"
    key = "_link_CozeRunLink"


class CozeBotLink(CozeLink):
    """To where the bot is developed, where the connection names its workspace."""

    name = "Coze bot"
    key = "_link_CozeBotLink"


class CozeWorkflowLink(CozeLink):
    """To where the workflow is developed, in the workspace that its run is in, or that the connection names."""

    name = "Coze workflow"
    key = "_link_CozeWorkflowLink"
