"""Airflow metrics ``coze.*``. Where Airflow has none, nothing is done; where sending one fails, nothing happens.

On an event loop they are sent by a thread: a client can resolve a name, or block, and a triggerer has one loop for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from airflow_provider_coze.compat import metrics, metrics_tagged
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Usage
from airflow_provider_coze.protocol.observed import watched

__all__ = ["count_tokens", "observed", "send"]

T = TypeVar("T")

log = logging.getLogger(__name__)

#: What may wait for the thread: some minutes of a busy triggerer. Beyond, metrics are dropped, and never a trigger held up.
_MOST_WAITING = 10_000


def are_counted() -> bool:
    """Tell whether Airflow has metrics."""
    return metrics_tagged() is not None


def observed(flow: Flow[T], dressed: Callable[[Flow[T]], Flow[T]], held: Callable[[], float]) -> Flow[T]:
    """Return *flow* in its layers, with its requests, retries and waits counted if Airflow has metrics.

    :param dressed: adds the layers: dialect, token.
    :param held: seconds that the flow's requests have waited for their turn so far.
    """
    if metrics_tagged() is None:
        return dressed(flow)
    return watched(flow, dressed, _METER, time.perf_counter, held)


def count_tokens(usage: Usage, *, what: str, dag_id: str, task_id: str) -> None:
    """Count tokens as used.

    :param what: ``chat`` or ``run``.
    """
    if metrics_tagged() is None:
        return
    whose = {"dag_id": dag_id, "task_id": task_id}
    for direction, count in (("input", usage.input_count), ("output", usage.output_count)):
        if count > 0:
            send("incr", "tokens", count, {"what": what, "direction": direction}, whose)


class _AirflowMeter:
    """The :class:`~airflow_provider_coze.protocol.observed.Meter` that sends to Airflow's metrics."""

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        send("incr", "calls", 1, {"operation": operation, "outcome": outcome})
        send("timing", "latency", seconds * 1000, {"operation": operation})
        if outcome == "rate_limited":
            send("incr", "rate_limited", 1, {"operation": operation})

    def retried(self, operation: str) -> None:
        send("incr", "retries", 1, {"operation": operation})

    def waited(self, why: str, seconds: float) -> None:
        send("timing", "wait", seconds * 1000, {"why": why})


_METER = _AirflowMeter()
#: How, name, value, tags.
_Metric = tuple[str, str, float, dict[str, str] | None]


def send(
    how: str, name: str, value: float, parts: Mapping[str, str], more_tags: Mapping[str, str] | None = None
) -> None:
    """Send one metric: with *parts* and *more_tags* as tags if they arrive, else with *parts* in its name.

    One of the two and not both, so that a sum over ``coze.calls*`` counts each call once.

    :param how: ``incr``, ``timing`` (milliseconds) or ``gauge``.
    :param name: behind ``coze.``.
    """
    what: _Metric
    if metrics_tagged():
        what = (how, f"coze.{name}", value, {**parts, **(more_tags or {})})
    else:
        what = (how, ".".join(("coze", name, *parts.values())), value, None)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _deliver(what)
    else:
        _POST.hand_over(what)


def _deliver(what: _Metric) -> None:
    how, name, value, tags = what
    try:
        stats = metrics()
        if stats is not None:
            getattr(stats, how)(name, value, tags=tags)
    except Exception as error:  # a metric is never worth a task
        log.debug("Metric %s was not sent: %s", name, type(error).__name__)


class _Post:
    """A thread that sends what an event loop hands over. It begins with the first metric, and again in a process that was forked."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Metric] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def hand_over(self, what: _Metric) -> None:
        """Have a metric sent; drop it if too many wait."""
        if self._thread is None or not self._thread.is_alive():
            self._waiting = queue.Queue(_MOST_WAITING)
            self._thread = threading.Thread(target=_work, args=(self._waiting,), name="coze-metrics", daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(what)


def _work(waiting: queue.Queue[_Metric]) -> None:
    while True:
        _deliver(waiting.get())
        waiting.task_done()


_POST = _Post()
