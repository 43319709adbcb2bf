"""The control plane, under ``/_emulator/`` and never under a path of Coze: for tests that live in another process.

It needs no token: it listens where the emulator listens, on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.emulator.faults import Fault
from airflow_provider_coze.emulator.wire import Reply, answer
from airflow_provider_coze.protocol.messages import Request

if TYPE_CHECKING:
    from airflow_provider_coze.emulator.app import Emulator

__all__ = ["control"]


def control(emulator: Emulator, request: Request) -> Reply:
    """Carry a request to the control plane out. Mistakes are HTTP 400 with an ``error`` text."""
    handler = _ROUTES.get((request.method.upper(), request.path))
    if handler is None:
        known = sorted(f"{method} {path}" for method, path in _ROUTES)
        return answer({"error": f"there is no {request.method} {request.path}", "known": known}, status=404)
    try:
        given = request.json if request.json is not None else json.loads(request.body or b"{}")
        if not isinstance(given, dict):
            raise ValueError("the body must be a JSON object")
        return answer(handler(emulator, given))
    except (ValueError, TypeError) as error:
        return answer({"error": str(error)}, status=400)


def _reset(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    _only(given)
    emulator.reset()
    return {"ok": True}


def _add_fault(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    _only(given, "fault", "on", "times", "skip", "share", "seed")
    if not isinstance(given.get("fault"), Mapping):
        raise ValueError('"fault" must be an object, e.g. {"kind": "answer", "status": 502, "body": "…"}')
    when = {name: value for name, value in given.items() if name != "fault"}
    return emulator.script(Fault.from_json(given["fault"]), **when).as_json()


def _faults(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    _only(given)
    now = emulator.now()
    for script in emulator.scripts:
        script.refuses(now)  # ends those whose time is up
    return {"faults": [script.as_json() for script in emulator.scripts if script.times != 0]}


def _clear_faults(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    emulator.clear_faults()
    return {"ok": True}


def _move_clock(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    _only(given, "advance")
    seconds = given.get("advance")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise ValueError('"advance" must be a number of seconds, not negative')
    return {"now": emulator.advance(seconds)}


def _clock(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"now": emulator.now()}


def _ledger(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"ledger": [entry.as_json() for entry in emulator.ledger]}


def _stats(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "requests": dict(emulator.requests),
        "connections_accepted": emulator.connections_accepted,
        "connections_open": emulator.connections_open,
    }


def _world(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    world = emulator.world
    return {
        "dialect": emulator.dialect_name,
        "plan": world.plan,
        "bots": [
            {"id": bot.id, "name": bot.name, "description": bot.description, "published": bot.published}
            for bot in world.bots
        ],
        "workflows": [
            {
                "id": workflow.id,
                "name": workflow.name,
                "description": workflow.description,
                "published": workflow.published,
                "mode": workflow.mode,
            }
            for workflow in world.workflows
        ],
        "chats": len(emulator.store.chats),
        "runs": len(emulator.store.runs),
        "conversations": len(emulator.store.conversations),
        "files": len(emulator.store.files),
    }


def _set_world(emulator: Emulator, given: Mapping[str, Any]) -> dict[str, Any]:
    # Seconds only: they stand by themselves, and whoever needs another world makes a world file.
    known = [setting.name for setting in fields(emulator.world) if setting.name.endswith("_seconds")]
    _only(given, *known)
    for name, seconds in given.items():
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise ValueError(f'"{name}" must be a number of seconds, not negative')
    for name, seconds in given.items():
        setattr(emulator.world, name, float(seconds))
    return {name: getattr(emulator.world, name) for name in known}


def _only(given: Mapping[str, Any], *known: str) -> None:
    if unknown := given.keys() - set(known):
        raise ValueError(f"unknown keys {sorted(unknown)}; known: {sorted(known)}")


_Handler = Callable[["Emulator", Mapping[str, Any]], dict[str, Any]]

_ROUTES: dict[tuple[str, str], _Handler] = {
    ("POST", "/_emulator/reset"): _reset,
    ("POST", "/_emulator/faults"): _add_fault,
    ("GET", "/_emulator/faults"): _faults,
    ("DELETE", "/_emulator/faults"): _clear_faults,
    ("POST", "/_emulator/clock"): _move_clock,
    ("GET", "/_emulator/clock"): _clock,
    ("GET", "/_emulator/ledger"): _ledger,
    ("GET", "/_emulator/stats"): _stats,
    ("GET", "/_emulator/world"): _world,
    ("POST", "/_emulator/world"): _set_world,
}
