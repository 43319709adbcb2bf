"""The streams of ``/v3/chat`` and ``/v1/workflows/chat``: which events, with which keys, at which times.

Both tell the same story; they differ in framing, in which ids a Chat carries, and in what the last event says.
Key order and contents follow recordings: tests/testdata of github.com/coze-dev/coze-py at 6b0f4cd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_coze.emulator.chats import Chat, words
from airflow_provider_coze.emulator.cloud.shapes import required_action_json
from airflow_provider_coze.emulator.sse import chat_event
from airflow_provider_coze.emulator.store import Message
from airflow_provider_coze.emulator.wire import Frame, Reply, event_stream

__all__ = ["chatflow_events", "stream_chat"]


def stream_chat(chat: Chat) -> Reply:
    """Stream a chat that was just started, or just went on after tool outputs."""
    return event_stream(
        [Frame(at, chat_event(event, data)) for at, event, data in _story(chat, _v3_chat, _v3_message, "[DONE]")]
    )


def chatflow_events(chat: Chat, debug_url: str) -> list[tuple[float, str, Any]]:
    """Tell a run of a chatflow as events, each with its time."""
    return list(_story(chat, _chatflow_chat, _chatflow_message, {"debug_url": debug_url}))


def _story(
    chat: Chat,
    chat_json: Callable[[Chat, str, float], dict[str, Any]],
    message_json: Callable[[Message, str, bool], dict[str, Any]],
    done: Any,
) -> Iterator[tuple[float, str, Any]]:
    start = chat.progress.started_at
    end = start + chat.progress.seconds
    yield start, "conversation.chat.created", chat_json(chat, "created", start)
    yield start, "conversation.chat.in_progress", chat_json(chat, "in_progress", start)
    if chat.planned_calls:
        yield end, "conversation.chat.requires_action", chat_json(chat, "requires_action", end)
    elif chat.planned_error is not None:
        yield end, "conversation.chat.failed", chat_json(chat, "failed", end)
    else:
        yield from _answered(chat, message_json, start, end)
        status = "requires_action" if chat.asking else "completed"
        yield end, f"conversation.chat.{status}", chat_json(chat, status, end)
    yield end, "done", done


def _answered(
    chat: Chat, message_json: Callable[[Message, str, bool], dict[str, Any]], start: float, end: float
) -> Iterator[tuple[float, str, Any]]:
    chat.messages = chat.closing_messages(end)
    by_type: dict[str, list[Message]] = {}
    for message in chat.messages:
        by_type.setdefault(message.type, []).append(message)
    for message in chat.tool_messages:
        yield start, "conversation.message.completed", message_json(message, message.content, True)
    for message in by_type["answer"]:
        for piece in words(message.reasoning) if message.reasoning else []:
            thought = message_json(message, "", False)
            yield start, "conversation.message.delta", {**thought, "reasoning_content": piece}
        pieces = list(chat.bot.pieces) if chat.bot.pieces is not None else words(message.content)
        for number, piece in enumerate(pieces, 1):
            at = start + (end - start) * number / len(pieces)
            yield at, "conversation.message.delta", message_json(message, piece, number == len(pieces))
        whole = message_json(message, message.content, True)
        if message.reasoning:
            whole["reasoning_content"] = message.reasoning
        yield end, "conversation.message.completed", whole
    for message in [*by_type.get("verbose", []), *by_type.get("follow_up", [])]:
        yield end, "conversation.message.completed", message_json(message, message.content, True)


def _usage(chat: Chat, status: str) -> dict[str, int]:
    over = status == "completed"
    return {
        "token_count": chat.tokens.total if over else 0,
        "output_count": chat.tokens.output if over else 0,
        "input_count": chat.tokens.input if over else 0,
    }


def _outcome(chat: Chat, status: str, at: float) -> dict[str, Any]:
    failed = chat.planned_error if status == "failed" else None
    outcome: dict[str, Any] = {"failed_at": int(at)} if failed else {}
    outcome["last_error"] = {"code": failed.code, "msg": failed.msg} if failed else {"code": 0, "msg": ""}
    return outcome


def _v3_chat(chat: Chat, status: str, at: float) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": chat.id,
        "conversation_id": chat.conversation.id,
        "bot_id": chat.bot.id,
        # The recordings carry completed_at from the first event on, and no created_at.
        "completed_at": int(at if status == "completed" else chat.created_at),
        **_outcome(chat, status, at),
        "status": status,
        "usage": _usage(chat, status),
    }
    if chat.asked.meta_data:
        data["meta_data"] = chat.asked.meta_data
    if status == "requires_action":
        data["required_action"] = required_action_json(chat)
    return data


def _v3_message(message: Message, content: str, last: bool) -> dict[str, Any]:
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "bot_id": message.bot_id,
        "role": message.role,
        "type": message.type,
        "content": content,
        "content_type": message.content_type,
        "chat_id": message.chat_id,
    }


def _chatflow_chat(chat: Chat, status: str, at: float) -> dict[str, Any]:
    if status == "failed" and chat.planned_error is not None:
        # Here, and only here, the code is a string: docs.coze.cn/developer_guides/workflow_chat.
        return {"code": str(chat.planned_error.code), "msg": chat.planned_error.msg}
    data: dict[str, Any] = {
        "id": chat.id,
        "conversation_id": chat.conversation.id,
        "created_at": int(chat.created_at),
    }
    if status == "completed":
        data["completed_at"] = int(at)
    return {
        **data,
        "last_error": {"code": 0, "msg": ""},
        "status": status,
        "usage": _usage(chat, status),
        "section_id": chat.section_id,
    }


def _chatflow_message(message: Message, content: str, last: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "role": message.role,
        "type": message.type,
        "content": content,
        "content_type": message.content_type,
        "chat_id": message.chat_id,
        "section_id": message.section_id,
    }
    if last:
        data["created_at"] = message.created_at
    if message.type == "verbose":
        data["updated_at"] = message.updated_at
    return data
