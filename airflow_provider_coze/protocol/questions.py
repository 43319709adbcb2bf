"""What a workflow asks when it pauses, as a question with fields. Pure; ``protocol.answers`` has the other half.

Coze describes its ``interrupt_data`` by one example (www.coze.cn/open/docs/developer_guides/workflow_run, workflow_stream_run), Coze
Studio's code shows the other forms (backend/domain/workflow/internal/nodes/qa, receiver): JSON in a string, in JSON in a string. A run
that pauses is paid for, so whatever is odd in there makes a plainer question; only what an answer cannot do without has to be right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from airflow_provider_coze.errors import CozeProtocolError, CozeTriggerEventError
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.models import mapping, records

__all__ = ["Question", "QuestionField"]

#: More than any form holds. Beyond that, or with longer options, what was meant as a choice is a text.
_MAX_FIELDS, _MAX_OPTIONS, _MAX_OPTION = 50, 50, 200
#: Characters of what people and Airflow's database are shown; the question itself may be longer.
_MAX_TEXT, _MAX_SHORT = 10_000, 500
#: Strings in strings: interrupt_data, its data, the content in there, and the schema in that.
_MAX_STRINGS = 4

#: JSON's word for each of Coze's. Any other word (file, image, time) is Coze's own business.
_TYPES = {
    **dict.fromkeys(("string", "str", "text"), "string"),
    **dict.fromkeys(("integer", "int", "int64", "long"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list"), "array"),
    **dict.fromkeys(("object", "map"), "object"),
}
_VALUES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
}


@dataclass(frozen=True, slots=True)
class QuestionField:
    """One value that an input node asks for."""

    name: str
    type: str = ""  # string, integer, number, boolean, array, object, or a word of Coze's own; "" is any
    required: bool = False
    description: str = ""
    options: tuple[str, ...] = ()  # the only values there are; none: any
    default: JsonValue = None

    def problem(self, value: object) -> str | None:
        """Return what is wrong with a value, without showing it."""
        allowed = _VALUES.get(self.type)
        if allowed is not None and not (
            isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
        ):
            return f"{self.name} must be of type {self.type}, not {type(value).__name__}"
        if self.options and value not in self.options:
            return f"{self.name} must be one of {list(self.options)}"
        return None


@dataclass(frozen=True, slots=True)
class Question:
    """What a run waits for.

    :ivar event_id: what the answer has to name.
    :ivar interrupt_type: Coze's number, to be sent back as it came: its documents number the types differently from year to year.
    :ivar execute_id: the run; "" if nothing names it.
    :ivar text: what is asked, in the workflow's words.
    :ivar fields: what an input node asks for. None: the answer is a text.
    :ivar options: answers that a question node offers; any other text is an answer too.
    :ivar node_title: of the node that asks; "" if not known.
    """

    event_id: str
    interrupt_type: int
    execute_id: str = ""
    text: str = field(default="", repr=False)
    fields: tuple[QuestionField, ...] = ()
    options: tuple[str, ...] = ()
    node_title: str = ""

    @classmethod
    def from_interrupt(
        cls,
        interrupt: Mapping[str, Any],
        *,
        node_title: str | None = None,
        execute_id: str | None = None,
        said: str = "",
    ) -> Self:
        """Read Coze's ``interrupt_data``.

        :param node_title: what a stream says beside it.
        :param execute_id: of the run, where it is known; else the event's id names it.
        :param said: what the node has said in the stream: there, ``data`` can be empty.
        :raises CozeProtocolError: it has no ``event_id`` or no ``type``, so it cannot be answered.
        """
        event_id, kind = _event_id(interrupt.get("event_id")), _whole(interrupt.get("type"))
        if not event_id or kind is None:
            missing = "type" if event_id else "event_id"
            raise CozeProtocolError(
                f"The workflow asks something, and the interrupt has no {missing} to answer it with: it has {_names(interrupt)}. "
                "The run waits in Coze, and what it used so far is billed. A retry of the task reads it again.",
                execute_id=execute_id or event_id.partition("/")[0] or None,
            )
        text, listed, options = _read(interrupt.get("data"), _MAX_STRINGS)
        fields = _merged(listed, _fields_by_name(_unpacked(interrupt.get("required_parameters"))))
        fields = fields if len(fields) <= _MAX_FIELDS else ()
        title = node_title if isinstance(node_title, str) else ""
        run, has_both, _ = event_id.partition("/")
        return cls(
            event_id=event_id,
            interrupt_type=kind,
            execute_id=execute_id or (run if has_both else ""),
            text=_clean(text).strip() or _clean(said).strip() or _made_up(_clean(title), fields),
            fields=fields,
            options=() if fields else options,
            node_title=_clean(title),
        )

    @classmethod
    def from_tool_call(cls, chat_id: str, call: Mapping[str, Any]) -> Self:
        """Read what a bot asks: a tool call of the type ``reply_message``, whose arguments hold the words.

        :raises CozeProtocolError: it has no id to answer to.
        """
        call_id = str(call.get("id") or "")
        asked = {
            "event_id": f"{chat_id}/{call_id}" if call_id else "",
            "type": 0,  # the answer to a bot names no type
            "data": mapping(call.get("function")).get("arguments"),
        }
        return cls.from_interrupt(asked, execute_id=chat_id)

    def to_payload(self) -> dict[str, Any]:
        """Return the question as JSON types for Airflow's database, its texts cut to what a form can show."""
        return {
            "event_id": self.event_id,
            "interrupt_type": self.interrupt_type,
            "execute_id": self.execute_id,
            "text": self.text[:_MAX_TEXT],
            "node_title": self.node_title[:_MAX_SHORT],
            "options": list(self.options),
            "fields": [
                {
                    "name": each.name,
                    "type": each.type,
                    "required": each.required,
                    "description": each.description,
                    "options": list(each.options),
                    "default": each.default,
                }
                for each in self.fields
            ],
        }

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """Read what :meth:`to_payload` made.

        :raises CozeTriggerEventError: it is something else.
        """
        found = mapping(payload)
        event_id, kind = found.get("event_id"), found.get("interrupt_type")
        if not isinstance(event_id, str) or not event_id or not isinstance(kind, int) or isinstance(kind, bool):
            raise CozeTriggerEventError(
                "The task was resumed without the question it had asked. The run waits in Coze, and what it used so far is billed; a "
                "retry of the task reads the question again, unless durable is False."
            )
        return cls(
            event_id=event_id,
            interrupt_type=kind,
            execute_id=_text(found.get("execute_id")),
            text=_text(found.get("text")),
            fields=_fields(found.get("fields")),
            options=_options(found.get("options")),
            node_title=_text(found.get("node_title")),
        )


