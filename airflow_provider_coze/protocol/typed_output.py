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
from airflow_provider_coze.protocol.json_in_text import BLANK, Found, blocks, pieces
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.typed_dicts import for_pydantic
from airflow_provider_coze.protocol.typed_errors import Mismatch, is_fit, mismatch_of, path_of, unfit

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

__all__ = ["Mismatch", "OutputType"]

#: What people and models put around a single word.
_DECORATION = BLANK + "`*_\"'“”‘’「」『』《》【】()（）。．.!！,，、;；:："
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
#: What may be a number that is none, or no finite one: pydantic can make null of it, unasked. In a string it does no harm.
_TOO_LARGE = re.compile(r"[0-9](?:[eE]\+?[0-9]{3}|[0-9]{300})")
#: How often an answer may stand in something else. Coze itself has two wrappings, and a model adds one of its own.
_MAX_WRAPPINGS = 4
_LONGEST_REASON = 300
_UNFIT = object()


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
            why = f"{type(error).__name__}: {' '.join(str(error).split()).partition('. ')[0]}"
            return [f"is nothing that pydantic can check JSON against ({why[:_LONGEST_REASON]})"]
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
        whole = text.strip(BLANK)
        tried = self._checked(whole)
        if tried[1] is None:
            return tried[0]
        failures: list[tuple[int, Mismatch]] = []
        for piece in [Found(whole)] if tried[1] is not _UNFIT else pieces(whole):
            try:
                if piece.problem:
                    raise Mismatch("", f"the JSON in it is broken: {piece.problem}")
                return self._of_json(
                    piece.text, wrappings, unwrap=not self._takes_words, tried=tried if piece.text is whole else None
                )
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
                return self._of_json(json.dumps(word, ensure_ascii=False), _MAX_WRAPPINGS, unwrap=False)
            except Mismatch as mismatch:
                failure = failure or mismatch
        raise failure or Mismatch("", "it is empty")

    def _of_json(self, text: str, wrappings: int, *, unwrap: bool, tried: tuple[Any, Any] | None = None) -> Any:
        made, wrong = tried or self._checked(text)
        if wrong is None:
            return made
        try:
            value = read_json(text)
        except ValueError as error:
            raise Mismatch("", f"the JSON in it cannot be read: {getattr(error, 'msg', error)}") from None
        if wrong is _UNFIT:  # and now what could not be read or kept is replaced
            made, wrong = self._checked(json.dumps(value, ensure_ascii=False), is_clean=True)
            if wrong is None:
                return made
        failure = self._mismatch(wrong, made, value)
        wrapped, inner = self._inner(value)
        if not wrapped or not unwrap or wrappings >= _MAX_WRAPPINGS:
            raise failure
        try:
            return self._of_value(inner, wrappings + 1)
        except Mismatch as mismatch:
            inner_is_meant = _is_meant_as_json(inner) and _depth(mismatch) >= _depth(failure)
            raise (mismatch if inner_is_meant else failure) from None

    def _inner(self, value: Any) -> tuple[bool, Any]:
        """Return what a text of JSON holds, or a lone key that is no field of the type; and whether it is one of them."""
        if isinstance(value, dict) and len(value) == 1:
            [(name, inner)] = value.items()
            return name not in self._names, inner
        return isinstance(value, str), value

    def _checked(self, text: str, *, is_clean: bool = False) -> tuple[Any, Any]:
        """Return the JSON in *text* as the type has it, and None; or what there is of it, and what is wrong.

        That is pydantic's error, a sentence about another one, or ``_UNFIT``: it is no JSON, or nothing that Airflow can keep.

        :param is_clean: it comes from ``read_json``, which has replaced what cannot be kept.
        """
        from pydantic import ValidationError

        if not is_clean and ("NaN" in text or "Infinity" in text or _TOO_LARGE.search(text)):
            return None, _UNFIT
        try:
            made = self._adapter.validate_json(text)
            made = self._adapter.dump_python(made, mode="json", by_alias=True, warnings=False)
        except ValidationError as error:
            return None, _UNFIT if _is_no_json(error) else error
        except Exception as error:  # validators and serializers of a type are anybody's code
            return None, f"a validator of the type ended in {type(error).__name__}"
        return made, None if is_fit(made) else _UNFIT

    def _mismatch(self, wrong: Any, made: Any, value: Any) -> Mismatch:
        if wrong is _UNFIT:
            place, problem = unfit(made) if made is not None else ((), "it holds no JSON")
            return Mismatch(path_of(place, made, self._names), problem)
        if isinstance(wrong, str):
            return Mismatch("", wrong)
        return mismatch_of(wrong, value, self._names, lambda part: self._adapter.validate_json(json.dumps(part)))


def _is_no_json(error: ValidationError) -> bool:
    if error.error_count() > 1:  # of a million nobody needs the list
        return False
    [problem] = error.errors(include_url=False, include_input=False)
    return problem["type"] == "json_invalid" and problem["loc"] == ()


def _depth(mismatch: Mismatch) -> int:
    return mismatch.path.count(".") + mismatch.path.count("[")


def _is_meant_as_json(value: Any) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and value.strip(BLANK)[:1] in ("{", "["))


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
