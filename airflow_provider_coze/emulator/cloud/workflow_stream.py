"""``/v1/workflow/stream_run``, ``/v1/workflow/stream_resume`` and ``/v1/workflows/chat``.

Sources: docs.coze.cn/developer_guides/workflow_stream_run, workflow_resume, workflow_chat; key order from the recordings in
tests/testdata of github.com/coze-dev/coze-py at 6b0f4cd.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_coze.emulator.chats import Asked, Asking, Chat, start_chat
from airflow_provider_coze.emulator.cloud.chat import conversation_of, question_messages, refuse_if_busy
from airflow_provider_coze.emulator.cloud.chat_stream import chatflow_events
from airflow_provider_coze.emulator.cloud.checks import BAD_BODY, ENTER_MESSAGE, check_messages, message_text
from airflow_provider_coze.emulator.cloud.workflow import (
    RESUME_BODY,
    RUN_BODY,
    begin,
    debug_url,
    interrupt_json,
    pending_run,
    published_workflow,
)
from airflow_provider_coze.emulator.definitions import Bot, Failure, Inputs, Interrupt, Workflow
from airflow_provider_coze.emulator.runs import MAX_ANSWERS, STREAM, Run, compact
from airflow_provider_coze.emulator.schema import MAP, STRING, STRINGS, Shape, array_of, required
from airflow_provider_coze.emulator.sse import chatflow_event, workflow_event
from airflow_provider_coze.emulator.store import Conversation
from airflow_provider_coze.emulator.wire import Call, Frame, Refusal, Reply, Route, event_stream

__all__ = ["CHATFLOW_BODY", "ROUTES", "chatflow_story", "workflow_frames"]

MAX_MESSAGES = 50
CHATFLOW_BODY: Shape = {
    "workflow_id": required(STRING),
    "additional_messages": array_of(ENTER_MESSAGE),
    "parameters": MAP,
    "app_id": STRING,
    "bot_id": STRING,
    "conversation_id": STRING,
    "ext": STRINGS,
    "workflow_version": STRING,
    "connector_id": STRING,
}


def stream_run(call: Call) -> Reply:
    """``POST /v1/workflow/stream_run``."""
    started = begin(call, published_workflow(call), STREAM)
    return event_stream(workflow_frames(call, started))


def stream_resume(call: Call) -> Reply:
    """``POST /v1/workflow/stream_resume``; ids start at 0 again."""
    paused = pending_run(call, streamed=True)
    paused.resume(call.body["resume_data"], polled=False)
    return event_stream(workflow_frames(call, paused))


def workflow_frames(call: Call, run: Run) -> list[Frame]:
    """Write the events of the present leg of a run."""
    story: list[tuple[float, str, dict[str, Any]]] = []
    start = run.progress.started_at
    end = start + min(run.progress.seconds, run.limit_seconds)
    error, question = run.coming_error, run.coming_question
    if question is not None:
        asked = {
            "content": question.interrupt.question,
            "content_type": "text",
            **_place(0, question.interrupt.node_title),
        }
        # The question itself came as a Message; in the recording the interrupt's data is empty then.
        interrupt = interrupt_json(question)
        interrupted = _sorted(interrupt if question.interrupt.parameters else {**interrupt, "data": ""})
        story.append((end, "Message", _sorted(asked)))
        story.append((end, "Interrupt", {"interrupt_data": interrupted, "node_title": question.interrupt.node_title}))
    else:
        story.extend(_node_messages(run, start, end))
        if error is not None:
            story.append((end, "Error", {"error_code": error.code, "error_message": error.msg}))
        else:
            last = {"content": run.planned_data, "cost": "0.00", **_place(0, ""), "token": 0}
            story.append((end, "Message", _sorted(last)))
            done = {"debug_url": debug_url(call, run)} if call.world.done_carries_debug_url else {}
            story.append((end, "Done", done))
    return [Frame(at, workflow_event(number, event, data)) for number, (at, event, data) in enumerate(story)]


def chatflow(call: Call) -> Reply:
    """``POST /v1/workflows/chat``: the events of a chat, for a workflow."""
    return event_stream([Frame(at, chatflow_event(event, data)) for at, event, data in chatflow_story(call)])


def chatflow_story(call: Call) -> list[tuple[float, str, Any]]:
    """Run a chatflow.

    :returns: The events with their times, not yet written in the way of a dialect.
    """
    body = call.body
    if bool(body.get("bot_id")) == bool(body.get("app_id")):
        raise Refusal(4000, "Request parameter error: exactly one of bot_id and app_id must be specified.")
    messages = body.get("additional_messages") or []
    if len(messages) > MAX_MESSAGES:
        raise Refusal(4004, f"The number of additional_messages exceeds the limit of {MAX_MESSAGES}.")
    check_messages(messages, saved=True)
    if not messages or messages[-1]["role"] != "user" or any(m["content_type"] != "text" for m in messages):
        raise Refusal(4000, f"{BAD_BODY} (emulator: additional_messages must be texts, the last one of the user)")
    workflow = published_workflow(call)
    if workflow.mode != "chatflow":
        raise Refusal(4000, f"Request parameter error (emulator: workflow {workflow.id} is not a chatflow)")
    parameters = dict(body.get("parameters") or {})
    given = body.get("conversation_id") or ""
    failure = workflow.failure
    if body.get("app_id") and not given and not parameters.get("CONVERSATION_NAME"):
        failure = Failure(720702204, "The conversation name or conversation id is missing.")
    conversation = conversation_of(call, given) if given else call.store.new_conversation(owner=call.owner)
    refuse_if_busy(call, conversation)
    text = message_text(messages[-1])
    ext = body.get("ext") or {}
    inputs = Inputs(parameters, message=text, user_id=ext.get("user_id", ""), bot_id=body.get("bot_id") or "")
    asking, continued = Asking(workflow.id, call.store.new_id(), Interrupt(""), inputs), None
    waiting = _waiting(call, conversation, workflow)
    if waiting is not None and waiting.asking is not None:
        waiting.status = "completed"
        asking, continued = waiting.asking, waiting.entry
        inputs = asking.inputs
        if asking.interrupt.accepts_answer(text):
            asking = replace(asking, inputs=inputs.answered(text), refused_answers=0)
        else:
            asking = replace(asking, refused_answers=asking.refused_answers + 1)
            if asking.refused_answers >= MAX_ANSWERS:
                failure = Failure(720701002, f"{MAX_ANSWERS} answers were not accepted; the workflow failed.")
    bot, question = _player(workflow, asking.inputs, failure)
    chat = start_chat(
        call.store,
        bot=bot,
        conversation=conversation,
        owner=call.owner,
        asked=Asked(text=text, user_id=inputs.user_id, parameters=parameters),
        questions=question_messages(call, conversation, messages),
        saved=True,
        polled=False,
        question_listed_at_once=call.world.question_listed_at_once,
        marker={"parameters": parameters, "message_meta_data": dict(messages[-1].get("meta_data") or {})},
        chatflow_id=workflow.id,
        execute_id=asking.execute_id,
        asking=replace(asking, interrupt=question) if question is not None else None,
        continued=continued,
    )
    url = (
        f"{call.world.site}/work_flow?execute_id={asking.execute_id}"
        f"&space_id={call.world.workspace_id}&workflow_id={workflow.id}"
    )
    return chatflow_events(chat, url)


def _waiting(call: Call, conversation: Conversation, workflow: Workflow) -> Chat | None:
    """Find the chat whose question this request answers: the latest of the conversation, if it asked."""
    latest = call.store.chats_in(conversation)[-1:]
    return next(
        (
            chat
            for chat in latest
            if chat.status == "requires_action" and chat.asking and chat.asking.workflow_id == workflow.id
        ),
        None,
    )


def _player(workflow: Workflow, inputs: Inputs, failure: Failure | None) -> tuple[Bot, Interrupt | None]:
    # A chatflow has a chat's life without having a bot; this one stands in for it.
    output: Any = ""
    question: Interrupt | None = None
    try:
        if failure is None:
            question = workflow.question_for(inputs)
            output = question.question if question is not None else workflow.output_of(inputs)
    except Failure as raised:
        failure = raised.again()
    bot = Bot(
        id="",
        answer=output if isinstance(output, str) else compact(output),
        failure=failure,
        duration=workflow.duration_of(inputs),
        tokens=workflow.tokens,
        pieces=workflow.pieces if question is None else None,
    )
    return bot, question


def _node_messages(run: Run, start: float, end: float) -> list[tuple[float, str, dict[str, Any]]]:
    pieces = [(node.title, number, piece, node) for node in run.nodes for number, piece in enumerate(node.pieces)]
    return [
        (
            start + (end - start) * (index + 1) / (len(pieces) + 1),
            "Message",
            _sorted({"content": piece, **_place(number, title, last=number == len(node.pieces) - 1)}),
        )
        for index, (title, number, piece, node) in enumerate(pieces)
    ]


def _place(number: int, title: str, *, last: bool = True) -> dict[str, Any]:
    return {"node_is_finish": last, "node_seq_id": str(number), "node_title": title}


def _sorted(data: dict[str, Any]) -> dict[str, Any]:
    # The recordings have these keys in alphabetical order: a Go map.
    return {key: data[key] for key in sorted(data)}


ROUTES = [
    Route("POST", "/v1/workflow/stream_run", stream_run, "run", body=RUN_BODY, rate="workflow"),
    Route("POST", "/v1/workflow/stream_resume", stream_resume, "run", body=RESUME_BODY, rate="workflow"),
    Route(
        "POST",
        "/v1/workflows/chat",
        chatflow,
        "run",
        body=CHATFLOW_BODY,
        rate="workflow",
        bad_body=BAD_BODY,
    ),
]
