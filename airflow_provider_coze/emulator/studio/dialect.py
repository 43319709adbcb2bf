"""How a Coze Studio server authenticates, refuses and stamps.

Source: backend/api/middleware/openapi_auth.go, session.go, log.go, internal/httputil/error_resp.go of
github.com/coze-dev/coze-studio at 4f786d6.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from airflow_provider_coze.emulator.auth import token_of
from airflow_provider_coze.emulator.definitions import AccessToken
from airflow_provider_coze.emulator.routes import RouteTable
from airflow_provider_coze.emulator.store import Store
from airflow_provider_coze.emulator.studio import chat, chatflow, conversation, workflow
from airflow_provider_coze.emulator.wire import Refusal, Reply, Route, answer
from airflow_provider_coze.emulator.world import World

__all__ = ["Studio"]


class Studio:
    """A self-hosted Coze Studio."""

    _routes = (*chat.ROUTES, *conversation.ROUTES, *workflow.ROUTES, *chatflow.ROUTES)
    _table = RouteTable(_routes)
    # Paths behind the token check, whatever the method; everything else is the web interface's, behind a session.
    _open_paths = tuple(
        re.compile("^" + re.sub(r"\{\w+\}", "[0-9]+", route.path) + "$") for route in _routes if route.path
    )

    def table(self, world: World) -> RouteTable:
        """Return the operations."""
        return self._table

    def admit(
        self, headers: Mapping[str, str], route: Route, own: AccessToken, world: World, store: Store
    ) -> AccessToken:
        """Let the caller in. There are no permission points; a refusal has HTTP 200."""
        given = headers.get("authorization", "")
        parts = given.split("Bearer")
        if not given:
            raise Refusal(700012006, "authentication failed: missing authorization in header")
        if len(parts) != 2 or not parts[1].strip():
            raise Refusal(700012006, "authentication failed: missing api_key in request")
        token = token_of(parts[1].strip(), own, world, store)
        if token is None:
            raise Refusal(700012006, "authentication failed: api key invalid")
        return token

    def refused(self, refusal: Refusal, route: Route | None, logid: str) -> Reply:
        """Say no: bad input is HTTP 400 with code 400, and so is everything that chats refuse; the rest is HTTP 200."""
        code, status, msg = refusal.code, refusal.status, refusal.msg
        if code == 4000 and status == 200 and "debug_url" not in refusal.beside:
            code, status = 400, 400
        elif route is not None and route.path in ("/v3/chat", "/v3/chat/cancel") and code != 700012006:
            code, status, msg = 400, 400, f"code={code} message={msg}"
        return answer({"code": code, "msg": msg, **refusal.beside}, status=status)

    def unknown_path(self, method: str, path: str, logid: str) -> Reply:
        """Answer for a path that is not there: 404 beside the API's paths, otherwise the web interface wants a session."""
        if any(pattern.match(path) for pattern in self._open_paths):
            return answer({"code": 404, "msg": "not found"}, status=404)
        return answer({"code": 401, "msg": "missing session_key in cookie"}, status=401)

    def stamped(self, reply: Reply, logid: str) -> Reply:
        """Add the log id, which is a UUID under another name than the cloud's."""
        reply.headers.setdefault("x-log-id", str(uuid.uuid5(uuid.NAMESPACE_OID, logid)))
        return reply
