"""Workflows: start a run, read its record. https://www.coze.cn/open/docs/developer_guides/workflow_run and siblings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from airflow_provider_coze.errors import CozeProtocolError
from airflow_provider_coze.protocol.messages import Call, JsonValue, Replay, Request, StreamCall, streamed
from airflow_provider_coze.protocol.models import (
    NodeOutput,
    RunHistory,
    Usage,
    WorkflowInfo,
    WorkflowRun,
    integer,
    logid_of,
    mapping,
    records,
    text_or_none,
)
from airflow_provider_coze.protocol.wording import in_brackets

__all__ = [
    "BUDGET",
    "RUN_PATH",
    "execute_id_in",
    "node_output",
    "resume_workflow",
    "run_history",
    "run_workflow",
    "stream_chatflow",
    "stream_resume",
    "stream_run",
    "workflow_info",
]

#: Starting runs and reading their records are one class in Coze's limits (50 requests a second on the free plan).
BUDGET = "workflow"
#: Singular and v1; older documents show /v3/workflows/run, which the cloud answers with 404.
RUN_PATH = "/v1/workflow/run"


def run_workflow(
    *,
    workflow_id: str,
    parameters: Mapping[str, JsonValue],
    is_async: bool,
    options: Mapping[str, JsonValue] | None = None,
) -> Call[WorkflowRun]:
    """Start a run of a published workflow. Billed, not idempotent: a second call is a second run.

    :param is_async: True returns a handle at once (paid plans only, else code 6003); False returns the result, but Coze
        drops the connection after 90 s while the run goes on.
    :param options: further body fields by Coze's names: bot_id or app_id (not both), ext, workflow_version, connector_id.
    """
    body: dict[str, JsonValue] = {"workflow_id": workflow_id, "parameters": dict(parameters), "is_async": is_async}
    body.update(_given(options))
    return Call(Request("POST", RUN_PATH, json=body, budget=BUDGET), _run, Replay.IF_NEVER_SENT, "run")


def stream_run(
    *, workflow_id: str, parameters: Mapping[str, JsonValue], options: Mapping[str, JsonValue] | None = None
) -> StreamCall:
    """Start a run of a published workflow and read what its nodes say as they say it. Billed, not idempotent.

    Any plan may, and nothing is cut after 90 s. ``run_streams.RunFold`` reads the events.
    https://www.coze.cn/open/docs/developer_guides/workflow_stream_run.

    :param options: as of :func:`run_workflow`.
    """
    body: dict[str, JsonValue] = {"workflow_id": workflow_id, "parameters": dict(parameters), **_given(options)}
    return _stream("/v1/workflow/stream_run", body)


def resume_workflow(*, workflow_id: str, event_id: str, interrupt_type: int, resume_data: str) -> Call[WorkflowRun]:
    """Answer the question of a run that :func:`run_workflow` started; it goes on as it was started, async or sync. Billed.

    https://www.coze.cn/open/docs/developer_guides/resume_workflow.

    :param event_id: of the interrupt, as Coze gave it.
    :param interrupt_type: the same: documents of one year number the types otherwise than those of the next.
    :param resume_data: the answer; JSON in a string for input nodes.
    """
    body = _answer(workflow_id, event_id, interrupt_type, resume_data)
    request = Request("POST", "/v1/workflows/resume", json=body, budget=BUDGET)
    return Call(request, _run, Replay.IF_NEVER_SENT, "run")


def stream_resume(*, workflow_id: str, event_id: str, interrupt_type: int, resume_data: str) -> StreamCall:
    """Answer the question of a run that :func:`stream_run` started, and read on. Billed; three times at most.

    Parameters are those of :func:`resume_workflow`. https://www.coze.cn/open/docs/developer_guides/workflow_resume.
    """
    return _stream("/v1/workflow/stream_resume", _answer(workflow_id, event_id, interrupt_type, resume_data))


def stream_chatflow(
    *,
    workflow_id: str,
    additional_messages: Sequence[Mapping[str, JsonValue]],
    parameters: Mapping[str, JsonValue] | None = None,
    conversation_id: str | None = None,
    options: Mapping[str, JsonValue] | None = None,
) -> StreamCall:
    """Send a message to a chatflow, which answers in a stream only. Billed; ``streams.ChatflowFold`` reads the events.

    A question that the chatflow asks is answered by calling it again in the same conversation.
    https://www.coze.cn/open/docs/developer_guides/workflow_chat.

    :param additional_messages: texts, 50 at most; the last one is this turn's, with role ``user``.
    :param parameters: may hold ``CONVERSATION_NAME``.
    :param options: further body fields by Coze's names: bot_id or app_id (exactly one), ext, workflow_version, connector_id.
    """
    body: dict[str, JsonValue] = {
        "workflow_id": workflow_id,
        "additional_messages": [dict(message) for message in additional_messages],
        "parameters": dict(parameters or {}),
        **_given(options),
    }
    if conversation_id:
        body["conversation_id"] = conversation_id  # in the body here, unlike chats
    return _stream("/v1/workflows/chat", body)


def run_history(*, workflow_id: str, execute_id: str) -> Call[RunHistory]:
    """Read the record of a run. It can answer 4314 for some seconds after the start, before the record is visible.

    https://www.coze.cn/open/docs/developer_guides/workflow_history.
    """
    path = f"/v1/workflows/{quote(workflow_id, safe='')}/run_histories/{quote(execute_id, safe='')}"
    return Call(Request("GET", path, budget=BUDGET), _history, Replay.ALWAYS, "listRunHistory")


def node_output(*, workflow_id: str, execute_id: str, node_execute_uuid: str) -> Call[NodeOutput]:
    """Read what one output node wrote, also when the record's own output was trimmed.

    https://www.coze.cn/open/docs/developer_guides/get_node_execute_history_response.
    """
    path = (
        f"/v1/workflows/{quote(workflow_id, safe='')}/run_histories/{quote(execute_id, safe='')}"
        f"/execute_nodes/{quote(node_execute_uuid, safe='')}"
    )
    return Call(Request("GET", path, budget=BUDGET), _node, Replay.ALWAYS, "listRunHistory")


def workflow_info(*, workflow_id: str, include_input_output: bool = True) -> Call[WorkflowInfo]:
    """Read a workflow's name and the types of its inputs and outputs.

    https://www.coze.cn/open/docs/developer_guides/get_workflow_info.
    """
    query = {"include_input_output": "true" if include_input_output else "false"}
    request = Request("GET", f"/v1/workflows/{quote(workflow_id, safe='')}", query=query)
    return Call(request, _info, Replay.ALWAYS, "getMetaData")


def _stream(path: str, body: Mapping[str, JsonValue]) -> StreamCall:
    return Call(Request("POST", path, json=body, budget=BUDGET, stream=True), streamed, Replay.IF_NEVER_SENT, "run")


def _given(options: Mapping[str, JsonValue] | None) -> dict[str, JsonValue]:
    return {name: value for name, value in (options or {}).items() if value is not None}


def _answer(workflow_id: str, event_id: str, interrupt_type: int, resume_data: str) -> dict[str, JsonValue]:
    return {
        "workflow_id": workflow_id,
        "event_id": event_id,
        "interrupt_type": interrupt_type,
        "resume_data": resume_data,
    }


def _run(body: Mapping[str, Any]) -> WorkflowRun:
    debug_url = text_or_none(body.get("debug_url")) or None
    interrupt = mapping(body.get("interrupt_data"))
    run = WorkflowRun(
        # A synchronous answer leaves execute_id empty; every debug_url in the documents carries it.
        execute_id=str(body.get("execute_id") or "") or execute_id_in(debug_url),
        debug_url=debug_url,
        data=text_or_none(body.get("data")),
        usage=Usage.from_body(body.get("usage")),
        interrupt=interrupt or None,
        logid=logid_of(body),
    )
    if not run.execute_id and run.data is None and run.interrupt is None:
        raise CozeProtocolError(
            f"Coze accepted the run, but named neither an execute_id nor a result{in_brackets(run.logid)}; its answer has "
            f"{sorted(body)}. The run may be going on, and is billed.",
            logid=run.logid,
        )
    return run


def execute_id_in(debug_url: str | None) -> str:
    """Return the id of the run that a debug_url shows; "" if it names none."""
    try:
        return parse_qs(urlsplit(debug_url or "").query).get("execute_id", [""])[0]
    except ValueError:  # no URL; a paid run is not lost for that
        return ""


def _history(body: Mapping[str, Any]) -> RunHistory:
    found = records(body.get("data"))
    if not found:
        raise CozeProtocolError(
            f"Coze's record of the run is empty{in_brackets(logid_of(body))}.", logid=logid_of(body)
        )
    record = found[0]  # always exactly one
    return RunHistory(
        execute_id=str(record.get("execute_id") or ""),
        execute_status=str(record.get("execute_status") or ""),
        output=text_or_none(record.get("output")),
        error_code=integer(record.get("error_code")),
        error_message=str(record.get("error_message") or ""),
        debug_url=text_or_none(record.get("debug_url")) or None,
        usage=Usage.from_body(record.get("usage")),
        create_time=integer(record.get("create_time")),
        update_time=integer(record.get("update_time")),
        is_output_trimmed=bool(record.get("is_output_trimmed")),
        interrupt=mapping(record.get("interrupt_data")) or None,
        logid=text_or_none(record.get("logid")) or logid_of(body),
        nodes={str(name): mapping(node) for name, node in mapping(record.get("node_execute_status")).items()},
    )


def _node(body: Mapping[str, Any]) -> NodeOutput:
    data = mapping(body.get("data"))
    return NodeOutput(is_finish=bool(data.get("is_finish")), node_output=str(data.get("node_output") or ""))


def _info(body: Mapping[str, Any]) -> WorkflowInfo:
    data = mapping(body.get("data"))
    detail = mapping(data.get("workflow_detail"))
    return WorkflowInfo(
        workflow_id=str(detail.get("workflow_id") or ""),
        workflow_name=str(detail.get("workflow_name") or ""),
        description=str(detail.get("description") or ""),
        app_id=str(detail.get("app_id") or ""),
        created_at=integer(detail.get("created_at")),
        updated_at=integer(detail.get("updated_at")),
        input_parameters={
            str(name): mapping(schema) for name, schema in mapping(mapping(data.get("input")).get("parameters")).items()
        },
        output=mapping(data.get("output")),
    )
