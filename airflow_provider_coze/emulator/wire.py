"""The shapes between the routes and the server: a call that was understood, and an answer that may take time or break off.

The JSON envelope and the error form of Coze live here; nothing here knows an operation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_coze.emulator.definitions import AccessToken
from airflow_provider_coze.protocol.messages import FilePart

if TYPE_CHECKING:
    from airflow_provider_coze.emulator.schema import Shape
    from airflow_provider_coze.emulator.store import Store
    from airflow_provider_coze.emulator.world import World

__all__ = [
    "Call",
    "ConnectionDropped",
    "Drip",
    "Drop",
    "Ending",
    "Frame",
    "Refusal",
    "Reply",
    "Route",
    "answer",
    "encoded",
    "event_stream",
]


class ConnectionDropped(Exception):
    """In memory, stands for a connection that broke before there was an answer.

    :ivar after_commit: Whether the request had been carried out by then.
    :ivar timed_out: The client gave up waiting (its own ``read_seconds``); the server had not broken anything.
    :ivar refused: There was no connection, so nothing was sent.
    """

    def __init__(self, message: str, *, after_commit: bool, timed_out: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.after_commit = after_commit
        self.timed_out = timed_out
        self.refused = refused


class Refusal(Exception):
    """Coze says no: an envelope whose code is not 0."""

    def __init__(self, code: int, msg: str, *, status: int = 200, **beside: Any) -> None:
        super().__init__(code, msg)
        self.code = code
        self.msg = msg
        self.status = status
        self.beside = beside  # further top-level keys, e.g. debug_url


@dataclass(slots=True)
class Call:
    """One request, parsed, routed, and allowed in."""

    method: str
    path: str
    ids: Mapping[str, str]  # from the path
    query: Mapping[str, str]
    body: dict[str, Any]
    headers: Mapping[str, str]  # names in lower case
    files: Sequence[FilePart]
    world: World
    store: Store
    logid: str
    token: AccessToken

    @property
    def owner(self) -> str:
        """Whose conversations these are: one account sees nothing of another, nor one session of another."""
        return f"{self.token.user_id}/{self.token.session_name}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of a stream, and the time on the emulator's clock from which it may be sent."""

    at: float
    data: bytes


#: How an answer ends that is not whole: with a TCP reset, with a connection that is closed in an orderly way, as if it were
#: whole, or never: the connection stays open and silent.
Ending = Literal["reset", "close", "end", "never"]


@dataclass(frozen=True, slots=True)
class Drop:
    """End the answer early: before anything was sent, after so many frames of a stream, or after so many bytes of a body."""

    how: Ending = "reset"
    after_frames: int | None = None
    after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Drip:
    """Send an answer that never ends: one byte every so many seconds, in the body or already in the head."""

    seconds: float  # of real time, whatever the emulator's clock says
    in_head: bool = False


@dataclass(slots=True)
class Reply:
    """An answer, with instructions for whoever sends it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ready_at: float | None = None  # on the emulator's clock; None: now
    frames: list[Frame] | None = None  # a stream instead of a body
    drop: Drop | None = None
    drip: Drip | None = None
    blanks: int = 0  # bytes of white space before the body, which JSON allows
    carried_out: bool = True  # what was asked for, by the time of this answer


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API."""

    method: str
    path: str  # "{name}" stands for one segment
    handler: Callable[[Call], Reply]
    permission: str | None = None  # the point a token needs, in Coze's spelling
    query: Shape = field(default_factory=dict)
    body: Shape | None = None  # None: a body is ignored
    rate: str | None = None  # chat, workflow, upload; None: not limited
    bad_body: str = "Request parameter error"  # how Coze words its complaint
    signed: bool = True  # False: the operation looks at the Authorization header itself
    hints: Mapping[str, str] = field(default_factory=dict)  # what to say about a particular unknown field


def encoded(value: Any) -> bytes:
    """Print JSON as Coze does: no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def answer(body: Any, *, status: int = 200, ready_at: float | None = None) -> Reply:
    """Return a JSON answer."""
    return Reply(status, {"content-type": "application/json; charset=utf-8"}, encoded(body), ready_at)


def event_stream(frames: list[Frame], *, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a stream of server-sent events."""
    return Reply(
        200, {"content-type": "text/event-stream", "cache-control": "no-cache", **(headers or {})}, frames=frames
    )
