"""Write a DAG file for a workflow out of what Coze tells of it. Pure: a description in, the text of a Python file out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.cli.shapes import Shapes, fields_of, kind_of
from airflow_provider_coze.cli.wording import comment, literal, words
from airflow_provider_coze.protocol.models import WorkflowInfo
from airflow_provider_coze.protocol.parameters import FILE_KINDS

__all__ = ["dag_file"]

Schema = Mapping[str, Any]

_FILE = "https://example.com/TODO"
#: The message of a chatflow: its caller gives it elsewhere.
_MESSAGE = "USER_INPUT"
_MOST_NAME = 60


def dag_file(info: WorkflowInfo, *, workflow_id: str, conn_id: str | None = None) -> str:
    """Return a DAG that runs the workflow when it is triggered by hand, with placeholders for the inputs it needs.

    :param conn_id: None: the default connection.
    """
    shapes = Shapes()
    inputs = {name: schema for name, schema in info.input_parameters.items() if name != _MESSAGE}
    if inputs:
        shapes.typed_dict("Parameters", inputs, "What the workflow takes.")
    variables = fields_of({"properties": info.output.get("parameters")})
    output = None
    if variables and info.output.get("terminate_plan") == "return_variables":
        output = shapes.dataclass("Output", variables, "What the workflow returns; None is a variable without a value.")
    standard = shapes.imports()
    imports = [
        *([*standard, ""] if standard else []),
        "from airflow.providers.common.compat.sdk import DAG",
        "from airflow_provider_coze.operators.workflow import CozeWorkflowOperator",
    ]
    head = f"{_docstring(info, workflow_id)}\n\n" + "\n".join(imports)
    body = "\n\n".join(
        [*([_parameters(inputs)] if inputs else []), _dag(info, workflow_id, conn_id, bool(inputs), output)]
    )
    return "\n\n\n".join([head, *shapes.blocks, body]) + "\n" if shapes.blocks else f"{head}\n\n{body}\n"


def _docstring(info: WorkflowInfo, workflow_id: str) -> str:
    name = words(info.workflow_name)[:_MOST_NAME].strip().replace("\\", "/").replace('"', "'")
    lines = [
        f'"""Run a workflow of Coze: {name or workflow_id}.',
        "",
        "Written by ``airflow coze scaffold``. Replace what says TODO; each run is billed.",
        '"""',
        *([""] if info.description.strip() or _MESSAGE in info.input_parameters else []),
        *comment(info.description),
    ]
    if _MESSAGE in info.input_parameters:
        lines += comment(f"A chatflow, as {_MESSAGE} says: run it with CozeChatflowOperator.")
    return "\n".join(lines)


def _parameters(inputs: Mapping[str, Schema]) -> str:
    lines = ["PARAMETERS: Parameters = {"]
    for name, schema in inputs.items():
        if schema.get("required"):
            value = "\n".join(_value(schema))
            lines += f"    {literal(name)}: {value},".replace("\n", "\n    ").split("\n")
        else:
            lines += [f"    # {literal(name)}: {_short(schema)},  # may be left out"]
    return "\n".join([*lines, "}"])


def _dag(info: WorkflowInfo, workflow_id: str, conn_id: str | None, has_inputs: bool, output: str | None) -> str:
    slug = "_".join(re.findall(r"[a-z0-9]+", info.workflow_name.lower()))[:_MOST_NAME]
    lines = [
        "with DAG(",
        f"    dag_id={literal(f'coze_{slug or workflow_id}')},",
        "    schedule=None,",
        '    tags=["coze"],',
        ") as dag:",
        "    run_workflow = CozeWorkflowOperator(",
        '        task_id="run_workflow",',
        f"        workflow_id={literal(workflow_id)},",
        *([f"        coze_conn_id={literal(conn_id)},"] if conn_id else []),
        *(["        parameters=PARAMETERS,"] if has_inputs else []),
        *([f"        output_type={output},"] if output else []),
        "    )",
    ]
    return "\n".join(lines)


def _value(schema: Schema) -> list[str]:
    """Return the lines of a value that fits: what is required of an object, one element of a list."""
    kind, items = kind_of(schema), schema.get("items")
    inner: list[str] = []
    if kind == "object":
        for name, each in fields_of(schema).items():
            if each.get("required"):
                first, *rest = _value(each)
                inner += [f"{literal(name)}: {first}", *rest]
                inner[-1] += ","
        marks = "{}"
    elif kind == "array" and isinstance(items, Mapping):
        inner = _value(items)
        inner[-1] += ","
        marks = "[]"
    else:
        return [_short(schema)]
    return [marks[0], *(f"    {line}" for line in inner), marks[1]] if inner else [marks]


def _short(schema: Schema) -> str:
    """Return a value on one line: the default, or a placeholder."""
    kind, default = kind_of(schema), str(schema.get("default_value") or "")
    if kind in FILE_KINDS:
        return literal(_FILE)
    if kind == "integer":
        return default if re.fullmatch(r"-?(0|[1-9]\d{0,17})", default, re.ASCII) else "0"
    if kind == "number":
        return default if re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?", default, re.ASCII) else "0.0"
    if kind == "boolean":
        return "True" if default == "true" else "False"
    return {"object": "{}", "array": "[]"}.get(kind) or literal(default if kind == "string" and default else "TODO")
