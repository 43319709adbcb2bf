"""How far each request of a session is, and until when it may stay there. aiohttp bounds each read, but no stage as a whole.

Waiting for a connection that others use is no stage: it ends when theirs do. All requests of a session share one timer, because nearly
all of them end long before it would ring, and an ``asyncio.timeout`` for each would cost as much as sending it.
"""

from __future__ import annotations

import asyncio
import io
from types import TracebackType
from typing import Any, Self

import aiohttp

from airflow_provider_coze.transports import wire

__all__ = ["Body", "Connector", "Stages", "Watchdog"]

_NEVER = float("inf")


class Stages:
    """Where one request is; a context manager around it, which ends it with a TimeoutError when it is too late."""

    __slots__ = (
        "_answer_seconds",
        "_cancelling",
        "_deadline",
        "_task",
        "_watchdog",
        "late",
        "seconds",
        "sent",
        "until",
    )

    def __init__(self, watchdog: Watchdog, connect_seconds: float, read_seconds: float, hurried: bool) -> None:
        """:param hurried: *read_seconds* are all that the request has, for everything."""
        self._watchdog = watchdog
        self._answer_seconds = wire.WHOLE_ANSWER * read_seconds
        self._deadline = watchdog.now() + read_seconds if hurried else _NEVER
        self.seconds = wire.WHOLE_ANSWER * connect_seconds  # of the stage it is in
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

    def connecting(self) -> None:
        """Begin to connect. sock_connect bounds that, but not the tunnel through a proxy."""
        self._watchdog.ring(self, min(self._deadline, self._watchdog.now() + self.seconds))

    def sending(self) -> None:
        """Note that the request is being sent; the time of the answer counts from the last piece."""
        self.sent, self.seconds = True, self._answer_seconds
        self._watchdog.ring(self, min(self._deadline, self._watchdog.now() + self.seconds))

    def sending_more(self) -> None:
        """Note that another piece is being sent, on whatever thread that is."""
        self.until = min(self._deadline, self._watchdog.now() + self.seconds)

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
            if stages.until <= now and not stages.late:
                stages.end()
            elif not stages.late:
                earliest = min(earliest, stages.until)
        self._rings_at = _NEVER
        if earliest < _NEVER:
            self._rings_at = earliest
            self._loop.call_at(earliest, self._rings, earliest)


class Connector(aiohttp.TCPConnector):
    """aiohttp's connections, which say how far they are. Its own traces cost a tenth of a request."""

    def __init__(self, watchdog: Watchdog, **options: Any) -> None:
        super().__init__(**options)
        self._watchdog = watchdog

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        """Return a connection; the request is sent through it at once."""
        connection = await super().connect(req, traces, timeout)
        if stages := self._watchdog.here():
            stages.sending()
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
