"""The catalogue: what a workflow takes and returns, and which of them a list shows."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze.emulator.definitions import Parameter, Template, Workflow
from tests.emulator.conftest import Coze


def told(coze: Coze, workflow: Workflow) -> Any:
    added = coze.emulator.add_workflow(workflow)
    return coze.data("GET", f"/v1/workflows/{added.id}", query={"include_input_output": "true"})


def test_an_input_shows_what_is_inside_it(coze: Coze) -> None:
    row = Parameter("object", properties={"n": Parameter("integer", required=True, default="3")})
    shown = told(coze, Workflow(parameters={"rows": Parameter("array", required=True, items=row, description="all")}))
    inner = {"type": "integer", "required": True, "description": "", "default_value": "3"}
    outer = {"required": False, "description": "", "default_value": ""}
    assert shown["input"]["parameters"] == {
        "rows": {
            "type": "array",
            "required": True,
            "description": "all",
            "default_value": "",
            "items": {"type": "object", **outer, "properties": {"n": inner}},
        }
    }


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("All fine.", {"terminate_plan": "use_answer_content", "content": "All fine.", "parameters": {}}),
        (Template("{x}"), {"terminate_plan": "use_answer_content", "content": "{x}", "parameters": {}}),
        (
            {"n": 1, "f": 0.5, "b": True, "t": "", "none": None, "l": [1], "o": {"x": []}},
            {
                "terminate_plan": "return_variables",
                "content": "",
                "parameters": {
                    "n": {"type": "integer"},
                    "f": {"type": "number"},
                    "b": {"type": "boolean"},
                    "t": {"type": "string"},
                    "none": {"type": "string"},
                    "l": {"type": "array", "items": {"type": "integer"}},
                    "o": {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}},
                },
            },
        ),
        (
            lambda inputs: 1,
            {"terminate_plan": "return_variables", "content": "", "parameters": {}},
        ),
    ],
    ids=["text", "template", "variables", "worked out"],
)
def test_the_end_node_returns_text_or_variables(coze: Coze, output: Any, shown: Any) -> None:
    assert told(coze, Workflow(output=output))["output"] == shown


@pytest.mark.parametrize(
    ("status", "code"), [("all", 0), ("unpublished_draft", 0), ("published_draft", 4000), ("x", 4000)]
)
def test_workflows_have_fewer_publish_statuses_than_bots(coze: Coze, status: str, code: int) -> None:
    query = {"workspace_id": coze.emulator.world.workspace_id, "publish_status": status, "page_num": "1"}
    assert coze.code("GET", "/v1/workflows", query=query) == code
    assert coze.code("GET", "/v1/bots", query=query) == (4000 if status == "x" else 0)
