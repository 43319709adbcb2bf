"""The emulator behind a real socket: loopback only unless told otherwise, in a thread with an event loop of its own.

The socket is bound in the caller's thread, so a port that is taken is an ``OSError`` there, and never a start that hangs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Bot, Workflow
from airflow_provider_coze.emulator.faults import Fault, Script
from airflow_provider_coze.emulator.port import Port
from airflow_provider_coze.emulator.sending import send
from airflow_provider_coze.emulator.store import LedgerEntry
from airflow_provider_coze.emulator.wire import Reply
from airflow_provider_coze.emulator.world import World
from airflow_provider_coze.protocol.messages import FilePart, Request

__all__ = ["Server", "serve"]

MAX_BODY = 20 * 1024 * 1024  # of a JSON request; docs.coze.cn/developer_guides/coze_api_overview
MAX_UPLOAD = 513 * 1024 * 1024  # a little more than a file may have, so that 4302 can be said
#: A clock that has not moved in this time does not run by itself.
STANDSTILL_SECONDS = 0.01
#: How often a port that is shut looks whether it may open: the clock may be one that nobody tells of.
_LOOK_SECONDS = 0.005
#: A loop that has not answered by then has been stopped.
_STOPPED_SECONDS = 5.0


class Server:
    """A served emulator: its address, and the emulator's own controls at hand."""

    def __init__(self, emulator: Emulator, host: str = "127.0.0.1", port: int = 0) -> None:
        self.emulator = emulator
        self._port = Port(host, port)
        self.base_url = self._port.url
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._clock_moved: asyncio.Event | None = None
        self._handler = _CountingServer(emulator, self._answer, self._loop)
        self._busy: set[Any] = set()  # connections on which an answer is being made or sent
        self._moving = asyncio.Lock()  # held by whoever opens or shuts the port
        self._thread = threading.Thread(target=self._run, name="coze-emulator", daemon=True)

    def start(self) -> Server:
        """Begin to answer."""
        self.emulator.served = True
        self._thread.start()
        self._ready.wait()
        return self

    def stop(self) -> None:
        """Close the socket and every connection, and wait for the thread to end."""
        if self._stop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    # --- the emulator's controls, so that a test needs one object only

    @property
    def token(self) -> str:
        """The token that is accepted."""
        return self.emulator.token

    @property
    def connection(self) -> str:
        """The value for ``AIRFLOW_CONN_COZE_DEFAULT``."""
        return self.emulator.connection(self.base_url)

    @property
    def ledger(self) -> list[LedgerEntry]:
        """Every execution that was started."""
        return self.emulator.ledger

    @property
    def world(self) -> World:
        """What there is, and how strict it is."""
        return self.emulator.world

    def script(self, fault: Fault, **when: Any) -> Script:
        """Order something to go wrong; see :meth:`Emulator.script`."""
        return self.emulator.script(fault, **when)

    def advance(self, seconds: float) -> float:
        """Move the clock forward."""
        return self.emulator.advance(seconds)

    def clear_faults(self) -> None:
        """Forget the faults that were ordered."""
        self.emulator.clear_faults()

    def keep_up(self) -> None:
        """Wait until the port is open, or refuses, as the clock has it; for clocks that are moved without :meth:`advance`."""
        if threading.current_thread() is self._thread or self._port.is_open != self.emulator.refusing:
            return  # in the loop's own thread, every request looks by itself
        with contextlib.suppress(RuntimeError, TimeoutError, concurrent.futures.CancelledError):  # stopped meanwhile
            asyncio.run_coroutine_threadsafe(self._move_port(), self._loop).result(_STOPPED_SECONDS)

    def reset(self) -> None:
        """Forget what happened."""
        self.emulator.reset()

    def add_bot(self, bot: Bot | None = None, **fields: Any) -> Bot:
        """Add a bot, or replace one."""
        return self.emulator.add_bot(bot, **fields)

    def add_workflow(self, workflow: Workflow | None = None, **fields: Any) -> Workflow:
        """Add a workflow, or replace one."""
        return self.emulator.add_workflow(workflow, **fields)

    # --- the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._clock_moved = asyncio.Event()
        await self._port.open(self._handler)
        await self._move_port()
        self.emulator.tell_of_changes(self._changed)
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            self.emulator.stop_telling(self._changed)
            self._port.close()
            self._wake()
            await self._handler.shutdown(timeout=0.001)  # 0 would be: for ever
            pending = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _changed(self) -> None:
        with contextlib.suppress(RuntimeError):  # stopped meanwhile
            self._loop.call_soon_threadsafe(self._wake)
        self.keep_up()

    def _wake(self) -> None:
        if self._clock_moved is not None:
            moved, self._clock_moved = self._clock_moved, asyncio.Event()
            moved.set()

    async def _move_port(self) -> None:
        """Open the port, or shut it and close the connections that are idle."""
        async with self._moving:
            if not self.emulator.refusing:
                await self._port.open(self._handler)
            elif self._port.is_open:
                self._port.shut()
                for connection in self._handler.connections:
                    connection.close()  # after its answer, if it is in use; aiohttp does not look after those that are idle
                    if connection not in self._busy and connection.transport is not None:
                        connection.transport.close()
                self._reopening = self._loop.create_task(self._open_in_time())
                await asyncio.sleep(0)

    async def _open_in_time(self) -> None:
        while not self._port.is_open:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._move_port()

    async def _until(self, at: float) -> None:
        begun, slice_ = self.emulator.now(), STANDSTILL_SECONDS
        while (left := at - self.emulator.now()) > 0 and self._clock_moved is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._clock_moved.wait(), min(left, slice_))
            if slice_ == STANDSTILL_SECONDS and self.emulator.now() == begun:
                # A clock of a test, that stands still until the test moves it; but the test waits for this answer.
                self.emulator.advance(at - begun)
            slice_ = float("inf")

    async def _answer(self, incoming: web.BaseRequest) -> web.StreamResponse:
        self._busy.add(incoming.protocol)
        try:
            request = await _read(incoming)
            reply = request if isinstance(request, Reply) else self.emulator.handle(request)
            if self._port.is_open == self.emulator.refusing:
                await self._move_port()
            return await send(incoming, reply, self._until, lambda: not self._port.is_open)
        finally:
            self._busy.discard(incoming.protocol)


