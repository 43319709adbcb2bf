"""``/v1/workflows/chat``: a workflow that has a chat's life, streamed only; and how one goes on after a question.

Sources: docs.coze.cn/developer_guides/workflow_chat; key order from the recordings in tests/testdata of
github.com/coze-dev/coze-py at 6b0f4cd.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_coze.emulator.chats import Asked, Asking, Chat, start_chat
from airflow_provider_coze.emulator.cloud.chat import conversation_of, question_messages, refuse_if_busy
from airflow_provider_coze.emulator.cloud.chat_stream import chatflow_events
from airflow_provider_coze.emulator.cloud.checks import BAD_BODY, ENTER_MESSAGE, check_messages, message_text
from airflow_provider_coze.emulator.cloud.workflow import published_workflow
from airflow_provider_coze.emulator.definitions import Bot, Failure, Inputs, Interrupt, Workflow
from airflow_provider_coze.emulator.runs import MAX_ANSWERS, compact
from airflow_provider_coze.emulator.schema import MAP, STRING, STRINGS, Shape, array_of, required
from airflow_provider_coze.emulator.sse import chatflow_event
from airflow_provider_coze.emulator.store import Conversation
from airflow_provider_coze.emulator.wire import Call, Frame, Refusal, Reply, Route, event_stream

__all__ = ["ROUTES", "debug_url", "start_chatflow"]

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


def chatflow(call: Call) -> Reply:
    """``POST /v1/workflows/chat``."""
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
    given = body.get("conversation_id") or ""
    failure = None
    if body.get("app_id") and not given and not (body.get("parameters") or {}).get("CONVERSATION_NAME"):
        failure = Failure(720702204, "The conversation name or conversation id is missing.")
    conversation = conversation_of(call, given) if given else call.store.new_conversation(owner=call.owner)
    refuse_if_busy(call, conversation)
    chat = start_chatflow(call, workflow, conversation, failure)
    story = chatflow_events(chat, debug_url(call, chat, workflow))
    return event_stream([Frame(at, chatflow_event(event, data)) for at, event, data in story])


def start_chatflow(call: Call, workflow: Workflow, conversation: Conversation, failure: Failure | None = None) -> Chat:
    """Run a chatflow, or go on with the one that asked something in this conversation.

    :param failure: what it is to fail with, for the dialect's own reasons.
    """
    body = call.body
    messages, parameters = body["additional_messages"], dict(body.get("parameters") or {})
    text = message_text(messages[-1])
    ext = body.get("ext") or {}
    inputs = Inputs(
        parameters,
        message=text,
        user_id=ext.get("user_id", ""),
        bot_id=body.get("bot_id") or "",
        uploads=lambda file_id: call.store.uploaded(file_id, call.owner),
    )
    asking, continued = Asking(workflow.id, call.store.new_id(), Interrupt(""), inputs), None
    waiting = _waiting(call, conversation, workflow)
    if waiting is not None and waiting.asking is not None:
        waiting.status = "completed"
        asking, continued = waiting.asking, waiting.entry
        if asking.interrupt.accepts_answer(text):
            asking = replace(asking, inputs=asking.inputs.answered(text), refused_answers=0)
        else:
            asking = replace(asking, refused_answers=asking.refused_answers + 1)
            if asking.refused_answers >= MAX_ANSWERS:
                failure = Failure(720701002, f"{MAX_ANSWERS} answers were not accepted; the workflow failed.")
    bot, question = _player(workflow, asking.inputs, failure)
    return start_chat(
        call.store,
        bot=bot,
        conversation=conversation,
        owner=call.owner,
        asked=Asked(text=text, user_id=asking.inputs.user_id, parameters=parameters),
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


def debug_url(call: Call, chat: Chat, workflow: Workflow) -> str:
    """Return the page that shows the run behind a chat."""
    return (
        f"{call.world.site}/work_flow?execute_id={chat.entry.id}"
        f"&space_id={call.world.workspace_id}&workflow_id={workflow.id}"
    )


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


ROUTES = [
    Route("POST", "/v1/workflows/chat", chatflow, "run", body=CHATFLOW_BODY, rate="workflow", bad_body=BAD_BODY),
]
