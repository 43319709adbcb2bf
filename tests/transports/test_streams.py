"""Streams on the wire: handed out as they come, over when they are over, broken off with an error, and closed in every case."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Seconds
from airflow_provider_coze.emulator.scenarios import Fault, half_body, pings, rate_limited, stream_cut, wrong_type
from airflow_provider_coze.emulator.server import serve
from airflow_provider_coze.errors import CozeStreamTimeoutError, CozeTransportError
from airflow_provider_coze.protocol.endpoints.workflow import stream_run
from airflow_provider_coze.protocol.messages import Flow, Request, Response, Send
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports import wire
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive
from tests.transports.conftest import Certificate
from tests.transports.loopback import Loopback, Peer, reply

pytestmark = pytest.mark.matrix  # `make test` runs them, `make unit`, which has a minute, does not

ASK = Request("POST", "/v1/workflow/stream_run", json={"workflow_id": "44"}, stream=True)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FIRST, SECOND, LAST = "data: 星\n\n".encode(), b"data: 2\n\n", b"data: 3\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def silent(peer: Peer) -> None:
    """Begin, and say nothing until the client has gone."""
    peer.send(CHUNKED + chunk(FIRST))
    peer.sock.recv(1)


Visit = Callable[[Response, Callable[[], bytes]], Any]


def over_requests(url: str, request: Request, visit: Visit, **given: Any) -> Any:
    def flow() -> Flow[Response]:
        return (yield Send(request))  # type: ignore[no-any-return]

    with SyncTransport(settings(url, **given)) as transport:
        answer = drive(flow(), transport)
        stream: Any = answer.stream
        try:
            return visit(answer, lambda: bytes(stream.read()))
        finally:
            if stream is not None:
                stream.close()


def over_aiohttp(url: str, request: Request, visit: Visit, **given: Any) -> Any:
    """Read from a thread, so that the tests need not be written twice; the stream itself stays on its loop."""

    def flow() -> Flow[Response]:
        return (yield Send(request))  # type: ignore[no-any-return]

    async def visited() -> Any:
        loop = asyncio.get_running_loop()
        async with AioTransport(settings(url, **given)) as transport:
            answer = await adrive(flow(), transport)
            stream: Any = answer.stream

            def read() -> bytes:
                return bytes(asyncio.run_coroutine_threadsafe(stream.read(), loop).result(10))

            try:
                return await asyncio.to_thread(visit, answer, read)
            finally:
                if stream is not None:
                    stream.close()

    return asyncio.run(visited())


def settings(url: str, **given: Any) -> Settings:
    return Settings(url, TokenAuth("pat_x"), **{"connect_seconds": 5.0, "read_seconds": 5.0, **given})


Open = Callable[..., Any]


@pytest.fixture(params=[over_requests, over_aiohttp], ids=lambda way: way.__name__)
def open_stream(request: pytest.FixtureRequest) -> Open:
    """Every test using this runs once per transport. No test may ask which."""
    way: Open = request.param
    return way


def everything(answer: Response, read: Callable[[], bytes]) -> bytes:
    return b"".join(iter(read, b""))


def until_it_breaks(answer: Response, read: Callable[[], bytes]) -> tuple[bytes, CozeTransportError | None]:
    got = b""
    try:
        while piece := read():
            got += piece
    except CozeTransportError as error:
        return got, error
    return got, None


# --- as it comes


@pytest.mark.parametrize(
    ("head", "framed"),
    [
        (CHUNKED, chunk),
        (HEAD + b"Connection: close\r\n\r\n", bytes),
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(FIRST + SECOND + LAST), bytes),
    ],
    ids=["chunks", "until the connection is closed", "a known length"],
)
def test_what_has_come_is_handed_out_before_the_rest_is_sent(
    open_stream: Open, head: bytes, framed: Callable[[bytes], bytes]
) -> None:
    was_read = threading.Event()

    def in_pieces(peer: Peer) -> None:
        peer.send(head + framed(FIRST[:7]))  # inside a character
        assert was_read.wait(5)
        peer.send(framed(FIRST[7:] + SECOND) + framed(LAST) + (b"0\r\n\r\n" if framed is chunk else b""))
        peer.close()

    def visit(answer: Response, read: Callable[[], bytes]) -> bytes:
        assert (answer.status, answer.body) == (200, b"")
        first = read()
        was_read.set()
        return first + everything(answer, read)

    with Loopback(in_pieces) as server:
        assert open_stream(server.url, ASK, visit) == FIRST + SECOND + LAST


def test_the_request_is_sent_as_any_other_and_asks_for_nothing_compressed(open_stream: Open) -> None:
    with Loopback(HEAD + b"Content-Length: 0\r\n\r\n") as server:
        open_stream(server.url, ASK, everything)
        [received] = server.received
    assert (received.method, received.target) == ("POST", "/v1/workflow/stream_run")
    assert json.loads(received.body) == {"workflow_id": "44"}
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (reply(b'{"code":4000}', Content_Type="application/json"), 200),
        (reply(b'{"code":4100}', 401, Content_Type="application/json"), 401),
        (reply(b"data: 1\n\n", 500, Content_Type="text/event-stream"), 500),
        (reply(b"data: 1\n\n", Content_Type="text/plain"), 200),
        (reply(b""), 200),
    ],
)
def test_what_is_no_stream_is_read_whole_as_ever(open_stream: Open, answer: bytes, status: int) -> None:
    with Loopback(answer) as server:
        whole = open_stream(server.url, ASK, lambda response, read: response)
    assert (whole.status, whole.stream) == (status, None)
    assert answer.endswith(whole.body)


def test_who_does_not_ask_for_a_stream_gets_the_body_whole(open_stream: Open) -> None:
    with Loopback(reply(FIRST, Content_Type="text/event-stream")) as server:
        whole = open_stream(server.url, Request("POST", "/x", json={}), lambda response, read: response)
    assert (whole.stream, whole.body) == (None, FIRST)


# --- for as long as it takes


@pytest.mark.matrix
def test_a_stream_may_last_longer_than_any_whole_answer_while_it_says_something(open_stream: Open) -> None:
    read_seconds = 0.3

    def talking(peer: Peer) -> None:
        peer.send(CHUNKED)
        for _ in range(20):
            peer.wait(0.05)
            peer.send(chunk(FIRST))
        peer.send(b"0\r\n\r\n")

    begun = time.monotonic()
    with Loopback(talking) as server:
        assert open_stream(server.url, ASK, everything, read_seconds=read_seconds) == FIRST * 20
    assert time.monotonic() - begun > wire.WHOLE_ANSWER * read_seconds


def test_silence_breaks_a_stream_off_after_read_seconds(open_stream: Open) -> None:
    begun = time.monotonic()
    with Loopback(silent) as server:
        got, error = open_stream(server.url, ASK, until_it_breaks, read_seconds=0.1)
        server.wait_until_all_have_gone()
    assert got == FIRST
    assert error is not None
    assert not isinstance(error, CozeStreamTimeoutError)
    assert error.never_sent is False
    assert "broke off (nothing came for 0.1 s)" in str(error)
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("talks", [True, False], ids=["while it talks", "while it is silent"])
@pytest.mark.matrix
def test_the_callers_deadline_ends_a_stream_with_an_error_of_its_own(open_stream: Open, talks: bool) -> None:
    def endless(peer: Peer) -> None:
        peer.send(CHUNKED)
        while not peer.stopped.wait(0.02):
            peer.send(chunk(FIRST))

    until = time.monotonic() + 0.2
    request = Request("POST", "/x", json={}, stream=True, left=lambda: until - time.monotonic())
    with Loopback(endless if talks else silent) as server:
        got, error = open_stream(server.url, request, until_it_breaks)
        server.wait_until_all_have_gone()
    assert got.startswith(FIRST)
    assert isinstance(error, CozeStreamTimeoutError)
    assert error.never_sent is False
    assert 0.0 < time.monotonic() - until < 2.0


def test_the_callers_deadline_holds_before_the_first_byte_too(open_stream: Open) -> None:
    until = time.monotonic() + 0.1
    request = Request("POST", "/x", json={}, stream=True, left=lambda: until - time.monotonic())
    with Loopback(Peer.wait) as server, pytest.raises(CozeStreamTimeoutError) as caught:
        open_stream(server.url, request, everything)
    assert caught.value.never_sent is False
    assert time.monotonic() - until < 2.0


def test_when_the_time_is_up_already_nothing_is_sent(open_stream: Open) -> None:
    request = Request("POST", "/x", json={}, stream=True, left=lambda: -1.0)
    with Loopback() as server:
        with pytest.raises(CozeStreamTimeoutError) as caught:
            open_stream(server.url, request, everything)
        assert (server.connections, caught.value.never_sent) == (0, True)


# --- when it breaks


def cut_by(how: Callable[[Peer], None], head: bytes = CHUNKED) -> Callable[[Peer], None]:
    def cut(peer: Peer) -> None:
        peer.send(head + chunk(FIRST) + b"40\r\ndata: ha")
        how(peer)

    return cut


@pytest.mark.parametrize("how", [Peer.close, Peer.reset], ids=["closed", "reset"])
def test_a_stream_that_is_cut_is_an_error_after_everything_that_came(
    open_stream: Open, how: Callable[[Peer], None]
) -> None:
    with Loopback(cut_by(how)) as server:
        got, error = open_stream(server.url, ASK, until_it_breaks)
    assert error is not None
    assert error.never_sent is False
    assert "broke off" in str(error)
    assert "bills it" in str(error)
    if how is Peer.close:  # of what is followed by a reset, a system may keep as much as it likes
        assert got == FIRST + b"data: ha"


def test_a_body_of_known_length_that_is_cut_is_an_error(open_stream: Open) -> None:
    def short(peer: Peer) -> None:
        peer.send(HEAD + b"Content-Length: 400\r\n\r\n" + FIRST)
        peer.close()

    with Loopback(short) as server:
        got, error = open_stream(server.url, ASK, until_it_breaks)
    assert got == FIRST
    assert error is not None


def test_garbage_between_chunks_is_an_error(open_stream: Open) -> None:
    was_read = threading.Event()

    def broken(peer: Peer) -> None:
        peer.send(CHUNKED + chunk(FIRST))
        assert was_read.wait(5)
        peer.send(b"not a size\r\n")
        peer.sock.recv(1)

    def visit(answer: Response, read: Callable[[], bytes]) -> CozeTransportError | None:
        assert read() == FIRST
        was_read.set()
        return until_it_breaks(answer, read)[1]

    with Loopback(broken) as server:
        error = open_stream(server.url, ASK, visit, read_seconds=0.2)
    assert error is not None
    assert error.never_sent is False


# --- and closed


def test_breaking_off_closes_the_connection(open_stream: Open) -> None:
    def endless(peer: Peer) -> None:
        peer.send(CHUNKED)
        while not peer.stopped.wait(0.01):
            peer.send(chunk(FIRST))

    def visit(answer: Response, read: Callable[[], bytes]) -> bytes:
        return read()

    with Loopback(endless) as server:
        assert open_stream(server.url, ASK, visit).startswith(FIRST[:1])
        server.wait_until_all_have_gone()


def test_a_stream_that_is_over_leaves_its_connection_to_the_next_request(open_stream: Open) -> None:
    whole = CHUNKED + chunk(FIRST) + b"0\r\n\r\n"
    with Loopback(whole) as server:
        for way in (_twice_over_requests, _twice_over_aiohttp):
            way(server.url)
        assert len(server.received) == 4
        assert server.connections == 2


def _twice_over_requests(url: str) -> None:
    with SyncTransport(settings(url)) as transport:
        for _ in range(2):
            stream: Any = transport.send(ASK).stream
            assert b"".join(iter(stream.read, b"")) == FIRST
            stream.close()


def _twice_over_aiohttp(url: str) -> None:
    async def twice() -> None:
        async with AioTransport(settings(url)) as transport:
            for _ in range(2):
                stream: Any = (await transport.send(ASK)).stream
                while await stream.read():
                    pass
                stream.close()

    asyncio.run(twice())


async def test_a_reader_that_is_cancelled_closes_its_connection_and_leaves_no_task() -> None:
    reading = asyncio.Event()

    async def read(url: str) -> None:
        async with AioTransport(settings(url)) as transport:
            stream: Any = (await transport.send(ASK)).stream
            try:
                await stream.read()
                reading.set()
                await stream.read()
            finally:
                stream.close()

    with Loopback(silent) as server:
        task = asyncio.create_task(read(server.url))
        await asyncio.wait_for(reading.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_until_all_have_gone)
    left = {one.get_name() for one in asyncio.all_tasks()} - {asyncio.current_task().get_name()}  # type: ignore[union-attr]
    assert left <= {"close-coze-connections"}


PROGRAM = """
import asyncio, gc, sys
from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import Request
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import AioTransport
from airflow_provider_coze.transports.sync import SyncTransport

