"""Put a run's output together again where its record was trimmed, over 1 MB: from what is whole in the record, and node by node.

What Coze hands out by node are output nodes only, and for 24 hours; the end node's output is in the record or nowhere
(www.coze.cn/open/docs/developer_guides/get_node_execute_history_response, workflow_history).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_coze.errors import (
    CozeError,
    CozeInputError,
    CozeNotFoundError,
    CozePermissionError,
    CozeRejectedError,
)
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import workflow as workflows
from airflow_provider_coze.protocol.messages import Flow, JsonValue
from airflow_provider_coze.protocol.models import RunHistory, mapping
from airflow_provider_coze.protocol.outputs import history_output
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["Assembled", "assembled_output"]

#: The end node's name in a record.
_END = "Output"
#: Answers that stay what they are however often one asks: gone after 24 hours, no such operation (Coze Studio), no permission.
_FINAL = (CozeInputError, CozeNotFoundError, CozePermissionError, CozeRejectedError)
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A run's output, as whole as it could be had."""

    output: JsonValue = field(repr=False)
    missing: tuple[str, ...] = ()  # what is not in it, and why, in words. Empty: it is whole.
    nodes_read: int = 0


def assembled_output(history: RunHistory, retry: RetryPolicy, *, workflow_id: str) -> Flow[Assembled]:
    """Return the output of a successful run whose record was trimmed, as its untrimmed record would give it.

    That is the end node's output where it is there, else an object of the output nodes' by name.

    :raises CozeError: a node could not be read for now; a retry of the task reads the same run again, and pays for nothing.
    """
    as_it_is = None if history.output is None else history_output(history.output)
    whole, cut_in = _whole_parts(history.output or "")
    if _END in whole:
        if _looks_cut(whole[_END]) or (cut_in is None and not history.nodes):
            return Assembled(as_it_is, ("a part of the end node's output",))
        return Assembled(history_output(json.dumps({_END: whole[_END]})))
    if cut_in == _END:
        return Assembled(as_it_is, ("the end of the end node's output",))
    read: dict[str, str] = {}
    missing: list[str] = []
    gone: CozeError | None = None
    for name, node in history.nodes.items():
        if gone is None or not isinstance(
            gone, CozeInputError
        ):  # a server that lacks the operation lacks it for all nodes
            gone = None
            try:
                read[name] = yield from _node(history, node, retry, workflow_id=workflow_id)
            except _FINAL as error:
                gone = error
        if gone is not None and (isinstance(gone, CozeInputError) or name not in whole):
            missing.append(f"output node {name!r} ({_why(gone)})")
    if not history.nodes and cut_in is not None:
        missing.append(f"what {cut_in!r} and those after it wrote" if cut_in else "what was cut off")
    if not read and not whole:
        return Assembled(as_it_is, tuple(missing) or ("all of it: the record names no output nodes",))
    return Assembled(history_output(json.dumps({**whole, **read})), tuple(missing), len(read))


def _node(history: RunHistory, node: Mapping[str, Any], retry: RetryPolicy, *, workflow_id: str) -> Flow[str]:
    execute_id, uuid = history.execute_id, str(node.get("node_execute_uuid") or "")
    if not uuid:
        raise CozeNotFoundError("The record has no node_execute_uuid of it.")
    wanted = workflows.node_output(workflow_id=workflow_id, execute_id=execute_id, node_execute_uuid=uuid)
    try:
        found = yield from flows.call(wanted, retry)
    except CozeError as error:
        error.located(
            f"Run {execute_id!r} of workflow {workflow_id!r} has succeeded and is paid for; its output was trimmed, and an output node "
            "of it could not be read. A retry of the task reads it again, unless durable is False.",
            workflow_id=workflow_id,
            execute_id=execute_id,
            debug_url=history.debug_url,
        )
        raise
    return found.node_output


def _why(error: CozeError) -> str:
    if isinstance(error, CozeInputError):
        return "this server does not hand out the outputs of single nodes"
    if isinstance(error, CozeNotFoundError):
        return "Coze has it no more: it keeps output nodes for 24 hours"
    return f"{type(error).__name__}, code {error.code}"


def _looks_cut(value: Any) -> bool:
    """Tell whether a value that was JSON once is none any more; of other texts nobody can tell."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return True
    return False


def _whole_parts(text: str) -> tuple[dict[str, Any], str | None]:
    """Return the members of a JSON object that are whole in a text that may be cut, and the name of the one that is not.

    None: nothing is cut, or there is nothing at all; "": not even a name is whole, or it is no object.
    """
    if not text.strip():
        return {}, None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        return mapping(value), None
    found: dict[str, Any] = {}
    place = _after_blanks(text, 0)
    if text[place : place + 1] != "{":
        return found, ""
    name = ""
    try:
        while text[place : place + 1] in ("{", ","):
            name = ""
            name, place = _DECODER.raw_decode(text, _after_blanks(text, place + 1))
            place = _after_blanks(text, _after_blanks(text, place) + 1)  # the colon
            value, place = _DECODER.raw_decode(text, place)
            place = _after_blanks(text, place)
            if not isinstance(name, str) or place >= len(text):  # a number may go on
                break
            found[name] = value
    except (ValueError, RecursionError):
        pass
    return found, name if isinstance(name, str) else ""


def _after_blanks(text: str, place: int) -> int:
    while text[place : place + 1] in (" ", "\t", "\r", "\n"):
        place += 1
    return place
