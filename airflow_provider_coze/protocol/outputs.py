"""Find the answer in what Coze returns: the bot's words among its messages, a workflow's object inside JSON inside JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.models import Message

__all__ = ["answer_text", "follow_ups", "history_output", "run_output"]

#: What a workflow whose end node returns text is wrapped in; nothing else has exactly these keys.
_TEXT_KEYS = frozenset({"content_type", "data", "original_result", "type_for_model"})


def answer_text(messages: Iterable[Message]) -> str:
    """Return the bot's answers, oldest first, one a line group; "" if it gave none.

    A list is not in order (verbose messages stand before the answer), and one chat can have several answers.
    """
    return "\n".join(message.content for message in _by_age(messages, "answer"))


def follow_ups(messages: Iterable[Message]) -> list[str]:
    """Return the questions that the bot suggests next."""
    return [message.content for message in _by_age(messages, "follow_up")]


def run_output(data: str) -> JsonValue:
    """Return the result of a synchronous run: the object or list in its JSON, else the text as it is."""
    value = _container(data)
    return data if value is None else _text_answer(value)


def history_output(output: str) -> JsonValue:
    """Return the result in a run's record, whose ``Output`` key holds the end node's JSON as a string.

    Without that key the record holds output nodes only: an object of their results by name.
    """
    value = _container(output)
    if not isinstance(value, dict):
        return output if value is None else value
    if "Output" in value:
        end = value["Output"]
        return run_output(end) if isinstance(end, str) else _text_answer(end)
    return {name: run_output(node) if isinstance(node, str) else node for name, node in value.items()}


def _by_age(messages: Iterable[Message], kind: str) -> list[Message]:
    chosen = [message for message in messages if message.type == kind and message.role in ("assistant", "")]
    # Seconds are coarse; ids of one conversation grow, so they settle what happened within one.
    return sorted(chosen, key=lambda message: (message.created_at, len(message.id), message.id))


def _container(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the object or array that *text* is the JSON of. A number or a word in JSON's clothes stays text."""
    try:
        value = read_json(text)
    except ValueError:  # nested too deep to be read: still a paid output
        return None
    return value if isinstance(value, dict | list) else None


def _text_answer(value: Any) -> JsonValue:
    if isinstance(value, dict) and {"content_type", "data"} <= value.keys() <= _TEXT_KEYS:
        inner: JsonValue = value["data"]
        return inner
    result: JsonValue = value
    return result
