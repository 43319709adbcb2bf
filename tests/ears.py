"""Hear all that a process says of what it does, for tests that look for what must not be said."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from airflow_provider_coze.errors import CozeError

__all__ = ["Ears", "chain", "told_by"]


class Ears(logging.Handler):
    """Within a ``with`` block: the records of all loggers, from DEBUG on, as text with their tracebacks; nobody else hears them."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.heard: list[str] = []
        self._levels: list[tuple[logging.Logger, int]] = []
        self._others: list[tuple[logging.Logger, list[logging.Handler]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record: as it reads, and what it was made of."""
        self.heard += [self.format(record), f"{record.msg!r} {record.args!r}"]
        if record.exc_info and record.exc_info[1]:
            self.heard += told_by(record.exc_info[1])

    def __enter__(self) -> Self:
        loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
        self._levels = [(logger, logger.level) for logger in (logging.root, *loggers)]
        apart = (logger for logger in loggers if not logger.propagate)
        self._others = [(logger, logger.handlers) for logger in (logging.root, *apart)]
        for logger, _ in self._levels:
            logger.setLevel(logging.DEBUG if logger is logging.root else logging.NOTSET)
        for logger, _ in self._others:
            logger.handlers = [self]  # Airflow's own may mask what a record holds, and take their time
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for logger, others in self._others:
            logger.handlers = others
        for logger, level in self._levels:
            logger.setLevel(level)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error, its causes and its contexts, each once, suppressed ones as well."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, one.__context__]


def told_by(error: BaseException) -> list[str]:
    """Return all the texts that an error can end up as: words, repr, facts, payload, traceback; and those of what it came from."""
    texts = ["".join(traceback.format_exception(error))]
    for one in chain(error):
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), *getattr(one, "__notes__", ())]
        if isinstance(one, CozeError):
            texts += [repr(one.facts()), repr(one.to_payload())]
    return texts
