"""``/v1/conversation…``: conversations and their messages.

Sources: docs.coze.cn/developer_guides/create_conversation, list_conversations, retrieve_conversation, edit_conversation,
delete_conversation, clear_conversation_context, create_message, list_message, retrieve_message, modify_message, delete_message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_coze.emulator.cloud.chat import conversation_of, question_messages
from airflow_provider_coze.emulator.cloud.checks import ENTER_MESSAGE, check_messages, check_meta_data
from airflow_provider_coze.emulator.cloud.envelope import missing, page_bounds, succeeded
from airflow_provider_coze.emulator.schema import BOOLEAN, INTEGER, STRING, STRINGS, Shape, array_of, required
from airflow_provider_coze.emulator.store import Conversation, Message
from airflow_provider_coze.emulator.wire import Call, Refusal, Reply, Route

__all__ = ["ROUTES", "listable"]

MAX_NAME = 100
MAX_MESSAGES = 16


def create(call: Call) -> Reply:
    """``POST /v1/conversation/create``; an empty body is legal."""
    body = call.body
    check_meta_data(body.get("meta_data"))
    check_name(body.get("name"))
    messages = body.get("messages") or []
    if len(messages) > MAX_MESSAGES:
        raise Refusal(4004, f"The number of messages exceeds the limit of {MAX_MESSAGES}.")
    check_messages(messages, saved=True)
    bot_id = body.get("bot_id") or ""
    if bot_id and call.world.bot(bot_id) is None:
        raise missing("bot_id", bot_id)
    conversation = call.store.new_conversation(
        owner=call.owner,
        bot_id=bot_id,
        name=body.get("name") or (messages[0].get("content", "")[:MAX_NAME] if messages else ""),
        meta_data=body.get("meta_data"),
        connector_id=body.get("connector_id") or "1024",
    )
    conversation.messages.extend(question_messages(call, conversation, messages))
    return succeeded(call, conversation_json(call, conversation))


def retrieve(call: Call) -> Reply:
    """``GET /v1/conversation/retrieve``."""
    return succeeded(call, conversation_json(call, conversation_of(call, call.query["conversation_id"])))


def listing(call: Call) -> Reply:
    """``GET /v1/conversations``: those that were created for the bot, newest first unless asked otherwise."""
    found = listable(call)
    first, end = page_bounds(call, ("page_num",), default_size=50, max_size=50)
    data = {
        "conversations": [conversation_json(call, conversation) for conversation in found[first:end]],
        "has_more": len(found) > end,
    }
    return succeeded(call, data)


def listable(call: Call) -> list[Conversation]:
    """Return what a listing may show: created by this caller, for this bot, through this channel, and not just now."""
    visible_until = call.store.now() - call.world.conversation_list_delay_seconds
    found = [
        conversation
        for conversation in call.store.conversations.values()
        if conversation.owner == call.owner
        and conversation.bot_id == call.query["bot_id"]
        and conversation.connector_id == (call.query.get("connector_id") or "1024")
        and conversation.born_at <= visible_until
    ]
    order = (call.query.get("sort_order") or "DESC").upper()
    if order not in ("ASC", "DESC"):
        raise Refusal(4000, f"Request parameter error (emulator: sort_order={order!r} is neither ASC nor DESC)")
    return found if order == "ASC" else found[::-1]


def rename(call: Call) -> Reply:
    """``PUT /v1/conversations/{id}``."""
    conversation = conversation_of(call, call.ids["conversation_id"])
    check_name(call.body.get("name"))
    conversation.name = call.body.get("name") or ""
    conversation.updated_at = int(call.store.now())
    return succeeded(call, conversation_json(call, conversation))


def delete(call: Call) -> Reply:
    """``DELETE /v1/conversations/{id}``."""
    conversation = conversation_of(call, call.ids["conversation_id"])
    del call.store.conversations[conversation.id]
    return succeeded(call)


def clear(call: Call) -> Reply:
    """``POST /v1/conversations/{id}/clear``: a new section begins; the messages of the old one are no longer context."""
    conversation = conversation_of(call, call.ids["conversation_id"])
    conversation.section_id = call.store.new_id()
    return succeeded(call, {"id": conversation.section_id, "conversation_id": conversation.id})


def create_message(call: Call) -> Reply:
    """``POST /v1/conversation/message/create``."""
    conversation = conversation_of(call, call.query["conversation_id"])
    check_messages([call.body], saved=True)
    (message,) = question_messages(call, conversation, [call.body])
    conversation.messages.append(message)
    return succeeded(call, message_json(message))


def list_messages(call: Call, write: Callable[[Call, list[Message], bool], Reply] | None = None) -> Reply:
    """``POST /v1/conversation/message/list``: newest first unless asked otherwise, 50 at most.

    :param write: Puts the page into an answer, for dialects that write it differently.
    """
    conversation = conversation_of(call, call.query["conversation_id"])
    for chat in call.store.chats_in(conversation):  # lets answers appear that are due by now
        chat.progress.read()  # a look like any other: whoever has lost a chat's id sees its end here only
    body = call.body
    limit = body.get("limit") or 50
    if not 1 <= limit <= 50:
        raise Refusal(4000, f"Request parameter error (emulator: limit={limit} is not between 1 and 50)")
    order = body.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise Refusal(4000, f"Request parameter error (emulator: order={order!r} is neither asc nor desc)")
    visible_until = call.store.now() - call.world.message_list_delay_seconds
    shown = [message for message in conversation.messages if message.listed and message.born_at <= visible_until]
    if body.get("chat_id"):
        shown = [message for message in shown if message.chat_id == body["chat_id"]]
    if order == "desc":
        shown.reverse()
    page, has_more = _page_of(shown, body.get("before_id") or "", body.get("after_id") or "", limit)
    if write is not None:
        return write(call, page, has_more)
    return succeeded(
        call,
        [message_json(message) for message in page],
        first_id=page[0].id if page else "",
        last_id=page[-1].id if page else "",
        has_more=has_more,
    )


def retrieve_message(call: Call) -> Reply:
    """``GET /v1/conversation/message/retrieve``."""
    return succeeded(call, message_json(message_of(call)))


def modify_message(call: Call) -> Reply:
    """``POST /v1/conversation/message/modify``; the answer has ``message`` where others have ``data``."""
    message = message_of(call)
    check_meta_data(call.body.get("meta_data"))
    if call.body.get("content") is None and call.body.get("meta_data") is None:
        raise Refusal(4005, "content and meta_data are both empty.")
    if call.body.get("content") is not None:
        message.content = call.body["content"]
        message.content_type = call.body.get("content_type") or message.content_type
    if call.body.get("meta_data") is not None:
        message.meta_data = dict(call.body["meta_data"])
    message.updated_at = int(call.store.now())
    return succeeded(call, message=message_json(message))


def delete_message(call: Call) -> Reply:
    """``POST /v1/conversation/message/delete``."""
    message = message_of(call)
    conversation_of(call, message.conversation_id).messages.remove(message)
    return succeeded(call, message_json(message))


def message_of(call: Call) -> Message:
    """Find a message by the ids in the query.

    :raises Refusal: 4002 or 4005: no such conversation, no such message.
    """
    conversation = conversation_of(call, call.query["conversation_id"])
    call.store.chats_in(conversation)  # lets answers appear that are due by now
    for message in conversation.messages:
        if message.id == call.query["message_id"]:
            return message
    raise Refusal(4005, f"The message_id {call.query['message_id']} is invalid.")


def check_name(name: str | None) -> None:
    """Refuse a name that is too long.

    :raises Refusal: 4000.
    """
    if name is not None and len(name) > MAX_NAME:
        raise Refusal(4000, f"Request parameter error (emulator: name is longer than {MAX_NAME} characters)")


def conversation_json(call: Call, conversation: Conversation) -> dict[str, Any]:
    """Return the Conversation object."""
    return {
        "id": conversation.id,
        "name": conversation.name,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "meta_data": conversation.meta_data,
        "creator_id": call.token.user_id,
        "connector_id": conversation.connector_id,
        "last_section_id": conversation.section_id,
    }


def message_json(message: Message) -> dict[str, Any]:
    """Return a message as a conversation has it; ``updated_at`` is a string here, as in the documents' example."""
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
        "meta_data": message.meta_data,
        "created_at": message.created_at,
        "updated_at": str(message.updated_at),
    }


