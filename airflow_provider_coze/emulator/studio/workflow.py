"""Workflows of a Coze Studio server.

Source: backend/application/workflow/workflow.go, backend/api/handler/coze/workflow_service.go and
backend/types/errno/workflow.go of github.com/coze-dev/coze-studio at 4f786d6. A successful history has no ``code`` there.
"""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_coze.emulator.cloud.workflow import RESUME_BODY, begin, debug_url, pending_run, usage_json
from airflow_provider_coze.emulator.definitions import Workflow
from airflow_provider_coze.emulator.runs import ASYNC, STREAM, SYNC, Question, Run, compact
from airflow_provider_coze.emulator.schema import ANY, BOOLEAN, STRING, STRINGS, Shape, required
from airflow_provider_coze.emulator.sse import workflow_event
from airflow_provider_coze.emulator.wire import Call, Frame, Refusal, Reply, Route, answer, event_stream

__all__ = ["OPERATION_FAILED", "ROUTES", "published"]

#: Public codes of three errors (OpenAPICode); the last two have none of their own.
NOT_PUBLISHED, NO_INTERRUPTS, BAD_PARAMETER, NOT_FOUND, OPERATION_FAILED = 6031, 6039, 4000, 720702004, 777777775


def run(call: Call) -> Reply:
    """``POST /v1/workflow/run``. No plan, no 90 s: the bundled proxy waits ten minutes."""
    workflow = published(call)
    is_async = call.body.get("is_async") is True
    started = begin(call, workflow, ASYNC if is_async else SYNC)
    started.limit_seconds = float("inf")  # execution timeouts default to none
    url = f"{debug_url(call, started)}&execute_mode=2"
    body: dict[str, Any] = {"code": 0, "msg": None, "data": None, "token": None, "cost": None, "debug_url": url}
    if is_async:
        return answer({**body, "execute_id": started.execute_id, "BaseResp": None})
    error, question = started.coming_error, started.coming_question
    if error is not None:
        body.update(code=error.code, msg=error.msg, execute_id=None)
    elif question is not None:
        body.update(code=NO_INTERRUPTS, msg="interrupt not supported", debug_url=None, execute_id=None)
    else:
        body.update(
            data=started.planned_data, token=started.tokens.total, cost="0.00000", execute_id=started.execute_id
        )
    return answer({**body, "BaseResp": None}, ready_at=call.store.now() + started.seconds_left)


def stream_run(call: Call) -> Reply:
    """``POST /v1/workflow/stream_run``."""
    started = begin(call, published(call), STREAM)
    started.limit_seconds = float("inf")
    return event_stream(_frames(call, started))


def stream_resume(call: Call) -> Reply:
    """``POST /v1/workflow/stream_resume``."""
    paused = pending_run(call, streamed=True)
    paused.resume(call.body["resume_data"], polled=False)
    return event_stream(_frames(call, paused))


def history(call: Call) -> Reply:
    """``GET /v1/workflow/get_run_history``: numbers where the cloud has strings, other keys, and no code on success."""
    found = call.store.runs.get(call.query.get("execute_id", ""))
    if found is None or found.owner != call.owner:
        raise Refusal(OPERATION_FAILED, "Workflow operation failure: execution not found")
    found.settle()
    data = {
        "execute_id": int(found.execute_id),
        "execute_status": "<UNSET>" if found.question else found.status,
        "bot_id": int(found.inputs.bot_id) if found.inputs.bot_id else None,
        "connector_id": int(found.connector_id),
        "connector_uid": found.connector_uid,
        "run_mode": found.mode,
        "log_id": found.logid,
        "create_time": int(found.created_at),
        "update_time": int(found.updated_at),
        "debug_url": f"{debug_url(call, found)}&execute_mode=2",
        "input": compact(dict(found.inputs)),
        "output": found.data if found.status == "Success" else None,
        "token": found.tokens.total if found.status != "Running" else 0,
        "cost": "0.00000",
        "cost_unit": None,
        "ext": None,
        "error_code": str(found.error.code) if found.error else None,
        "error_msg": found.error.msg if found.error else None,
    }
    found.progress.read()
    return answer({"data": [data], "BaseResp": None})


def info(call: Call) -> Reply:
    """``GET /v1/workflows/{id}``: a chatflow's role, and nothing of what the cloud tells."""
    if call.world.workflow(call.ids["workflow_id"]) is None:
        raise _not_found(call.ids["workflow_id"])
    return answer({"code": 0, "msg": "", "data": {"role": None}, "BaseResp": None})


