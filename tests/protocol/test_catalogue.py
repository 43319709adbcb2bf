"""The catalogue: each request as the documents have it, the samples read, and lists read to their end and no further."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.protocol import listings
from airflow_provider_coze.protocol.endpoints import catalogue
from airflow_provider_coze.protocol.endpoints.catalogue import BotPage, ListedBot, ListedWorkflow, WorkflowPage
from airflow_provider_coze.protocol.envelope import open_envelope
from airflow_provider_coze.protocol.messages import Call, Replay, Request, Send
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import Perform, answer, sample

RETRY = RetryPolicy(attempts=1)
PAGE = {"workspace_id": "7", "page_num": "1"}


@pytest.mark.parametrize(
    ("call", "path", "query", "permission"),
    [
        (catalogue.list_bots(workspace_id="7"), "/v1/bots", {**PAGE, "page_size": "20"}, "listBot"),
        (
            catalogue.list_bots(workspace_id="7", page_num=3, page_size=5, publish_status="all", connector_id="999"),
            "/v1/bots",
            {"workspace_id": "7", "page_num": "3", "page_size": "5", "publish_status": "all", "connector_id": "999"},
            "listBot",
        ),
        (catalogue.list_workflows(workspace_id="7"), "/v1/workflows", {**PAGE, "page_size": "30"}, "listWorkflow"),
        (
            catalogue.list_workflows(workspace_id="7", workflow_mode="chatflow", app_id="9", publish_status="all"),
            "/v1/workflows",
            {**PAGE, "page_size": "30", "workflow_mode": "chatflow", "app_id": "9", "publish_status": "all"},
            "listWorkflow",
        ),
    ],
)
def test_a_request_is_the_documented_one(call: Call[Any], path: str, query: dict[str, str], permission: str) -> None:
    assert call.request == Request("GET", path, query=query)
    assert (call.replay, call.permission) == (Replay.ALWAYS, permission)


def read(call: Call[Any], operation: str, case: str) -> Any:
    return call.parse(open_envelope(sample(operation, case), call))


def test_a_page_of_bots_is_read() -> None:
    bot = ListedBot("7511000000000000001", "analyst", "", True, 1764547200, 1764547200)
    assert read(catalogue.list_bots(workspace_id="7"), "bot_list", "page") == BotPage((bot,), 1)


def test_a_page_of_workflows_is_read() -> None:
    workflow = ListedWorkflow("7511500000000000001", "table summary", "Counts rows", "", 1764547200)
    assert read(catalogue.list_workflows(workspace_id="7"), "workflow_list", "page") == WorkflowPage((workflow,), False)


def test_lists_are_read_to_their_end(emulator: Emulator, perform: Perform) -> None:
    for _ in range(61):
        emulator.add_bot()
        emulator.add_workflow()
    space = emulator.world.workspace_id
    published = [bot.id for bot in emulator.world.bots if bot.published]
    assert [bot.id for bot in perform(listings.all_bots(space, RETRY))] == published
    assert [one.id for one in perform(listings.all_workflows(space, RETRY))] == [
        workflow.id for workflow in emulator.world.workflows if workflow.published
    ]
    assert [one.id for one in perform(listings.all_workspaces(RETRY))] == [space]


@pytest.mark.parametrize(
    ("flow", "data"),
    [
        (lambda: listings.all_workspaces(RETRY), {"workspaces": [], "total_count": 9}),
        (lambda: listings.all_bots("7", RETRY), {"items": [], "total": 9}),
        (lambda: listings.all_workflows("7", RETRY), {"items": [], "has_more": True}),
    ],
    ids=["workspaces", "bots", "workflows"],
)
def test_an_empty_page_ends_a_list_that_promises_more(flow: Callable[[], Any], data: dict[str, Any]) -> None:
    running = flow()
    assert isinstance(next(running), Send)
    with pytest.raises(StopIteration) as done:
        running.send(answer({"code": 0, "data": data}))
    assert done.value.value == []
