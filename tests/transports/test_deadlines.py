"""Nothing is waited for without an end: not for an answer that keeps coming, nor for a server that does not listen."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_coze.protocol.messages import FilePart, Request
from airflow_provider_coze.transports import wire
from tests.transports.conftest import Certificate, Client
from tests.transports.loopback import Loopback, Peer, reply

#: Real HTTP, some hundred times: `make test` runs them, and `make unit` does without.
pytestmark = pytest.mark.matrix

READ = Request("GET", "/v3/chat/retrieve")
START = Request("POST", "/v1/workflow/run", json={"workflow_id": "44"})
READ_SECONDS = 0.15
LIMIT = wire.WHOLE_ANSWER * READ_SECONDS


def dripping(head: bytes, piece: bytes) -> Callable[[Peer], None]:
    def drip(peer: Peer) -> None:
        peer.send(head)
        with contextlib.suppress(OSError):
            while not peer.stopped.wait(0.02):
                peer.send(piece)
        peer.close()

    return drip


DRIPS = {
    "a status line": dripping(b"HTTP/1.1 200 ", b"O"),
    "a header": dripping(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"."),
    "headers": dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "answers before the answer": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body of known length": dripping(reply(b"", length=1000), b" "),
    "a body without a length": dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
    "chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the size of a chunk": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n"),
}


UNIT = {"a header", "answers before the answer", "chunks"}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what in UNIT else pytest.mark.matrix) for what in DRIPS]
)
def test_an_answer_that_comes_drop_by_drop_and_never_ends_is_given_up(client: Client, what: str) -> None:
    with Loopback(DRIPS[what]) as server:
        begun = time.monotonic()
        error = client.failure(server.url, START, read_seconds=READ_SECONDS)
        took = time.monotonic() - begun
        assert len(server.received) == 1
    assert error.never_sent is False
    assert f"no whole answer within {LIMIT:g} s, {wire.WHOLE_ANSWER} times read_seconds" in str(error)
    assert LIMIT - 0.05 < took < LIMIT + 2.0
    assert "may have received the request" in str(error)


def test_a_drip_through_tls_is_given_up_too(client: Client, certificate: Certificate) -> None:
    with Loopback(DRIPS["a body of known length"], tls=certificate.server) as server:
        error = client.failure(server.url, START, read_seconds=READ_SECONDS, verify=str(certificate.path))
    assert "no whole answer within" in str(error)


def test_the_time_of_an_answer_begins_anew_with_each_request(client: Client) -> None:
    def late(peer: Peer) -> None:
        peer.wait(0.08)
        peer.send(reply())

    with Loopback(late) as server:
        # Together they take longer than one may.
        answers = client.exchange(server.url, *[READ] * 8, read_seconds=0.2)
        assert [answer.status for answer in answers] == [200] * 8
        assert server.connections == 1


def test_a_request_may_have_a_patience_of_its_own_for_the_whole_answer_too(client: Client) -> None:
    with Loopback(DRIPS["chunks"]) as server:
        error = client.failure(server.url, Request("POST", "/x", read_seconds=0.1), read_seconds=30.0)
    assert f"no whole answer within {wire.WHOLE_ANSWER * 0.1:g} s" in str(error)


# --- before the answer


UPLOAD = Request("POST", "/v1/files/upload", files=(FilePart("file", "big", bytes(24_000_000)),))


@contextlib.contextmanager
def reading(pause: float | None) -> Iterator[str]:
    """Serve a connection whose peer reads a piece, then pauses; None: it never reads at all."""
    with contextlib.closing(socket.socket()) as listener, contextlib.ExitStack() as stack:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        over = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError):
                peer = stack.enter_context(contextlib.closing(listener.accept()[0]))
                received = 0
                while pause is not None and received < 24_000_000:
                    received += len(peer.recv(1_000_000, socket.MSG_WAITALL))
                    over.wait(pause)
                if pause is not None:
                    peer.sendall(reply())
                over.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def test_an_upload_may_take_longer_than_making_a_connection(client: Client) -> None:
    with reading(pause=0.03) as url:
        begun = time.monotonic()
        assert client.send(url, UPLOAD, connect_seconds=0.4, read_seconds=5.0).status == 200
        assert time.monotonic() - begun > 0.6


def test_an_upload_that_is_not_taken_is_given_up(client: Client) -> None:
    with reading(pause=None) as url:
        begun = time.monotonic()
        error = client.failure(url, UPLOAD, connect_seconds=0.3, read_seconds=READ_SECONDS)
        assert time.monotonic() - begun < 3.0
    assert error.never_sent is False


def test_a_proxy_that_does_not_open_its_tunnel_is_given_up_and_nothing_was_sent(client: Client) -> None:
    with Loopback(Peer.wait) as proxy:
        begun = time.monotonic()
        error = client.failure("https://coze.invalid", START, proxy=proxy.url, connect_seconds=0.15)
        assert time.monotonic() - begun < 3.0
        assert [received.method for received in proxy.received] == ["CONNECT"]
    assert error.never_sent is True
