"""Read a whole list of the catalogue, page by page. Flows; which pages there are is in ``endpoints``."""

from __future__ import annotations

from airflow_provider_coze.protocol.endpoints import account, catalogue
from airflow_provider_coze.protocol.endpoints.catalogue import ListedBot, ListedWorkflow
from airflow_provider_coze.protocol.flows import call
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Workspace
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["all_bots", "all_workflows", "all_workspaces"]

#: The most workspaces on one page.
_WORKSPACES_PAGE = 50


def all_workspaces(retry: RetryPolicy) -> Flow[list[Workspace]]:
    """Read all workspaces that the token covers."""
    found: list[Workspace] = []
    number = 0
    while True:
        number += 1
        page = yield from call(account.list_workspaces(page_num=number, page_size=_WORKSPACES_PAGE), retry)
        found.extend(page.workspaces)
        if not page.workspaces or len(found) >= page.total_count:
            return found


def all_bots(workspace_id: str, retry: RetryPolicy) -> Flow[list[ListedBot]]:
    """Read all bots of a workspace that are published to the API."""
    found: list[ListedBot] = []
    number = 0
    while True:
        number += 1
        page = yield from call(catalogue.list_bots(workspace_id=workspace_id, page_num=number), retry)
        found.extend(page.bots)
        if not page.bots or len(found) >= page.total:
            return found


def all_workflows(workspace_id: str, retry: RetryPolicy) -> Flow[list[ListedWorkflow]]:
    """Read all published workflows and chatflows of a workspace."""
    found: list[ListedWorkflow] = []
    number = 0
    while True:
        number += 1
        page = yield from call(catalogue.list_workflows(workspace_id=workspace_id, page_num=number), retry)
        found.extend(page.workflows)
        if not page.workflows or not page.has_more:
            return found
