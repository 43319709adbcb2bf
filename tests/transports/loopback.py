"""A server that does to its connections what a test says. Raw sockets, threads, loopback, a free port."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

__all__ = ["Answer", "Loopback", "Peer", "Received", "reply"]


@dataclass(frozen=True)
class Received:
    """One request as its bytes came in."""

    head: bytes
    body: bytes
    connection: int  # counted from 1

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        """Path and query, undecoded."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


@dataclass
class Peer:
    """One connection while it is being answered."""

    sock: socket.socket
    request: Received
    stopped: threading.Event
    closed: bool = field(default=False)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.closed = True
        self.sock.close()

    def wait(self, seconds: float = 60.0) -> None:
        """Say nothing, until the time is up or the server is stopped."""
        self.stopped.wait(seconds)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS, as the end of a tunnel."""
        self.sock = context.wrap_socket(self.sock, server_side=True)


Answer = Callable[[Peer], None] | bytes


def reply(body: bytes = b'{"code":0}', status: int = 200, *, length: int | None = None, **headers: str) -> bytes:
    """Write an answer; underscores in header names become hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Loopback:
    """Answers its requests in the order they come, with the last answer again and again."""

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers or [reply()])
        self._tls = tls
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.received: list[Received] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def drop_idle(self) -> None:
        """Close every connection that is open now."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def wait_until_all_have_gone(self) -> None:
        """Return when every client has closed its connection.

        :raises TimeoutError: one stays.
        """
        with self._gone:
            if not self._gone.wait_for(lambda: not self._open, timeout=5):
                raise TimeoutError(f"{len(self._open)} connections are still open")

    def wait_until_nobody_is_connected(self, seconds: float = 5.0) -> None:
        """Fail if a connection is still open by then."""
        until = time.monotonic() + seconds
        while self._open:
            assert time.monotonic() < until, "connections are left open"
            time.sleep(0.002)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._wrapped(sock, self._tls)
            while (request := _read(sock, number)) is not None:
                with self._lock:
                    answer = self._answers[min(len(self.received), len(self._answers) - 1)]
                    self.received.append(request)
                peer = Peer(sock, request, self._stopped)
                if isinstance(answer, bytes):
                    peer.send(answer)
                else:
                    answer(peer)
                if peer.sock is not sock:
                    with self._lock:
                        self._open = (self._open - {sock}) | {peer.sock}
                    sock = peer.sock
                if peer.closed:
                    return
        except OSError:  # the client has gone, or does not like us; TLS included
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
                self._gone.notify_all()
            sock.close()

    def _wrapped(self, sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        secure = context.wrap_socket(sock, server_side=True)  # takes the socket over
        with self._lock:
            self._open = (self._open - {sock}) | {secure}
        return secure


def _read(sock: socket.socket, number: int) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    request = Received(head, b"", number)
    if request.headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += sock.recv(65536)
        body = b"".join(_unchunked(body))
    else:
        length = int(request.headers.get("content-length", 0))
        while len(body) < length:
            body += sock.recv(65536)
    return Received(head, body, number)


def _unchunked(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, rest = body.partition(b"\r\n")
        yield rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
