"""What a workflow takes and returns, as the catalogue shows it.

Source: docs.coze.cn/developer_guides/get_workflow_info (OpenAPIWorkflowInput, OpenAPIParameter, OpenAPIWorkflowOutput).
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.definitions import Parameter, Template, Workflow

__all__ = ["inputs_and_outputs"]


def inputs_and_outputs(workflow: Workflow) -> dict[str, Any]:
    """Return ``input`` and ``output`` of a workflow's description."""
    parameters = {name: _parameter_json(parameter) for name, parameter in (workflow.parameters or {}).items()}
    return {"input": {"parameters": parameters}, "output": _output_json(workflow.output)}


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    """Return what the start node says of an input, and of what is inside it."""
    shown: dict[str, Any] = {
        "type": parameter.type,
        "required": parameter.required,
        "description": parameter.description,
        "default_value": parameter.default,
    }
    if parameter.items is not None:
        shown["items"] = _parameter_json(parameter.items)
    if parameter.properties is not None:
        shown["properties"] = {name: _parameter_json(inner) for name, inner in parameter.properties.items()}
    return shown


def _output_json(output: Any) -> dict[str, Any]:
    """Return what the end node says: text, or variables, whose types are those of the values it returns.

    What a callable works out during a run is not known before, so none of its variables is shown.
    """
    if isinstance(output, Template) or (isinstance(output, str) and output):
        content = output.text if isinstance(output, Template) else output
        return {"terminate_plan": "use_answer_content", "content": content, "parameters": {}}
    variables = output if isinstance(output, dict) else {} if callable(output) else {"output": output}
    parameters = {str(name): _type_json(value) for name, value in variables.items()}
    return {"terminate_plan": "return_variables", "content": "", "parameters": parameters}


def _type_json(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"type": "object", "properties": {str(name): _type_json(inner) for name, inner in value.items()}}
    if isinstance(value, list):
        return {"type": "array", "items": _type_json(value[0] if value else "")}
    kinds = {bool: "boolean", int: "integer", float: "number"}
    return {"type": kinds.get(type(value), "string")}
