"""The shapes that cross every border: a request, a response, and the two things a flow may ask for.

No knowledge of Coze lives here, which is why the transports and the emulator may import it. What is made anew for each request is a
``msgspec.Struct``, because making a frozen dataclass takes ten times as long; ``changed`` makes copies of them with other fields.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace as changed

__all__ = [
    "AsyncChunks",
    "AsyncGate",
    "Call",
    "Chunks",
    "Discreet",
    "Effect",
    "FilePart",
    "Flow",
    "Gate",
    "JsonValue",
    "Replay",
    "Request",
    "Response",
    "Send",
    "Sleep",
    "StreamCall",
    "changed",
    "streamed",
]

T = TypeVar("T")

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


@dataclass(frozen=True, slots=True)
class FilePart:
    """One part of a ``multipart/form-data`` body."""

    field: str
    filename: str
    content: bytes = dataclasses.field(repr=False)
    content_type: str = "application/octet-stream"


class Discreet(msgspec.Struct, frozen=True):
    """What shows only some of itself, in logs and in tracebacks: a token, a prompt or an answer is not for them.

    Also to rich, whose tracebacks Airflow's console prints: a struct tells rich every field by itself.

    :cvar hidden: the fields that it does not show.
    """

    hidden: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the names and values that may be shown."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name not in self.hidden]

    def __repr__(self) -> str:
        """Show those."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Request(Discreet, frozen=True):
    """One HTTP request, relative to the base URL of a connection.

    The body is ``json``, or ``files``, or ``body``; at most one of them is given.
    """

    method: str
    path: str  # starts with "/"; ids in it are already percent-encoded
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)  # may hold the token
    json: JsonValue = None  # None: no JSON body
    files: tuple[FilePart, ...] = ()
    body: bytes | None = None  # raw bytes: a server's view of what came in
    signed: bool = True  # False: no token of the connection is added
    budget: str | None = None  # rate-limit class the request is counted in; None: not limited by us
    read_seconds: float | None = None  # None: the connection's own
    stream: bool = False  # True: an answer that is a stream of events is handed out as it comes
    # Of a stream: seconds until the caller's deadline, asked again and again; None: it may go on for ever.
    left: Callable[[], float] | None = None

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show no headers and no body."""
        return [(name, getattr(self, name)) for name in ("method", "path", "query", "files", "budget")]


class Chunks(Protocol):
    """The body of a stream, as it comes, for one thread."""

    def read(self) -> bytes:
        """Return the next bytes; b"" at the end.

        :raises CozeTransportError: the stream broke off; ``never_sent`` is False.
        """
        ...

    def close(self) -> None:
        """Close the connection, unless the stream was read to its end."""
        ...


class AsyncChunks(Protocol):
    """The body of a stream, as it comes, for one task of an event loop."""

    async def read(self) -> bytes:
        """Return the next bytes; b"" at the end.

        :raises CozeTransportError: the stream broke off; ``never_sent`` is False.
        """
        ...

    def close(self) -> None:
        """Close the connection, unless the stream was read to its end."""
        ...


class Response(Discreet, frozen=True):
    """One HTTP response: read to its end, or an open stream."""

    status: int
    headers: Mapping[str, str]  # asked by names in lower case, whatever their own is
    body: bytes  # b"" beside a stream
    origin: str = ""  # scheme://host:port that answered; a token of one Coze site fails on another
    stream: Chunks | AsyncChunks | None = None  # whoever has it closes it
    dialect: str = "cloud"  # of the connection: the kind of server that is expected to have answered

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show no answer, but how long it is."""
        return [("status", self.status), ("bytes", len(self.body)), ("origin", self.origin)]


class Replay(enum.Enum):
    """Whether a request may be sent again when its answer was lost."""

    ALWAYS = "always"  # a read: asking twice changes and costs nothing
    IF_NEVER_SENT = "if never sent"  # billed or creating: only when it did not leave, or was turned away


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One operation of the API: what to send, how to read the answer, and whether it may be repeated."""

    request: Request
    parse: Callable[[Mapping[str, Any]], T]  # gets the body of an answer whose code is 0
    replay: Replay
    permission: str | None = None  # the permission point a token needs, in Coze's spelling; None: none is documented


#: An operation that is answered with events: to be opened as a stream, not performed.
StreamCall: TypeAlias = Call[None]


def streamed(body: Mapping[str, Any]) -> None:
    """Stand for the parser of a :data:`StreamCall`, whose answer has no body."""


class Send(msgspec.Struct, frozen=True):
    """Effect: exchange this request for a :class:`Response`, or for a ``CozeTransportError`` thrown into the flow.

    It says when as well, so that "wait, then look" is one thing that whoever performs it can move: later when many wait.
    """

    request: Request
    after: float = 0.0  # seconds from now: not before
    by: float | None = None  # seconds from now: then at the latest, whatever waits. None: it may be held back for ever.
    looks: bool = False  # True: it only looks whether something has ended, and makes room for what gets work done

    def of(self, request: Request) -> Send:
        """Return this with another request in it: when it is sent stays."""
        return Send(request, self.after, self.by, self.looks)


class Sleep(msgspec.Struct, frozen=True):
    """Effect: let this many seconds pass."""

    seconds: float


class Gate(Protocol):
    """What a driver asks before it sends: holds requests back until their turn has come. For one thread."""

    def enter(self, effect: Send) -> None:
        """Return when it may be sent."""
        ...

    def leave(self, effect: Send, answer: Response) -> None:
        """Take note of the answer."""
        ...


class AsyncGate(Protocol):
    """The same for a task of an event loop."""

    async def enter(self, effect: Send) -> None:
        """Return when it may be sent."""
        ...

    def leave(self, effect: Send, answer: Response) -> None:
        """Take note of the answer."""
        ...


Effect: TypeAlias = Send | Sleep

#: A generator that yields effects, is sent a Response for each Send and None for each Sleep, and returns a value.
Flow: TypeAlias = Generator[Effect, Any, T]
