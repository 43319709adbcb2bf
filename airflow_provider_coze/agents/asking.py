"""A request of common.ai's contract as the arguments of a chat, all checked before anything is sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.agents.contract import ManagedAgentRejected, ManagedAgentRequest
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.endpoints import chat
from airflow_provider_coze.protocol.inputs import chat_problems
from airflow_provider_coze.protocol.messages import JsonValue

__all__ = ["OPTIONS", "chat_arguments", "seconds_of"]

#: Most bots answer within seconds; a bot with slow tools needs more. As of ``CozeChatOperator``.
_TIMEOUT_SECONDS = 300.0
#: What ``vendor_options`` may hold: nothing that would make it another bot, conversation or account.
OPTIONS = ("user_id", *chat.OPTIONS)
#: The marker by which a chat is found when its reply is lost is one of Coze's 16 pairs of meta_data.
_OWN_META_DATA = 1


def chat_arguments(bot_id: str, request: ManagedAgentRequest, *, user_id: str) -> dict[str, Any]:
    """Return the arguments of :func:`~airflow_provider_coze.protocol.endpoints.chat.create_chat`; without a conversation.

    :param user_id: who asks, unless the request's ``vendor_options`` say it.
    :raises ManagedAgentRejected: the prompt is empty, which the calling model can mend.
    :raises CozeInputError: something else is wrong.
    """
    options = dict(request.vendor_options)
    problems = [
        f"vendor_options knows only {', '.join(OPTIONS)}, not {name!r}" for name in options if name not in OPTIONS
    ]
    problems += _timeout_problems(request.timeout)
    asked_by = options.get("user_id", user_id)
    chat_options = {name: options.get(name) for name in chat.OPTIONS}
    if isinstance(request.prompt, str) and not request.prompt.strip():
        raise ManagedAgentRejected("The prompt is empty. Ask again, with the question in it.")
    messages = None if request.messages is None else [_message(message) for message in request.messages]
    problems += chat_problems(
        bot_id=bot_id,
        user_id=asked_by,
        message=request.prompt,
        additional_messages=messages,
        conversation_id=request.session_id,
        auto_save_history=True,
        options=chat_options,
        reserved=_OWN_META_DATA,
    )
    if problems:
        raise CozeInputError(
            f"What bot {bot_id!r} was to be asked is wrong: {'; '.join(problems)}. Nothing was sent, so nothing is billed; a retry fails "
            "the same way."
        )
    return {
        "bot_id": bot_id,
        "user_id": asked_by,
        "additional_messages": messages or [_message({"role": "user", "content": request.prompt})],
        "options": chat_options,
    }


def seconds_of(request: ManagedAgentRequest) -> float:
    """Return how long an answer may take."""
    return _TIMEOUT_SECONDS if request.timeout is None else float(request.timeout)


def _timeout_problems(timeout: object) -> list[str]:
    if timeout is None or (isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0):
        return []
    return [f"timeout must be a number of seconds over 0, or None, not {timeout!r}"]


def _message(message: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return a message in Coze's shape. Its text may be in parts, ``{"type": "text", "text": …}``; other parts stay, to be refused."""
    content = message.get("content")
    if isinstance(content, list) and content and all(map(_is_text, content)):
        content = "\n".join(part["text"] for part in content)
    return {"content_type": "text", **message, "content": content}


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
