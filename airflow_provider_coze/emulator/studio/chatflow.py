"""Chatflows of a Coze Studio server: other conditions than the cloud's, numbered events, no verbose messages, cards.

Source: backend/application/workflow/chatflow.go, backend/api/handler/coze/workflow_service.go and
backend/domain/workflow/entity/vo/chatflow.go of github.com/coze-dev/coze-studio at 4f786d6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_coze.emulator.chats import Chat, words
from airflow_provider_coze.emulator.cloud.chatflow import debug_url, start_chatflow
from airflow_provider_coze.emulator.cloud.checks import ENTER_MESSAGE, check_messages
from airflow_provider_coze.emulator.definitions import Interrupt
from airflow_provider_coze.emulator.runs import compact
from airflow_provider_coze.emulator.schema import ANY, MAP, STRING, STRINGS, Shape, array_of, required
from airflow_provider_coze.emulator.sse import studio_chatflow_event
from airflow_provider_coze.emulator.store import Conversation
from airflow_provider_coze.emulator.studio.workflow import OPERATION_FAILED, published
from airflow_provider_coze.emulator.wire import Call, Frame, Refusal, Reply, Route, event_stream

__all__ = ["ROUTES"]

INPUT_NODE = 5


def chatflow(call: Call) -> Reply:
    """``POST /v1/workflows/chat``: numbered from 1. It wants a conversation, by id or by name."""
    body = call.body
    workflow = published(call)
    messages = body.get("additional_messages") or []
    check_messages(messages, saved=True)
    if not messages:
        raise _failed("additional_messages is requird")  # Studio's spelling, as in the next but one
    if messages[-1]["role"] != "user":
        raise _failed("the role of the last day message must be user")
    if body.get("bot_id") and body.get("app_id"):
        raise _failed("project_id and bot_id cannot be set at the same time")
    chat = start_chatflow(call, workflow, _conversation(call))
    url = f"{debug_url(call, chat, workflow)}&execute_mode=2"
    return event_stream(
        [
            Frame(at, studio_chatflow_event(number, event, data))
            for number, (at, event, data) in enumerate(_story(chat, url), 1)
        ]
    )


def _conversation(call: Call) -> Conversation:
    body = call.body
    owner, conversations = call.owner, call.store.conversations
    if given := body.get("conversation_id"):
        found = conversations.get(given)
        app_id = body.get("app_id") or ""
        # With a bot any conversation will do; with an app it must be one of the app's own, which have names.
        if found is None or found.owner != owner or not (body.get("bot_id") or (found.name and found.app_id == app_id)):
            raise _failed("conversation not found")
        return found
    name = (body.get("parameters") or {}).get("CONVERSATION_NAME")
    if not isinstance(name, str):
        raise _failed("conversation name is requried")
    bot_id, app_id = body.get("bot_id") or "", body.get("app_id") or ""
    for found in conversations.values():
        if (found.owner, found.bot_id, found.app_id, found.name) == (owner, bot_id, app_id, name):
            return found
    return call.store.new_conversation(owner=owner, bot_id=bot_id, app_id=app_id, name=name)


def _story(chat: Chat, url: str) -> Iterator[tuple[float, str, dict[str, Any]]]:
    start = chat.progress.started_at
    end = start + chat.progress.seconds
    yield start, "conversation.chat.created", _chat_json(chat, "created")
    yield start, "conversation.chat.in_progress", _chat_json(chat, "in_progress")
    if chat.planned_error is not None:
        # No chat.failed, no done; and the code is a text.
        yield end, "error", {"code": str(chat.planned_error.code), "msg": chat.planned_error.msg, "debug_url": url}
        return
    chat.messages = [message for message in chat.closing_messages(end) if message.type == "answer"]
    (said,) = chat.messages
    told: dict[str, Any] = {
        "id": said.id,
        "chat_id": chat.id,
        "conversation_id": chat.conversation.id,
        "bot_id": chat.asking.inputs.bot_id if chat.asking else chat.entry.bot_id or "0",
        "role": "assistant",
        "type": "answer",
        "content": said.content,
        "content_type": "text",
        "section_id": chat.section_id,
    }
    if chat.asking and chat.asking.interrupt.type == INPUT_NODE:
        said.content, said.content_type = _card(chat.asking.interrupt), "card"
        told.update(content=said.content, content_type="card")
    elif chat.asking:
        yield end, "conversation.message.delta", told
    else:
        pieces = list(chat.bot.pieces) if chat.bot.pieces is not None else words(said.content)
        for number, piece in enumerate(pieces, 1):
            yield start + (end - start) * number / len(pieces), "conversation.message.delta", {**told, "content": piece}
    yield end, "conversation.message.completed", told
    status = "requires_action" if chat.asking else "completed"
    yield end, f"conversation.chat.{status}", _chat_json(chat, status)
    yield end, "done", {"debug_url": url}


def _chat_json(chat: Chat, status: str) -> dict[str, Any]:
    data: dict[str, Any] = {"id": chat.id, "conversation_id": chat.conversation.id, "status": status}
    if status == "completed":
        tokens = chat.tokens
        data["bot_id"] = chat.entry.bot_id or "0"
        # The sum counts the output twice and the input never: OutputTokens + OutputTokens.
        data["usage"] = {"token_count": 2 * tokens.output, "output_count": tokens.output, "input_count": tokens.input}
    return {**data, "execute_id": chat.entry.id, "section_id": chat.section_id}


def _card(interrupt: Interrupt) -> str:
    """Return the card of an input node; only its fields are of interest, the rest paints it."""
    fields = [{"type": kind, "name": name, "required": True} for name, kind in interrupt.parameters.items()]
    info = compact({"card_type": "INPUT", "input_card_data": fields})
    card = {"card_type": 3, "content_type": 50, "response_type": "card", "template_id": 7383997384420262000}
    return compact({**card, "template_url": "", "data": "{}", "x_properties": {"workflow_card_info": info}})


def _failed(cause: str) -> Refusal:
    return Refusal(OPERATION_FAILED, f"Workflow operation failure: {cause}")


_BODY: Shape = {
    "workflow_id": required(STRING),
    "parameters": ANY,
    "ext": STRINGS,
    "bot_id": STRING,
    "execute_mode": STRING,
    "version": STRING,
    "connector_id": STRING,
    "app_id": STRING,
    "conversation_id": STRING,
    "additional_messages": array_of(ENTER_MESSAGE),
    "project_id": STRING,
    "suggest_reply_info": MAP,
}

ROUTES = [Route("POST", "/v1/workflows/chat", chatflow, body=_BODY)]
