"""Method and path to operation, and the check of what was sent: the emulator refuses fields that Coze does not document.

Coze itself ignores unknown fields. Being stricter is on purpose: a misspelt field would otherwise be found out in production.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_provider_coze.emulator.schema import problems
from airflow_provider_coze.emulator.wire import Refusal, Route
from airflow_provider_coze.protocol.messages import Request

__all__ = ["RouteTable", "checked_body", "checked_query"]


class RouteTable:
    """The operations of a dialect."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._exact = {(route.method, route.path): route for route in self.routes if "{" not in route.path}
        self._with_ids = [(route, route.path.split("/")) for route in self.routes if "{" in route.path]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the operation and the ids in the path."""
        if route := self._exact.get((method, path)):
            return route, {}
        segments = path.split("/")
        for route, pattern in self._with_ids:
            if route.method == method and len(pattern) == len(segments):
                ids = _matched(pattern, segments)
                if ids is not None:
                    return route, ids
        return None


def checked_body(route: Route, request: Request, *, known_only: bool) -> dict[str, Any]:
    """Return the body as an object.

    :raises Refusal: 4000: not JSON, not an object, wrong types, something missing or unknown.
    """
    if route.body is None:
        return {}
    body = _parsed(route, request)
    wrong, unknown = problems(body, route.body, "body", known_only=known_only)
    _refuse(route, wrong, unknown, sorted(route.body))
    return body


def checked_query(route: Route, query: Mapping[str, str], *, known_only: bool) -> dict[str, str]:
    """Return the query. An empty value is an absent one: the official Python client sends ``?conversation_id=``.

    :raises Refusal: 4000: something missing or unknown.
    """
    given = {name: value for name, value in query.items() if value != ""}
    wrong, unknown = problems(given, route.query, "query", known_only=known_only)
    _refuse(route, wrong, unknown, sorted(route.query))
    return given


def _parsed(route: Route, request: Request) -> dict[str, Any]:
    body: Any = request.json
    if body is not None:
        # Through text and back: what a socket would do, and nobody can change the caller's objects.
        body = json.loads(json.dumps(body))
    elif request.body:
        try:
            body = json.loads(request.body)
        except ValueError:
            raise Refusal(4000, f"{route.bad_body} (emulator: the body is not JSON)") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Refusal(4000, f"{route.bad_body} (emulator: the body is not a JSON object)")
    return body


def _refuse(route: Route, wrong: list[str], unknown: list[str], known: list[str]) -> None:
    said = [*wrong]
    for name in unknown:
        hint = route.hints.get(name)
        said.append(f"{name} is not a field of {route.method} {route.path}" + (f"; {hint}" if hint else ""))
    if said:
        if unknown:
            said.append(f"Coze would ignore that, the emulator refuses it; known here: {', '.join(known) or 'none'}")
        raise Refusal(4000, f"{route.bad_body} (emulator: {'; '.join(said)})")


def _matched(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    ids: dict[str, str] = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not given:
                return None
            ids[wanted[1:-1]] = unquote(given)
        elif wanted != given:
            return None
    return ids
