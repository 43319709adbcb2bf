"""Read a stream to its end, and show in a task's log what comes in: whole lines, and not more often than a person can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol.messages import StreamCall
from airflow_provider_coze.protocol.streams import Fold

__all__ = ["GrowingLog", "read_stream"]

#: Airflow's UI asks for a log every few seconds, and each entry costs the worker a write.
_EVERY_SECONDS = 2.0
#: Characters of one entry.
_MAX_ENTRY = 10_000


class GrowingLog:
    """Collects lines, and logs them together from time to time.

    :param clock: Unix seconds.
    :param who: what speaks, for the entry's head.
    """

    def __init__(self, log: Any, clock: Callable[[], float], who: str) -> None:
        self._log, self._clock, self._who = log, clock, who
        self._waiting: list[str] = []
        self._last = clock() - _EVERY_SECONDS

    def add(self, lines: Iterable[str]) -> None:
        """Take lines, and log what waits if it is time."""
        self._waiting.extend(lines)
        if self._waiting and self._clock() - self._last >= _EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Log what waits."""
        text, self._waiting, self._last = "\n".join(self._waiting), [], self._clock()
        if text:
            self._log.info("%s says: %s", self._who, text if len(text) <= _MAX_ENTRY else f"{text[:_MAX_ENTRY]}…")


def read_stream(
    hook: CozeHook,
    call: StreamCall,
    fold: Fold,
    growing: GrowingLog,
    *,
    looked: Callable[[], object],
    until: float | None,
) -> None:
    """Open a stream, and feed *fold* with it until nothing of interest follows.

    :param looked: is called after each event, when the fold may know more.
    :param until: Unix seconds: when to stop reading. None: never.
    :raises CozeError: it was refused, or broke off; *fold* has what came before.
    """
    with hook.stream(call, until=until) as events:
        fold.logid = events.logid
        try:
            for event in events:
                growing.add(fold.feed(event))
                looked()
                if fold.done:
                    break
        finally:
            if events.cut is not None:
                fold.rescue(events.cut)