def _page_of(shown: list[Message], before_id: str, after_id: str, limit: int) -> tuple[list[Message], bool]:
    ids = [message.id for message in shown]
    for given in (before_id, after_id):
        if given and given not in ids:
            raise Refusal(4005, f"The message_id {given} is invalid.")
    if before_id:
        rest = shown[: ids.index(before_id)]
        return rest[-limit:], len(rest) > limit
    rest = shown[ids.index(after_id) + 1 :] if after_id else shown
    return rest[:limit], len(rest) > limit


_CONVERSATION: Shape = {"conversation_id": required(STRING)}
_MESSAGE: Shape = {"conversation_id": required(STRING), "message_id": required(STRING)}

ROUTES = [
    Route(
        "POST",
        "/v1/conversation/create",
        create,
        "createConversation",
        body={
            "bot_id": STRING,
            "name": STRING,
            "messages": array_of(ENTER_MESSAGE),
            "meta_data": STRINGS,
            "connector_id": STRING,
        },
    ),
    Route("GET", "/v1/conversation/retrieve", retrieve, "retrieveConversation", _CONVERSATION),
    Route(
        "GET",
        "/v1/conversations",
        listing,
        "listConversation",
        {
            "bot_id": required(STRING),
            "page_num": STRING,
            "page_size": STRING,
            "sort_order": STRING,
            "connector_id": STRING,
        },
    ),
    Route("PUT", "/v1/conversations/{conversation_id}", rename, "editConversation", body={"name": STRING}),
    Route("DELETE", "/v1/conversations/{conversation_id}", delete, "editConversation"),
    Route("POST", "/v1/conversations/{conversation_id}/clear", clear, "editConversation"),
    Route("POST", "/v1/conversation/message/create", create_message, "createMessage", _CONVERSATION, ENTER_MESSAGE),
    Route(
        "POST",
        "/v1/conversation/message/list",
        list_messages,
        "listMessage",
        _CONVERSATION,
        {
            "order": STRING,
            "chat_id": STRING,
            "before_id": STRING,
            "after_id": STRING,
            "limit": INTEGER,
            "include_middle_message": BOOLEAN,
        },
    ),
    Route("GET", "/v1/conversation/message/retrieve", retrieve_message, "listMessage", _MESSAGE),
    Route(
        "POST",
        "/v1/conversation/message/modify",
        modify_message,
        "modifyMessage",
        _MESSAGE,
        {"content": STRING, "content_type": STRING, "meta_data": STRINGS},
    ),
    Route("POST", "/v1/conversation/message/delete", delete_message, "deleteMessage", _MESSAGE),
]
