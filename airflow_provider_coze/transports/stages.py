"""How far each request of a session is, and until when it may stay there. aiohttp bounds no stage as a whole.

Waiting for a connection that others use is no stage: it ends when theirs do. All requests of a session share one timer, because nearly
all of them end long before it would ring, and an ``asyncio.timeout`` for each would cost as much as sending it.
"""

from __future__ import annotations

import asyncio
import functools
import io
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler

from airflow_provider_coze.transports import wire

__all__ = ["Body", "Connector", "Heard", "Stages", "Watchdog"]

_NEVER = float("inf")


class Stages:
    """Where one request is; a context manager around it, which ends it with a TimeoutError when it is too late."""

    __slots__ = (
        "_cancelling",
        "_connecting_seconds",
        "_deadline",
        "_heard",
        "_read_seconds",
        "_reads_too",
        "_task",
        "_watchdog",
        "_whole_until",
        "is_of_whole",
        "late",
        "seconds",
        "sent",
        "until",
    )

    def __init__(
        self, watchdog: Watchdog, connect_seconds: float, read_seconds: float, hurried: bool, reads_too: bool = False
    ) -> None:
        """Stand before the first stage.

        :param hurried: *read_seconds* are all that the request has, for everything.
        :param reads_too: each read of its answer is bounded here, by *read_seconds*. False: aiohttp does that.
        """
        self._watchdog, self._read_seconds, self._reads_too = watchdog, read_seconds, reads_too
        self._deadline = watchdog.now() + read_seconds if hurried else _NEVER
        self._whole_until = _NEVER
        self._heard: Heard | None = None
        self.is_of_whole = False  # True: *seconds* are those of the whole answer
        self._connecting_seconds = wire.WHOLE_ANSWER * connect_seconds
        self.seconds = self._connecting_seconds  # of the stage it is in
        self.sent = False  # True: some of the request has left, perhaps
        self.late = False  # True: it was ended
        self.until = self._deadline  # seconds of the loop's clock

    @property
    def is_out_of_time(self) -> bool:
        """Whether it was ended because the caller's own time was up."""
        return self.late and self._watchdog.now() >= self._deadline

    def __enter__(self) -> Self:
        self._task = self._watchdog.enter(self)
        self._cancelling = self._task.cancelling()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._watchdog.leave(self._task)
        # As asyncio.timeout does it: whoever cancels the task as well gets what he asked for.
        if self.late and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def waiting(self) -> None:
        """Wait for a connection; anew, if aiohttp repeats a request whose connection the server had closed."""
        self._heard, self._whole_until, self.until = None, _NEVER, self._deadline

    def connecting(self) -> None:
        """Begin to connect. sock_connect bounds that, but not the tunnel through a proxy."""
        self.waiting()
        self.seconds = self._connecting_seconds
        self._watchdog.ring(self, min(self._deadline, self._watchdog.now() + self.seconds))

    def sending(self, heard: Heard) -> None:
        """Note that the request is being sent; the time of the answer counts from the last piece.

        :param heard: the connection, which knows when something came last.
        """
        now = self._watchdog.now()
        self.sent, self._whole_until = True, now + wire.WHOLE_ANSWER * self._read_seconds
        if self._reads_too:
            self._heard, heard.at, self.seconds = heard, now, self._read_seconds
            self._watchdog.ring(self, min(self._deadline, now + self._read_seconds))
        else:
            self._watchdog.ring(self, min(self._deadline, self._whole_until))

    def sending_more(self) -> None:
        """Note that another piece is being sent, on whatever thread that is."""
        self._whole_until = self._watchdog.now() + wire.WHOLE_ANSWER * self._read_seconds
        self.until = min(self._deadline, self._whole_until)

    def is_over(self, now: float) -> bool:
        """Tell whether it is too late, when its time has come; else it goes on, because something has been heard in the meantime."""
        if self._heard is not None and now < self._whole_until:
            self.until = min(self._deadline, self._whole_until, self._heard.at + self._read_seconds)
        self.is_of_whole = self.sent and self._whole_until <= now
        if self.is_of_whole:
            self.seconds = wire.WHOLE_ANSWER * self._read_seconds
        return self.until <= now

    def end(self) -> None:
        """End the request, which is too late."""
        self.late = True
        self._task.cancel()


class Watchdog:
    """The requests of one session that are under way, and the one timer that ends those which are late."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._under_way: dict[asyncio.Task[Any], Stages] = {}
        self._rings_at = _NEVER
        self.now = loop.time

    def enter(self, stages: Stages) -> asyncio.Task[Any]:
        """Watch a request of the running task."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a request outside of a task")
        self._under_way[task] = stages
        if stages.until < _NEVER:
            self.ring(stages, stages.until)
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Forget the request of a task."""
        del self._under_way[task]

    def here(self) -> Stages | None:
        """Return the request of the running task."""
        return self._under_way.get(asyncio.current_task(self._loop))  # type: ignore[arg-type]

    def ring(self, stages: Stages, at: float) -> None:
        """End a request at that moment, unless it has moved on by then."""
        stages.until = at
        if at < self._rings_at:
            self._rings_at = at
            self._loop.call_at(at, self._rings, at)

    def _rings(self, at: float) -> None:
        if at != self._rings_at:
            return  # one that was to ring earlier has come between
        now, earliest = self.now(), _NEVER
        for stages in list(self._under_way.values()):
            if stages.late:
                continue
            if stages.until <= now and stages.is_over(now):
                stages.end()
            else:
                earliest = min(earliest, stages.until)
        self._rings_at = _NEVER
        if earliest < _NEVER:
            self._rings_at = earliest
            self._loop.call_at(earliest, self._rings, earliest)


class Heard(ResponseHandler):
    """aiohttp's end of a connection, which notes when something came; aiohttp itself makes a timer of each piece.

    :ivar at: seconds of the loop's clock.
    """

    at = 0.0

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self.at = self._loop.time()
        super().data_received(data)


class Connector(aiohttp.TCPConnector):
    """aiohttp's connections, which say how far they are. Its own traces cost a tenth of a request."""

    def __init__(self, watchdog: Watchdog, **options: Any) -> None:
        super().__init__(**options)
        self._watchdog = watchdog
        self._factory = functools.partial(Heard, loop=self._loop)  # type: ignore[assignment]  # it is one

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        """Return a connection; the request is sent through it at once."""
        stages = self._watchdog.here()
        if stages and stages.sent:
            stages.waiting()
        connection = await super().connect(req, traces, timeout)
        if stages:
            stages.sending(connection.protocol)  # type: ignore[arg-type]  # made by the factory
        return connection

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        if stages := self._watchdog.here():
            stages.connecting()
        return await super()._create_connection(req, traces, timeout)


class Body(io.BytesIO):
    """The content of a request, which says when the next piece of it is taken to be sent."""

    def __init__(self, content: bytes, stages: Stages) -> None:
        super().__init__(content)
        self._stages = stages

    def read(self, size: int | None = -1) -> bytes:
        """Return the next piece."""
        self._stages.sending_more()
        return super().read(size)
