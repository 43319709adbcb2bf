"""Cloud or Coze Studio: which operations there are, and how a server of that kind says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from airflow_provider_coze.emulator.auth import admit
from airflow_provider_coze.emulator.cloud import (
    catalogue,
    chat,
    chatflow,
    conversation,
    file,
    oauth,
    workflow,
    workflow_stream,
)
from airflow_provider_coze.emulator.cloud.envelope import refused, unknown_path
from airflow_provider_coze.emulator.definitions import AccessToken
from airflow_provider_coze.emulator.routes import RouteTable
from airflow_provider_coze.emulator.store import Store
from airflow_provider_coze.emulator.wire import Refusal, Reply, Route
from airflow_provider_coze.emulator.world import World

__all__ = ["Cloud", "Dialect"]


class Dialect(Protocol):
    """What differs between kinds of servers before an operation is reached."""

    def table(self, world: World) -> RouteTable:
        """Return the operations."""

    def admit(
        self, headers: Mapping[str, str], route: Route, own: AccessToken, world: World, store: Store
    ) -> AccessToken:
        """Let the caller in.

        :raises Refusal: The token is not good for this operation.
        """

    def refused(self, refusal: Refusal, route: Route | None, logid: str) -> Reply:
        """Say no."""

    def unknown_path(self, method: str, path: str, logid: str) -> Reply:
        """Answer for a path that is not there."""

    def stamped(self, reply: Reply, logid: str) -> Reply:
        """Add the headers every answer has."""


class Cloud:
    """api.coze.cn and api.coze.com."""

    _routes = (
        *chat.ROUTES,
        *conversation.ROUTES,
        *workflow.ROUTES,
        *workflow_stream.ROUTES,
        *chatflow.ROUTES,
        *catalogue.ROUTES,
        *file.ROUTES,
        *oauth.ROUTES,
    )
    _table = RouteTable(_routes)
    _legacy_table = RouteTable(
        (
            *_routes,
            *(
                replace(route, path="/v3/workflows/run")
                for route in workflow.ROUTES
                if route.path == "/v1/workflow/run"
            ),
        )
    )

    def table(self, world: World) -> RouteTable:
        """Return the operations."""
        return self._legacy_table if world.legacy_workflow_path else self._table

    def admit(
        self, headers: Mapping[str, str], route: Route, own: AccessToken, world: World, store: Store
    ) -> AccessToken:
        """Let the caller in."""
        return admit(headers, route.permission, own, world, store)

    def refused(self, refusal: Refusal, route: Route | None, logid: str) -> Reply:
        """Say no."""
        return refused(refusal, logid)

    def unknown_path(self, method: str, path: str, logid: str) -> Reply:
        """Answer for a path that is not there."""
        return unknown_path(method, path, logid)

    def stamped(self, reply: Reply, logid: str) -> Reply:
        """Add the log id."""
        reply.headers.setdefault("x-tt-logid", logid)
        return reply
