"""Open streams for the hook, and hand their events out one by one, in both ways of waiting. What they mean is for the folds to say."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Self, cast

from airflow_provider_coze.errors import CozeError, CozeProtocolError, CozeStreamTimeoutError, CozeTransportError
from airflow_provider_coze.protocol.envelope import logid_in, open_envelope
from airflow_provider_coze.protocol.messages import (
    AsyncChunks,
    Chunks,
    Flow,
    Response,
    Send,
    Sleep,
    StreamCall,
    changed,
)
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.sse import Decoder, Event
from airflow_provider_coze.protocol.streams import Fold, is_whole

__all__ = ["AsyncEvents", "Events", "opened", "until_then"]

#: Events under another Content-Type, which are then read whole: a paid answer is not thrown away for a header.
_EVENTS = re.compile(rb"(\xef\xbb\xbf)?\s*(event|data|id)?:")


def until_then(
    call: StreamCall, retry: RetryPolicy, until: float | None, clock: Callable[[], float]
) -> tuple[StreamCall, RetryPolicy]:
    """Return a call and how it is repeated, bounded by a moment in Unix seconds."""
    if until is None:
        return call, retry
    patience = replace(retry, budget_seconds=min(retry.budget_seconds, max(0.0, until - clock())))
    return changed(call, request=changed(call.request, left=lambda: until - clock())), patience


def opened(what: StreamCall, retry: RetryPolicy) -> Flow[Response]:
    """Send a request that is answered with events, again where nothing can have been started, and return the open answer.

    :raises CozeError: of the last attempt.
    """
    attempt, waited = 0, 0.0
    while True:
        attempt += 1
        try:
            response: Response = yield Send(what.request)
            if response.stream is None and not (response.status == 200 and _EVENTS.match(response.body)):
                open_envelope(response, what)
                raise _no_stream(what, response)
            return response
        except CozeStreamTimeoutError:
            raise
        except CozeError as error:
            wait = retry.next_wait(error, attempt, what.replay, waited)
            if wait is None:
                raise
        waited += wait
        yield Sleep(wait)


def _no_stream(what: StreamCall, response: Response) -> CozeProtocolError:
    return CozeProtocolError(
        f"{what.request.method} {what.request.path} was answered with HTTP {response.status} and a JSON object, where a stream of "
        "events was asked for. Whether Coze carried it out, and bills it, is not known; a retry of the task sends it again.",
        status=response.status,
        origin=response.origin or None,
        logid=logid_in(response, None),
    )


class _Arrived:
    """The events that have come in, and how the stream ended."""

    logid: str | None  # of the answer that the stream is
    cut: Event | None  # what the end of the stream cut off; known when it is over

    def __init__(self, response: Response) -> None:
        self.logid, self.cut = logid_in(response, None), None
        self._decoder = Decoder()
        self._waiting: deque[Event] = deque()
        self._failure: CozeError | None = None
        self._is_over = False
        if response.stream is None:
            self._take(response.body)
            self._take(b"")

    def _take(self, data: bytes) -> None:
        """Take the next bytes; b"" ends the stream."""
        try:
            if data:
                self._waiting.extend(self._decoder.feed(data))
            else:
                self._end(None)
        except CozeProtocolError as error:  # an event that is too large
            self._failure = self._failure or error

    def _end(self, failure: CozeError | None) -> None:
        """End the stream. What it left may be an event that lacks only the blank line after it."""
        self._failure, self._is_over = failure, True
        left = self._decoder.close()
        if left is not None and is_whole(left):
            self._waiting.append(left)
        else:
            self.cut = left

    def _next(self) -> Event | None:
        """Return the next event, None if more bytes are needed.

        :raises CozeError: what broke the stream off.
        :raises EOFError: it is over.
        """
        if self._waiting:
            return self._waiting.popleft()
        if self._failure:
            raise self._failure
        if self._is_over:
            raise EOFError
        return None


class Events(_Arrived):
    """The events of an open stream, in the order in which they come."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self._chunks = cast("Chunks | None", response.stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while True:
            try:
                event = self._next()
            except EOFError:
                raise StopIteration from None
            if event is not None:
                return event
            if self._chunks is not None:
                try:
                    self._take(self._chunks.read())
                except CozeTransportError as error:
                    self._end(error)

    def into(self, fold: Fold) -> Iterator[str]:
        """Feed a fold until nothing of interest follows, and hand out what a person may read meanwhile, line by line.

        ``fold.ended`` says afterwards whether the outcome is known. A stream that breaks off after that is no failure.

        :raises CozeTransportError: the stream broke off before; the fold has the ids that it named.
        :raises CozeProtocolError: an event cannot be understood; the same.
        """
        try:
            for event in self:
                yield from fold.feed(event)
                if fold.done:
                    return
        except CozeTransportError:
            if not fold.ended:
                raise
        finally:
            if self.cut is not None:
                fold.rescue(self.cut)

    def close(self) -> None:
        """Close the stream, whether or not it is over."""
        if self._chunks is not None:
            self._chunks.close()


class AsyncEvents(_Arrived):
    """The events of an open stream, in the order in which they come, for one task of an event loop."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self._chunks = cast("AsyncChunks | None", response.stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            try:
                event = self._next()
            except EOFError:
                raise StopAsyncIteration from None
            if event is not None:
                return event
            if self._chunks is not None:
                try:
                    self._take(await self._chunks.read())
                except CozeTransportError as error:
                    self._end(error)

    async def into(self, fold: Fold) -> AsyncIterator[str]:
        """Feed a fold as :meth:`Events.into` does."""
        try:
            async for event in self:
                for line in fold.feed(event):
                    yield line
                if fold.done:
                    return
        except CozeTransportError:
            if not fold.ended:
                raise
        finally:
            if self.cut is not None:
                fold.rescue(self.cut)

    def close(self) -> None:
        """Close the stream, whether or not it is over."""
        if self._chunks is not None:
            self._chunks.close()
