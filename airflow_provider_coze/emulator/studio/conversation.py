"""Conversations, files and bots of a Coze Studio server.

Source: the generated models in backend/api/model of github.com/coze-dev/coze-studio at 4f786d6. ``creator_d`` is its spelling.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.cloud.catalogue import bot_json
from airflow_provider_coze.emulator.cloud.conversation import list_messages as cloud_list_messages
from airflow_provider_coze.emulator.cloud.conversation import listable
from airflow_provider_coze.emulator.cloud.envelope import page_bounds
from airflow_provider_coze.emulator.cloud.file import stored
from airflow_provider_coze.emulator.schema import BOOLEAN, INTEGER, STRING, STRINGS, Shape, required
from airflow_provider_coze.emulator.store import Conversation, Message
from airflow_provider_coze.emulator.studio.chat import agent_not_there, own_conversation
from airflow_provider_coze.emulator.wire import Call, Reply, Route, answer

__all__ = ["ROUTES"]


def create(call: Call) -> Reply:
    """``POST /v1/conversation/create`` and, for apps, ``/v1/workflow/conversation/create``."""
    body = call.body
    made = call.store.new_conversation(
        owner=call.owner,
        bot_id=body.get("bot_id") or "",
        name=body.get("conversation_name") or "",
        meta_data=body.get("meta_data"),
        connector_id=body.get("connector_id") or "1024",
        app_id=body.get("app_id") or "",
    )
    return answer({"code": 0, "msg": "", "data": conversation_json(call, made)})


def retrieve(call: Call) -> Reply:
    """``GET /v1/conversation/retrieve``: under ``ConversationData``."""
    found = own_conversation(call, call.query["conversation_id"])
    return answer({"ConversationData": conversation_json(call, found), "code": 0, "msg": "", "BaseResp": None})


def listing(call: Call) -> Reply:
    """``GET /v1/conversations``."""
    found = listable(call)
    first, end = page_bounds(call, ("page_num",), default_size=50, max_size=50)
    data = {
        "conversations": [conversation_json(call, conversation) for conversation in found[first:end]],
        "has_more": len(found) > end,
    }
    return answer({"code": 0, "msg": "", "data": data, "BaseResp": None})


def rename(call: Call) -> Reply:
    """``PUT /v1/conversations/{id}``."""
    found = own_conversation(call, call.ids["conversation_id"])
    found.name = call.body.get("name") or ""
    return answer({"data": conversation_json(call, found), "code": 0, "msg": "", "BaseResp": None})


def delete(call: Call) -> Reply:
    """``DELETE /v1/conversations/{id}``."""
    del call.store.conversations[own_conversation(call, call.ids["conversation_id"]).id]
    return answer({"code": 0, "msg": "", "BaseResp": None})


def clear(call: Call) -> Reply:
    """``POST /v1/conversations/{id}/clear``."""
    found = own_conversation(call, call.ids["conversation_id"])
    found.section_id = call.store.new_id()
    return answer(
        {"code": 0, "msg": "", "data": {"id": found.section_id, "conversation_id": found.id}, "BaseResp": None}
    )


def list_messages(call: Call) -> Reply:
    """``POST /v1/conversation/message/list``: times are numbers here."""
    own_conversation(call, call.query["conversation_id"])
    return cloud_list_messages(call, write=_write_page)


def upload(call: Call) -> Reply:
    """``POST /v1/files/upload``: ``CreatedAt``, and a URI and URL beside it."""
    file = stored(call)
    uri = f"bot_files/{file.id}/{file.file_name}"
    data = {
        "uri": uri,
        "bytes": file.bytes,
        "CreatedAt": file.created_at,
        "file_name": file.file_name,
        "url": f"http://127.0.0.1:9000/{uri}",
        "id": file.id,
    }
    return answer({"data": data, "code": 0, "msg": "", "BaseResp": None})


def bot_info(call: Call) -> Reply:
    """``GET /v1/bots/{id}`` and ``/v1/bot/get_online_info``."""
    bot = call.world.bot(call.ids.get("bot_id") or call.query.get("bot_id", ""))
    if bot is None or not bot.published:
        raise agent_not_there()
    return answer({"code": 0, "msg": "", "data": bot_json(call, bot), "BaseResp": None})


def conversation_json(call: Call, conversation: Conversation) -> dict[str, Any]:
    """Return the conversation."""
    return {
        "id": conversation.id,
        "created_at": conversation.created_at,
        "meta_data": conversation.meta_data,
        "creator_d": call.token.user_id,
        "connector_id": conversation.connector_id,
        "last_section_id": conversation.section_id,
        **({"name": conversation.name} if conversation.name else {}),
    }


def _write_page(call: Call, page: list[Message], has_more: bool) -> Reply:
    data = [
        {
            "id": message.id,
            "bot_id": message.bot_id or "0",
            "role": message.role,
            "content": message.content,
            "conversation_id": message.conversation_id,
            "meta_data": message.meta_data,
            "created_at": message.created_at,
            "updated_at": message.updated_at,
            "chat_id": message.chat_id or "0",
            "content_type": message.content_type,
            "type": message.type,
            "section_id": message.section_id,
            "reasoning_content": "",
        }
        for message in page
    ]
    ids = {"first_id": page[0].id if page else "0", "last_id": page[-1].id if page else "0"}
    return answer({"data": data, "has_more": has_more, **ids, "code": 0, "msg": ""})


_CONVERSATION: Shape = {"conversation_id": required(STRING)}
_CREATE: Shape = {
    "meta_data": STRINGS,
    "bot_id": STRING,
    "connector_id": STRING,
    "user_id": STRING,
}

ROUTES = [
    Route("POST", "/v1/conversation/create", create, body=_CREATE),
    Route(
        "POST",
        "/v1/workflow/conversation/create",
        create,
        body={
            **_CREATE,
            "space_id": STRING,
            "app_id": STRING,
            "workflow_id": STRING,
            "conversation_name": STRING,
            "get_or_create": BOOLEAN,
            "draft_mode": BOOLEAN,
        },
    ),
    Route("GET", "/v1/conversation/retrieve", retrieve, query=_CONVERSATION),
    Route(
        "GET",
        "/v1/conversations",
        listing,
        query={
            "bot_id": required(STRING),
            "page_num": STRING,
            "page_size": STRING,
            "sort_order": STRING,
            "sort_field": STRING,
            "connector_id": STRING,
            "user_id": STRING,
        },
    ),
    Route("PUT", "/v1/conversations/{conversation_id}", rename, body={"name": STRING}),
    Route("DELETE", "/v1/conversations/{conversation_id}", delete),
    Route("POST", "/v1/conversations/{conversation_id}/clear", clear),
    Route(
        "POST",
        "/v1/conversation/message/list",
        list_messages,
        query=_CONVERSATION,
        body={"order": STRING, "chat_id": STRING, "before_id": STRING, "after_id": STRING, "limit": INTEGER},
    ),
    Route("POST", "/v1/files/upload", upload),
    Route("GET", "/v1/bots/{bot_id}", bot_info, query={"is_published": STRING}),
    Route("GET", "/v1/bot/get_online_info", bot_info, query={"bot_id": required(STRING)}),
]