ASK = Request("POST", "/x", json={}, stream=True)

async def main(given, pieces):
    async with AioTransport(given) as transport:
        stream = (await transport.send(ASK)).stream
        try:
            for _ in range(pieces):
                if not await stream.read():
                    break
        except CozeTransportError:
            pass
        stream.close()

for url in sys.argv[2:]:
    given = Settings(url, TokenAuth("x"), verify=sys.argv[1], connect_seconds=1.0, read_seconds=0.1)
    for pieces in (0, 1, 9):
        asyncio.run(main(given, pieces))
        with SyncTransport(given) as transport:
            stream = transport.send(ASK).stream
            try:
                for _ in range(pieces):
                    if not stream.read():
                        break
            except CozeTransportError:
                pass
            stream.close()
    gc.collect()
print("clean")
"""


@pytest.mark.matrix
def test_nothing_is_left_unclosed(certificate: Certificate) -> None:
    whole = CHUNKED + chunk(FIRST) + b"0\r\n\r\n"
    with (
        Loopback(whole) as plain,
        Loopback(cut_by(Peer.close)) as cut,
        Loopback(silent) as mute,
        Loopback(whole, tls=certificate.server) as secure,
    ):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(certificate.path)]
            + [server.url for server in (plain, cut, mute, secure)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("clean\n", "")


# --- through TLS, and from the emulator


def test_a_stream_through_tls_comes_as_it_is_sent(open_stream: Open, certificate: Certificate) -> None:
    was_read = threading.Event()

    def in_pieces(peer: Peer) -> None:
        peer.send(CHUNKED + chunk(FIRST))
        assert was_read.wait(5)
        peer.send(chunk(LAST) + b"0\r\n\r\n")

    def visit(answer: Response, read: Callable[[], bytes]) -> bytes:
        first = read()
        was_read.set()
        return first + everything(answer, read)

    with Loopback(in_pieces, tls=certificate.server) as server:
        assert open_stream(server.url, ASK, visit, verify=str(certificate.path)) == FIRST + LAST


@pytest.fixture
def workflow(emulator: Emulator) -> Iterator[tuple[str, Request]]:
    made = emulator.add_workflow(output={"x": 1}, duration=Seconds(1))
    call = stream_run(workflow_id=made.id, parameters={})
    request = Request(
        "POST", call.request.path, json=call.request.json, stream=True, headers={"Authorization": f"Bearer {emulator.token}"}
    )  # fmt: skip
    with serve(emulator) as server:
        yield server.base_url, request


@pytest.mark.parametrize(
    ("fault", "pieces", "breaks"),
    [
        (None, (b"event: Message", b"event: Done"), False),
        (pings(), (b"event: PING", b"event: Done"), False),
        pytest.param(stream_cut(after_events=1, how="end"), (b"event: Message",), False, marks=pytest.mark.matrix),
        (stream_cut(after_events=1, how="close"), (b"event: Message",), True),
        pytest.param(stream_cut(after_events=1, how="reset"), (), True, marks=pytest.mark.matrix),
        pytest.param(half_body(how="close"), (b"id: 0",), True, marks=pytest.mark.matrix),
        pytest.param(half_body(how="end"), (b"id: 0",), False, marks=pytest.mark.matrix),
        pytest.param(half_body(how="never"), (b"id: 0",), True, marks=pytest.mark.matrix),
    ],
    ids=lambda value: f"{value.kind}-{value.how}" if isinstance(value, Fault) else "",
)
def test_streams_of_the_emulator_end_and_break_as_they_are_told_to(
    open_stream: Open,
    emulator: Emulator,
    workflow: tuple[str, Request],
    fault: Fault | None,
    pieces: tuple[bytes, ...],
    breaks: bool,
) -> None:
    url, request = workflow
    if fault is not None:
        emulator.script(fault)
    got, error = open_stream(url, request, until_it_breaks, read_seconds=0.2)
    assert all(piece in got for piece in pieces)
    assert (error is not None) is breaks
    assert got.endswith(b"\n\n") is (not fault or fault.kind != "half" or not got)
    assert (b"&workflow_id=" in got.replace(b"\\u0026", b"&")) is (fault is None or fault.kind == "pings")
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("fault", [rate_limited(), wrong_type()], ids=lambda fault: fault.kind)
def test_an_answer_of_the_emulator_that_is_no_stream_is_whole(
    open_stream: Open, emulator: Emulator, workflow: tuple[str, Request], fault: Fault
) -> None:
    url, request = workflow
    emulator.script(fault)
    answer = open_stream(url, request, lambda response, read: response)
    assert answer.stream is None
    assert b"4013" in answer.body or b"event: Done" in answer.body
    gc.collect()
