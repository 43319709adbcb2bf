"""Connections are shared and kept for a while, and closed when nobody comes: no session per poll, nothing left unclosed."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from typing import Any

import aiohttp
import pytest

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import Flow, Request, Send, Sleep
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports import pools
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive
from tests.transports.conftest import Certificate, Client
from tests.transports.loopback import Loopback, Peer, reply

pytestmark = pytest.mark.matrix  # `make test` runs them, `make unit`, which has a minute, does not

READ = Request("GET", "/v3/chat/retrieve")


def settings(url: str, **given: Any) -> Settings:
    return Settings(url, TokenAuth("pat_x"), read_seconds=5.0, **given)


async def asent(given: Settings, *requests: Request) -> None:
    def flow() -> Flow[None]:
        for request in requests:
            yield Send(request)

    async with AioTransport(given) as transport:
        await adrive(flow(), transport)


async def end_of_the_loop() -> None:
    """Do what asyncio.run does at its end: cancel what still runs, and let it finish."""
    closing = [task for task in pools._CLOSING if task.get_loop() is asyncio.get_running_loop()]
    for task in closing:
        task.cancel()
    await asyncio.gather(*closing, return_exceptions=True)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[aiohttp.ClientSession]:
    """Collect the sessions that are opened."""
    opened: list[aiohttp.ClientSession] = []

    original = aiohttp.ClientSession.__init__

    def noted(self: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        opened.append(self)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", noted)
    return opened


def test_polls_of_one_wait_use_one_connection(client: Client) -> None:
    with Loopback() as server:
        client.exchange(server.url, *[READ] * 5)
        assert server.connections == 1


async def test_fifty_waits_at_once_share_one_session(sessions: list[aiohttp.ClientSession]) -> None:
    with Loopback() as server:
        await asyncio.gather(*(asent(settings(server.url), READ, READ) for _ in range(50)))
        assert len(server.received) == 100
        assert server.connections <= 50
    assert len(sessions) == 1


async def test_as_long_as_somebody_waits_others_come_and_go_on_the_same_connection(
    sessions: list[aiohttp.ClientSession],
) -> None:
    with Loopback() as server:
        async with AioTransport(settings(server.url)):
            for _ in range(5):
                await asent(settings(server.url), READ)
        assert server.connections == 1
    assert len(sessions) == 1


async def test_one_that_comes_soon_after_the_last_finds_the_connection_open(
    sessions: list[aiohttp.ClientSession],
) -> None:
    with Loopback() as server:
        await asent(settings(server.url), READ)
        await asent(settings(server.url), READ)
        assert server.connections == 1
        assert len(sessions) == 1
        await end_of_the_loop()
    assert sessions[0].closed


async def test_a_session_that_nobody_uses_is_closed_after_a_while(
    sessions: list[aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_LINGER_SECONDS", 0.01)
    with Loopback() as server:
        await asent(settings(server.url), READ)
        await asyncio.gather(*pools._CLOSING)
        assert sessions[0].closed
        await asent(settings(server.url), READ)
    assert len(sessions) == 2


async def test_the_while_does_not_end_a_session_that_is_used_again(
    sessions: list[aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_LINGER_SECONDS", 0.01)
    with Loopback() as server:
        await asent(settings(server.url), READ)
        async with AioTransport(settings(server.url)) as transport:
            await asyncio.sleep(0.03)
            assert (await transport.send(READ)).status == 200
    assert len(sessions) == 1


async def test_a_lull_closes_the_connections_and_keeps_the_session(
    sessions: list[aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_KEEP_ALIVE_SECONDS", 0.01)
    with Loopback() as server:
        await asent(settings(server.url), READ)
        await asyncio.to_thread(server.wait_until_all_have_gone)
        assert not sessions[0].closed
        await asent(settings(server.url), READ)
        assert server.connections == 2
    assert len(sessions) == 1


async def test_as_many_waits_as_follow_each_other_leave_one_task_behind() -> None:
    with Loopback() as server:
        for _ in range(5):
            await asent(settings(server.url), READ)
        names = [task.get_name() for task in asyncio.all_tasks()]
    assert names.count("close-coze-connections") == 1


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({}, True),
        ({"read_seconds": 1.0, "connect_seconds": 1.0}, True),
        ({"auth": TokenAuth("pat_other")}, True),  # tokens go with each request
        ({"verify": False}, False),
        ({"base_url": "http://127.0.0.2:1"}, False),
        ({"base_url": "http://127.0.0.1:1/path"}, True),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
async def test_sites_and_their_trust_have_a_session_each(
    sessions: list[aiohttp.ClientSession], other: dict[str, Any], shared: bool
) -> None:
    given: dict[str, Any] = {"base_url": "http://127.0.0.1:1", "auth": TokenAuth("pat_x")}
    async with AioTransport(Settings(**given)), AioTransport(Settings(**(given | other))):
        assert len(sessions) == (1 if shared else 2)


def test_every_event_loop_has_a_session_of_its_own(sessions: list[aiohttp.ClientSession]) -> None:
    with Loopback() as server:
        for _ in range(2):
            asyncio.run(asent(settings(server.url), READ))
        assert len(sessions) == 2

        both_inside = threading.Barrier(2, timeout=5)

        async def meeting() -> None:
            async with AioTransport(settings(server.url)) as transport:
                await asyncio.to_thread(both_inside.wait)
                await transport.send(READ)

        threads = [threading.Thread(target=asyncio.run, args=(meeting(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert len(sessions) == 4
    assert len(server.received) == 4
    assert all(session.closed for session in sessions)


def test_a_loop_that_has_gone_is_forgotten() -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def waiting(url: str) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asent(settings(url), READ)

    with Loopback() as server:
        asyncio.run(waiting(server.url))
    gc.collect()
    assert loops[0]() is None


async def test_a_wait_that_is_cancelled_in_the_middle_of_a_request_closes_what_it_had_open(
    sessions: list[aiohttp.ClientSession],
) -> None:
    arrived = threading.Event()

    def silent(peer: Peer) -> None:
        arrived.set()
        peer.wait()

    with Loopback(silent) as server:
        task = asyncio.create_task(asent(settings(server.url), READ))
        await asyncio.to_thread(arrived.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await end_of_the_loop()
        assert sessions[0].closed
        assert not pools._POOLS.get(asyncio.get_running_loop())


async def test_one_wait_that_is_cancelled_leaves_the_others_alone() -> None:
    def slow_second(peer: Peer) -> None:
        peer.wait(0.05)
        peer.send(reply())

    with Loopback(slow_second) as server:
        tasks = [asyncio.create_task(asent(settings(server.url), READ)) for _ in range(3)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None, None]


async def test_a_failed_wait_leaves_the_pool_as_it_was() -> None:
    with Loopback(Peer.close) as server, pytest.raises(CozeTransportError):
        await asent(settings(server.url), READ)
    await end_of_the_loop()
    assert not pools._POOLS.get(asyncio.get_running_loop())


async def test_an_answer_that_switches_protocols_leaves_nothing_open() -> None:
    loop, told = asyncio.get_running_loop(), list[str]()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    with Loopback(switched, reply()) as server:
        await asent(settings(server.url), READ, READ)
    gc.collect()
    loop.set_debug(False)
    await end_of_the_loop()
    assert told == []


async def test_a_transport_outside_of_its_block_is_a_mistake_of_ours() -> None:
    transport = AioTransport(settings("http://127.0.0.1:1"))
    with pytest.raises(RuntimeError, match="async with"):
        await transport.send(READ)


def test_a_connection_that_the_server_closed_between_polls_is_replaced(client: Client) -> None:
    with Loopback() as server:

        def flow() -> Flow[None]:
            yield Send(READ)
            server.drop_idle()
            yield Sleep(0.05)
            yield Send(Request("POST", "/v1/workflow/run", json={}))

        client._drive(settings(server.url), flow())
        assert [received.method for received in server.received] == ["GET", "POST"]
        assert server.connections == 2


def test_requests_closes_its_connections() -> None:
    with Loopback() as server:
        transport = SyncTransport(settings(server.url))

        def flow() -> Flow[None]:
            yield Send(READ)

        with transport:
            drive(flow(), transport)
        assert len(transport._session.adapters["https://"].poolmanager.pools) == 0  # type: ignore[attr-defined]
        assert len(transport._session.adapters["http://"].poolmanager.pools) == 0  # type: ignore[attr-defined]


def test_requests_closes_its_connections_although_an_error_holds_on_to_them() -> None:
    with Loopback(Peer.close, reply()) as server:
        gc.disable()
        try:
            with SyncTransport(settings(server.url)) as transport:
                with pytest.raises(CozeTransportError):
                    transport.send(READ)
                assert transport.send(READ).status == 200
            server.wait_until_nobody_is_connected()
        finally:
            gc.enable()


PROGRAM = """
import asyncio, gc, sys, warnings
from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import Request, Send
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive

def polls(n):
    for _ in range(n):
        yield Send(Request("GET", "/x"))

async def waiting(given, n):
    async with AioTransport(given) as transport:
        await adrive(polls(n), transport)

async def main(given):
    await asyncio.gather(*(waiting(given, 3) for _ in range(5)))
    if given.base_url.startswith("https"):
        return  # aiohttp takes leave of a cancelled TLS connection politely, and a loop that ends at once cuts it short
    task = asyncio.create_task(waiting(given, 10_000))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

for url in sys.argv[2:]:
    given = Settings(url, TokenAuth("x"), verify=sys.argv[1], connect_seconds=1.0)
    for _ in range(2):
        asyncio.run(main(given))
    with SyncTransport(given) as transport:
        drive(polls(3), transport)
    try:
        asyncio.run(waiting(Settings("http://127.0.0.1:1", TokenAuth("x")), 1))
    except CozeTransportError:
        pass
    gc.collect()
print("clean")
"""


def test_nothing_is_left_unclosed(certificate: Certificate) -> None:
    with Loopback() as plain, Loopback(tls=certificate.server) as secure:
        # In a process of its own, because what is not closed is told when it is collected, and at the very end.
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(certificate.path), plain.url, secure.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == "clean\n"
    assert done.stderr == ""
