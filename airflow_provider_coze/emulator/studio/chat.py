"""Chats of a Coze Studio server: streams unless told not to, other status words, other keys, no 4016.

Source: backend/application/conversation/openapi_agent_run.go, backend/api/handler/coze/agent_run_service.go and the generated
models in backend/api/model of github.com/coze-dev/coze-studio at 4f786d6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_coze.emulator.chats import Asked, Chat, start_chat, words
from airflow_provider_coze.emulator.cloud.chat import question_messages
from airflow_provider_coze.emulator.cloud.checks import ENTER_MESSAGE, attached_files, check_messages, message_text
from airflow_provider_coze.emulator.schema import BOOLEAN, MAP, STRING, STRINGS, Shape, array_of, required
from airflow_provider_coze.emulator.sse import chat_event
from airflow_provider_coze.emulator.store import Conversation, Message
from airflow_provider_coze.emulator.wire import Call, Frame, Refusal, Reply, Route, answer, event_stream

__all__ = ["ROUTES", "agent_not_there", "message_json", "own_conversation"]

#: Studio's words for two states; the others are the cloud's.
_STATUS = {"requires_action": "required_action"}


def create(call: Call) -> Reply:
    """``POST /v3/chat``. ``auto_save_history`` and ``meta_data`` are accepted and ignored."""
    body = call.body
    stream = body.get("stream") is not False
    try:
        bot = call.world.bot(body["bot_id"])
        if bot is None or not bot.published:
            raise agent_not_there()
        messages = body.get("additional_messages") or []
        check_messages(messages, saved=True)
        if not messages:
            raise Refusal(103000000, "invalid parameter : additional messages is required")
        files = attached_files(call, messages)
        conversation = _conversation_for(call, bot.id)
    except Refusal as refusal:
        if not stream:
            raise
        text = f"code={refusal.code} message={refusal.msg}"
        error = chat_event("error", {"code": 103100001, "msg": text})
        return event_stream([Frame(call.store.now(), error)], headers={"x-accel-buffering": "no"})
    questions = question_messages(call, conversation, messages)
    chat = start_chat(
        call.store,
        bot=bot,
        conversation=conversation,
        owner=call.owner,
        asked=Asked(
            text=message_text(messages[-1]),
            files=files,
            user_id=body["user_id"],
            variables=dict(body.get("custom_variables") or {}),
            parameters=dict(body.get("parameters") or {}),
        ),
        questions=questions,
        saved=True,
        polled=not stream,
        question_listed_at_once=True,
        marker={
            "meta_data": dict(body.get("meta_data") or {}),
            "message_meta_data": dict(messages[-1].get("meta_data") or {}),
        },
    )
    for question in questions:
        question.chat_id, question.bot_id = chat.id, bot.id
    if stream:
        return event_stream(_frames(chat), headers={"x-accel-buffering": "no"})
    return answer({"data": chat_json(chat, "created"), "code": 0, "msg": "", "BaseResp": None})


def retrieve(call: Call) -> Reply:
    """``GET /v3/chat/retrieve``; an unknown chat is HTTP 500 with plain text."""
    chat = call.store.chats.get(call.query["chat_id"])
    if chat is None:
        return Reply(500, {"content-type": "text/plain; charset=utf-8"}, b"record not found")
    own_conversation(call, call.query["conversation_id"])
    chat.settle()
    data = chat_json(chat, shown_status(chat))
    chat.progress.read()
    return answer({"data": data, "code": 0, "msg": "", "BaseResp": None})


def cancel(call: Call) -> Reply:
    """``POST /v3/chat/cancel``: writes a word into the record and stops nothing; the answer has no code."""
    chat = call.store.chats.get(call.body["chat_id"])
    if chat is None:
        raise Refusal(103200003, "record not found or nothing to update")
    conversation = own_conversation(call, call.body["conversation_id"])
    if chat.conversation is not conversation:
        raise Refusal(103000001, "unauthorized access : conversation not match")
    chat.settle()
    if chat.status not in ("created", "in_progress"):
        raise Refusal(103200005, "in progress can not be cancelled")
    chat.cancel_asked = True
    return answer({"ChatV3ChatDetail": chat_json(chat, shown_status(chat)), "BaseResp": None})


def messages_of_chat(call: Call) -> Reply:
    """``GET /v3/chat/message/list``: under ``Messages``, and with the question."""
    own_conversation(call, call.query["conversation_id"])
    body: dict[str, Any] = {}
    chat = call.store.chats.get(call.query["chat_id"])
    if chat is not None:
        chat.settle()
        shown = [*chat.questions, *reversed(chat.messages)] if chat.status == "completed" else chat.questions
        body["Messages"] = [message_json(message) for message in shown]
    return answer({**body, "code": 0, "msg": "", "BaseResp": None})


def own_conversation(call: Call, conversation_id: str) -> Conversation:
    """Find a conversation of this user.

    :raises Refusal: 103000002 or 103000001: there is none, or it is somebody else's.
    """
    conversation = call.store.conversations.get(conversation_id)
    if conversation is None:
        raise Refusal(103000002, "conversation not found")
    if conversation.owner != call.owner:
        raise Refusal(103000001, "unauthorized access : user not match")
    return conversation


def agent_not_there() -> Refusal:
    """Return the refusal for a bot that is not there, or not published."""
    return Refusal(103100002, "agent not exists")


def shown_status(chat: Chat) -> str:
    """Return the status as Studio writes it. After a cancel it is the name of an event, until the chat ends all the same."""
    if chat.cancel_asked and chat.status in ("created", "in_progress"):
        return "conversation.chat.cancelled"
    return _STATUS.get(chat.status, chat.status)


def chat_json(chat: Chat, status: str) -> dict[str, Any]:
    """Return the chat; no meta_data, last_error or required_action, and zeros for times that have not come."""
    over = status in ("completed", "failed")
    ended = int(chat.ended_at) if over and chat.ended_at is not None else 0
    data: dict[str, Any] = {
        "id": chat.id,
        "conversation_id": chat.conversation.id,
        "bot_id": chat.bot.id,
        "created_at": int(chat.created_at),
        "completed_at": ended if status == "completed" else 0,
        "failed_at": ended if status == "failed" else 0,
        "status": status,
    }
    if status == "completed":
        tokens = chat.tokens
        data["usage"] = {"token_count": tokens.total, "output_count": tokens.output, "input_count": tokens.input}
    return {**data, "section_id": chat.section_id}


def message_json(message: Message, content: str | None = None) -> dict[str, Any]:
    """Return a message as chats have it."""
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "bot_id": message.bot_id,
        "role": message.role,
        "type": message.type,
        "content": message.content if content is None else content,
        "content_type": message.content_type,
        **({"meta_data": message.meta_data} if message.meta_data else {}),
        "chat_id": message.chat_id,
        "section_id": message.section_id,
        "created_at": message.created_at,
        "reasoning_content": message.reasoning if content is None else "",
    }


def _conversation_for(call: Call, bot_id: str) -> Conversation:
    given = call.query.get("conversation_id", "0")
    if given == "0" or given not in call.store.conversations:
        return call.store.new_conversation(owner=call.owner, bot_id=bot_id)
    return own_conversation(call, given)


def _frames(chat: Chat) -> list[Frame]:
    start = chat.progress.started_at
    end = start + chat.progress.seconds
    frames = [
        Frame(start, chat_event("conversation.chat.created", chat_json(chat, "created"))),
        Frame(start, chat_event("conversation.chat.in_progress", chat_json(chat, "in_progress"))),
    ]
    if chat.planned_error is not None:
        error = {"code": chat.planned_error.code, "msg": chat.planned_error.msg}
        return [*frames, Frame(end, chat_event("error", error))]
    if not chat.planned_calls:
        chat.messages = chat.closing_messages(end)
        frames.extend(_message_frames(chat, chat.messages, start, end))
        done = {**chat_json(chat, "completed"), "completed_at": int(end)}
        frames.append(Frame(end, chat_event("conversation.chat.completed", done)))
    return [*frames, Frame(end, b"event:conversation.stream.done\ndata:\n\n")]


def _message_frames(chat: Chat, messages: Sequence[Message], start: float, end: float) -> list[Frame]:
    frames: list[Frame] = []
    for message in sorted(messages, key=lambda message: message.type != "answer"):
        pieces = _pieces(chat, message) if message.type == "answer" else []
        for number, piece in enumerate(pieces, 1):
            at = start + (end - start) * number / len(pieces)
            frames.append(Frame(at, chat_event("conversation.message.delta", message_json(message, piece))))
        frames.append(Frame(end, chat_event("conversation.message.completed", message_json(message))))
    return frames


def _pieces(chat: Chat, message: Message) -> Sequence[str]:
    return chat.bot.pieces if chat.bot.pieces is not None else words(message.content)


_IDS: Mapping[str, Any] = {"conversation_id": required(STRING), "chat_id": required(STRING)}
_BODY: Shape = {
    "bot_id": required(STRING),
    "user_id": required(STRING),
    "stream": BOOLEAN,
    "additional_messages": array_of(ENTER_MESSAGE),
    "custom_variables": STRINGS,
    "meta_data": STRINGS,
    "custom_config": MAP,
    "extra_params": STRINGS,
    "connector_id": STRING,
    "shortcut_command": MAP,
    "parameters": MAP,
    "auto_save_history": BOOLEAN,
}

ROUTES = [
    Route("POST", "/v3/chat", create, query={"conversation_id": STRING}, body=_BODY, bad_body="invalid parameter"),
    Route("GET", "/v3/chat/retrieve", retrieve, query=_IDS),
    Route("POST", "/v3/chat/cancel", cancel, body=_IDS, bad_body="invalid parameter"),
    Route("GET", "/v3/chat/message/list", messages_of_chat, query=_IDS),
]
