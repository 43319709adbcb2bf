"""What a leg of a batch tells: lines in the log, metrics, the table at the end, the page; and the figures that outlive a deferral."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.owner import JOURNAL
from airflow_provider_coze.batch.progress import Lines, progress_line, summary_table
from airflow_provider_coze.batch.results import FailedRow
from airflow_provider_coze.batch.runner import TICK_SECONDS
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.errors import CozeError, CozeStateError
from airflow_provider_coze.hooks.gate import lines_of
from airflow_provider_coze.observing.batch_metrics import BatchMeter

if TYPE_CHECKING:
    from airflow_provider_coze.operators.batch import BatchOperator

__all__ = ["Telling"]

#: Requests of the budget's class for one row, at least: the start, a look, and the answer of a chat.
_CALLS_OF_A_CHAT, _CALLS_OF_A_RUN = 3, 2


class Telling:
    """Tells of one batch, leg by leg.

    :param ti: Airflow's task instance.
    :param folder: of the batch.
    :param goes_on: whether an earlier leg of the same try has kept figures.
    """

    def __init__(self, task: BatchOperator, ti: Any, folder: str, *, goes_on: bool) -> None:
        self._task, self._ti, self._folder, self._clock = task, ti, folder, task.hook.clock
        self.stats = self._kept() if goes_on else Stats()
        self._gates = lines_of(task.hook.settings, self._clock)
        self._held = self._gates.held_seconds

    def begin(self, *, total: int | None, done: int, failed: int, open_rows: int) -> None:
        """Begin a leg.

        :param total: rows of the input. None: not known yet.
        :param done: rows that have an outcome, *failed* of them none that is an output.
        :param open_rows: rows that are in flight, or may be.
        """
        stats = self.stats
        if not stats.began:
            stats.begin(self._clock(), total, done, failed_before=failed)
            if open_rows:
                stats.recovered(open_rows)
            self._task.log.info(
                "Batch of %s rows in %s: %d have an outcome, %d were in flight when an earlier try ended",
                "an unknown number of" if total is None else total,
                files.shown(self._folder),
                done,
                open_rows,
            )
        stats.budget = self._rows_per_second()
        self._lines = Lines(stats.began)
        self._meter = BatchMeter(dag_id=self._ti.dag_id, task_id=self._ti.task_id, since=stats.figures(self._clock()))

    def tick(self, now: float, total: int | None) -> None:
        """Note what a second brought, and tell of it if a line is due.

        :param total: rows of the input, once that is known.
        """
        if total is not None:
            self.stats.set_total(total)
        held = self._gates.held_seconds
        self.stats.held(now - TICK_SECONDS, now, held - self._held)
        self._held = held
        if self._lines.due(now):
            self._task.log.info("%s", progress_line(self.stats, now))
            self._meter.tell(self.stats.figures(now))

    def end(self, reason: str) -> None:
        """End the batch."""
        now = self._clock()
        self.stats.end(now, reason)
        self._meter.tell(self.stats.figures(now))

    def told(self, manifest: Mapping[str, Any]) -> None:
        """Say in the log how it was, and where the results are."""
        self._task.log.info("%s", summary_table(self.stats))
        self._task.log.info("Results: %s; failed rows: %s", manifest["result_uri"], manifest["failed_uri"] or "none")

    def reported(self, result_uri: str, examples: Sequence[FailedRow]) -> str:
        """Write the page about the batch, and return where it is."""
        from airflow_provider_coze.batch.report import html_report

        page = html_report(self.stats, f"{self._ti.dag_id}.{self._ti.task_id}", self._facts(result_uri), examples)
        uri = files.joined(self._folder, "report.html")
        files.write_whole(uri, page.encode())
        return uri

    def keep(self) -> None:
        """Keep the figures for the next leg."""
        try:
            files.write_whole(self._uri(), json.dumps(self.stats.to_dict()).encode())
        except CozeStateError as error:
            self._task.log.warning("The figures of this leg are lost: %s", error)

    def _kept(self) -> Stats:
        try:
            with files.open_read(self._uri()) as file:
                return Stats.from_dict(json.loads(file.read()))
        except (CozeError, ValueError):
            return Stats()

    def _uri(self) -> str:
        return files.joined(self._folder, JOURNAL, "stats.json")

    def _rows_per_second(self) -> float | None:
        """Return how many rows the limits allow at most. None: none is known."""
        task, settings = self._task, self._task.hook.settings
        is_chat = task.what == "chat"
        qps, calls = (settings.chat_qps, _CALLS_OF_A_CHAT) if is_chat else (settings.workflow_qps, _CALLS_OF_A_RUN)
        limits = [] if task.requests_per_minute is None else [task.requests_per_minute / 60]
        limits += [qps / calls] if isinstance(qps, int | float) else []
        return min(limits) * task.rows_per_call if limits else None

    def _facts(self, result_uri: str) -> dict[str, str]:
        task: Any = self._task
        whose = {"Bot": task.bot_id} if task.what == "chat" else {"Workflow": task.workflow_id}
        return {
            "DAG": str(self._ti.dag_id),
            "Task": str(self._ti.task_id),
            "Run": str(self._ti.run_id),
            "Try": str(self._ti.try_number),
            **whose,
            "Results": result_uri,
        }
