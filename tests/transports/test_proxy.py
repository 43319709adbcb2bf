"""Proxies, .netrc and redirects: who gets to see a request, and that nobody gets the token by accident."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from airflow_provider_coze.protocol.messages import Request
from tests.transports.conftest import Certificate, Client
from tests.transports.loopback import Loopback, Peer, reply

TOKEN = {"Authorization": "Bearer s3cret"}
READ = Request("GET", "/v3/chat/retrieve", query={"chat_id": "7"}, headers=TOKEN)
START = Request("POST", "/v1/workflow/run", json={}, headers=TOKEN)


@pytest.fixture(autouse=True)
def _no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_the_connections_proxy_is_used(client: Client) -> None:
    with Loopback() as proxy:
        assert client.send("http://coze.invalid", READ, proxy=proxy.url).status == 200
        (received,) = proxy.received
    assert received.target == "http://coze.invalid/v3/chat/retrieve?chat_id=7"
    assert received.headers["authorization"] == "Bearer s3cret"
    assert received.headers["host"] == "coze.invalid"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_the_environments_proxy_is_used(client: Client, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback() as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert client.send("http://coze.invalid", READ).status == 200
        assert len(proxy.received) == 1


def test_a_proxy_of_the_environment_may_be_written_without_a_scheme(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        assert client.send("http://coze.invalid", READ).status == 200


def test_the_proxy_of_one_scheme_is_not_used_for_the_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback() as proxy, Loopback() as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client.send(server.url, READ)
        assert (len(proxy.received), len(server.received)) == (0, 1)


@pytest.mark.parametrize("exceptions", ["127.0.0.1", "*", "other.example,127.0.0.1"])
def test_a_host_that_no_proxy_names_is_reached_directly(
    client: Client, exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback() as proxy, Loopback() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exceptions)
        client.send(server.url, READ)
        assert (len(proxy.received), len(server.received)) == (0, 1)


def test_the_connections_proxy_comes_before_the_environments_and_before_no_proxy(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback() as own, Loopback() as of_environment:
        monkeypatch.setenv("HTTP_PROXY", of_environment.url)
        monkeypatch.setenv("NO_PROXY", "*")
        client.send("http://coze.invalid", READ, proxy=own.url)
        assert (len(own.received), len(of_environment.received)) == (1, 0)


def test_the_password_of_a_proxy_is_for_the_proxy_and_the_token_for_coze(client: Client) -> None:
    with Loopback() as proxy:
        client.send("http://coze.invalid", READ, proxy=proxy.url.replace("//", "//me:p%40ss@"))
        (received,) = proxy.received
    assert received.headers["proxy-authorization"] == f"Basic {b64encode(b'me:p@ss').decode()}"
    assert received.headers["authorization"] == "Bearer s3cret"


def test_through_a_tunnel_the_proxy_sees_neither_token_nor_path(client: Client, certificate: Certificate) -> None:
    def tunnel(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.start_tls(certificate.server)

    with Loopback(tunnel, reply()) as proxy:
        answer = client.send("https://coze.invalid", START, proxy=proxy.url, verify=str(certificate.path))
        connect, inner = proxy.received
    assert answer.body == b'{"code":0}'
    assert (connect.method, connect.target) == ("CONNECT", "coze.invalid:443")
    assert b"s3cret" not in connect.head
    assert (inner.method, inner.target) == ("POST", "/v1/workflow/run")
    assert inner.headers["authorization"] == "Bearer s3cret"


def test_certificates_are_checked_through_a_tunnel_too(client: Client, certificate: Certificate) -> None:
    def tunnel(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.start_tls(certificate.server)

    with Loopback(tunnel, reply()) as proxy:
        error = client.failure("https://coze.invalid", START, proxy=proxy.url)
        assert [received.method for received in proxy.received] == ["CONNECT"]
    assert error.never_sent is True


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_opens_no_tunnel_sent_nothing(client: Client, status: int) -> None:
    with Loopback(reply(b"", status)) as proxy:
        error = client.failure("https://coze.invalid", START, proxy=proxy.url)
    assert error.never_sent is True


def test_a_proxy_that_is_not_there_sent_nothing(client: Client) -> None:
    with Loopback() as gone:
        pass
    for site in ("http://coze.invalid", "https://coze.invalid"):
        assert client.failure(site, START, proxy=gone.url).never_sent is True


def test_a_netrc_does_not_replace_the_token(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password thief\ndefault login thief password thief\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Loopback() as server:
        client.send(server.url, READ)
        assert server.received[0].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [READ, START], ids=["GET", "POST"])
def test_a_redirect_is_an_answer_and_is_not_followed(client: Client, status: int, request_: Request) -> None:
    with Loopback() as thief, Loopback(reply(b"", status, Location=f"{thief.url}/steal")) as server:
        answer = client.send(server.url, request_)
        assert thief.connections == 0
        assert len(server.received) == 1
    assert answer.status == status
    assert answer.headers["location"] == f"{thief.url}/steal"


def test_a_cookie_of_one_answer_is_not_sent_with_the_next_request(client: Client) -> None:
    with Loopback(reply(Set_Cookie="session=s3cret; Path=/")) as server:
        client.exchange(server.url, READ, READ)
        assert "cookie" not in server.received[1].headers
