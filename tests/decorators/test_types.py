"""What an editor is told of the decorators is what their operators take."""

from __future__ import annotations

import ast
import inspect
import runpy
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze import decorators
from airflow_provider_coze.operators.base import CozeOperator
from airflow_provider_coze.operators.batch import BatchOperator
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator

STUB = Path(decorators.__file__).with_suffix(".pyi")
SIGNATURES = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.FunctionDef)]
#: In the order of the stub: the function, the classes whose parameters it has, and those that the function returns.
WANTED: list[tuple[str, tuple[type, ...], set[str]]] = [
    ("coze_chat_task", (CozeChatOperator, CozeOperator), {"message", "additional_messages"}),
    ("coze_workflow_task", (CozeWorkflowOperator, CozeOperator), {"parameters"}),
    ("coze_batch_task", (CozeChatBatchOperator, BatchOperator), {"inputs"}),
    ("coze_batch_task", (CozeWorkflowBatchOperator, BatchOperator), {"inputs"}),
]


def typed(node: ast.FunctionDef) -> dict[str, tuple[str, Any]]:
    """Return the annotation and the default of each argument."""
    found = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {
        arg.arg: (ast.unparse(arg.annotation) if arg.annotation else "", ast.literal_eval(default) if default else ...)
        for arg, default in found
    }


def taken(kinds: tuple[type, ...], returned: set[str]) -> dict[str, tuple[str, Any]]:
    parameters: dict[str, inspect.Parameter] = {}
    for kind in kinds:
        parameters = {**inspect.signature(kind.__init__).parameters, **parameters}  # type: ignore[misc]
    return {
        name: (str(given.annotation), ... if given.default is inspect.Parameter.empty else given.default)
        for name, given in parameters.items()
        if name not in {"self", "kwargs", *returned}
    }


@pytest.mark.parametrize("place", range(len(WANTED)), ids=[f"{name}-{kinds[0].__name__}" for name, kinds, _ in WANTED])
def test_the_types_have_every_parameter_of_the_operator(place: int) -> None:
    node, (name, kinds, returned) = SIGNATURES[place], WANTED[place]
    assert node.name == name
    found = typed(node)
    assert found.pop("multiple_outputs") == ("bool", name == "coze_batch_task")
    assert found == taken(kinds, returned), f"{STUB.name} is not what {kinds[0].__name__} takes: change it as well"


def test_the_types_are_of_what_there_is() -> None:
    assert {node.name for node in SIGNATURES} == set(decorators.__all__)
    assert len(SIGNATURES) == len(WANTED)
    for name in decorators.__all__:
        assert callable(getattr(decorators, name))
    with pytest.raises(AttributeError, match="coze_sensor_task"):
        decorators.coze_sensor_task  # type: ignore[attr-defined]  # noqa: B018


def test_airflow_is_told_of_the_same_functions() -> None:
    from airflow_provider_coze.get_provider_info import get_provider_info

    told = {item["name"]: item["class-name"] for item in get_provider_info()["task-decorators"]}
    assert told == {
        name.removesuffix("_task"): f"{getattr(decorators, name).__module__}.{name}" for name in decorators.__all__
    }


def test_the_page_about_functions_makes_a_task() -> None:
    page = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "snippets" / "typed_tasks.py"))
    task = page["summarise"]("tea").operator
    assert (task.task_id, task.bot_id, task.max_repairs) == ("summarise", "7511000000000000002", 2)
    assert task.python_callable("tea") == "Summarise in one sentence: tea"
