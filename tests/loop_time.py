"""Time of event loops on which many sleep at once: it jumps to the earliest of them when nothing else can go on.

``driving.VirtualTime`` is for one at a time: there each sleep moves the time by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from tests.driving import VirtualTime

__all__ = ["LoopTime"]

#: Seconds of real time between two looks at whether threads and sockets are done.
_LOOK_SECONDS = 0.0005


class LoopTime:
    """Sleeps of one running loop after another, on a clock that moves by nothing else.

    :param time: the clock, which others may read.
    """

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_looking = False
        self._busy = 0

    def __call__(self) -> float:
        return self.time()

    async def sleep(self, seconds: float) -> None:
        loop = self._of_now()
        waking = loop.create_future()
        heapq.heappush(self._sleepers, (self.time() + max(0.0, seconds), next(self._numbers), waking))
        if not self._is_looking:
            self._is_looking = True
            loop.call_soon(self._look)
        await waking

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Let no time pass: something is done in a thread or behind a socket."""
        loop = self._of_now()
        self._busy += 1
        try:
            yield
        finally:
            if loop is self._loop:
                self._busy -= 1

    def counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a coroutine function during which no time passes."""

        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.busy():
                return await work(*args, **kwargs)

        return wrapped

    def _of_now(self) -> asyncio.AbstractEventLoop:
        """Return the running loop; what slept on one before does not wake any more."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._sleepers, self._is_looking, self._busy = loop, [], False, 0
        return loop

    def _look(self) -> None:
        loop = self._loop
        assert loop is not None
        if loop._ready:  # type: ignore[attr-defined]  # what can go on without time
            loop.call_soon(self._look)
            return
        if self._busy:
            loop.call_later(_LOOK_SECONDS, self._look)
            return
        while self._sleepers and self._sleepers[0][2].done():  # cancelled
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            self._is_looking = False
            return
        if (wait := self._sleepers[0][0] - self.time()) > 0:
            self.time.sleep(wait)
        while self._sleepers and self._sleepers[0][0] <= self.time():
            waking = heapq.heappop(self._sleepers)[2]
            if not waking.done():
                waking.set_result(None)
        loop.call_soon(self._look)