class _CountingServer(web.Server):
    """aiohttp's server, telling the emulator how many connections there are."""

    def __init__(self, emulator: Emulator, answer: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(answer, loop=loop, access_log=None)
        self._emulator = emulator

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Count a connection in."""
        super().connection_made(handler, transport)
        self._emulator.connections_accepted += 1
        self._emulator.connections_open += 1

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Count it out."""
        super().connection_lost(handler, exc)
        self._emulator.connections_open -= 1


async def _read(incoming: web.BaseRequest) -> Request | Reply:
    incoming._client_max_size = MAX_BODY  # aiohttp's low-level server has no public way to say it
    files: tuple[FilePart, ...] = ()
    body: bytes | None = None
    if incoming.content_type == "multipart/form-data":
        incoming._client_max_size = MAX_UPLOAD
        files = tuple([part async for part in _parts(incoming)])
    else:
        try:
            body = await incoming.read()
        except web.HTTPRequestEntityTooLarge:
            return Reply(413, {"content-type": "text/plain"}, b"Request Entity Too Large")
    return Request(
        method=incoming.method,
        path=incoming.rel_url.raw_path,
        query=dict(incoming.query),
        headers=dict(incoming.headers),
        files=files,
        body=body,
    )


async def _parts(incoming: web.BaseRequest) -> Any:
    reader = await incoming.multipart()
    while (part := await reader.next()) is not None:
        content = bytes(await part.read(decode=False))  # type: ignore[union-attr]
        name, filename = getattr(part, "name", None), getattr(part, "filename", None)
        kind = part.headers.get("content-type", "application/octet-stream")
        yield FilePart(name or "", filename or "", content, kind)


@contextlib.contextmanager
def serve(emulator: Emulator | None = None, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """Serve *emulator* for the length of a ``with`` block.

    :raises OSError: The port is taken.
    """
    server = Server(emulator or Emulator(), host, port).start()
    try:
        yield server
    finally:
        server.stop()
