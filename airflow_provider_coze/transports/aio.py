"""Perform flows on an event loop, with aiohttp. Whose sessions they use is ``pools``'."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self, TypeVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import AsyncGate, Flow, Request, Response, Send
from airflow_provider_coze.settings import Settings
from airflow_provider_coze.transports import wire
from airflow_provider_coze.transports.pools import Pool, enter_pool, leave_pool, open_pool
from airflow_provider_coze.transports.stages import Body, Stages

__all__ = ["AioTransport", "adrive"]

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
#: aiohttp gives whatever could have a body the type of one.
_NO_TYPE = ("Content-Type",)


class AioTransport:
    """A share of the event loop's session for one connection; use it as an async context manager.

    While one chat or run of a site is being waited for, all others of that site use the same connections; so does one that
    comes within some minutes of the last. Nothing stays open when a loop ends.
    """

    __slots__ = ("_origin", "_pool", "_prepared", "_proxy", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origin = wire.origin_of(settings.base_url)
        self._proxy = settings.proxy
        self._pool: Pool | None = None
        # A look is the same request again and again, and most of what it is made of need not be made again.
        self._prepared: tuple[Request, _Prepared] | None = None

    async def __aenter__(self) -> Self:
        pool = open_pool(self._settings, self._origin)
        if pool is None:
            # Loading certificates takes some 50 ms the first time, which is not for a loop that others share.
            await asyncio.to_thread(wire.tls_context, self._settings.verify)
            pool = enter_pool(self._settings, self._origin)
        pool.users += 1
        self._pool, self._proxy = pool, self._settings.proxy or pool.proxy
        return self

    async def __aexit__(self, *_: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await leave_pool(pool)

    async def send(self, request: Request) -> Response:
        """Exchange one request for its whole answer, or for an open stream of events where the request asks for one.

        :raises CozeTransportError: no (whole) answer came.
        """
        pool = self._pool
        if pool is None:
            raise RuntimeError("AioTransport is used outside of its async with block")
        read_seconds = request.read_seconds or self._settings.read_seconds
        patience, hurried = wire.patience(request, self._origin, read_seconds)
        prepared = self._prepared_of(request)
        # One timer for each read is what aiohttp would make; what is sent in one piece can do with the watchdog's.
        is_plain = not request.stream and (prepared.content is None or len(prepared.content) <= _CHUNK_BYTES)
        stages = Stages(pool.watchdog, self._settings.connect_seconds, patience, hurried, reads_too=is_plain)
        try:
            with stages:
                opened = await pool.session.request(
                    request.method,
                    prepared.url,
                    data=_body(prepared.content, stages),
                    headers=prepared.headers,
                    skip_auto_headers=_NO_TYPE if prepared.content is None and request.method != "GET" else None,
                    timeout=_timeout(self._settings.connect_seconds, None if is_plain else read_seconds),
                    proxy=self._proxy,
                    # The API does not redirect. Whoever does is another server, which must not see the token or the prompt.
                    allow_redirects=False,
                )
                received = opened.headers
                if request.stream and wire.is_stream(request, opened.status, received.get("content-type", "")):
                    stream = _Stream(request, self._origin, opened, read_seconds)
                    return Response(opened.status, received, b"", self._origin, stream)
                if is_plain and opened.closed:  # by aiohttp, which gives the connection back when a body has ended
                    body = opened.content.read_nowait()  # all of it came with the head, as nearly always
                else:
                    async with opened:
                        body = await self._bounded(request, opened)
                if len(body) > wire.MAX_BODY_BYTES:
                    raise wire.too_large(request, self._origin)
                return Response(opened.status, received, body, self._origin)
        # asyncio's TimeoutError is an OSError; a host that cannot be a name is a UnicodeError.
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            if stages.is_out_of_time:
                raise wire.late(request, self._origin, never_sent=not stages.sent) from error
            limit, late = None, stages.late
            if late:
                limit = stages.seconds
            elif isinstance(error, aiohttp.ConnectionTimeoutError):
                limit = self._settings.connect_seconds
            elif isinstance(error, TimeoutError):
                limit = read_seconds
            never_sent = _never_sent(error) or (late and not stages.sent)
            raise wire.lost(
                request,
                self._origin,
                error,
                never_sent=never_sent,
                root=_root(error),
                seconds=limit,
                begun=late and stages.is_of_whole,
            ) from error

    def _prepared_of(self, request: Request) -> _Prepared:
        if self._prepared is not None and self._prepared[0] is request:
            return self._prepared[1]
        content, headers = wire.content_of(request)
        base = _base(self._settings.base_url)
        url = URL.build(
            scheme=base.scheme,
            authority=base.raw_authority,
            path=f"{base.raw_path.rstrip('/')}{request.path}",
            query_string=wire.query_of(request),
            encoded=True,
        )
        prepared = _Prepared(url, CIMultiDict(headers), content)
        if content is None:
            self._prepared = request, prepared
        return prepared

    async def _bounded(self, request: Request, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while not answer.content.at_eof():
            body += await answer.content.readany()
            if len(body) > wire.MAX_BODY_BYTES:
                raise wire.too_large(request, self._origin)
        return bytes(body)


def _body(content: bytes | None, stages: Stages) -> bytes | Body | None:
    """Return what aiohttp sends: what goes out in one piece as it is, which costs it least, else in pieces that are noted."""
    return content if content is None or len(content) <= _CHUNK_BYTES else Body(content, stages)


class _Prepared(NamedTuple):
    """What a request is sent with."""

    url: URL
    headers: CIMultiDict[str]
    content: bytes | None


@functools.lru_cache(maxsize=64)
def _base(base_url: str) -> URL:
    return URL(base_url, encoded=True)


@functools.lru_cache(maxsize=64)
def _timeout(connect_seconds: float, read_seconds: float | None) -> aiohttp.ClientTimeout:
    """Return aiohttp's form of requests' two numbers; its own total would end a long answer that is still flowing.

    :param read_seconds: None: its reads are not bounded by aiohttp.
    """
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds)


class _Stream:
    """The body of an answer whose head was read, piece by piece as it comes; see ``messages.AsyncChunks``."""

    def __init__(self, request: Request, origin: str, answer: aiohttp.ClientResponse, read_seconds: float) -> None:
        self._request, self._origin, self._answer, self._read_seconds = request, origin, answer, read_seconds

    async def read(self) -> bytes:
        patience, hurried = wire.patience(self._request, self._origin, self._read_seconds, never_sent=False)
        # aiohttp's own limit of a read is gone once it has closed a connection over bytes that are no HTTP.
        limit = asyncio.timeout(patience)
        try:
            async with limit:
                return await self._answer.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            if limit.expired() and hurried:
                raise wire.late(self._request, self._origin) from error
            # What came right before the connection broke is here, and may name a paid chat; aiohttp has no public way to get it.
            arrived = getattr(self._answer.content, "_buffer", [])
            if rest := b"".join(arrived):
                arrived.clear()
                return rest  # the next read fails again
            silent = isinstance(error, TimeoutError)
            raise wire.broken_off(
                self._request, self._origin, error, seconds=self._read_seconds if silent else None
            ) from error

    def close(self) -> None:
        self._answer.close()


async def adrive(
    flow: Flow[T],
    transport: AioTransport,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    gate: AsyncGate | None = None,
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
                    await gate.enter(effect)
                elif effect.after > 0:
                    await sleep(effect.after)
                try:
                    answer = await transport.send(effect.request)
                except CozeTransportError as error:
                    failure = error
                else:
                    if gate is not None:
                        gate.leave(effect, answer)
            else:
                await sleep(effect.seconds)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        flow.close()


def _never_sent(error: BaseException) -> bool:
    """Tell whether the request provably did not leave: the connection could not be made (refused, not resolved, TLS)."""
    return isinstance(error, _NO_CONNECTION)


def _root(error: BaseException) -> BaseException | None:
    """Return the system's words for a connection that was not made; aiohttp says "Connect call failed" of all of them."""
    if not isinstance(error, aiohttp.ClientConnectorError) or isinstance(error, aiohttp.ClientSSLError):
        return None
    number = error.os_error.errno
    return OSError(number, os.strerror(number)) if number and number > 0 else None  # negative: of a resolver


_NO_CONNECTION = (
    aiohttp.ClientConnectorError,  # refused, unreachable, not resolved, TLS
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,  # no way through the proxy
    aiohttp.InvalidURL,
    UnicodeError,
)
