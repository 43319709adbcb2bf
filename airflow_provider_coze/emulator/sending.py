"""Put an answer on a socket as its instructions say: late, in pieces, not whole, or without an end. Decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from airflow_provider_coze.emulator.wire import Drip, Ending, Frame, Reply

__all__ = ["send"]

_BLANKS = b" " * (1024 * 1024)
#: aiohttp tells a handler that its client has gone only when it writes; one that is silent has to look.
_LOOK_SECONDS = 0.02

#: Lets time pass until the emulator's clock shows this.
Until = Callable[[float], Awaitable[None]]


async def send(
    incoming: web.BaseRequest, reply: Reply, until: Until, is_last: Callable[[], bool]
) -> web.StreamResponse:
    """Send *reply* in answer to *incoming*, and return what has been sent of it.

    :param is_last: Asked when the answer is due: whether to say that the connection ends with it.
    """
    if reply.ready_at is not None:
        await until(reply.ready_at)
    if reply.drip is not None and reply.drip.in_head:
        return await _drip_head(incoming, reply.status, reply.drip)
    if reply.drop is not None and reply.drop.after_frames is None and reply.drop.after_bytes is None:
        return await _end(incoming, reply.drop.how, web.Response(status=500))
    if reply.frames is None and reply.drop is None and reply.drip is None and not reply.blanks:
        whole = web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        if is_last():
            whole.force_close()
        with contextlib.suppress(ConnectionError):  # the client has gone
            await whole.prepare(incoming)
            await whole.write_eof()
        return whole
    begun = web.StreamResponse(status=reply.status, headers=reply.headers)
    if is_last():
        begun.force_close()
    with contextlib.suppress(ConnectionError):  # the client has gone
        await _send_body(incoming, begun, reply, until)
    return begun


async def _send_body(incoming: web.BaseRequest, begun: web.StreamResponse, reply: Reply, until: Until) -> None:
    if reply.drip is not None:
        begun.enable_chunked_encoding()
        await begun.prepare(incoming)
        while not _gone(incoming):
            await begun.write(b" ")
            await asyncio.sleep(reply.drip.seconds)
    elif reply.frames is not None:
        begun.enable_chunked_encoding()
        await begun.prepare(incoming)
        await _send_frames(incoming, begun, reply, reply.frames, until)
    else:
        begun.content_length = reply.blanks + len(reply.body)
        await begun.prepare(incoming)
        for start in range(0, reply.blanks, len(_BLANKS)):
            await begun.write(_BLANKS[: reply.blanks - start])
        if reply.drop is None:
            await begun.write(reply.body)
            await begun.write_eof()
        else:
            await begun.write(reply.body[: reply.drop.after_bytes])
            await _end(incoming, reply.drop.how, begun)


async def _send_frames(
    incoming: web.BaseRequest, begun: web.StreamResponse, reply: Reply, frames: list[Frame], until: Until
) -> None:
    drop = reply.drop
    for frame in frames if drop is None else frames[: drop.after_frames]:
        await until(frame.at)
        await begun.write(frame.data)
    # A stream that is over before the drop would come is whole.
    if drop is None or drop.after_frames is None or len(frames) < drop.after_frames:
        await begun.write_eof()
    else:
        await _end(incoming, drop.how, begun)


async def _drip_head(incoming: web.BaseRequest, status: int, drip: Drip) -> web.StreamResponse:
    # Not aiohttp's to write: it knows whole heads only.
    data = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nX-Drip: ".encode()
    while (transport := incoming.transport) is not None and not transport.is_closing():
        transport.write(data)
        data = b"."
        await asyncio.sleep(drip.seconds)
    return web.Response(status=status)


async def _end(incoming: web.BaseRequest, how: Ending, begun: web.StreamResponse) -> web.StreamResponse:
    if how == "never":
        while not _gone(incoming):  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(_LOOK_SECONDS)
    elif (transport := incoming.transport) is not None:
        if how == "reset":
            raw = transport.get_extra_info("socket")
            # No lingering: what is left unsent is thrown away and the peer gets RST instead of FIN.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return begun


def _gone(incoming: web.BaseRequest) -> bool:
    return incoming.transport is None or incoming.transport.is_closing()
