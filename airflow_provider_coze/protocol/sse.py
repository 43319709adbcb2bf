"""Read server-sent events out of bytes as they come in, however they are cut. No sockets, and no knowledge of what an event means.

The rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, because
Coze writes its streams in several ways: with and without a blank after the colon, with and without ids, with the last data
quoted or not (the recordings of github.com/coze-dev/coze-py, tests/testdata). Three things are different here:

- an id belongs to the one event that names it: Coze numbers what it sends, and a number that is missing is a lost event;
- an event that the end of the stream cuts off is handed out by :meth:`Decoder.close`, because it may name a paid run;
- one event may not be larger than :data:`MAX_EVENT_BYTES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from airflow_provider_coze.errors import CozeProtocolError

__all__ = ["MAX_EVENT_BYTES", "Decoder", "Event"]

#: As large as a whole answer may be (``transports.wire.MAX_BODY_BYTES``). It bounds what a broken or hostile server can make
#: a worker or the triggerer hold in memory: a line that never ends, or data without a blank line after it.
MAX_EVENT_BYTES = 64 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n?|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    event: str  # "message" when the stream names none
    data: str = field(repr=False)  # its lines joined by "\n"; most often JSON, "" is real data
    id: str | None = None  # None: this event has none


@dataclass(slots=True)
class _Frame:
    """The complete lines of the event that is coming in."""

    name: bytes = b""
    data: bytearray | None = None  # None: no data line yet, so a blank line ends nothing
    id: bytes | None = None
    size: int = 0  # bytes of its lines, comments left out

    def add(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if not name:  # a line that starts with a colon is a comment, which some servers send to keep a connection open
            return
        self.size += len(line) + 1
        value = value.removeprefix(b" ")
        if name == b"data":
            if self.data is None:
                self.data = bytearray(value)
            else:
                self.data += b"\n" + value
        elif name == b"event":
            self.name = value
        elif name == b"id" and b"\0" not in value:
            self.id = value

    def event(self) -> Event:
        # A line end is no part of a longer character in UTF-8, so decoding all lines at once is decoding each of them.
        return Event(
            event=self.name.decode("utf-8", "replace") or "message",
            data=(self.data or b"").decode("utf-8", "replace"),
            id=None if self.id is None else self.id.decode("utf-8", "replace"),
        )


class Decoder:
    """The state between two pieces of one stream. Pieces may end anywhere, inside a character too.

    :param max_event_bytes: the most that the lines of one event may hold together, each counted with one byte for its end.
        A comment counts only while it is read.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()  # as much of the current line as is here
        self._after_cr = False  # a "\n" that comes next belongs to the line end before it
        self._at_start = True  # only the first line may have a byte order mark
        self._too_large = False
        self._frame = _Frame()

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete.

        :raises CozeProtocolError: an event is larger than allowed. Those that were complete before it have been returned:
            when they came in the same bytes, the error waits for the next call.
        """
        if self._too_large:
            raise self._refusal()
        if not chunk:  # says nothing about what follows a "\r"
            return []
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        events: list[Event] = []
        start = 0
        for end in _LINE_END.finditer(chunk):
            if not self._read(chunk[start : end.start()]):
                break
            if (event := self._end_line()) is not None:
                events.append(event)
            start = end.end()
        else:
            self._read(chunk[start:])
            self._after_cr = chunk.endswith(b"\r")
        if self._too_large and not events:
            raise self._refusal()
        return events

    def close(self) -> Event | None:
        """Return the event that the end of the stream cut off; None: the stream ended between two events.

        It is as much of the event as came: its last field may be a half, or missing.

        :raises CozeProtocolError: an event was larger than allowed.
        """
        if self._too_large:
            raise self._refusal()
        if self._line:
            self._end_line()
        cut, self._frame = self._frame, _Frame()
        return cut.event() if cut.size else None

    def _read(self, piece: bytes) -> bool:
        """Add a piece to the current line; False when that makes the event too large."""
        self._too_large = self._frame.size + len(self._line) + len(piece) > self._max_event_bytes
        if self._too_large:
            self._line.clear()
            self._frame = _Frame()
        else:
            self._line += piece
        return not self._too_large

    def _end_line(self) -> Event | None:
        """Take the current line as complete. An empty one ends an event, which is returned if it has data."""
        line = bytes(self._line)
        self._line.clear()
        if self._at_start:
            line, self._at_start = line.removeprefix(_BOM), False
        if line:
            self._frame.add(line)
            return None
        ended, self._frame = self._frame, _Frame()
        return None if ended.data is None else ended.event()

    def _refusal(self) -> CozeProtocolError:
        return CozeProtocolError(
            f"An event of the stream is larger than {self._max_event_bytes} bytes, and reading stopped there. Coze may go on with the "
            "chat or run, and charges for it: look how it stands before it is started again."
        )