def published(call: Call) -> Workflow:
    """Find the workflow that the body names, and read its parameters, which may be text.

    :raises Refusal: 720702004 there is none, 6031 it is not published, 4000 its parameters.
    """
    body = call.body
    if isinstance(body.get("parameters"), str):
        try:
            body["parameters"] = json.loads(body["parameters"])
        except ValueError:
            body["parameters"] = None
    if body.get("parameters") is not None and not isinstance(body["parameters"], dict):
        raise Refusal(BAD_PARAMETER, "Invalid parameter: parameters", debug_url="")
    workflow = call.world.workflow(body["workflow_id"])
    if workflow is None:
        raise _not_found(body["workflow_id"])
    if not workflow.published:
        raise Refusal(NOT_PUBLISHED, "Workflow not published")
    for name, parameter in (workflow.parameters or {}).items():
        if parameter.required and (body.get("parameters") or {}).get(name) is None:
            raise Refusal(
                BAD_PARAMETER,
                f"Missing required parameters：‘{name}‘. Please review the API documentation and ensure all mandatory "
                "fields are included in your request.",
                debug_url="",
            )
    return workflow


def _not_found(workflow_id: str) -> Refusal:
    return Refusal(NOT_FOUND, f"workflow {workflow_id} not found, please check if the workflow exists and not deleted")


def _frames(call: Call, started: Run) -> list[Frame]:
    start = started.progress.started_at
    end = start + started.progress.seconds
    url = f"{debug_url(call, started)}&execute_mode=2"
    error, question = started.coming_error, started.coming_question
    story: list[tuple[float, str, dict[str, Any]]] = []
    for node in started.nodes if question is None else []:
        for number, piece in enumerate(node.pieces):
            last = number == len(node.pieces) - 1
            story.append((start, "Message", _message(piece, number, node.node_id, last, "Message", node.title)))
    if question is not None:
        asked = {"event_id": question.event_id, "type": question.interrupt.type, "data": interrupt_data(question)}
        story.append((end, "Interrupt", {"debug_url": url, "interrupt_data": asked}))
    elif error is not None:
        # A failed workflow is "Error"; a lowercase "error", with plain text, is a stream that broke inside the server.
        story.append((end, "Error", {"debug_url": url, "error_code": error.code, "error_message": error.msg}))
    else:
        message = _message(started.planned_data, 0, "900001", True, "End", "End")
        message["token"] = usage_json(started.tokens)["token_count"]
        story.append((end, "Message", message))
        story.append((end, "Done", {"debug_url": url}))
    return [Frame(at, workflow_event(number, event, data)) for number, (at, event, data) in enumerate(story)]


def interrupt_data(question: Question) -> str:
    """Return what an interrupt says: the form of an input node, or the talk of a question node so far."""
    interrupt = question.interrupt
    if interrupt.parameters:
        fields = [{"type": kind, "name": name, "required": True} for name, kind in interrupt.parameters.items()]
        return compact({"content_type": "form_schema", "content": compact(fields)})
    said = {"type": "question", "content_type": "text", "content": interrupt.question}
    return compact({"messages": [{**said, "id": question.event_id.partition("/")[2]}]})


def _message(content: str, number: int, node_id: str, last: bool, kind: str, title: str) -> dict[str, Any]:
    return {
        "content": content,
        "content_type": "text",
        "node_seq_id": str(number),
        "node_id": node_id,
        "node_is_finish": last,
        "node_type": kind,
        "node_title": title,
    }


_RUN: Shape = {
    "workflow_id": required(STRING),
    "parameters": ANY,
    "ext": STRINGS,
    "bot_id": STRING,
    "is_async": BOOLEAN,
    "execute_mode": STRING,
    "version": STRING,
    "connector_id": STRING,
    "app_id": STRING,
    "project_id": STRING,
}

ROUTES = [
    Route("POST", "/v1/workflow/run", run, body=_RUN),
    Route("POST", "/v1/workflow/stream_run", stream_run, body=_RUN),
    Route(
        "POST",
        "/v1/workflow/stream_resume",
        stream_resume,
        body={**RESUME_BODY, "ext": STRINGS, "connector_id": STRING},
    ),
    Route(
        "GET",
        "/v1/workflow/get_run_history",
        history,
        query={"workflow_id": required(STRING), "execute_id": required(STRING)},
    ),
    Route(
        "GET",
        "/v1/workflows/{workflow_id}",
        info,
        query={"connector_id": STRING, "is_debug": STRING, "caller": STRING},
    ),
]
