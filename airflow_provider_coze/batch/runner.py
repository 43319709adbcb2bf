"""The event loop of a batch: one dispatcher, and a task for each request in flight. What a task does is ``handling``'s."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from airflow_provider_coze.batch.asks import Ask, Live
from airflow_provider_coze.batch.engine import Engine, Stop, Terminal
from airflow_provider_coze.batch.finder import Finder, Perform
from airflow_provider_coze.batch.handling import Handler, Kind
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.plan import Job
from airflow_provider_coze.batch.results import FailedRow
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.errors import CozeStateError

__all__ = ["TICK_SECONDS", "Runner"]

#: Rows that are read and rendered at a time, in a thread.
_CHUNK = 256
#: How often it is looked whether a line of progress is due.
TICK_SECONDS = 1.0
#: A row that has to wait longer than this before it is asked again does not keep a worker that could defer.
_WORTH_WAITING_SECONDS = 15.0


class Runner:
    """Drives one batch, or one burst of it, on the running event loop.

    :param jobs: what is to be done, lazily; read in a thread.
    :param finder: places and finds chats. None: what is in doubt cannot be found, as runs.
    :param new_marker: makes the marker of a request for these rows.
    :param waits: False: requests are not waited for here, but returned; those of *ended* are read.
    :param on_tick: is called every second, for progress.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        engine: Engine,
        jobs: Iterator[Job],
        journal: Journal,
        perform: Perform,
        stats: Stats,
        log: Any,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        max_in_flight: int,
        new_marker: Callable[[Ask], str],
        finder: Finder | None = None,
        waits: bool = True,
        ended: frozenset[str] = frozenset(),
        probes: bool = False,
        most_starts: int | None = None,
        on_tick: Callable[[float], None] = lambda now: None,
    ) -> None:
        self._engine, self._jobs, self._stats = engine, jobs, stats
        self._clock, self._sleep, self._most, self._on_tick = clock, sleep, max_in_flight, on_tick
        self._handler = Handler(
            kind=kind,
            engine=engine,
            journal=journal,
            perform=perform,
            stats=stats,
            log=log,
            clock=clock,
            sleep=sleep,
            new_marker=new_marker,
            push=self._push,
            finder=finder,
            waits=waits,
            ended=ended,
            probes=probes,
            most_starts=most_starts,
        )
        self._window = self._handler.window
        self._chunk: list[Job] = []
        self._exhausted = False
        self._later: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> list[Live]:
        """Do all that can be done, and return what is to be waited for elsewhere.

        What goes wrong is raised when all that runs is collected; if the journal cannot be written any more, at once.

        :raises CozeStateError: the journal cannot be written, so nothing more is bought.
        :raises CozeInputError: the rows cannot be read any further.
        """
        ticking = asyncio.create_task(self._tick(), name="coze-batch-progress")
        try:
            await self._dispatch()
            while self._tasks and not isinstance(self._failure, CozeStateError):
                self._wake.clear()
                await self._wake.wait()
        finally:
            ticking.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(ticking, *self._tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return self._window

    @property
    def has_done_all(self) -> bool:
        """Whether every row has its outcome, however late that came."""
        return self.has_sent_all and not (self._tasks or self._window or self._handler.leaves_some)

    @property
    def examples(self) -> Sequence[FailedRow]:
        """What the first rows that failed have failed of."""
        return self._handler.examples

    @property
    def has_sent_all(self) -> bool:
        """Whether nothing is left to be sent, as far as is known."""
        return self._exhausted and not self._chunk and not self._later

    async def _dispatch(self) -> None:
        while self._failure is None:
            self._wake.clear()
            now = self._clock()
            self._engine.check(now)
            job = await self._next(now)
            if job is not None:
                if isinstance(job, Ask):
                    await self._quota(now)
                self._begin(job)
            elif not (await self._something_happens(now) or self._gives_up()):
                return

    def _gives_up(self) -> bool:
        """Have what only this process could still find out, and cannot, judged. False: nothing is left, or another leg may."""
        return not self._window and self._engine.goes_on and self._handler.give_up()

    async def _quota(self, now: float) -> None:
        """Wait for the next of requests_per_minute."""
        if (wait := self._engine.book(now)) > 0:
            self._stats.waited_for_quota(now, wait)
            await self._sleep(wait)
            self._engine.check(self._clock())

    async def _next(self, now: float) -> Job | None:
        """Return what to do now, if there is something and room for it."""
        if self._is_full or not self._engine.goes_on:
            return None
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        if not self._chunk and not self._exhausted:
            try:
                self._chunk = await asyncio.to_thread(lambda: list(itertools.islice(self._jobs, _CHUNK)))
            except Exception as error:
                self._fail(error)
                return None
            self._chunk.reverse()
            self._exhausted = not self._chunk
        return self._chunk.pop() if self._chunk else None

    @property
    def _is_full(self) -> bool:
        return len(self._tasks) + len(self._window) >= self._most

    def _fail(self, error: BaseException) -> None:
        """Buy nothing more, because of an error that is raised in the end."""
        self._failure = self._failure or error
        self._engine.halt(Stop(Terminal.REFUSED))
        self._wake.set()

    async def _something_happens(self, now: float) -> bool:
        """Wait until there may be something to do again. False: nothing can happen any more, here."""
        idle = not self._tasks
        wait: float | None = None
        if self._engine.goes_on:
            full = self._is_full
            if self._later and not full:
                wait = max(0.0, self._later[0][0] - now)
            if idle and (full or wait is None or (self._window and wait > _WORTH_WAITING_SECONDS)):
                return False
            if self._engine.limits.until is not None:
                left = max(0.0, self._engine.limits.until - now)
                wait = left if wait is None else min(wait, left)
        elif idle:
            return False
        if idle and wait is not None:
            await self._sleep(wait)  # nothing else can wake us
            return True
        await self._woken(wait)
        return True

    async def _woken(self, wait: float | None) -> None:
        waking = asyncio.ensure_future(self._wake.wait())
        if wait is None:
            await waking
            return
        sleeping = asyncio.ensure_future(self._sleep(wait))
        _, pending = await asyncio.wait((waking, sleeping), return_when=asyncio.FIRST_COMPLETED)
        for other in pending:
            other.cancel()

    def _begin(self, job: Job) -> None:
        if isinstance(job, BadRow):
            self._handler.bad(job)
            return
        if isinstance(job, Live) and self._handler.is_for_the_window(job):
            self._window.append(job)
            self._stats.in_flight = len(self._tasks) + len(self._window)
            return
        if isinstance(job, Ask) and not self._engine.goes_on:  # it has been stopped while the quota was waited for
            self._handler.leave()
            return
        task = asyncio.create_task(self._handler.handle(job))
        self._tasks.add(task)
        self._stats.in_flight, self._stats.queue = len(self._tasks) + len(self._window), len(self._chunk)
        task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._stats.in_flight = len(self._tasks) + len(self._window)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _push(self, job: Job, wait: float) -> None:
        heapq.heappush(self._later, (self._clock() + wait, next(self._numbers), job))
        self._wake.set()

    async def _tick(self) -> None:
        while True:
            await self._sleep(TICK_SECONDS)
            self._on_tick(self._clock())
