"""What can happen to a request over a real socket, and what is said of it: above all, whether Coze can have acted."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import FilePart, Request
from airflow_provider_coze.transports import wire
from tests.transports.conftest import Client
from tests.transports.loopback import Answer, Loopback, Peer, reply

pytestmark = pytest.mark.matrix  # by the hundred: `make test` runs them, `make unit` does not

READ = Request("GET", "/v3/chat/retrieve", query={"chat_id": "7"})
START = Request("POST", "/v1/workflow/run", json={"workflow_id": "44"})


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """Yield an address where nobody listens: the port is taken, and not listened on."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def full_url() -> Iterator[str]:
    """Yield an address whose queue of connections is full, so that a new one is neither made nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(contextlib.closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


# --- never sent


@pytest.mark.parametrize("request_", [READ, START], ids=["read", "start"])
def test_a_refused_connection_was_never_used_and_the_host_is_named(
    client: Client, refusing_url: str, request_: Request
) -> None:
    error = client.failure(refusing_url, request_)
    assert error.never_sent is True
    assert error.origin == refusing_url
    for text in (request_.path, refusing_url, "refused)", "never left", "Coze did nothing", "base URL"):
        assert text in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b"])
def test_a_name_that_cannot_be_resolved_was_never_reached(client: Client, host: str) -> None:
    error = client.failure(f"http://{host}", START)
    assert error.never_sent is True
    assert host in str(error)


def test_a_connection_that_is_not_made_in_time_was_never_used_and_the_seconds_are_named(
    client: Client, full_url: str
) -> None:
    begun = time.monotonic()
    error = client.failure(full_url, START, connect_seconds=0.15, read_seconds=30.0)
    assert time.monotonic() - begun < 2.0
    assert error.never_sent is True
    assert "no answer within 0.15 s" in str(error)


# --- maybe sent


def test_an_answer_that_does_not_come_in_time_leaves_it_open_and_the_seconds_are_named(client: Client) -> None:
    with Loopback(Peer.wait) as server:
        error = client.failure(server.url, START, read_seconds=0.5)
        assert len(server.received) == 1
    assert error.never_sent is False
    assert "no answer within 0.5 s" in str(error)
    assert "may have received the request" in str(error)
    assert "billing it" in str(error)


def test_a_request_may_have_a_patience_of_its_own(client: Client) -> None:
    with Loopback(Peer.wait) as server:
        error = client.failure(server.url, Request("POST", "/x", read_seconds=0.1), read_seconds=30.0)
    assert "no answer within 0.1 s" in str(error)


def _stall_in_body(peer: Peer) -> None:
    peer.send(reply(b'{"code"', length=100))
    peer.wait()


def test_an_answer_that_stops_in_the_middle_is_waited_for_as_long_as_for_its_beginning(client: Client) -> None:
    with Loopback(_stall_in_body) as server:
        error = client.failure(server.url, START, read_seconds=0.15)
    assert error.never_sent is False
    assert "no answer within 0.15 s" in str(error)


def _half_then_close(peer: Peer) -> None:
    peer.send(reply(b'{"code":0,', length=100))
    peer.close()


def _half_then_reset(peer: Peer) -> None:
    peer.send(reply(b'{"code":0,', length=100))
    time.sleep(0.02)  # lets the half arrive
    peer.reset()


def _chunks_broken_off(peer: Peer) -> None:
    peer.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cod\r\n5\r\ne')
    peer.close()


BROKEN: dict[str, Answer] = {
    "reset before any byte": Peer.reset,
    "closed before any byte": Peer.close,
    "half a head": lambda peer: (peer.send(b"HT"), peer.close())[0],
    "no HTTP": lambda peer: (peer.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), peer.close())[0],
    "half a body, closed": _half_then_close,
    "half a body, reset": _half_then_reset,
    "chunks broken off": _chunks_broken_off,
    "chunks of no number": lambda peer: (
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        peer.close(),
    )[0],
    "gzip that is none": lambda peer: peer.send(reply(b"not gzip at all", Content_Encoding="gzip")),
}


@pytest.mark.parametrize("breaking", BROKEN)
def test_a_connection_that_breaks_leaves_open_whether_coze_acted_and_nothing_is_sent_again(
    client: Client, breaking: str
) -> None:
    with Loopback(BROKEN[breaking]) as server:
        error = client.failure(server.url, START)
        assert len(server.received) == 1  # no library repeated it
    assert error.never_sent is False
    assert error.origin == server.url
    assert "may have received the request" in str(error)


def test_of_a_read_it_is_said_that_nothing_was_changed(client: Client) -> None:
    with Loopback(Peer.close) as server:
        error = client.failure(server.url, READ)
        assert len(server.received) <= 2  # aiohttp asks a second time by itself, and only for what may be repeated
    assert error.never_sent is False
    assert "It only reads, so nothing was changed." in str(error)


def test_neither_the_prompt_nor_the_token_is_in_an_error(client: Client, refusing_url: str) -> None:
    secret = Request("POST", "/v3/chat", json={"q": "s3cret"}, headers={"Authorization": "Bearer s3cret"})
    assert "s3cret" not in str(client.failure(refusing_url, secret))
    with Loopback(Peer.reset) as server:
        assert "s3cret" not in str(client.failure(server.url, secret))


@pytest.mark.parametrize("request_", [START, Request("POST", "/v1/files/upload", files=(FilePart("file", "a", b"b"),))])
def test_a_kept_connection_that_was_dropped_is_not_a_reason_to_send_a_post_twice(
    client: Client, request_: Request
) -> None:
    # The first answer keeps the connection open; the second request on it is read and then dropped without a byte.
    with Loopback(reply(), Peer.close, reply()) as server:
        with pytest.raises(Exception, match="may have received the request"):
            client.exchange(server.url, request_, request_)
        assert [received.connection for received in server.received] == [1, 1]


def test_an_error_that_is_being_handled_already_says_nothing_of_the_next_request(
    client: Client, refusing_url: str
) -> None:
    with Loopback(reply(b"not gzip at all", Content_Encoding="gzip"), Peer.close) as server:
        try:
            client.send(refusing_url, START)
        except CozeTransportError:
            error = client.failure(server.url, START)
        assert error.never_sent is False
        try:
            client.send(server.url, START)
        except CozeTransportError:
            error = client.failure(refusing_url, START)
        assert error.never_sent is True


# --- how long is too long


def _drip(peer: Peer) -> None:
    body = b'{"code":0}'
    peer.send(reply(b"", length=len(body)))
    for byte in body:
        time.sleep(0.06)
        peer.send(bytes([byte]))


def test_an_answer_that_keeps_coming_may_take_longer_than_the_patience_for_each_read(client: Client) -> None:
    with Loopback(_drip) as server:
        # 0.6 s in all; a machine that is busy for 0.4 s between two bytes is still no failure.
        assert client.send(server.url, START, read_seconds=0.5).body == b'{"code":0}'


# --- how much is too much


def _endless(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):
        while not peer.stopped.is_set():
            peer.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
    peer.close()


@pytest.mark.parametrize("answer", [_endless, reply(b"x" * 100_001)], ids=["endless", "one byte over"])
def test_an_answer_over_the_bound_is_not_read_further(
    client: Client, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 100_000)
    with Loopback(answer) as server:
        error = client.failure(server.url, START)
    assert error.never_sent is False
    assert "more than 100000 bytes" in str(error)
    assert "Coze has acted on the request" in str(error)


def test_a_small_answer_that_unpacks_to_a_big_one_is_bounded_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 100_000)
    bomb = gzip.compress(b"0" * 3_000_000)
    assert len(bomb) < 10_000
    with Loopback(reply(bomb, Content_Encoding="gzip")) as server:
        assert "more than 100000 bytes" in str(client.failure(server.url, START))


def test_an_answer_of_exactly_the_bound_is_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 100_000)
    with Loopback(reply(b"x" * 100_000)) as server:
        assert len(client.send(server.url, START).body) == 100_000


def test_the_bound_is_64_mib() -> None:
    assert wire.MAX_BODY_BYTES == 64 * 1024 * 1024
