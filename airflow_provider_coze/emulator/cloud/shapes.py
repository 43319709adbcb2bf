"""The JSON of chats and of their messages, as answers that are not streamed have it."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_coze.emulator.chats import Chat
from airflow_provider_coze.emulator.store import Message

__all__ = ["chat_json", "listed_message_json", "required_action_json", "usage_json"]


def chat_json(chat: Chat, status: str | None = None) -> dict[str, Any]:
    """Return the Chat object of an answer that is not streamed."""
    over = chat.status in ("completed", "failed") and status in (None, chat.status)
    data: dict[str, Any] = {
        "id": chat.id,
        "conversation_id": chat.conversation.id,
        "bot_id": chat.bot.id,
        "created_at": int(chat.created_at),
        "last_error": {"code": 0, "msg": ""},
        "meta_data": chat.asked.meta_data,
        "status": status or chat.status,
        "usage": usage_json(chat if over or chat.status == "canceled" else None),
        "section_id": chat.section_id,
    }
    if over and chat.ended_at is not None:
        data["completed_at" if chat.status == "completed" else "failed_at"] = int(chat.ended_at)
    if over and chat.error is not None:
        data["last_error"] = {"code": chat.error.code, "msg": chat.error.msg}
    if chat.status == "requires_action":
        data["required_action"] = required_action_json(chat)
    return data


def usage_json(chat: Chat | None) -> dict[str, int]:
    """Return the usage; zeros while there is none."""
    tokens = chat.tokens if chat else None
    return {
        "token_count": tokens.total if tokens else 0,
        "output_count": tokens.output if tokens else 0,
        "input_count": tokens.input if tokens else 0,
    }


def required_action_json(chat: Chat) -> dict[str, Any]:
    """Return what the chat waits for."""
    calls = [
        {
            "id": pending.id,
            "type": pending.call.type,
            "function": {"name": pending.call.name, "arguments": json.dumps(dict(pending.call.arguments))},
        }
        for pending in chat.planned_calls
    ]
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}


def listed_message_json(message: Message) -> dict[str, Any]:
    """Return a message as the chat's own list has it."""
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "bot_id": message.bot_id,
        "chat_id": message.chat_id,
        "section_id": message.section_id,
        "role": message.role,
        "type": message.type,
        "content": message.content,
        "content_type": message.content_type,
        "created_at": message.created_at,
        "updated_at": message.updated_at,
        **({"reasoning_content": message.reasoning} if message.reasoning else {}),
    }
