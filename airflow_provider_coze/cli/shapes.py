"""Coze's schemas of inputs and outputs as Python classes. Pure; what it makes is text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.cli.wording import comment, is_field_name, literal, words
from airflow_provider_coze.protocol.parameters import FILE_KINDS

__all__ = ["Shapes", "fields_of", "kind_of"]

Schema = Mapping[str, Any]

_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
#: A dataclass binds the names of its fields while it is made; these are used in the annotations of the next ones.
_IN_USE = frozenset({*_TYPES.values(), "list", "dict", "Any", "None"})


def kind_of(schema: Schema) -> str:
    """Return Coze's word for a type."""
    return str(schema.get("type") or "").lower()


def fields_of(schema: Schema) -> dict[str, Schema]:
    """Return what is inside an object, by name; empty where Coze does not tell."""
    found = schema.get("properties")
    inside = found.items() if isinstance(found, Mapping) else ()
    return {str(name): each for name, each in inside if isinstance(each, Mapping)}


class Shapes:
    """The classes of one file, those inside others first, and what has to be imported for them."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._names: set[str] = set()
        self._uses: set[str] = set()

    def typed_dict(self, name: str, fields: Mapping[str, Schema], about: str) -> str:
        """Add a TypedDict and return its name; fields that are not required may be left out."""
        name = self._free(name)
        types = {
            field: self._annotation(schema, name, field, inside=self.typed_dict) for field, schema in fields.items()
        }
        for field, schema in fields.items():
            if not schema.get("required"):
                self._uses.add("NotRequired")
                types[field] = f"NotRequired[{types[field]}]"
        self._uses.add("TypedDict")
        if all(is_field_name(field) for field in fields):
            lines = [f"class {name}(TypedDict):", f'    """{about}"""', ""]
            for field, schema in fields.items():
                lines += [*self._about(schema), f"    {field}: {types[field]}"]
        else:
            lines = [f"# {about}", f"{name} = TypedDict(", f"    {literal(name)},", "    {"]
            for field, schema in fields.items():
                lines += [f"    {line}" for line in self._about(schema)]
                lines += [f"        {literal(field)}: {types[field]},"]
            lines += ["    },", ")"]
        self.blocks.append("\n".join(lines))
        return name

    def dataclass(self, name: str, fields: Mapping[str, Schema], about: str) -> str:
        """Add a dataclass all of whose fields may be None, as Coze's variables may; return its name, or the type to use instead."""
        if not all(is_field_name(field) and field not in _IN_USE for field in fields):
            self._uses.add("Any")
            return "dict[str, Any]"
        name = self._free(name)
        types = {
            field: self._annotation(schema, name, field, inside=self.dataclass) for field, schema in fields.items()
        }
        self._uses.add("dataclass")
        lines = ["@dataclass", f"class {name}:", f'    """{about}"""', ""]
        for field, schema in fields.items():
            optional = "Any = None" if types[field] == "Any" else f"{types[field]} | None = None"
            lines += [*self._about(schema), f"    {field}: {optional}"]
        self.blocks.append("\n".join(lines))
        return name

    def imports(self) -> list[str]:
        """Return the imports of the standard library."""
        typing = sorted(self._uses - {"dataclass"})
        lines = ["from dataclasses import dataclass"] if "dataclass" in self._uses else []
        return [*lines, f"from typing import {', '.join(typing)}"] if typing else lines

    def _annotation(self, schema: Schema, owner: str, field: str, *, inside: Any) -> str:
        kind, within = kind_of(schema), fields_of(schema)
        if kind in FILE_KINDS:
            return "str"
        if kind == "array":
            items = schema.get("items")
            element = items if isinstance(items, Mapping) else {}
            return f"list[{self._annotation(element, owner, field, inside=inside)}]"
        if kind == "object" and within:
            made: str = inside(f"{owner}{_camel(field)}", within, f"What stands in {_quotable(field)}.")
            return made
        if kind in _TYPES:
            return _TYPES[kind]
        self._uses.add("Any")
        return "dict[str, Any]" if kind == "object" else "Any"

    def _about(self, schema: Schema) -> list[str]:
        element = schema
        while kind_of(element) == "array" and isinstance(element.get("items"), Mapping):
            element = element["items"]
        file = [] if kind_of(element) not in FILE_KINDS else [f"    # {kind_of(element)}: a URL, or a file for upload"]
        return [*comment(str(schema.get("description") or ""), "    "), *file]

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self._names:
            number += 1
            free = f"{name}{number}"
        self._names.add(free)
        return free


def _camel(field: str) -> str:
    parts = re.findall(r"[A-Za-z0-9]+", field)
    return "".join(part[:1].upper() + part[1:] for part in parts) or "Inner"


def _quotable(field: str) -> str:
    return words(field).replace("\\", "/").replace('"', "'")