def _read(value: object, strings: int) -> tuple[str, tuple[QuestionField, ...], tuple[str, ...]]:
    """Return text, fields and options of what stands in ``data``, however deeply it is packed."""
    found = _unpacked(value) if strings else value
    if isinstance(found, str):
        return found, (), ()
    if isinstance(found, list):
        return "", _fields(found), ()
    if not isinstance(found, dict):
        return "", (), ()
    if "messages" in found:
        asked = [each for each in records(found["messages"]) if each.get("type") in ("question", None)]
        return _read(asked[-1].get("content"), strings - 1) if asked else ("", (), ())
    if "content" in found:
        return _read(found["content"], strings - 1)
    return _text(found.get("question")), (), _options(found.get("options"))


def _unpacked(value: object) -> object:
    """Return the object or list in a JSON text. A text that is no such JSON, or JSON of something else, is a text."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        found = read_json(value)
    except ValueError:
        return value
    if isinstance(found, dict):
        return (
            found
            if found.keys() & {"content", "messages", "question", "type", "required"} or _is_schema(found)
            else value
        )
    return found if _fields(found) else value


def _is_schema(found: Mapping[str, Any]) -> bool:
    return bool(found) and all(isinstance(item, dict) for item in found.values())


def _fields(value: object) -> tuple[QuestionField, ...]:
    named = {each["name"]: _field(each["name"], each) for each in records(value) if _is_name(each.get("name"))}
    return tuple(named.values())


def _fields_by_name(value: object) -> tuple[QuestionField, ...]:
    items = [(name, mapping(each)) for name, each in mapping(value).items() if _is_name(name)]
    return tuple(_field(name, each) for name, each in items)


def _field(name: str, found: Mapping[str, Any]) -> QuestionField:
    kind = _text(found.get("type")).strip().lower()
    defaults = [found[key] for key in ("default", "default_value", "defaultValue") if found.get(key) not in (None, "")]
    return QuestionField(
        name=name,
        type=_clean(_TYPES.get(kind, kind))[:_MAX_SHORT],
        required=found.get("required") in (True, 1, "true"),
        description=_clean(_text(found.get("description")) or _text(found.get("desc")))[:_MAX_SHORT],
        options=_options(found.get("options") or found.get("enum")),
        default=defaults[0] if defaults and len(json.dumps(defaults[0])) <= _MAX_TEXT else None,
    )


def _merged(listed: Sequence[QuestionField], named: Sequence[QuestionField]) -> tuple[QuestionField, ...]:
    """Join both descriptions of the fields: ``required_parameters`` says what is needed, the list may say more about it."""
    known = {each.name: each for each in listed}
    for each in named:
        other = known.get(each.name)
        known[each.name] = (
            each
            if other is None
            else replace(
                each,
                type=each.type or other.type,
                description=each.description or other.description,
                options=each.options or other.options,
                default=other.default if each.default is None else each.default,
            )
        )
    return tuple(known.values())


def _options(value: object) -> tuple[str, ...]:
    """Return the texts of options, which are texts or have one as their name."""
    found = tuple(dict.fromkeys(_option_texts(value)))
    return found if len(found) <= _MAX_OPTIONS and all(len(each) <= _MAX_OPTION for each in found) else ()


def _option_texts(value: object) -> Iterator[str]:
    for each in value if isinstance(value, list | tuple) else ():
        found = each
        if isinstance(each, Mapping):
            found = next(
                (each[key] for key in ("name", "label", "value", "text") if isinstance(each.get(key), str)), None
            )
        if isinstance(found, str) and found.strip():
            yield _clean(found)


def _made_up(title: str, fields: Sequence[QuestionField]) -> str:
    who = f"The workflow's node {title!r}" if title else "The workflow"
    names = ", ".join(each.name for each in fields)
    return f"{who} asks for {names}." if names else f"{who} asks for an answer, and does not say what it asks."


def _event_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    if (
        isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
    ):  # int64 as text, as Coze writes some
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Return a text that every database keeps: PostgreSQL takes no NUL, and UTF-8 no half of a surrogate pair."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _MAX_SHORT and value == _clean(value)


def _names(found: Mapping[str, Any]) -> list[str]:
    return sorted(map(str, found))[:20]
