"""Drive flows in tests: time that passes when it is told to, and three ways of reaching an emulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_coze.emulator.app import ConnectionDropped, Emulator
from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.auth import FixedToken, signed
from airflow_provider_coze.protocol.messages import Flow, Request, Response
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive

T = TypeVar("T")

SAMPLES = Path(__file__).parent / "samples"
NOON = 1_764_849_600.0  # 2025-12-04T12:00:00Z


class VirtualTime:
    """A clock that stands still until somebody sleeps."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)


class MemoryTransport:
    """The third transport: straight into an emulator, no socket."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def send(self, request: Request) -> Response:
        try:
            return self._emulator.respond(request)
        except ConnectionDropped as dropped:
            raise CozeTransportError(str(dropped), never_sent=dropped.refused, origin="memory://emulator") from dropped


Perform = Callable[[Flow[Any]], Any]


def over_memory(emulator: Emulator, base_url: str, time: VirtualTime) -> Perform:
    def perform(flow: Flow[T]) -> T:
        signed_flow = signed(flow, FixedToken(emulator.token), clock=time)
        return drive(signed_flow, MemoryTransport(emulator), time.sleep)  # type: ignore[arg-type]

    return perform


def over_requests(emulator: Emulator, base_url: str, time: VirtualTime) -> Perform:
    def perform(flow: Flow[T]) -> T:
        with SyncTransport(Settings(base_url=base_url, auth=TokenAuth(emulator.token))) as transport:
            return drive(signed(flow, FixedToken(emulator.token), clock=time), transport, time.sleep)

    return perform


def over_aiohttp(emulator: Emulator, base_url: str, time: VirtualTime) -> Perform:
    async def aperform(flow: Flow[T]) -> T:
        async with AioTransport(Settings(base_url=base_url, auth=TokenAuth(emulator.token))) as transport:
            return await adrive(signed(flow, FixedToken(emulator.token), clock=time), transport, time.asleep)

    def perform(flow: Flow[T]) -> T:
        return asyncio.run(aperform(flow))

    return perform


def sample(operation: str, case: str) -> Response:
    """Return a recorded or documented answer as a Response."""
    wire = json.loads((SAMPLES / operation / f"{case}.json").read_text(encoding="utf-8"))
    body = wire["body"]
    content = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
    headers = {name.lower(): value for name, value in wire.get("headers", {}).items()}
    return Response(wire["status"], headers, content, "https://api.coze.cn")


def answer(body: Any, status: int = 200, **headers: str) -> Response:
    """Make a Response out of a JSON value or raw text."""
    content = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
    return Response(status, {k.replace("_", "-"): v for k, v in headers.items()}, content, "https://api.coze.cn")
