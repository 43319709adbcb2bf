"""Rules for the messages and the meta_data of a request.

Sources: docs.coze.cn/developer_guides/chat_v3, message_type, coze_error_codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_coze.emulator.schema import STRING, STRINGS, Shape, required
from airflow_provider_coze.emulator.wire import Call, Refusal

__all__ = [
    "BAD_BODY",
    "ENTER_MESSAGE",
    "attached_files",
    "check_company_of_files",
    "check_messages",
    "check_meta_data",
    "file_in",
    "message_text",
]

#: As seen when a JSON number was sent for ``user_id``.
BAD_BODY = "The field http body provided is not a valid json or chat request. Please check your input."

ENTER_MESSAGE: Shape = {
    "role": required(STRING),
    "type": STRING,
    "content": STRING,
    "content_type": required(STRING),
    "meta_data": STRINGS,
    "name": STRING,
}


def check_messages(messages: Sequence[Mapping[str, Any]], *, saved: bool) -> None:
    """Apply the rules of an EnterMessage.

    :raises Refusal: 4000, or 4003 for its meta_data.
    """
    types = {"question", "answer"} | (set() if saved else {"function_call", "tool_output", "tool_response"})
    for index, message in enumerate(messages):
        where = f"additional_messages[{index}]"
        check_meta_data(message.get("meta_data"))
        if message["role"] not in ("user", "assistant"):
            raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.role is {message['role']!r})")
        given = message.get("type") or "question"
        if given not in types:
            raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.type is {given!r}; allowed here: {sorted(types)})")
        if message.get("type") and (given == "question") != (message["role"] == "user"):
            raise Refusal(4000, f"{BAD_BODY} (emulator: {where}: type question goes with role user, and only with it)")
        if message.get("content") is None:
            raise Refusal(4005, f"The content of {where} is empty.")
        if message["content_type"] == "object_string":
            _check_object_string(message["content"], where)
        elif message["content_type"] != "text":
            raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.content_type is {message['content_type']!r})")


def check_meta_data(meta_data: Mapping[str, str] | None) -> None:
    """Apply the limits of meta_data: 16 pairs, keys of 1 to 64 characters, values of 1 to 512.

    :raises Refusal: 4003.
    """
    pairs = meta_data or {}
    if len(pairs) > 16 or any(not 1 <= len(key) <= 64 or not 1 <= len(value) <= 512 for key, value in pairs.items()):
        raise Refusal(
            4003, "meta_data exceeds the limit: at most 16 pairs, keys of 1-64 and values of 1-512 characters."
        )


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text a bot would read."""
    if message["content_type"] != "object_string":
        return str(message["content"])
    return "".join(str(part.get("text", "")) for part in json.loads(message["content"]) if part.get("type") == "text")


def check_company_of_files(messages: Sequence[Mapping[str, Any]]) -> None:
    """Want a plain text before or after a message that holds only files.

    :raises Refusal: 4000.
    """
    for index, message in enumerate(messages):
        if message["content_type"] == "object_string" and not message_text(message):
            beside = [*messages[max(0, index - 1) : index], *messages[index + 1 : index + 2]]
            if not any(other["content_type"] == "text" for other in beside):
                where = f"additional_messages[{index}]"
                raise Refusal(4000, f"{BAD_BODY} (emulator: {where} holds only files; a text must stand beside it)")


def attached_files(call: Call, messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the files of the messages: names of uploaded ones, addresses of the others.

    :raises Refusal: 4000: a file was not uploaded by this account.
    """
    parts = [
        part
        for message in messages
        if message["content_type"] == "object_string"
        for part in json.loads(message["content"])
        if part["type"] != "text"
    ]
    return [file_in(call, part["file_id"]) if part.get("file_id") else str(part["file_url"]) for part in parts]


def file_in(call: Call, file_id: Any) -> str:
    """Return the name of an uploaded file.

    :raises Refusal: 4000: this account has no such file. The documents say that it must, not how Coze complains.
    """
    file = call.store.files.get(file_id) if isinstance(file_id, str) else None
    if file is None or file.owner != call.owner:
        raise Refusal(4000, f"Request parameter error (emulator: this account has uploaded no file {file_id!r})")
    return file.file_name


def _check_object_string(content: str, where: str) -> None:
    try:
        parts = json.loads(content)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.content is not the JSON of an array of objects)")
    kinds = [part.get("type") for part in parts]
    if unknown := set(kinds) - {"text", "image", "file", "audio"}:
        raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.content has parts of type {sorted(map(str, unknown))})")
    if kinds.count("text") > 1 or kinds == ["text"]:
        raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.content needs at most one text, beside a file or an image)")
    for part in parts:
        if part["type"] != "text" and not (part.get("file_id") or part.get("file_url")):
            raise Refusal(4000, f"{BAD_BODY} (emulator: {where}.content: file_id or file_url is missing)")
