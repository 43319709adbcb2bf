"""Conversations: what several chats share. https://www.coze.cn/open/docs/developer_guides/create_conversation and siblings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow_provider_coze.protocol.messages import Call, JsonValue, Replay, Request
from airflow_provider_coze.protocol.models import Conversation, Message, MessagePage, mapping, records

__all__ = [
    "ConversationPage",
    "conversation_messages",
    "create_conversation",
    "list_conversations",
    "modify_message",
    "rename_conversation",
    "retrieve_conversation",
]

#: Most items that one page of messages or conversations holds.
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """One page of a bot's conversations."""

    conversations: tuple[Conversation, ...]
    has_more: bool


def create_conversation(
    *,
    bot_id: str | None = None,
    name: str | None = None,
    meta_data: Mapping[str, str] | None = None,
    messages: Sequence[Mapping[str, JsonValue]] | None = None,
    connector_id: str | None = None,
) -> Call[Conversation]:
    """Make a conversation. Free, but not idempotent: a repeat makes another, empty one.

    Only a conversation made with a bot_id can be listed later.
    """
    body: dict[str, JsonValue] = {
        "bot_id": bot_id,
        "name": name,
        "meta_data": dict(meta_data) if meta_data else None,
        "messages": [dict(message) for message in messages] if messages else None,
        "connector_id": connector_id,
    }
    given = {key: value for key, value in body.items() if value is not None}
    request = Request("POST", "/v1/conversation/create", json=given)
    return Call(request, Conversation.from_body, Replay.IF_NEVER_SENT, "createConversation")


def retrieve_conversation(*, conversation_id: str) -> Call[Conversation]:
    """Read one conversation of the token's own account."""
    request = Request("GET", "/v1/conversation/retrieve", query={"conversation_id": conversation_id})
    return Call(request, Conversation.from_body, Replay.ALWAYS, "retrieveConversation")


def list_conversations(
    *, bot_id: str, page_num: int = 1, page_size: int = PAGE_SIZE, connector_id: str | None = None
) -> Call[ConversationPage]:
    """Read one page of a bot's conversations, newest first. Coze offers no filter by name or meta_data."""
    query = {"bot_id": bot_id, "page_num": str(page_num), "page_size": str(page_size)}
    if connector_id:
        query["connector_id"] = connector_id
    return Call(Request("GET", "/v1/conversations", query=query), _page, Replay.ALWAYS, "listConversation")


def conversation_messages(
    *,
    conversation_id: str,
    chat_id: str | None = None,
    order: str = "desc",
    limit: int = PAGE_SIZE,
    before_id: str | None = None,
    after_id: str | None = None,
) -> Call[MessagePage]:
    """Read one page of a conversation's questions and answers, with the meta_data that messages were sent with.

    :param order: ``desc`` (newest first) or ``asc``.
    :param before_id: the ``first_id`` of a page: the page before it.
    :param after_id: the ``last_id`` of a page: the page after it.

    A POST that only reads. https://www.coze.cn/open/docs/developer_guides/list_message.
    """
    body: dict[str, JsonValue] = {
        "order": order,
        "limit": limit,
        "chat_id": chat_id,
        "before_id": before_id,
        "after_id": after_id,
    }
    given = {key: value for key, value in body.items() if value is not None}
    request = Request("POST", "/v1/conversation/message/list", query={"conversation_id": conversation_id}, json=given)
    return Call(request, MessagePage.from_body, Replay.ALWAYS, "listMessage")


def rename_conversation(*, conversation_id: str, name: str) -> Call[Conversation]:
    """Give a conversation another name, 100 characters at most. https://www.coze.cn/open/docs/developer_guides/edit_conversation."""
    request = Request("PUT", f"/v1/conversations/{quote(conversation_id, safe='')}", json={"name": name})
    return Call(request, Conversation.from_body, Replay.ALWAYS, "editConversation")


def modify_message(*, conversation_id: str, message_id: str, meta_data: Mapping[str, str]) -> Call[Message]:
    """Replace a message's meta_data; its content stays. https://www.coze.cn/open/docs/developer_guides/modify_message.

    The answer holds the message under ``message``, not under ``data``.
    """
    query = {"conversation_id": conversation_id, "message_id": message_id}
    request = Request("POST", "/v1/conversation/message/modify", query=query, json={"meta_data": dict(meta_data)})
    return Call(request, lambda body: Message.from_record(mapping(body.get("message"))), Replay.ALWAYS, "modifyMessage")


def _page(body: Mapping[str, Any]) -> ConversationPage:
    data = mapping(body.get("data"))
    # One without an id cannot be gone on with; it is no reason to lose the others of the page.
    found = tuple(Conversation.from_record(item) for item in records(data.get("conversations")) if item.get("id"))
    return ConversationPage(found, bool(data.get("has_more")))
