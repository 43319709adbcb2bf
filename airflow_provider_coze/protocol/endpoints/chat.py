"""Chats: one turn of a bot. Source of all: https://www.coze.cn/open/docs/developer_guides/chat_v3 and its sibling pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_coze.protocol.messages import Call, JsonValue, Replay, Request, StreamCall, changed, streamed
from airflow_provider_coze.protocol.models import Chat, Message, records

__all__ = [
    "BUDGET",
    "OPTIONS",
    "cancel_chat",
    "chat_messages",
    "create_chat",
    "retrieve_chat",
    "stream_chat",
    "stream_tool_outputs",
    "submit_tool_outputs",
]

BUDGET = "chat"
#: Further body fields of a chat that whoever asks may set, by Coze's names.
OPTIONS = (
    "custom_variables",
    "meta_data",
    "parameters",
    "extra_params",
    "shortcut_command",
    "bot_version",
    "publish_status",
)


def create_chat(
    *,
    bot_id: str,
    user_id: str,
    additional_messages: Sequence[Mapping[str, JsonValue]],
    conversation_id: str | None = None,
    auto_save_history: bool = True,
    options: Mapping[str, JsonValue] | None = None,
) -> Call[Chat]:
    """Send a message to a bot. Billed, not idempotent: a second call is a second chat.

    The answer comes at once and holds ids, not words; without *conversation_id* Coze makes a conversation.

    :param additional_messages: the last one is this turn's question, with role ``user``.
    :param options: further body fields by Coze's names: :data:`OPTIONS`, enable_card. Those that are None are left out.
    """
    body: dict[str, JsonValue] = {
        "bot_id": bot_id,
        "user_id": user_id,
        "stream": False,
        "auto_save_history": auto_save_history,
        "additional_messages": [dict(message) for message in additional_messages],
    }
    body.update({name: value for name, value in (options or {}).items() if value is not None})
    # The id goes into the query: in the body it would be ignored, and the turn would land in a new conversation.
    query = {"conversation_id": conversation_id} if conversation_id else {}
    request = Request("POST", "/v3/chat", query=query, json=body, budget=BUDGET)
    return Call(request, Chat.from_body, Replay.IF_NEVER_SENT, "chat")


def stream_chat(
    *,
    bot_id: str,
    user_id: str,
    additional_messages: Sequence[Mapping[str, JsonValue]],
    conversation_id: str | None = None,
    options: Mapping[str, JsonValue] | None = None,
) -> StreamCall:
    """Send a message to a bot and read its answer as it grows. Billed, not idempotent; ``streams.ChatFold`` reads the events.

    It is kept in Coze (``auto_save_history``), so what becomes of it can be read there when the stream breaks off.
    Parameters are those of :func:`create_chat`.
    """
    whole = create_chat(
        bot_id=bot_id,
        user_id=user_id,
        additional_messages=additional_messages,
        conversation_id=conversation_id,
        options=options,
    )
    return _as_stream(whole)


def retrieve_chat(*, conversation_id: str, chat_id: str) -> Call[Chat]:
    """Read a chat's status. Coze asks for at most one read a second of each chat.

    GET as documented: Coze Studio knows no other verb, while the cloud also accepts the POST of some SDKs.
    https://www.coze.cn/open/docs/developer_guides/retrieve_chat.
    """
    request = Request("GET", "/v3/chat/retrieve", query=_ids(conversation_id, chat_id), budget=BUDGET)
    return Call(request, _read(conversation_id, chat_id), Replay.ALWAYS, "getChat")


def cancel_chat(*, conversation_id: str, chat_id: str) -> Call[Chat]:
    """Cancel a chat that is created or in progress; any other one answers 4104. What it has used up to its end is billed.

    May be repeated: a chat that is already cancelled answers 4104. https://www.coze.cn/open/docs/developer_guides/chat_cancel.
    """
    body: dict[str, JsonValue] = {"conversation_id": conversation_id, "chat_id": chat_id}
    request = Request("POST", "/v3/chat/cancel", json=body, budget=BUDGET)
    return Call(request, _read(conversation_id, chat_id), Replay.ALWAYS, "cancelChat")


def chat_messages(*, conversation_id: str, chat_id: str) -> Call[tuple[Message, ...]]:
    """Read what the bot said in a completed chat, in no certain order and without the question (Coze Studio includes it).

    A failed chat has no ``data`` at all (github.com/coze-dev/coze-py/issues/425): that reads as no messages.
    https://www.coze.cn/open/docs/developer_guides/list_chat_messages.
    """
    request = Request("GET", "/v3/chat/message/list", query=_ids(conversation_id, chat_id), budget=BUDGET)
    return Call(request, _messages, Replay.ALWAYS, "listMessage")


def submit_tool_outputs(*, conversation_id: str, chat_id: str, tool_outputs: Sequence[Mapping[str, str]]) -> Call[Chat]:
    """Answer the tool calls of a chat that requires action; it goes on, and is billed further.

    :param tool_outputs: ``{"tool_call_id": …, "output": …}``, one for each pending call; outputs are strings.

    https://www.coze.cn/open/docs/developer_guides/chat_submit_tool_outputs.
    """
    body: dict[str, JsonValue] = {"tool_outputs": [dict(output) for output in tool_outputs], "stream": False}
    request = Request(
        "POST", "/v3/chat/submit_tool_outputs", query=_ids(conversation_id, chat_id), json=body, budget=BUDGET
    )
    return Call(request, _read(conversation_id, chat_id), Replay.IF_NEVER_SENT, "submitToolChat")


def stream_tool_outputs(*, conversation_id: str, chat_id: str, tool_outputs: Sequence[Mapping[str, str]]) -> StreamCall:
    """Answer the tool calls of a chat that requires action, and read on: a new stream of events about the same chat.

    Parameters are those of :func:`submit_tool_outputs`.
    """
    return _as_stream(submit_tool_outputs(conversation_id=conversation_id, chat_id=chat_id, tool_outputs=tool_outputs))


def _as_stream(what: Call[Chat]) -> StreamCall:
    body = dict(what.request.json) if isinstance(what.request.json, Mapping) else {}
    request = changed(what.request, json={**body, "stream": True}, stream=True)
    return Call(request, streamed, what.replay, what.permission)


def _read(conversation_id: str, chat_id: str) -> Callable[[Mapping[str, Any]], Chat]:
    return lambda body: Chat.from_body(body, id=chat_id, conversation_id=conversation_id)


def _ids(conversation_id: str, chat_id: str) -> dict[str, str]:
    return {"conversation_id": conversation_id, "chat_id": chat_id}


def _messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    return tuple(Message.from_record(item) for item in records(body.get("data")))
