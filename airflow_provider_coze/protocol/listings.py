"""Read a whole list, page by page. Flows; which pages there are is in ``endpoints``."""

from __future__ import annotations

from airflow_provider_coze.protocol.endpoints import account, catalogue
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.endpoints.catalogue import ListedBot, ListedWorkflow
from airflow_provider_coze.protocol.flows import call
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Message, Workspace
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["all_bots", "all_workflows", "all_workspaces", "messages_of"]

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


def messages_of(conversation_id: str, retry: RetryPolicy, *, chat_id: str | None = None) -> Flow[list[Message]]:
    """Read all messages of a conversation, newest first, page by page."""
    found: list[Message] = []
    after: str | None = None
    while True:
        page = yield from call(
            conversations.conversation_messages(conversation_id=conversation_id, chat_id=chat_id, after_id=after),
            retry,
        )
        found.extend(page.messages)
        # Before and after are positions in the list, whichever its order: the next page lies after the last of this one.
        last = page.messages[-1].id if page.messages else ""
        if not page.has_more or not last or last == after:
            return found
        after = last
