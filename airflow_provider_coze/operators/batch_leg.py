"""One leg of a batch: everything between the journal of the legs before it and what the task does next.

Imported when a batch runs, and never for parsing a DAG file.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.asks import Ask, Item, Live
from airflow_provider_coze.batch.engine import Engine, Limits, Stop, Terminal
from airflow_provider_coze.batch.finder import Finder
from airflow_provider_coze.batch.garbage import fewer_collections
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.manifest import finish
from airflow_provider_coze.batch.owner import JOURNAL
from airflow_provider_coze.batch.past import Past, read_past
from airflow_provider_coze.batch.plan import Plan
from airflow_provider_coze.batch.rows import BadRow, Row, count_rows, read_rows
from airflow_provider_coze.batch.runner import Runner
from airflow_provider_coze.batch.templates import RowTemplates
from airflow_provider_coze.batch.window import write_window
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.operators.batch_telling import Telling
from airflow_provider_coze.operators.purchase import identity_of
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.state.record import fingerprint

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.operators.batch import BatchOperator

__all__ = ["Leg", "Over"]

#: Batches with fewer rows than this (if it is known) do not find out whether chats can do without conversations of their own.
_WORTH_A_PROBE = 100
#: How long a chat that has arrived, and that nobody can name yet, is looked for where rows have no time limit.
_PATIENCE_SECONDS = 300.0
#: Requests in flight where the DAG does not say. A burst on a worker costs some seconds, whatever it sends, so it sends more.
_IN_FLIGHT, _DEFERRED_IN_FLIGHT = 50, 500
#: What ends a batch from outside, and is of no matter if it was at its end.
_IN_TIME = (Terminal.TIMEOUT, Terminal.BUDGET)
_HASH_DIGITS = 32
#: Starts of runs that wait for their reply at the same time, to reach the budget when a reply takes this long; without a known budget,
#: Coze's highest (www.coze.cn/open/docs/developer_guides/coze_api_overview: 500 requests a second, with the reads).
_FEWEST_STARTS, _REPLY_SECONDS, _FASTEST = 8, 0.25, 250.0
#: How a leg ends that is followed by another one of the same try.
_DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Over:
    """How a batch has ended."""

    reason: Terminal
    manifest: dict[str, Any]
    error: CozeError | None = None


class Leg:
    """One process's share of a batch.

    :param folder: of the batch. None: the leg is the first of its try, and finds or makes it.
    :param until: Unix seconds: when the try is to be over.
    :param ended: markers of what has ended while the task was deferred.
    """

    def __init__(
        self, task: BatchOperator, context: Context, *, folder: str | None, until: float | None, ended: frozenset[str]
    ) -> None:
        self._task, self._context, self._until, self._ended = task, context, until, ended
        self._ti, self._clock, self._is_first = context["ti"], task.hook.clock, folder is None
        self._generation = int(getattr(self._ti, "max_tries", 0) or 0)
        self._key = identity_of(context)
        self.folder = folder or self._found_folder()
        self.window_uri = ""
        self.waiting = self.enough = 0
        self._engine: Engine | None = None
        self._total: int | None = None
        self._numbers = itertools.count()
        # It reads the connection: here a worker may block, and no journal tells of a batch yet.
        self._telling = Telling(task, self._ti, self.folder, goes_on=not self._is_first)

    def run(self) -> Over | None:
        """Do it. None: the task has to wait in the triggerer for what is in flight.

        :raises CozeError: the rows cannot be read, or the journal cannot be kept.
        """
        with fewer_collections():
            return asyncio.run(self._run())

    def kill(self) -> None:
        """Send nothing more; what is in flight goes on, and a retry finds it in the journal."""
        if self._engine is not None:
            self._engine.halt(Stop(Terminal.KILLED))
        self._task.log.warning(
            "The batch is killed: nothing more is sent. What it has in flight is not cancelled, and is billed; a retry goes on with it. "
            "Its journal is in %s",
            files.shown(self.folder),
        )

    def _found_folder(self) -> str:
        """Return the folder of the batch that this try goes on with, or of a new one."""
        from airflow_provider_coze.operators.batch import batch_name

        base = files.joined(self._task.result_path, batch_name(self._ti, self._key))
        folder, number = base, 1
        while files.exists(files.joined(following := f"{base}.{number + 1}", JOURNAL)):
            folder, number = following, number + 1
        if not files.exists(files.joined(folder, JOURNAL)):
            return folder
        if self._task.reuse == "never":
            self._task.log.warning('Starting, and paying for, a new batch: reuse is "never"')
            return f"{base}.{number + 1}"
        delivered = read_past(folder).notes.get("delivered") if self._task.reuse == "unfinished" else None
        if delivered is not None and delivered != self._generation:
            self._task.log.warning("Starting, and paying for, a new batch: the task was cleared after it had this one")
            return f"{base}.{number + 1}"
        return folder

    async def _run(self) -> Over | None:
        task, attempt = self._task, str(self._ti.try_number)
        # None is the failed_uri of a batch in which nothing failed: there is nothing to do, and nothing wrong.
        source = [] if task.inputs is None else task.inputs
        rows = await asyncio.to_thread(read_rows, source, check=self._is_first)
        self._total = await asyncio.to_thread(count_rows, source)
        templates = RowTemplates(task.get_template_env(), self._context, **task._templates())
        journal = Journal(
            self.folder, attempt, clock=self._clock, commit_seconds=task.commit_seconds, sleep=task.hook.asleep
        )
        async with task.hook.pooled(), journal:
            past = await asyncio.to_thread(read_past, self.folder)
            if self._asks_again(past):
                resends = task.on_unknown == "resend"
                journal.again(unknown=resends)
                past.forget_failures(unknown=resends)
            runner, plan = self._runner(journal, past, self._items(rows, templates))
            window = await runner.run()
            if plan.changed:
                task.log.warning(
                    "The input of %d rows is not what an earlier try sent; they are asked anew", plan.changed
                )
            assert self._engine is not None  # noqa: S101 - the runner has it
            stop = self._engine.stop
            if stop is not None and stop.reason in _IN_TIME and runner.has_done_all:
                stop = None  # its last row came in when the time, or the budget, was over: nothing is missing
            if window and stop is None:
                self.enough = len(window) if runner.has_sent_all else max(1, len(window) // 2)
                await self._hand_over(window, journal)
                return None
            if stop is None and not (task.on_error == "fail" and self._engine.failed):
                journal.note(delivered=self._generation)
            reason = stop.reason if stop else Terminal.COMPLETE
            journal.ended(reason.value)
        self._telling.end(reason.value)
        manifest = await asyncio.to_thread(self._finished, journal, plan, rows, stop)
        if task.report:
            examples = runner.examples
            manifest["report_uri"] = await asyncio.to_thread(self._telling.reported, manifest["result_uri"], examples)
        self._telling.told(manifest)
        return Over(reason, manifest, stop.error if stop else None)

    def _asks_again(self, past: Past) -> bool:
        """Tell whether rows that have failed are asked again: an earlier try has ended with them, and the task is retried for that."""
        if not self._is_first or past.ended in (None, _DEFERRED):
            return False
        # Else its process was killed when it was done, before Airflow heard of it.
        delivered = past.ended == Terminal.COMPLETE.value and past.notes.get("delivered") == self._generation
        return self._task.on_error == "fail" or not delivered

    def _runner(self, journal: Journal, past: Past, items: Iterator[Item | BadRow]) -> tuple[Runner, Plan]:
        task = self._task
        total = self._total
        self._engine = engine = Engine(
            Limits(
                retries_per_row=task.retries_per_row,
                max_error_ratio=task.max_error_ratio,
                token_budget=task.token_budget,
                until=self._until,
                requests_per_minute=task.requests_per_minute,
                resends=task.on_unknown == "resend",
            ),
            total=total,
        )
        engine.tokens = past.usage.token_count
        for known in past.results():
            engine.succeeded += known.ok
            engine.failed += not known.ok
        self._telling.begin(
            total=total,
            done=engine.succeeded + engine.failed,
            failed=engine.failed,
            open_rows=sum(len(submission.rows) for submission in past.open),
        )
        plan = Plan(past, rows_per_call=task.rows_per_call)
        finder = self._finder(past) if task.what == "chat" else None
        runner = Runner(
            kind=task._kind(self._until),
            engine=engine,
            jobs=plan.jobs(items),
            journal=journal,
            perform=task.hook.aperform,
            stats=self._telling.stats,
            log=task.log,
            clock=self._clock,
            sleep=task.hook.asleep,
            max_in_flight=self._most_in_flight(),
            new_marker=self._new_marker,
            finder=finder,
            waits=not task.deferrable,
            ended=self._ended,
            probes=total is None or total >= _WORTH_A_PROBE,
            most_starts=self._most_starts(),
            on_tick=lambda now: self._telling.tick(now, plan.seen_all),
        )
        return runner, plan

    def _most_in_flight(self) -> int:
        return self._task.max_in_flight or (_DEFERRED_IN_FLIGHT if self._task.deferrable else _IN_FLIGHT)

    def _most_starts(self) -> int | None:
        """Return how many starts of runs may wait for their reply: what a kill leaves in doubt cannot be found.

        Where an intent has to wait for a commit, so few would hold the batch up.
        """
        if self._task.what == "chat" or not files.is_local(self.folder):
            return None
        qps = self._task.hook.settings.workflow_qps
        starts = min(_FASTEST, qps) if isinstance(qps, int | float) else _FASTEST
        return max(_FEWEST_STARTS, math.ceil(starts * _REPLY_SECONDS))

    def _finder(self, past: Past) -> Finder:
        task: Any = self._task
        shown = past.notes.get("shown")
        finder = Finder(
            bot_id=task.bot_id,
            perform=task.hook.aperform,
            retry=task.hook.retry,
            clock=self._clock,
            sleep=task.hook.asleep,
            patience=task.row_timeout or _PATIENCE_SECONDS,
            until=self._until,
            is_shown=shown if isinstance(shown, bool) else None,
        )
        for conversation_id in past.conversations:
            finder.know(conversation_id)
        return finder

    def _items(self, rows: Iterable[Row | BadRow], templates: RowTemplates) -> Iterator[Item | BadRow]:
        """Yield the rows as they are sent. Takes place in a thread."""
        common = fingerprint(self._task._common())
        for row in rows:
            if isinstance(row, BadRow):
                yield row
                continue
            made = templates.render(row)
            if isinstance(made, BadRow):
                yield made
            else:
                yield Item(row.index, row.value, made, _hash(common, made))

    def _new_marker(self, ask: Ask) -> str:
        """Return what a request is known by: whose it is, its first row, and when; no two are the same."""
        return f"{self._key[:16]}.{ask.items[0].index}.{round(self._clock() * 1000):x}.{next(self._numbers):x}"

    async def _hand_over(self, window: Sequence[Live], journal: Journal) -> None:
        self.waiting = len(window)
        self.window_uri = await asyncio.to_thread(write_window, self.folder, window)
        journal.ended(_DEFERRED)
        await asyncio.to_thread(self._telling.keep)

    def _finished(
        self, journal: Journal, plan: Plan, rows: Iterator[Row | BadRow], stop: Stop | None
    ) -> dict[str, Any]:
        """Write the results, the manifest and the page about the batch, and return the manifest."""
        count = self._total if plan.seen_all is None else plan.seen_all
        if count is None:
            count = plan.seen + sum(1 for _ in rows)
        self._telling.stats.set_total(count)
        manifest = finish(
            journal.claim,
            batch_id=self.folder.rpartition("/")[2],
            attempt=str(self._ti.try_number),
            request_count=count,
            now=self._clock(),
            ordered=self._task.ordered,
            terminal_reason=None if stop is None else stop.reason.value,
            belongs=plan.belongs,
        )
        return manifest.to_dict()


def _hash(common: str, request: JsonValue) -> str:
    """Return the hash of what is sent for a row. A message, of which there may be many, is hashed as it is."""
    if isinstance(request, str):
        return hashlib.sha256(f"{common}\x00{request}".encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return fingerprint({"common": common, "request": request})
