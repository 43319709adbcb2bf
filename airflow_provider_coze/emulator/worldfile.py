"""Read a world from YAML (or JSON, which is YAML). The names are those of the Python definitions; unknown ones are refused.

``{call: "module:function"}`` stands for a callable, ``{template: "…"}`` for a template, ``{seconds: 7}``, ``{polls: 2}`` and
``immediate`` for durations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_coze.emulator.definitions import (
    AccessToken,
    Bot,
    Failure,
    Immediate,
    Interrupt,
    OAuthApp,
    OutputNode,
    Parameter,
    Polls,
    Seconds,
    Template,
    Tokens,
    ToolCall,
    Workflow,
    imported,
)
from airflow_provider_coze.emulator.world import World

__all__ = ["WorldFileError", "read_world", "world_from"]

T = TypeVar("T")


class WorldFileError(ValueError):
    """The world file says something that cannot be understood; the message says where."""


def read_world(path: Path) -> World:
    """Read the world in the file.

    :raises WorldFileError: It is not YAML, or says something unknown.
    """
    try:
        import yaml  # an optional dependency: only world files need it
    except ImportError:
        raise WorldFileError("world files need PyYAML: pip install 'airflow-provider-coze[emulator]'") from None
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise WorldFileError(f"{path}: {error}") from None
    return world_from(given or {})


def world_from(given: Any) -> World:
    """Make a world out of what a YAML reader returned.

    :raises WorldFileError: It says something unknown.
    """
    return _made(
        World,
        given,
        "world",
        bots=_each(_bot),
        workflows=_each(_workflow),
        tokens=_each(lambda value, where: _made(AccessToken, value, where)),
        oauth_apps=_each(lambda value, where: _made(OAuthApp, value, where)),
    )


_Reader = Callable[[Any, str], Any]


def _bot(given: Any, where: str) -> Bot:
    return _made(
        Bot,
        given,
        where,
        id=_text,
        answer=_said,
        duration=_duration,
        failure=_failure,
        tokens=_simple(Tokens),
        tool_calls=_listed_or_called(_simple(ToolCall)),
    )


def _workflow(given: Any, where: str) -> Workflow:
    return _made(
        Workflow,
        given,
        where,
        id=_text,
        output=_said,
        duration=_duration,
        failure=_failure,
        tokens=_simple(Tokens),
        parameters=_parameters,
        interrupt=_interrupts,
        nodes=_each(_simple(OutputNode)),
    )


def _made(kind: Callable[..., T], given: Any, where: str, **readers: _Reader) -> T:
    if not isinstance(given, Mapping):
        raise WorldFileError(f"{where} must be a mapping, not {given!r}")
    known = {known.name for known in fields(kind)}  # type: ignore[arg-type]
    if unknown := given.keys() - known:
        raise WorldFileError(f"{where} has unknown keys {sorted(map(str, unknown))}; known: {sorted(known)}")
    made = {
        name: readers[name](value, f"{where}.{name}") if name in readers and value is not None else value
        for name, value in given.items()
    }
    try:
        return kind(**made)
    except (TypeError, ValueError) as error:
        raise WorldFileError(f"{where}: {error}") from None


def _each(reader: _Reader) -> _Reader:
    def read(given: Any, where: str) -> list[Any]:
        if not isinstance(given, list):
            raise WorldFileError(f"{where} must be a list, not {given!r}")
        return [reader(value, f"{where}[{index}]") for index, value in enumerate(given)]

    return read


def _listed_or_called(reader: _Reader) -> _Reader:
    each = _each(reader)
    return lambda given, where: _said(given, where) if isinstance(given, Mapping) else each(given, where)


def _simple(kind: Callable[..., Any]) -> _Reader:
    return lambda given, where: _made(kind, given, where)


def _text(given: Any, where: str) -> str:
    # YAML reads an id without quotes as a number.
    return str(given)


def _said(given: Any, where: str) -> Any:
    if isinstance(given, Mapping) and set(given) == {"template"}:
        return Template(str(given["template"]))
    if isinstance(given, Mapping) and set(given) == {"call"}:
        return _called(given["call"], where)
    return given


def _duration(given: Any, where: str) -> Any:
    match given:
        case "immediate":
            return Immediate()
        case {"seconds": int() | float() as count, **rest} if not rest:
            return Seconds(count)
        case {"polls": int() as count, **rest} if not rest:
            return Polls(count)
        case {"call": str() as path, **rest} if not rest:
            return _called(path, where)
    raise WorldFileError(
        f'{where} must be immediate, {{seconds: n}}, {{polls: n}} or {{call: "module:function"}}, not {given!r}'
    )


def _failure(given: Any, where: str) -> Failure:
    if not isinstance(given, Mapping) or not isinstance(given.get("code"), int) or given.keys() - {"code", "msg"}:
        raise WorldFileError(f"{where} must be {{code: number, msg: text}}, not {given!r}")
    return Failure(given["code"], str(given.get("msg") or ""))


def _parameters(given: Any, where: str) -> dict[str, Parameter]:
    if not isinstance(given, Mapping):
        raise WorldFileError(f"{where} must be a mapping of names to types, not {given!r}")
    return {str(name): _parameter(value, f"{where}.{name}") for name, value in given.items()}


def _parameter(given: Any, where: str) -> Parameter:
    if isinstance(given, str):
        return Parameter(given)
    return _made(Parameter, given, where, items=_parameter, properties=_parameters)


def _interrupts(given: Any, where: str) -> Any:
    if isinstance(given, list):
        return _each(_interrupt)(given, where)
    called = isinstance(given, Mapping) and set(given) == {"call"}
    return _said(given, where) if called else _interrupt(given, where)


def _interrupt(given: Any, where: str) -> Interrupt:
    if isinstance(given, str):
        return Interrupt(given)
    return _made(Interrupt, given, where, accepts=_said)


def _called(path: Any, where: str) -> Callable[..., Any]:
    try:
        return imported(str(path))
    except (ImportError, AttributeError, ValueError) as error:
        raise WorldFileError(f"{where}: cannot import {path!r}: {error}") from None
