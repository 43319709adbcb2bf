"""The shapes of request bodies and queries: which fields Coze knows, and of which JSON type.

A JSON null is an absent field, as it is for Coze's Go servers and as its own clients send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "ANY",
    "BOOLEAN",
    "INTEGER",
    "MAP",
    "STRING",
    "STRINGS",
    "Field",
    "Kind",
    "Shape",
    "array_of",
    "problems",
    "required",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """A JSON type, by its English name."""

    name: str
    types: tuple[type, ...] = ()
    of: Mapping[str, Field] | None = None  # the fields of an object
    items: Kind | None = None  # of an array
    values: Kind | None = None  # of a map


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object, and whether it must be there."""

    kind: Kind
    required: bool = False


Shape: TypeAlias = Mapping[str, Field]

_STRING = Kind("a string", (str,))
STRING = Field(_STRING)
BOOLEAN = Field(Kind("a boolean", (bool,)))
INTEGER = Field(Kind("an integer", (int,)))
MAP = Field(Kind("an object", (dict,)))
STRINGS = Field(Kind("an object of strings", (dict,), values=_STRING))
ANY = Field(Kind("anything"))


def required(field: Field) -> Field:
    """Return *field*, required."""
    return Field(field.kind, required=True)


def array_of(shape: Shape) -> Field:
    """Return a field that is an array of objects of *shape*."""
    return Field(Kind("an array", (list,), items=Kind("an object", (dict,), of=shape)))


def problems(value: Any, shape: Shape, where: str, *, known_only: bool) -> tuple[list[str], list[str]]:
    """Compare *value* with *shape*.

    :returns: What is of the wrong type or missing, and which fields are unknown (empty unless *known_only*).
    """
    wrong: list[str] = []
    unknown: list[str] = []
    _compare_object(value, shape, where, wrong, unknown)
    return wrong, unknown if known_only else []


def _compare_object(value: Mapping[str, Any], shape: Shape, where: str, wrong: list[str], unknown: list[str]) -> None:
    for name, given in value.items():
        if name not in shape and given is not None:
            unknown.append(f"{where}.{name}")
    for name, field in shape.items():
        given = value.get(name)
        if given is None or given == "":
            if field.required:
                wrong.append(f"{where}.{name} is required")
            if given is None:
                continue
        _compare(given, field.kind, f"{where}.{name}", wrong, unknown)


def _compare(value: Any, kind: Kind, where: str, wrong: list[str], unknown: list[str]) -> None:
    # bool is an int in Python and is none in JSON.
    if kind.types and (not isinstance(value, kind.types) or (isinstance(value, bool) and bool not in kind.types)):
        wrong.append(f"{where} must be {kind.name}, not {_json_name(value)}")
        return
    if kind.of is not None:
        _compare_object(value, kind.of, where, wrong, unknown)
    if kind.items is not None:
        for index, item in enumerate(value):
            _compare(item, kind.items, f"{where}[{index}]", wrong, unknown)
    if kind.values is not None:
        for key, item in value.items():
            _compare(item, kind.values, f"{where}.{key}", wrong, unknown)


def _json_name(value: Any) -> str:
    names: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")
