"""What a workspace holds: its bots and its workflows, a page at a time. Free reads, each counted like any other call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.protocol.messages import Call, Replay, Request
from airflow_provider_coze.protocol.models import integer, mapping, records

__all__ = ["BotPage", "ListedBot", "ListedWorkflow", "WorkflowPage", "list_bots", "list_workflows"]

#: The most workflows on one page; of bots the documents give no limit, and show 20.
WORKFLOWS_PAGE, BOTS_PAGE = 30, 20


@dataclass(frozen=True, slots=True)
class ListedBot:
    """A bot as a list shows it."""

    id: str
    name: str
    description: str = ""
    is_published: bool = True
    updated_at: int = 0  # Unix seconds
    published_at: int = 0  # 0: never


@dataclass(frozen=True, slots=True)
class ListedWorkflow:
    """A workflow or chatflow as a list shows it; a list does not tell which of the two it is."""

    id: str
    name: str
    description: str = ""
    app_id: str = ""  # "": of no app
    updated_at: int = 0  # Unix seconds


@dataclass(frozen=True, slots=True)
class BotPage:
    """One page of bots, and how many there are in all."""

    bots: tuple[ListedBot, ...]
    total: int


@dataclass(frozen=True, slots=True)
class WorkflowPage:
    """One page of workflows; how many there are Coze does not say."""

    workflows: tuple[ListedWorkflow, ...]
    has_more: bool


def list_bots(
    *,
    workspace_id: str,
    page_num: int = 1,
    page_size: int = BOTS_PAGE,
    publish_status: str | None = None,
    connector_id: str | None = None,
) -> Call[BotPage]:
    """Read one page of a workspace's bots. On personal plans only its owner sees any.

    :param publish_status: ``published_online`` (Coze's default), ``published_draft``, ``unpublished_draft`` or ``all``.
    :param connector_id: the channel they are published to; Coze's default is the API channel, 1024.

    https://www.coze.cn/open/docs/developer_guides/bots_list_draft_published.
    """
    query = {"workspace_id": workspace_id, "page_num": str(page_num), "page_size": str(page_size)}
    query |= _given(publish_status=publish_status, connector_id=connector_id)
    return Call(Request("GET", "/v1/bots", query=query), _bots, Replay.ALWAYS, "listBot")


def list_workflows(
    *,
    workspace_id: str,
    page_num: int = 1,
    page_size: int = WORKFLOWS_PAGE,
    workflow_mode: str | None = None,
    app_id: str | None = None,
    publish_status: str | None = None,
) -> Call[WorkflowPage]:
    """Read one page (at most 30) of a workspace's workflows and chatflows.

    :param workflow_mode: ``workflow`` or ``chatflow``; None: both.
    :param app_id: only those of this app.
    :param publish_status: ``published_online`` (Coze's default), ``unpublished_draft`` or ``all``.

    https://www.coze.cn/open/docs/developer_guides/get_workflow_list.
    """
    query = {"workspace_id": workspace_id, "page_num": str(page_num), "page_size": str(page_size)}
    query |= _given(workflow_mode=workflow_mode, app_id=app_id, publish_status=publish_status)
    return Call(Request("GET", "/v1/workflows", query=query), _workflows, Replay.ALWAYS, "listWorkflow")


def _given(**query: str | None) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


def _bots(body: Mapping[str, Any]) -> BotPage:
    data = mapping(body.get("data"))
    found = tuple(
        ListedBot(
            id=str(item.get("id") or ""),
            name=str(item.get("name") or ""),
            description=str(item.get("description") or ""),
            is_published=bool(item.get("is_published")),
            updated_at=integer(item.get("updated_at")),
            published_at=integer(item.get("published_at")),
        )
        for item in records(data.get("items"))
    )
    return BotPage(found, integer(data.get("total")))


def _workflows(body: Mapping[str, Any]) -> WorkflowPage:
    data = mapping(body.get("data"))
    found = tuple(
        ListedWorkflow(
            id=str(item.get("workflow_id") or ""),
            name=str(item.get("workflow_name") or ""),
            description=str(item.get("description") or ""),
            app_id="" if item.get("app_id") in (None, "0", 0) else str(item["app_id"]),
            updated_at=integer(item.get("updated_at")),
        )
        for item in records(data.get("items"))
    )
    return WorkflowPage(found, bool(data.get("has_more")))
