"""The account behind a token: who it is, what it reaches, what its plan allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.protocol.messages import Call, Replay, Request
from airflow_provider_coze.protocol.models import User, Workspace, integer, mapping, records

__all__ = ["WorkspacePage", "benefits", "current_user", "list_workspaces"]


@dataclass(frozen=True, slots=True)
class WorkspacePage:
    """One page of workspaces, and how many there are in all."""

    workspaces: tuple[Workspace, ...]
    total_count: int


def current_user() -> Call[User]:
    """Read who the token belongs to.

    In every official SDK (coze-py cozepy/users), but not in the documents' list, so no permission point is known.
    """
    return Call(Request("GET", "/v1/users/me"), _user, Replay.ALWAYS)


def list_workspaces(*, page_num: int = 1, page_size: int = 20) -> Call[WorkspacePage]:
    """Read one page (at most 50) of the workspaces the token covers.

    https://www.coze.cn/open/docs/developer_guides/list_workspace.
    """
    query = {"page_num": str(page_num), "page_size": str(page_size)}
    return Call(Request("GET", "/v1/workspaces", query=query), _workspaces, Replay.ALWAYS, "listWorkspace")


def benefits(*, benefit_type_list: str = "api_run_qps", resource_id: str | None = None) -> Call[Mapping[str, Any]]:
    """Read the plan's grants, such as its QPS limits; the answer's ``data`` as it is.

    :param resource_id: ``chat``, ``workflow`` or ``plugin`` for api_run_qps.

    https://www.coze.cn/open/docs/developer_guides/get_benefit.
    """
    query = {"benefit_type_list": benefit_type_list}
    if resource_id:
        query["resource_id"] = resource_id
    request = Request("GET", "/v1/commerce/benefit/benefits/get", query=query)
    return Call(request, lambda body: mapping(body.get("data")), Replay.ALWAYS, "getBenefit")


def _user(body: Mapping[str, Any]) -> User:
    data = mapping(body.get("data"))
    return User(
        user_id=str(data.get("user_id") or ""),
        user_name=str(data.get("user_name") or ""),
        nick_name=str(data.get("nick_name") or ""),
    )


def _workspaces(body: Mapping[str, Any]) -> WorkspacePage:
    data = mapping(body.get("data"))
    found = tuple(
        Workspace(
            id=str(item.get("id") or ""),
            name=str(item.get("name") or ""),
            role_type=str(item.get("role_type") or ""),
            workspace_type=str(item.get("workspace_type") or ""),
        )
        for item in records(data.get("workspaces"))
    )
    return WorkspacePage(found, integer(data.get("total_count")))
