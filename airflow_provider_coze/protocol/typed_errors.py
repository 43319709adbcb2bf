"""Say where an answer is not of its type, and which rule it breaks, without a word of the answer itself.

Answers are for nobody's log. The messages that pydantic makes of its own rules hold no values; those of a type's own validators may, and
so may the names in an answer that are no fields of the type. Both are left out of what is for people and told to the bot alone.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_coze.protocol.json_text import MAX_DEPTH

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["Mismatch", "is_fit", "mismatch_of", "path_of", "unfit"]

#: Problems that the bot is told of.
_MOST_TOLD = 5
#: Where there are more problems, the first are looked for in a shortened answer: a million of them take gigabytes.
_MANY = 1_000
_LONGEST_RULE = 300
#: How much of a long list, and of an object that is too large to be a model's, a shortened answer keeps.
_KEPT_ITEMS, _KEPT_NAMES = 20, 200


class Mismatch(Exception):
    """An answer is not of the type asked for.

    ``path`` is the place of the first problem, such as ``rows[3].price`` ("": the answer as a whole), and ``problem`` says which rule it
    breaks. ``repair`` is the message that asks the bot to answer again. It belongs in no log: it can hold words of the type's own
    validators, and with them pieces of the answer.
    """

    def __init__(self, path: str, problem: str, told: list[str] | None = None) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path, self.problem, self.repair = path, problem, ""
        self.told = told or [str(self)]  # the same for the bot: more of them, and the validators' own words


def mismatch_of(error: ValidationError, value: Any, names: Container[str], check: Any) -> Mismatch:
    """Return what the bot and people are told of pydantic's complaints.

    :param value: the answer, as JSON was read.
    :param names: of all fields that the type has.
    :param check: pydantic's ``validate_python`` or its like for a shortened *value*; it raises once more.
    """
    problems = _problems(error, value, check)
    if not problems:
        return Mismatch("", f"it breaks {error.error_count()} rules of the type")
    told = []
    for problem in problems[:_MOST_TOLD]:
        path = path_of(problem["loc"], value, names)
        told.append(f"{path}: {problem['msg']}" if path else str(problem["msg"]))
    if error.error_count() > _MOST_TOLD:
        told.append(f"and {error.error_count() - _MOST_TOLD} more problems")
    return Mismatch(path_of(problems[0]["loc"], value, names), _rule(problems[0]), told)


def _problems(error: ValidationError, value: Any, check: Any) -> list[Any]:
    if error.error_count() <= _MANY:
        return list(error.errors(include_url=False, include_input=False))
    from pydantic import ValidationError

    try:
        check(_shortened(value))
    except ValidationError as fewer:
        # What is short is short because it was shortened.
        found = fewer.errors(include_url=False, include_input=False) if fewer.error_count() <= _MANY**2 else []
        return [problem for problem in found if problem["type"] != "too_short"]
    except Exception:
        return []
    return []


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        names = list(value)[:_KEPT_NAMES]
        return {name: _shortened(value[name]) for name in names}
    return [_shortened(item) for item in value[:_KEPT_ITEMS]] if isinstance(value, list) else value


def path_of(place: tuple[int | str, ...], value: Any, names: Container[str]) -> str:
    """Return a place as Python would reach it.

    Names that are no fields of the type are ``[*]``, as they are the answer's own. What pydantic puts between for the members of a union,
    or for the key of a pair, is no place.
    """
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and 0 <= step < len(value) else None
        elif isinstance(value, dict) and step in value:
            path += _named(step) if step in names else "[*]"
            value = value[step]
        elif step in names:  # a field that is missing
            path += _named(step)
            value = None
    return path.removeprefix(".")


def _named(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{name!r}]"


def _rule(problem: Any) -> str:
    """Return pydantic's words for a rule of its own; for one whose words can quote the answer, the rule's name."""
    from pydantic_core.core_schema import ErrorType

    kind, context = problem["type"], problem.get("ctx") or {}
    if kind in ("value_error", "assertion_error") or kind not in get_args(ErrorType):
        return "a validator of the type refuses it"
    if kind == "union_tag_invalid":
        return f"its tag must be one of {context.get('expected_tags')}"
    if "error" in context or "tag" in context:
        return f"it breaks the rule {kind.replace('_', ' ')!r}"
    rule = str(problem["msg"])
    return rule if len(rule) <= _LONGEST_RULE else f"{rule[:_LONGEST_RULE]}…"


def is_fit(value: Any) -> bool:
    """Tell whether Airflow can keep a value that is JSON otherwise: see ``json_text`` for what it cannot."""
    level = [value]
    for depth in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict or kind is list:
                if depth == MAX_DEPTH:
                    return False
                below.extend(item.values() if kind is dict else item)
            elif kind is not str and kind is not bool and _problem(item):
                return False
        level = below
    return True


def unfit(value: Any) -> tuple[tuple[int | str, ...], str]:
    """Return the place of what Airflow cannot keep of a value, and what it is."""
    if problem := _problem(value):
        return (), problem
    level: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    for _ in range(MAX_DEPTH):
        below = [((*place, step), item) for place, around in level for step, item in _steps(around)]
        for place, item in below:
            if problem := _problem(item):
                return place, problem
        level = below
    return (), f"it is nested deeper than {MAX_DEPTH}"


def _steps(container: Any) -> Iterator[tuple[int | str, Any]]:
    if isinstance(container, dict):
        yield from container.items()
    elif isinstance(container, list):
        yield from enumerate(container)


def _problem(item: Any) -> str:
    if isinstance(item, float):
        return "" if math.isfinite(item) else "it must be a number, and is none that JSON can hold"
    if isinstance(item, int):
        return "" if -(2**63) <= item < 2**64 else "it must be an integer of 64 bits"
    return "" if item is None or isinstance(item, str | dict | list) else "JSON cannot hold it"
