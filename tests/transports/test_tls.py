"""Whom we trust: nobody unknown unless told so, and both transports the same. A failed handshake sent nothing."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest

from airflow_provider_coze.errors import CozeConnectionConfigError
from airflow_provider_coze.protocol.messages import Request
from airflow_provider_coze.transports import wire
from tests.transports.conftest import Certificate, Client
from tests.transports.loopback import Loopback, Peer

pytestmark = pytest.mark.matrix  # by the hundred: `make test` runs them, `make unit` does not

START = Request("POST", "/v1/workflow/run", json={}, headers={"Authorization": "Bearer s3cret"})


@contextlib.contextmanager
def answering_the_hello(during: Callable[[socket.socket], object]) -> Iterator[str]:
    """Accept one connection, read the client's first message, do something, and close."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):
            sock.settimeout(5)
            sock.recv(1 << 16)
            during(sock)

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def test_a_certificate_of_nobody_known_is_refused_before_anything_is_sent(
    client: Client, certificate: Certificate
) -> None:
    with Loopback(tls=certificate.server) as server:
        error = client.failure(server.url, START)
        assert server.received == []
    assert error.never_sent is True
    assert "certificate" in str(error).lower()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_any_certificate_is_accepted_when_told_so(client: Client, certificate: Certificate) -> None:
    with Loopback(tls=certificate.server) as server:
        assert client.send(server.url, START, verify=False).body == b'{"code":0}'


def test_a_certificate_is_accepted_by_the_file_that_the_connection_names(
    client: Client, certificate: Certificate
) -> None:
    with Loopback(tls=certificate.server) as server:
        assert client.send(server.url, START, verify=str(certificate.path)).status == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="names the files of a folder by their hashes")
def test_a_certificate_is_accepted_by_a_folder_that_the_connection_names(
    client: Client, certificate: Certificate, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(certificate.path.read_bytes())
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True, capture_output=True)
    with Loopback(tls=certificate.server) as server:
        assert client.send(server.url, START, verify=str(tmp_path)).status == 200


def test_a_read_that_breaks_is_not_repeated_again_and_again(client: Client, certificate: Certificate) -> None:
    with Loopback(Peer.close, tls=certificate.server) as server:
        error = client.failure(server.url, Request("GET", "/x"), verify=str(certificate.path))
        assert len(server.received) <= 2  # aiohttp asks a second time by itself, and only for what may be repeated
    assert error.never_sent is False


@pytest.mark.parametrize("source", ["the system's", "certifi's"])
def test_what_the_system_or_certifi_trusts_is_trusted(
    client: Client, certificate: Certificate, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "certifi's":
        monkeypatch.setattr(certifi, "where", lambda: str(certificate.path))
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    wire.tls_context.cache_clear()
    try:
        with Loopback(tls=certificate.server) as server:
            assert client.send(server.url, START).status == 200
    finally:
        wire.tls_context.cache_clear()


def test_a_trusted_certificate_of_another_name_is_refused(client: Client, certificate: Certificate) -> None:
    with Loopback(tls=certificate.server) as server:
        error = client.failure(server.url.replace("127.0.0.1", "localhost"), START, verify=str(certificate.path))
        assert server.received == []
    assert error.never_sent is True


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["missing", "empty", "no certificate"])
def test_a_file_without_certificates_is_a_mistake_in_the_connection(
    client: Client, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / f"{content}.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(CozeConnectionConfigError, match="Nothing was sent") as caught:
        client.send("https://127.0.0.1:9", START, verify=str(bundle))
    assert "verify" in str(caught.value)
    assert str(bundle) in str(caught.value)


def test_a_secure_server_that_is_addressed_as_http_has_an_unknown_outcome(
    client: Client, certificate: Certificate
) -> None:
    with Loopback(tls=certificate.server) as server:
        error = client.failure(server.url.replace("https", "http"), START)
    assert error.never_sent is False  # the request did leave


HANDSHAKES: dict[str, Callable[[socket.socket], object]] = {
    "a plain HTTP server": lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "closed": lambda sock: None,
    "reset": lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
    "alert": lambda sock: sock.sendall(b"\x15\x03\x03\x00\x02\x02\x28"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_that_breaks_sent_nothing(client: Client, name: str) -> None:
    with answering_the_hello(HANDSHAKES[name]) as url:
        error = client.failure(url, START)
    assert error.never_sent is True
    assert "The request never left" in str(error)


def test_a_handshake_that_hangs_sent_nothing_and_counts_as_connecting(client: Client) -> None:
    with answering_the_hello(lambda sock: sock.recv(1)) as url:
        error = client.failure(url, START, connect_seconds=0.15, read_seconds=30.0)
    assert error.never_sent is True
    assert "no answer within 0.15 s" in str(error)


def test_no_protocol_in_common_sent_nothing(client: Client, certificate: Certificate) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificate.path, certificate.path.with_name("key.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    # Trusting the certificate, so that it is the protocol that fails.
    with Loopback(tls=old) as server:
        context = wire.tls_context(str(certificate.path))
        before, context.minimum_version = context.minimum_version, ssl.TLSVersion.TLSv1_3
        try:
            error = client.failure(server.url, START, verify=str(certificate.path))
        finally:
            context.minimum_version = before
    assert error.never_sent is True


def test_certificates_are_loaded_once_for_a_connection(certificate: Certificate) -> None:
    assert wire.tls_context(True) is wire.tls_context(True)
    assert wire.tls_context(True) is not wire.tls_context(False)
    assert wire.tls_context(True).verify_mode is ssl.CERT_REQUIRED
    assert wire.tls_context(True).check_hostname
