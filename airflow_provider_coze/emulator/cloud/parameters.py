"""What a workflow is run with, against what its start node declares; inputs that are not declared are let through.

Source: docs.coze.cn/developer_guides/workflow_run, for files: an address, or ``{"file_id": …}`` printed as JSON; lists of those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_coze.emulator.cloud.checks import file_in
from airflow_provider_coze.emulator.definitions import FILE_TYPES, Parameter, Workflow
from airflow_provider_coze.emulator.wire import Call, Refusal

__all__ = ["check_parameters"]

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def check_parameters(call: Call, workflow: Workflow, given: Mapping[str, Any]) -> None:
    """Look for what is missing, of the wrong type, or a file that is not there.

    :raises Refusal: 4000, with all of it.
    """
    wrong = list(_problems_in(call, workflow.parameters or {}, given, ""))
    if wrong:
        raise Refusal(4000, f"Request parameter error: {'; '.join(wrong)}")


def _problems_in(call: Call, declared: Mapping[str, Parameter], given: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, parameter in declared.items():
        value = given.get(name)
        if value is None:
            if parameter.required and not parameter.default:
                yield f"Missing required parameters: {where}{name}"
        else:
            yield from _problems(call, parameter, value, f"{where}{name}")


def _problems(call: Call, parameter: Parameter, value: Any, where: str) -> Iterator[str]:
    allowed = _JSON_TYPES.get(parameter.type)
    if parameter.type in FILE_TYPES:
        yield from _file_problem(call, value, where)
    elif allowed is not None and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
        yield f"parameters.{where} must be of type {parameter.type}"
    elif parameter.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems(call, parameter.items, item, f"{where}[{index}]")
    elif parameter.properties and isinstance(value, dict):
        yield from _problems_in(call, parameter.properties, value, f"{where}.")


def _file_problem(call: Call, value: Any, where: str) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return
    try:
        told = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("file_id"), str):
        yield f'parameters.{where} must be an address or the text {{"file_id": "…"}}'
        return
    try:
        file_in(call, told["file_id"])
    except Refusal as refusal:
        yield f"parameters.{where}: {refusal.msg}"
