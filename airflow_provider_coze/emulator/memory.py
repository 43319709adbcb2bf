"""The in-memory form of an answer: its instructions are followed by moving the emulator's clock, and nobody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_coze.emulator.wire import ConnectionDropped, Frame, Reply
from airflow_provider_coze.protocol.messages import Request, Response

if TYPE_CHECKING:
    from airflow_provider_coze.emulator.app import Emulator

__all__ = ["received"]

_ORIGIN = "memory://emulator"


def received(emulator: Emulator, request: Request, reply: Reply) -> Response:
    """Return what the client of *request* gets to see of *reply*.

    :raises ConnectionDropped: It gets no answer, or not all of it, or not within its own ``read_seconds``.
    """
    if reply.ready_at is not None:
        wait = reply.ready_at - emulator.now()
        if request.read_seconds is not None and wait > request.read_seconds:
            raise _given_up(emulator, request, reply, f"no answer within {request.read_seconds:g} s")
        _advance_to(emulator, reply.ready_at)
    if reply.drip is not None:
        raise _given_up(emulator, request, reply, "the answer never ends")
    drop = reply.drop
    if drop is not None and drop.after_frames is None:
        how_much = "" if drop.after_bytes is None else f" after {drop.after_bytes} bytes of the body"
        if drop.how == "never":
            raise _given_up(emulator, request, reply, f"nothing more came{how_much}")
        raise ConnectionDropped(f"the connection was broken{how_much}", after_commit=reply.carried_out)
    body = reply.blanks * b" " + reply.body if reply.frames is None else _stream(emulator, request, reply, reply.frames)
    return Response(reply.status, reply.headers, body, _ORIGIN)


def _stream(emulator: Emulator, request: Request, reply: Reply, frames: list[Frame]) -> bytes:
    drop = reply.drop
    sent = frames if drop is None else frames[: drop.after_frames]
    body = b""
    for frame in sent:
        _advance_to(emulator, frame.at)
        body += frame.data
    # A stream that is over before the drop would come is whole.
    if drop is None or drop.after_frames is None or len(frames) < drop.after_frames:
        return body
    if drop.how == "never":
        raise _given_up(emulator, request, reply, f"the stream fell silent after {len(sent)} events")
    raise ConnectionDropped(f"the stream broke after {len(sent)} events", after_commit=reply.carried_out)


def _given_up(emulator: Emulator, request: Request, reply: Reply, why: str) -> ConnectionDropped:
    emulator.advance(request.read_seconds or 0.0)
    return ConnectionDropped(why, after_commit=reply.carried_out, timed_out=True)


def _advance_to(emulator: Emulator, at: float) -> None:
    wait = at - emulator.now()
    if wait > 0:
        emulator.advance(wait)
