"""Perform flows on a worker, with requests. One session, so one thread at a time."""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Self, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, ReadTimeoutError

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import Flow, Gate, Request, Response, Send
from airflow_provider_coze.settings import Settings
from airflow_provider_coze.transports import wire
from airflow_provider_coze.transports.bounds import BoundedAnswer, NotWhole

__all__ = ["SyncTransport", "drive"]

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024


class SyncTransport:
    """A requests session for one connection; close it, or use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origin = wire.origin_of(settings.base_url)
        self._session = requests.Session()
        # Neither a .netrc nor the environment may replace the token; the proxy is read from it below.
        self._session.trust_env = False
        self._session.headers["User-Agent"] = wire.USER_AGENT
        # Cookies of one task must not reach another's requests.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        proxy = settings.proxy or wire.environment_proxy(settings.base_url)
        self._session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        adapter = _Adapter(wire.tls_context(settings.verify))
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    def send(self, request: Request) -> Response:
        """Exchange one request for its whole answer, or for an open stream of events where the request asks for one.

        :raises CozeTransportError: no (whole) answer came.
        """
        read_seconds = request.read_seconds or self._settings.read_seconds
        patience, hurried = wire.patience(request, self._origin, read_seconds)
        content, headers = wire.content_of(request)
        try:
            answer = self._session.request(
                request.method,
                wire.url_of(self._settings.base_url, request),
                # Not as bytes: those would have to be sent whole within connect_seconds.
                data=None if content is None else io.BytesIO(content),
                headers=headers,
                timeout=(self._settings.connect_seconds, patience),
                verify=self._settings.verify is not False,  # which certificates: the adapter's context
                # The API does not redirect. Whoever does is another server, which must not see the token or the prompt.
                allow_redirects=False,
                stream=True,
            )
            received = answer.headers
            if wire.is_stream(request, answer.status_code, received.get("content-type", "")):
                stream = _Stream(request, self._origin, answer, read_seconds)
                return Response(answer.status_code, received, b"", self._origin, stream)
            with answer:
                return Response(answer.status_code, received, self._bounded(request, answer), self._origin)
        except (requests.exceptions.RequestException, LocationParseError) as error:  # requests lets the latter through
            never_sent = _never_sent(error)
            causes = list(_causes(error))
            limit, begun = None, False
            if isinstance(error, requests.exceptions.ConnectTimeout):
                limit = self._settings.connect_seconds
            elif any(isinstance(cause, NotWhole | ReadTimeoutError) for cause in causes):
                if hurried:
                    raise wire.late(request, self._origin) from error
                begun = any(isinstance(cause, NotWhole) for cause in causes)
                limit = wire.WHOLE_ANSWER * patience if begun else patience
            raise wire.lost(
                # requests says "Max retries exceeded with url" of everything; the last cause says what happened.
                request,
                self._origin,
                error,
                never_sent=never_sent,
                root=causes[-1],
                seconds=limit,
                begun=begun,
            ) from error

    def _bounded(self, request: Request, answer: requests.Response) -> bytes:
        body = bytearray()
        for chunk in answer.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > wire.MAX_BODY_BYTES:
                raise wire.too_large(request, self._origin)
        return bytes(body)


class _Stream:
    """The body of an answer whose head was read, piece by piece as it comes; see ``messages.Chunks``."""

    def __init__(self, request: Request, origin: str, answer: requests.Response, read_seconds: float) -> None:
        self._request, self._origin, self._answer, self._read_seconds = request, origin, answer, read_seconds
        # urllib3 keeps http.client's answer, and so ours, under this name; its own have no way to change a limit.
        bounded: Any = answer.raw._original_response
        bounded.relax(read_seconds, request.left)

    def read(self) -> bytes:
        wire.patience(self._request, self._origin, self._read_seconds, never_sent=False)
        try:
            data: bytes = self._answer.raw.read1(_CHUNK_BYTES, decode_content=True)
        except HTTPError as error:
            causes = list(_causes(error))
            if any(isinstance(cause, NotWhole) for cause in causes):
                raise wire.late(self._request, self._origin) from error
            silent = any(isinstance(cause, ReadTimeoutError) for cause in causes)
            raise wire.broken_off(
                self._request, self._origin, error, root=causes[-1], seconds=self._read_seconds if silent else None
            ) from error
        return data

    def close(self) -> None:
        self._answer.close()


class _Adapter(HTTPAdapter):
    """requests' adapter with a TLS context and connections of ours, for direct and proxied ones."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0)  # what may be sent again is not a transport's to decide

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = _POOLS_BY_SCHEME

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs, ssl_context=self._context)
        manager.pool_classes_by_scheme = _POOLS_BY_SCHEME
        return manager

    def close(self) -> None:
        """Close all connections now. urllib3 does it when a pool is collected, and errors that were raised hold on to pools."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - a container that cannot be iterated
                manager.pools[key].close()
        super().close()


class _PlainConnection(HTTPConnection):
    response_class = BoundedAnswer


class _Connection(HTTPSConnection):
    """urllib3's connection, which reports a failing TLS handshake or tunnel as what it is: no connection, so nothing was sent."""

    response_class = BoundedAnswer

    def connect(self) -> None:
        """Connect, through a proxy's tunnel if there is one."""
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except OSError as error:  # ssl.SSLError is one too
            raise NewConnectionError(self, str(error)) from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


_POOLS_BY_SCHEME = {"http": _PlainPool, "https": _Pool}


def drive(
    flow: Flow[T], transport: SyncTransport, sleep: Callable[[float], object] = time.sleep, gate: Gate | None = None
) -> T:
    """Perform a flow to its end and return its value.

    :param gate: says when each request may be sent. None: when the flow itself says.
    :raises CozeError: whatever the flow raises.
    """
    answer: Response | None = None
    failure: CozeTransportError | None = None
    try:
        while True:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
            answer = failure = None
            if isinstance(effect, Send):
                if gate is not None:
                    gate.enter(effect)
                elif effect.after > 0:
                    sleep(effect.after)
                try:
                    answer = transport.send(effect.request)
                except CozeTransportError as error:
                    failure = error
                else:
                    if gate is not None:
                        gate.leave(effect, answer)
            else:
                sleep(effect.seconds)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        flow.close()


def _never_sent(error: BaseException) -> bool:
    """Tell whether the request provably did not leave: some cause says that no connection was made."""
    return any(isinstance(cause, _NO_CONNECTION) for cause in _causes(error))


_NO_CONNECTION = (
    NewConnectionError,  # refused, unreachable, not resolved
    ConnectTimeoutError,
    LocationParseError,  # a host that cannot be a name
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all it was made of: requests keeps urllib3's errors as arguments, reasons and causes.

    Not their contexts: those lead to errors that were being handled before, of requests that this one knows nothing of.
    """
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        cause = pending.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            pending += [*cause.args, cause.__cause__, getattr(cause, "reason", None)]
            yield cause
