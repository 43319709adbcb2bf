"""Find what is wrong with a workflow's parameters before it is started. Pure; every problem is one sentence, and holds no value.

The schema is that of the start node: https://www.coze.cn/open/docs/developer_guides/get_workflow_info. What is refused here is what
Coze cannot read as the type. It reads more than the type's own: text that says a number, JSON text of an object, a number for a text
(github.com/coze-dev/coze-studio 4f786d6, backend/domain/workflow/internal/nodes/convert.go), and so text, which is what templates
make, passes where it says the right thing. What it cannot read it takes for nothing there, and the run goes on, and is billed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_coze.protocol.json_text import read_json

__all__ = ["FILE_KINDS", "problems"]

Schema = Mapping[str, Any]

#: Types whose value is a file: the kinds of Coze's start node, and the words of its older workflows.
FILE_KINDS = frozenset(
    {"file", "default", "image", "svg", "audio", "voice", "video", "doc", "ppt", "excel", "txt", "code", "zip"}
)
#: The start node of a chatflow has these by itself; its caller may name the first and never the second, which is the message.
_CHATFLOW = ("CONVERSATION_NAME", "USER_INPUT")
#: A file that is to be uploaded; whoever does that replaces it, so it is only known by its name.
_MARKER = "CozeFile"
#: What Jinja makes of a value that is not there.
_NOTHING = ("", "None")
#: Words that strconv.ParseBool of Go, the language of Coze's server, understands.
_BOOLEANS = frozenset({"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"})
#: As strconv.ParseInt and ParseFloat read them: without spaces or underscores.
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:\S.*")  # one letter and a colon is a drive of Windows
#: More names than this are no help.
_MOST_NAMES = 10
_NATIVE = "; a template makes text: pass the task's output itself, or set render_template_as_native_obj=True on the DAG"


def problems(given: Mapping[str, object], schema: Mapping[str, Schema]) -> list[str]:
    """Return what is wrong with the parameters of a run; an empty list is one that may be started.

    :param given: the parameters, templates rendered. None counts as absent.
    :param schema: the start node's, by name: ``type``, ``required``, and ``properties`` or ``items`` of what has an inside. A type
        that is not known here is taken with any value. Without any name it says nothing about unknown ones.
    """
    return list(_object(given, schema, "parameters", ("", *_CHATFLOW)))


def _object(
    given: Mapping[str, object], schema: Mapping[str, Schema], path: str, own: tuple[str, ...]
) -> Iterator[str]:
    for name, wanted in schema.items():
        if name not in own and _is_required(wanted) and given.get(name) is None:
            state = "is None" if name in given else "is missing"
            yield f"{path}[{name!r}] {state}, and the workflow needs it ({_named(wanted)})"
    for name, value in given.items():
        at = f"{path}[{name!r}]"
        if name in schema:
            if value is not None:
                yield from _value(value, schema[name], at)
        elif schema and isinstance(name, str) and name not in own:
            yield f"{at} is unknown to the workflow{_meant(name, schema)}"


def _value(value: object, wanted: Schema, path: str) -> Iterator[str]:
    kind = str(wanted.get("type") or "").lower()
    if kind in FILE_KINDS:
        yield from _file(value, kind, path)
    elif kind == "object":
        yield from _inside(value, dict, path, lambda found: _object(found, _properties(wanted), path, ()))
    elif kind == "array":
        items = wanted.get("items")
        element: Schema = items if isinstance(items, Mapping) else {}
        yield from _inside(value, list, path, lambda found: _elements(found, element, path))
    elif kind in _SCALARS:
        fits, words = _SCALARS[kind]
        if isinstance(value, str) and kind != "string" and value.strip() in _NOTHING:
            yield f"{path} must be {words}, and is empty, or a template that rendered to nothing"
        elif not fits(value):
            yield f"{path} must be {words}, not {_kind(value)}{_hint(value, kind)}"


def _inside(value: object, wanted: type, path: str, look: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    """Look into an object or a list, or into the one that a JSON text says."""
    words, abstract = ("an object", Mapping) if wanted is dict else ("a list", (list, tuple))
    found = value
    if isinstance(value, str):
        try:
            found = read_json(value)
        except ValueError:
            found = None
        if not isinstance(found, wanted):
            yield f"{path} must be {words}, not str that is no JSON of one{_NATIVE}"
            return
    if isinstance(found, abstract):
        yield from look(found)
    else:
        yield f"{path} must be {words}, not {_kind(value)}"


def _elements(given: list[object] | tuple[object, ...], wanted: Schema, path: str) -> Iterator[str]:
    for index, value in enumerate(given):
        if value is not None:
            yield from _value(value, wanted, f"{path}[{index}]")


def _file(value: object, kind: str, path: str) -> Iterator[str]:
    if _kind(value) == _MARKER:
        return
    what = f"{path} must be a file ({kind}): a URL, or JSON text with the file_id of an upload"
    if not isinstance(value, str):
        hint = "; give it as text, with json.dumps" if isinstance(value, Mapping) and "file_id" in value else ""
        yield f"{what}; it is {_kind(value)}{hint}"
    elif value.strip() in _NOTHING:
        yield f"{what}; it is empty, or a template that rendered to nothing"
    elif not _ADDRESS.fullmatch(value.strip()) and not _names_an_upload(value):
        yield f"{what}; it is str that is neither"


def _names_an_upload(text: str) -> bool:
    try:
        found = read_json(text)
    except ValueError:
        return False
    return isinstance(found, dict) and bool(found.get("file_id"))


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float) or _kind(value) == _MARKER


def _is_integer(value: object) -> bool:
    if isinstance(value, str):
        return bool(_WHOLE.fullmatch(value)) and _is_integer(int(value))
    if isinstance(value, float):
        return value.is_integer() and abs(value) < 2**63
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value)) and math.isfinite(float(value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value in _BOOLEANS)


#: Type → what Coze reads as it, and its name in a sentence.
_SCALARS: dict[str, tuple[Callable[[object], bool], str]] = {
    "string": (_is_text, "text"),
    "integer": (_is_integer, "an integer of at most 64 bits"),
    "number": (_is_number, "a number"),
    "boolean": (_is_boolean, "true or false"),
}


def _hint(value: object, kind: str) -> str:
    if kind == "string" and isinstance(value, Mapping | list | tuple):
        return "; if its JSON is meant, give it as text, with json.dumps"
    if isinstance(value, str):
        return " that says none" if kind != "boolean" else " that says neither"
    return " with a fraction" if kind == "integer" and isinstance(value, float) else ""


def _is_required(wanted: Schema) -> bool:
    """Tell whether a value has to be given; one with a default has one already."""
    return wanted.get("required") in (True, "true") and wanted.get("default_value") in (None, "")


def _properties(wanted: Schema) -> Mapping[str, Schema]:
    found = wanted.get("properties")
    return (
        {name: each for name, each in found.items() if isinstance(each, Mapping)} if isinstance(found, Mapping) else {}
    )


def _named(wanted: Schema) -> str:
    return str(wanted.get("type") or "any type")


def _meant(name: str, schema: Mapping[str, Schema]) -> str:
    close = difflib.get_close_matches(name, schema, n=1) or [known for known in schema if known.lower() == name.lower()]
    if close:
        return f"; did you mean {close[0]!r}?"
    more = ", …" if len(schema) > _MOST_NAMES else ""
    return f", which knows {', '.join(repr(known) for known in list(schema)[:_MOST_NAMES])}{more}"


def _kind(value: object) -> str:
    return type(value).__name__
