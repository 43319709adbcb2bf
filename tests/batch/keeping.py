"""Where tests keep a batch: an object store that counts and fails as told, a clock that stands still, and rows that are quickly made."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Iterable
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.results import RowError, RowResult
from airflow_provider_coze.protocol.models import Usage

__all__ = ["Clock", "Shelf", "failed_row", "good_row", "journal", "lines_of"]


class Shelf(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store in memory. ``puts`` are the names that were written, in order."""

    protocol = "shelf"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its base has it
    pseudo_dirs = [""]  # noqa: RUF012
    puts: list[str] = []  # noqa: RUF012
    failures = 0  # so many of the next writes fail
    lands = False  # a write that fails has been carried out all the same

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        kind = type(self)
        if kind.failures:
            kind.failures -= 1
            if kind.lands:
                super().pipe_file(path, value, **kwargs)
            raise OSError("https://name:s3cret@bucket is not there")
        kind.puts.append(path.rpartition("/")[2])
        super().pipe_file(path, value, **kwargs)

    @classmethod
    def emptied(cls) -> None:
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.puts.clear()
        cls.failures, cls.lands = 0, False

    @classmethod
    def segments(cls) -> list[str]:
        """Names of the segments that were put, as often as they were."""
        return [name for name in cls.puts if name.endswith(".jsonl")]


fsspec.register_implementation("shelf", Shelf, clobber=True)


class Clock:
    """Time that passes when the test says so; sleepers wake then."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), waking))
        await waking

    def tick(self, seconds: float) -> None:
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            waking = heapq.heappop(self._sleepers)[2]
            if not waking.done():
                waking.set_result(None)

    async def until(self, task: asyncio.Task[Any] | asyncio.Future[Any]) -> None:
        """Let time pass until a task is done."""
        while not task.done():
            self.tick(0.5)
            await asyncio.wait([task], timeout=0.002)


def journal(folder: str, attempt: str = "1", clock: Clock | None = None, **options: Any) -> Journal:
    clock = clock or Clock()
    return Journal(folder, attempt, clock=clock, sleep=clock.sleep, **options)


def good_row(index: int, output: Any = "yes", input_hash: str = "h", tokens: int = 3, **more: Any) -> RowResult:
    usage = Usage(tokens, tokens - 1, 1)
    return RowResult(index, input_hash, output, usage=usage, ids={"chat_id": f"7{index}"}, tries=1, **more)


def failed_row(index: int, kind: str = "CozeRunFailedError", input_hash: str = "h", value: Any = "row") -> RowResult:
    return RowResult(index, input_hash, None, RowError(kind, 5000, "trouble", "log1"), tries=1, value=value)


def lines_of(content: bytes | Iterable[bytes]) -> list[Any]:
    """Return the values of the lines of one content, or of several in turn."""
    whole = content if isinstance(content, bytes) else b"".join(content)
    return [json.loads(line) for line in whole.split(b"\n") if line]
