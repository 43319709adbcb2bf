"""Airflow metrics ``coze.batch.*``: the figures of a line of progress, whenever one is due. None where Airflow has no metrics."""

from __future__ import annotations

from airflow_provider_coze.batch.stats import Figures
from airflow_provider_coze.compat import metrics_tagged
from airflow_provider_coze.observing.metrics import send

__all__ = ["BatchMeter"]


class BatchMeter:
    """Sends the figures of one batch.

    :param dag_id: its DAG; a tag, and never part of a name, as is *task_id*.
    :param since: figures that another process has sent already, before a deferral.
    """

    def __init__(self, *, dag_id: str, task_id: str, since: Figures | None = None) -> None:
        self._whose = {"dag_id": dag_id, "task_id": task_id}
        self._sent = _counts(since)

    def tell(self, now: Figures) -> None:
        """Send what has been counted since the last time, and how things are now. To be told once more when the batch has ended."""
        if metrics_tagged() is None:
            return
        counts = _counts(now)
        for (name, tag, kind), count in counts.items():
            if (more := count - self._sent[name, tag, kind]) > 0:
                send("incr", f"batch.{name}", more, {tag: kind} if tag else {}, self._whose)
        self._sent = counts
        gauges = {
            "in_flight": now.in_flight,
            "queue": now.queue,
            "rate": now.rate,
            "waiting": 100 * now.waiting,
            "left": None if now.total is None else max(0, now.total - now.done),
            "eta": now.eta,
        }
        for name, value in gauges.items():
            if value is not None:
                send("gauge", f"batch.{name}", value, {}, self._whose)


def _counts(figures: Figures | None) -> dict[tuple[str, str, str], int]:
    """Return what is counted, by name, tag and the tag's value."""
    return {
        ("rows", "outcome", "ok"): figures.ok if figures else 0,
        ("rows", "outcome", "failed"): figures.failed if figures else 0,
        ("retries", "", ""): figures.retried if figures else 0,
        ("tokens", "direction", "input"): figures.tokens_in if figures else 0,
        ("tokens", "direction", "output"): figures.tokens_out if figures else 0,
    }
