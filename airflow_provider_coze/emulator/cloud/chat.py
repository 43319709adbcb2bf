"""``/v3/chat`` and what belongs to it, without the streams.

Sources: docs.coze.cn/developer_guides/chat_v3, retrieve_chat, chat_cancel, list_chat_messages, chat_submit_tool_outputs.
The order of the checks is ours: Coze's is not documented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_coze.emulator.chats import Asked, Chat, start_chat
from airflow_provider_coze.emulator.cloud.chat_stream import stream_chat
from airflow_provider_coze.emulator.cloud.checks import (
    BAD_BODY,
    ENTER_MESSAGE,
    attached_files,
    check_company_of_files,
    check_messages,
    check_meta_data,
    message_text,
)
from airflow_provider_coze.emulator.cloud.envelope import missing, succeeded
from airflow_provider_coze.emulator.cloud.shapes import chat_json, listed_message_json
from airflow_provider_coze.emulator.definitions import Bot
from airflow_provider_coze.emulator.schema import BOOLEAN, MAP, STRING, STRINGS, Shape, array_of, required
from airflow_provider_coze.emulator.store import Conversation, Message
from airflow_provider_coze.emulator.wire import Call, Refusal, Reply, Route

__all__ = ["ROUTES", "conversation_of", "published_bot", "question_messages", "refuse_if_busy"]

CHAT_BODY: Shape = {
    "bot_id": required(STRING),
    "user_id": required(STRING),
    "additional_messages": array_of(ENTER_MESSAGE),
    "stream": BOOLEAN,
    "auto_save_history": BOOLEAN,
    "custom_variables": STRINGS,
    "meta_data": STRINGS,
    "extra_params": STRINGS,
    "parameters": MAP,
    "shortcut_command": MAP,
    "enable_card": BOOLEAN,
    "publish_status": STRING,
    "bot_version": STRING,
}
MAX_MESSAGES = 100


def create(call: Call) -> Reply:
    """``POST /v3/chat``."""
    body = call.body
    bot = published_bot(call, body["bot_id"])
    stream, saved = body.get("stream") is True, body.get("auto_save_history") is not False
    if not stream and not saved:
        raise Refusal(4007, "auto_save_history must be true when stream is false.")
    if body.get("publish_status") == "unpublished_draft" and body.get("bot_version"):
        raise Refusal(4000, "bot_version cannot be combined with publish_status unpublished_draft.")
    messages = body.get("additional_messages") or []
    if len(messages) > MAX_MESSAGES:
        raise Refusal(4004, f"The number of additional_messages exceeds the limit of {MAX_MESSAGES}.")
    check_messages(messages, saved=saved)
    check_company_of_files(messages)
    attached_files(call, messages)
    check_meta_data(body.get("meta_data"))
    given = call.query.get("conversation_id", "")
    conversation = conversation_of(call, given) if given else None
    if conversation is not None:
        refuse_if_busy(call, conversation)
    if not messages and (conversation is None or not conversation.messages):
        raise Refusal(4000, "additional_messages is required when the conversation is new or empty.")
    if conversation is None:
        listed = bot.id if call.world.made_conversations_listed else ""
        conversation = call.store.new_conversation(owner=call.owner, bot_id=listed)
    chat = begin(call, bot, conversation, messages, saved=saved, polled=not stream)
    if stream:
        return stream_chat(chat)
    first = call.world.first_chat_status
    if first == "completed":
        chat.settle()
    data = chat_json(chat, status=None if first == "completed" else first)
    data["inserted_additional_messages"] = [{"id": question.id} for question in chat.questions]
    return succeeded(call, data)


def begin(
    call: Call,
    bot: Bot,
    conversation: Conversation,
    messages: Sequence[Mapping[str, Any]],
    *,
    saved: bool,
    polled: bool,
) -> Chat:
    """Start a chat for a request that has passed all checks."""
    body = call.body
    asked = Asked(
        text=message_text(messages[-1]) if messages else conversation.messages[-1].content,
        files=attached_files(call, messages),
        user_id=body["user_id"],
        meta_data=dict(body.get("meta_data") or {}),
        variables=dict(body.get("custom_variables") or {}),
        parameters=dict(body.get("parameters") or {}),
    )
    questions = question_messages(call, conversation, messages)
    chat = start_chat(
        call.store,
        bot=bot,
        conversation=conversation,
        owner=call.owner,
        asked=asked,
        questions=questions,
        saved=saved,
        polled=polled,
        question_listed_at_once=call.world.question_listed_at_once,
        marker={
            "meta_data": asked.meta_data,
            "message_meta_data": dict(messages[-1].get("meta_data") or {}) if messages else {},
        },
    )
    if call.world.question_carries_chat_id:
        for question in questions:
            question.chat_id, question.bot_id = chat.id, bot.id
    return chat


def retrieve(call: Call) -> Reply:
    """``GET`` (documents, Go, Java) or ``POST`` (Python, JavaScript) ``/v3/chat/retrieve``."""
    chat = saved_chat(call, call.query)
    chat.settle()
    data = chat_json(chat)
    chat.progress.read()
    return succeeded(call, data)


def cancel(call: Call) -> Reply:
    """``POST /v3/chat/cancel``."""
    chat = saved_chat(call, call.body)
    if not chat.cancel():
        raise Refusal(4104, f"The chat cannot be canceled in its current status: {chat.status}.")
    return succeeded(call, chat_json(chat))


def messages_of_chat(call: Call) -> Reply:
    """``GET /v3/chat/message/list``. A failed chat has no ``data`` at all (github.com/coze-dev/coze-py/issues/425)."""
    chat = saved_chat(call, call.query)
    chat.settle()
    if chat.status == "failed":
        return succeeded(call)
    shown = chat.messages if chat.status == "completed" else []
    return succeeded(call, [listed_message_json(message) for message in shown])


def submit(call: Call) -> Reply:
    """``POST /v3/chat/submit_tool_outputs``."""
    chat = call.store.chats.get(call.query["chat_id"])
    if chat is not None and not chat.saved and chat.owner == call.owner:
        raise Refusal(5000, "We're currently experiencing server issues. (the chat was made without auto_save_history)")
    chat = saved_chat(call, call.query)
    chat.settle()
    if chat.status != "requires_action":
        raise Refusal(4000, f"The chat does not wait for tool outputs; its status is {chat.status}.")
    outputs = {output["tool_call_id"]: output["output"] for output in call.body["tool_outputs"]}
    pending = {call_.id for call_ in chat.planned_calls}
    if outputs.keys() != pending:
        # Undocumented whether Coze takes them one by one. All at once is what its own examples do.
        raise Refusal(
            4000,
            f"Request parameter error (emulator: tool_outputs answers {sorted(outputs)}, the chat asked {sorted(pending)})",
        )
    stream = call.body.get("stream") is True
    chat.submit(outputs, polled=not stream)
    return stream_chat(chat) if stream else succeeded(call, chat_json(chat))


def published_bot(call: Call, bot_id: str) -> Bot:
    """Find the bot.

    :raises Refusal: 4200: there is none. 4015: it is not published as an API.
    """
    bot = call.world.bot(bot_id)
    if bot is None:
        raise missing("bot_id", bot_id)
    if not bot.published:
        raise Refusal(4015, f"The bot_id {bot_id} has not been published to the channel Agent As API.")
    return bot


def conversation_of(call: Call, conversation_id: str) -> Conversation:
    """Find a conversation of this caller.

    :raises Refusal: 4002: there is none.
    """
    conversation = call.store.conversations.get(conversation_id)
    if conversation is None or conversation.owner != call.owner:
        raise Refusal(4002, f"The conversation {conversation_id} does not exist or is not accessible.")
    return conversation


def refuse_if_busy(call: Call, conversation: Conversation) -> None:
    """Allow one running chat per conversation. A chat that waits for tool outputs does not count: it could not be cancelled either.

    :raises Refusal: 4016.
    """
    if any(chat.status in ("created", "in_progress") for chat in call.store.chats_in(conversation)):
        raise Refusal(4016, "Conversation occupied, please try again later.")


def saved_chat(call: Call, given: Mapping[str, Any]) -> Chat:
    """Find a chat of this caller by the two ids.

    :raises Refusal: 4002 or 4001: no such conversation, or no such chat in it.
    """
    conversation = conversation_of(call, given["conversation_id"])
    chat = call.store.chats.get(given["chat_id"])
    if chat is None or chat.conversation is not conversation or not chat.saved:
        raise Refusal(4001, f"The chat {given['chat_id']} does not exist or is not accessible.")
    return chat


def question_messages(call: Call, conversation: Conversation, messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Make the messages of the request."""
    return [
        call.store.new_message(
            conversation,
            role=message["role"],
            type=message.get("type") or ("question" if message["role"] == "user" else "answer"),
            content=message["content"],
            content_type=message["content_type"],
            meta_data=message.get("meta_data"),
        )
        for message in messages
    ]


_IDS: Shape = {"conversation_id": required(STRING), "chat_id": required(STRING)}
_OUTPUT: Shape = {"tool_call_id": required(STRING), "output": STRING}

ROUTES = [
    Route(
        "POST",
        "/v3/chat",
        create,
        "chat",
        {"conversation_id": STRING},
        CHAT_BODY,
        rate="chat",
        bad_body=BAD_BODY,
        hints={"body.conversation_id": "the conversation goes into the query, ?conversation_id="},
    ),
    Route("GET", "/v3/chat/retrieve", retrieve, "getChat", _IDS),
    Route("POST", "/v3/chat/retrieve", retrieve, "getChat", _IDS),
    Route("POST", "/v3/chat/cancel", cancel, "cancelChat", body=_IDS),
    Route("GET", "/v3/chat/message/list", messages_of_chat, "listMessage", _IDS),
    Route("POST", "/v3/chat/message/list", messages_of_chat, "listMessage", _IDS),
    Route(
        "POST",
        "/v3/chat/submit_tool_outputs",
        submit,
        "submitToolChat",
        _IDS,
        {"tool_outputs": required(array_of(_OUTPUT)), "stream": BOOLEAN},
    ),
]
