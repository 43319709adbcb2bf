"""The two transports as one fixture, and certificates for a server that nobody has heard of."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import Flow, Request, Response, Send
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive

TOKEN = "pat_s3cret"


class Client:
    """One way of exchanging requests for answers."""

    def __init__(self, drive_it: Callable[[Settings, Flow[Any]], Any]) -> None:
        self._drive = drive_it

    def exchange(self, url: str, *requests: Request, **settings: Any) -> list[Response]:
        """Send requests one after the other through one transport."""
        given = {"connect_seconds": 5.0, "read_seconds": 5.0, **settings}
        answers: list[Response] = self._drive(Settings(url, TokenAuth(TOKEN), **given), _in_turn(requests))
        return answers

    def send(self, url: str, request: Request, **settings: Any) -> Response:
        return self.exchange(url, request, **settings)[0]

    def failure(self, url: str, request: Request, **settings: Any) -> CozeTransportError:
        with pytest.raises(CozeTransportError) as caught:
            self.send(url, request, **settings)
        return caught.value


def _in_turn(requests: tuple[Request, ...]) -> Flow[list[Response]]:
    answers = []
    for request in requests:
        answers.append((yield Send(request)))
    return answers


def over_requests(settings: Settings, flow: Flow[Any]) -> Any:
    with SyncTransport(settings) as transport:
        return drive(flow, transport)


def over_aiohttp(settings: Settings, flow: Flow[Any]) -> Any:
    async def performed() -> Any:
        async with AioTransport(settings) as transport:
            return await adrive(flow, transport)

    return asyncio.run(performed())


WAYS = [over_requests, over_aiohttp]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def client(request: pytest.FixtureRequest) -> Client:
    """Every test using this runs once per transport. No test may ask which."""
    return Client(request.param)


@pytest.fixture
def clients() -> list[Client]:
    """Both, for tests that compare them."""
    return [Client(way) for way in WAYS]


@dataclass(frozen=True)
class Certificate:
    """A server's certificate that signs itself."""

    path: Path
    server: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("coze.invalid")]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return Certificate(folder / "cert.pem", context)
