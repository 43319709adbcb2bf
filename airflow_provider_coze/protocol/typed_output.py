"""Read an answer as the type that a DAG asks for. Pydantic, which every Airflow brings along, does the checking.

It is imported where it is needed, because that takes a tenth of a second, and most tasks ask for no type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.json_in_text import Found, blocks, found_in
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.typed_dicts import for_pydantic
from airflow_provider_coze.protocol.typed_errors import Mismatch, mismatch_of, path_of, unfit

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Mismatch", "OutputType"]

_BLANK = " \t\r\n\ufeff\u200b"
#: What people and models put around a single word.
_DECORATION = _BLANK + "`*_\"'“”‘’「」『』《》【】()（）。．.!！,，、;；:："
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
#: How often an answer may stand in something else. Coze itself has two wrappings, and a model adds one of its own.
_MAX_WRAPPINGS = 4
_LONGEST_REASON = 300


class OutputType:
    """A type that answers are read as.

    :param output_type: a pydantic model, a dataclass, a TypedDict, ``Literal``, ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool``,
        or what is made of them, such as ``list[Row]``, ``dict[str, Row]`` and ``Row | None``. Anything may be given here;
        :meth:`problems` says what is wrong with it.
    """

    def __init__(self, output_type: Any) -> None:
        self.output_type = output_type

    def problems(self) -> list[str]:
        """Return what is wrong with the type itself, as ends of a sentence; an empty list is a type that answers can be read as."""
        kind = self.output_type
        if isinstance(kind, str):
            return ["must be a type, not a text that names one"]
        if kind is None or kind is Any or kind is object:
            return [f"is {kind!r}, which says nothing about an answer"]
        try:
            self.schema_text()
        except Exception as error:  # there are as many as there are ways to be no type
            words = " ".join(str(error).split("\n")[0].split()) if getattr(error, "code", None) else ""
            why = f"{type(error).__name__}: {words[:_LONGEST_REASON]}" if words else type(error).__name__
            return [f"is nothing that pydantic can check JSON against ({why})"]
        return []

    def schema_text(self) -> str:
        """Return the type as a JSON schema, for a prompt."""
        return json.dumps(self._schema, ensure_ascii=False)

    def read(self, value: JsonValue) -> Any:
        """Return *value* as plain JSON of the type: with the defaults of its fields, and their names in JSON, which are their aliases.

        Of a text the first piece that fits is taken: the whole of it as JSON, JSON in its fenced blocks, JSON between its words, and at
        last its own words, for a ``Literal`` or a number without quotes. With ``str`` it is the text as it is. JSON inside of JSON is
        unpacked, and an answer under a lone key that is no field of the type is taken out, unless free text would do as well.

        :param value: the text of an answer, or what Coze returned as JSON.
        :raises Mismatch: nothing of it fits; ``repair`` is what to tell the bot.
        :raises CozeInputError: the type is none; see :meth:`problems`.
        """
        if wrong := self.problems():
            raise CozeInputError(f"output_type {wrong[0]}. A retry without a change fails the same way.")
        try:
            return self._of_value(value, 0)
        except Mismatch as mismatch:
            mismatch.repair = self._repair(mismatch)
            raise

    def _repair(self, mismatch: Mismatch) -> str:
        problems = "\n".join(f"- {problem}" for problem in mismatch.told)
        return (
            f"Your last answer could not be read by the program that asked for it:\n{problems}\n"
            "Answer again, with JSON only: one complete JSON value, no other words before or after it, no comments in it. "
            f"It has to satisfy this JSON schema:\n{self.schema_text()}"
        )

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter

        return TypeAdapter(for_pydantic(self.output_type))

    @cached_property
    def _schema(self) -> dict[str, Any]:
        return self._adapter.json_schema(by_alias=True)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(_field_names(self._schema))

    @cached_property
    def _kinds(self) -> list[Mapping[str, Any]]:
        return list(_alternatives(self._schema, self._schema.get("$defs", {})))

    @property
    def _is_container(self) -> bool:
        return all(kind.get("type") in ("object", "array") for kind in self._kinds)

    @property
    def _takes_words(self) -> bool:
        """Whether any text fits, so that of JSON in it nobody can tell whether it is the answer."""
        ruled = ("enum", "const", "format", "pattern")
        return any(
            kind.get("type", "string") == "string" and not any(rule in kind for rule in ruled) for kind in self._kinds
        )

    # --- reading

    def _of_value(self, value: JsonValue, wrappings: int) -> Any:
        if isinstance(value, str):
            return self._of_text(_whole_characters(value), wrappings)
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            raise Mismatch("", "it is something that JSON cannot hold") from None
        return self._of_json(text, wrappings, unwrap=True)

    def _of_text(self, text: str, wrappings: int) -> Any:
        if self.output_type is str:
            return text
        whole = text.strip(_BLANK)
        failures: list[tuple[int, Mismatch]] = []
        for piece in _pieces(whole):
            try:
                if piece.problem:
                    raise Mismatch("", f"the JSON in it is broken: {piece.problem}")
                return self._of_json(piece.text, wrappings, unwrap=not self._takes_words)
            except Mismatch as mismatch:
                failures.append((len(piece.text), mismatch))
        if not self._is_container:
            try:
                return self._of_words(whole)
            except Mismatch as mismatch:
                failures.append((-1, mismatch))
        if not failures:
            raise Mismatch("", "it holds no JSON")
        # Of several the longest is the likeliest to have been meant as the answer.
        raise max(failures, key=lambda failure: failure[0])[1]

    def _of_words(self, whole: str) -> Any:
        words = [whole, whole.strip(_DECORATION), *(block.strip(_DECORATION) for block in blocks(whole)[0][:1])]
        failure: Mismatch | None = None
        for word in dict.fromkeys(words):
            try:
                return self._of_json(json.dumps(word), _MAX_WRAPPINGS, unwrap=False)
            except Mismatch as mismatch:
                failure = failure or mismatch
        raise failure or Mismatch("", "it is empty")

    def _of_json(self, text: str, wrappings: int, *, unwrap: bool) -> Any:
        try:
            return self._checked(text, None)
        except Mismatch:
            pass  # what it is worth is seen when what Airflow cannot keep has been replaced
        try:
            value = read_json(text)
        except ValueError as error:
            raise Mismatch("", f"the JSON in it cannot be read: {getattr(error, 'msg', error)}") from None
        try:
            return self._checked(json.dumps(value, ensure_ascii=False), value)
        except Mismatch as mismatch:
            inner = self._inner(value)
            if not unwrap or inner is value or wrappings >= _MAX_WRAPPINGS:
                raise
            failure = mismatch
        try:
            return self._of_value(inner, wrappings + 1)
        except Mismatch as mismatch:
            raise (mismatch if _is_meant_as_json(inner) else failure) from None

    def _inner(self, value: Any) -> Any:
        """Return what a text of JSON holds, or a lone key that is no field of the type; *value* itself where that is no wrapping."""
        if isinstance(value, dict) and len(value) == 1:
            [(name, inner)] = value.items()
            return value if name in self._names else inner
        return value

    def _checked(self, text: str, value: Any) -> Any:
        """Return the JSON in *text* as the type has it.

        :param value: what it holds, to name the place of a problem in it. None: the place is not asked for.
        :raises Mismatch: it does not fit.
        """
        from pydantic import ValidationError

        adapter, failure = self._adapter, Mismatch("", "it does not fit")
        try:
            made = adapter.dump_python(adapter.validate_json(text), mode="json", by_alias=True, warnings=False)
        except ValidationError as error:
            if value is not None:
                failure = mismatch_of(error, value, self._names, lambda part: adapter.validate_json(json.dumps(part)))
        except Exception as error:  # validators and serializers of a type are anybody's code
            failure = Mismatch("", f"a validator of the type ended in {type(error).__name__}")
        else:
            found = unfit(made)
            if found is None:
                return made
            failure = Mismatch(path_of(found[0], made, self._names), found[1])
        raise failure  # not where the error was caught: that holds the answer, and would be the context of this


def _pieces(whole: str) -> Iterator[Found]:
    """Yield what may be the answer in a text, the likeliest first."""
    if _is_json(whole):
        yield Found(whole)
        return
    fenced, around = blocks(whole)
    for block in fenced:
        inner = block.strip(_BLANK)
        if _is_json(inner):
            yield Found(inner)
        else:
            yield from found_in(block)
    for prose in around:
        yield from found_in(prose)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return False
    return True


def _is_meant_as_json(value: Any) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and value.strip(_BLANK)[:1] in ("{", "["))


def _whole_characters(text: str) -> str:
    """Return *text* with the halves of surrogate pairs replaced, as ``json_text`` does it."""
    if _HALF_PAIR.search(text):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _field_names(schema: Any) -> Iterator[str]:
    """Yield the names of all fields that a schema describes, wherever in it."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for part in schema.values():
            yield from _field_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _field_names(part)


def _alternatives(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int = 0
) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that a value may satisfy one of, without references."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name in definitions and depth < 20:
        yield from _alternatives(definitions[name], definitions, depth + 1)
    elif several := schema.get("anyOf") or schema.get("oneOf"):
        for one in several:
            yield from _alternatives(one, definitions, depth + 1)
    else:
        yield schema
