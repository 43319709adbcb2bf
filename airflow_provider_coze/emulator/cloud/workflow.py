"""``/v1/workflow/run`` and what belongs to it, without the streams.

Sources: docs.coze.cn/developer_guides/workflow_run, resume_workflow, workflow_history, get_node_execute_history_response.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.cloud.envelope import missing, refused, succeeded
from airflow_provider_coze.emulator.cloud.parameters import check_parameters
from airflow_provider_coze.emulator.definitions import Tokens, Workflow
from airflow_provider_coze.emulator.runs import ASYNC, STREAM, SYNC, Question, Run, compact, start_run
from airflow_provider_coze.emulator.schema import BOOLEAN, INTEGER, MAP, STRING, STRINGS, Shape, required
from airflow_provider_coze.emulator.wire import Call, Drop, Refusal, Reply, Route

__all__ = [
    "ROUTES",
    "RUN_BODY",
    "begin",
    "debug_url",
    "interrupt_json",
    "pending_run",
    "published_workflow",
    "usage_json",
]

#: The two keys of ``ext`` beside ``user_id`` that Coze documents are ``latitude`` and ``longitude``.
RUN_BODY: Shape = {
    "workflow_id": required(STRING),
    "parameters": MAP,
    "bot_id": STRING,
    "app_id": STRING,
    "ext": STRINGS,
    "workflow_version": STRING,
    "connector_id": STRING,
}
RESUME_BODY: Shape = {
    "workflow_id": required(STRING),
    "event_id": required(STRING),
    "interrupt_type": required(INTEGER),
    "resume_data": required(STRING),
}


def run(call: Call) -> Reply:
    """``POST /v1/workflow/run``, and its old name where the world has it."""
    is_async = call.body.get("is_async") is True
    workflow = published_workflow(call)
    if is_async and not call.world.limits.run_async:
        raise Refusal(6003, "Asynchronous execution is a premium feature available only to Coze Professional users.")
    if is_async and not workflow.allow_async:
        raise Refusal(4000, f"The workflow {workflow.id} cannot be run asynchronously.")
    started = begin(call, workflow, ASYNC if is_async else SYNC)
    return async_reply(call, started) if is_async else sync_reply(call, started)


def resume(call: Call) -> Reply:
    """``POST /v1/workflows/resume``, for runs that were not streamed."""
    paused = pending_run(call, streamed=False)
    paused.resume(call.body["resume_data"], polled=paused.mode == ASYNC)
    return async_reply(call, paused) if paused.mode == ASYNC else sync_reply(call, paused)


def history(call: Call) -> Reply:
    """``GET /v1/workflows/{id}/run_histories/{execute_id}``: an array of one."""
    found = run_of(call)
    found.settle()
    data = history_json(call, found)
    found.progress.read()
    return succeeded(call, [data])


def node_history(call: Call) -> Reply:
    """``GET …/execute_nodes/{uuid}``: what one output node said; kept for 24 hours."""
    found = run_of(call)
    found.settle()
    for node in found.nodes:
        if node.uuid == call.ids["node_execute_uuid"] and not found.nodes_expired():
            finished = found.status == "Success"
            return succeeded(call, {"is_finish": finished, "node_output": node.content if finished else ""})
    raise no_record(call)


def begin(call: Call, workflow: Workflow, mode: int) -> Run:
    """Start a run for a request that has passed all checks."""
    body = call.body
    ext = body.get("ext") or {}
    return start_run(
        call.store,
        workflow=workflow,
        parameters=body.get("parameters") or {},
        owner=call.owner,
        mode=mode,
        limit_seconds=call.world.async_run_seconds if mode == ASYNC else call.world.sync_run_seconds,
        logid=call.logid,
        connector_id=body.get("connector_id") or "1024",
        connector_uid=ext.get("user_id") or call.token.user_id,
        bot_id=body.get("bot_id") or "",
        user_id=ext.get("user_id") or "",
    )


def published_workflow(call: Call) -> Workflow:
    """Find the workflow that the body names, and look at what it is to be run with.

    :raises Refusal: 4000: bad combination or parameters. 4200: no such workflow, not published, or no such bot.
    """
    body = call.body
    if body.get("bot_id") and body.get("app_id"):
        raise Refusal(4000, "Request parameter error: bot_id and app_id cannot be specified at the same time.")
    if unknown := (body.get("ext") or {}).keys() - {"latitude", "longitude", "user_id"}:
        raise Refusal(4000, f"Request parameter error (emulator: ext has unknown keys {sorted(unknown)})")
    workflow = call.world.workflow(body["workflow_id"])
    if workflow is None:
        raise missing("workflow_id", body["workflow_id"])
    if not workflow.published:
        raise Refusal(4200, f"Workflow {workflow.id} not published. Please publish it and try again.")
    if body.get("bot_id") and call.world.bot(body["bot_id"]) is None:
        raise missing("bot_id", body["bot_id"])
    check_parameters(call, workflow, body.get("parameters") or {})
    return workflow


def sync_reply(call: Call, started: Run) -> Reply:
    """Answer a synchronous run: now, when it is over, or, if that takes too long, with a closed connection."""
    wait = started.seconds_left
    if wait > call.world.sync_wait_seconds:
        # The run goes on, and is billed: that is the trap of long synchronous runs.
        return Reply(ready_at=call.store.now() + call.world.sync_wait_seconds, drop=Drop("close"))
    # The outcome is fixed already, so the answer is written now, and sent when it is due. The run itself stays Running.
    beside: dict[str, Any] = {"execute_id": "", "debug_url": debug_url(call, started)}
    error, question = started.coming_error, started.coming_question
    if error is not None:
        reply = refused(Refusal(error.code, error.msg, debug_url=beside["debug_url"]), call.logid)
    elif question is not None:
        reply = succeeded(call, "", **beside, interrupt_data=interrupt_json(question))
    else:
        reply = succeeded(call, started.planned_data, **beside, usage=usage_json(started.tokens))
    reply.ready_at = call.store.now() + wait if wait else None
    return reply


def async_reply(call: Call, started: Run) -> Reply:
    """Answer an asynchronous run: a handle, no result."""
    return succeeded(call, execute_id=started.execute_id, debug_url=f"{debug_url(call, started)}&execute_mode=2")


def pending_run(call: Call, *, streamed: bool) -> Run:
    """Find the interrupted run that the body answers.

    :raises Refusal: 4315: it has ended. 4000: it waits for something else. 4200: there is no such run.
    """
    body = call.body
    execute_id = body["event_id"].partition("/")[0]
    found = call.store.runs.get(execute_id)
    if found is None or found.owner != call.owner or found.workflow.id != body["workflow_id"]:
        raise missing("event_id", body["event_id"])
    found.settle()
    if found.status != "Running":
        raise Refusal(4315, "The workflow execution has ended and cannot be resumed.")
    if found.question is None or found.question.event_id != body["event_id"]:
        raise Refusal(4000, f"Request parameter error (emulator: the run does not wait for event {body['event_id']})")
    if found.question.interrupt.type != body["interrupt_type"]:
        raise Refusal(
            4000, f"Request parameter error (emulator: interrupt_type is {found.question.interrupt.type}; echo it)"
        )
    if streamed != (found.mode == STREAM):
        other = "/v1/workflow/stream_resume" if found.mode == STREAM else "/v1/workflows/resume"
        raise Refusal(4000, f"Request parameter error (emulator: this run is resumed at {other})")
    return found


def run_of(call: Call) -> Run:
    """Find the run of the path.

    :raises Refusal: 4314: no such record, of another workflow, expired, or not there yet.
    """
    found = call.store.runs.get(call.ids["execute_id"])
    if found is None or found.owner != call.owner or found.workflow.id != call.ids["workflow_id"]:
        raise no_record(call)
    found.settle()
    if found.expired() or call.store.now() < found.created_at + call.world.history_delay_seconds:
        raise no_record(call)
    return found


def no_record(call: Call) -> Refusal:
    """Return the refusal for a history that is not there."""
    return Refusal(4314, f"The execution record {call.ids['execute_id']} does not exist.")


def history_json(call: Call, found: Run) -> dict[str, Any]:
    """Return the history object; ``bot_id`` is "0" and ``error_code`` is "" when there is none."""
    output, trimmed = found.history_output(), False
    if len(output.encode()) > call.world.trim_output_bytes:
        output, trimmed = output.encode()[: call.world.trim_output_bytes].decode(errors="ignore"), True
    over = found.status != "Running"
    data: dict[str, Any] = {
        "execute_id": found.execute_id,
        "execute_status": found.status,
        "bot_id": found.inputs.bot_id or "0",
        "connector_id": found.connector_id,
        "connector_uid": found.connector_uid,
        "run_mode": found.mode,
        "logid": found.logid,
        "create_time": int(found.created_at),
        "update_time": int(found.updated_at),
        "output": output,
        "error_code": str(found.error.code) if found.error else "",
        "error_message": found.error.msg if found.error else "",
        "is_output_trimmed": trimmed,
        "token": "0",
        "usage": usage_json(found.tokens if over else Tokens()),
        "debug_url": debug_url(call, found),
        "node_execute_status": _nodes_json(found) if found.status == "Success" else {},
    }
    if found.question is not None:
        data["interrupt_data"] = interrupt_json(found.question)
    return data


def interrupt_json(question: Question) -> dict[str, Any]:
    """Return ``interrupt_data`` of a run that waits for an answer."""
    interrupt = question.interrupt
    fields = [{"type": kind, "name": name, "required": True} for name, kind in interrupt.parameters.items()]
    content = compact(fields) if fields else interrupt.question
    data: dict[str, Any] = {
        "event_id": question.event_id,
        "type": interrupt.type,
        "data": compact({"content_type": "text", "content": content}),
    }
    if fields:
        data["required_parameters"] = {
            name: {"type": kind, "required": True} for name, kind in interrupt.parameters.items()
        }
    return data


def usage_json(tokens: Tokens) -> dict[str, int]:
    """Return the usage of a run."""
    return {"input_count": tokens.input, "output_count": tokens.output, "token_count": tokens.total}


def debug_url(call: Call, of: Run) -> str:
    """Return the page that shows the run; every example has the execute_id in it."""
    return (
        f"{call.world.site}/work_flow?execute_id={of.execute_id}"
        f"&space_id={call.world.workspace_id}&workflow_id={of.workflow.id}"
    )


def _nodes_json(found: Run) -> dict[str, Any]:
    return {
        node.title: {
            "node_id": node.node_id,
            "is_finish": True,
            "update_time": int(found.updated_at),
            "sub_execute_id": found.execute_id,
            "node_execute_uuid": node.uuid,
        }
        for node in found.nodes
    }


ROUTES = [
    Route("POST", "/v1/workflow/run", run, "run", body={**RUN_BODY, "is_async": BOOLEAN}, rate="workflow"),
    Route("POST", "/v1/workflows/resume", resume, "run", body=RESUME_BODY, rate="workflow"),
    Route("GET", "/v1/workflows/{workflow_id}/run_histories/{execute_id}", history, "listRunHistory", rate="workflow"),
    Route(
        "GET",
        "/v1/workflows/{workflow_id}/run_histories/{execute_id}/execute_nodes/{node_execute_uuid}",
        node_history,
        "listRunHistory",
        rate="workflow",
    ),
]
