"""What is done about one job of a batch: sent, looked for, waited for, read, and noted down in that order.

The order is the point: the intent is durable before the billed request leaves, the ids are noted after its reply, the result after that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from airflow_provider_coze.batch.asks import Ask, Failed, Live, Outcome
from airflow_provider_coze.batch.doubts import Doubts
from airflow_provider_coze.batch.engine import Engine, Stop, Terminal
from airflow_provider_coze.batch.finder import Finder, Perform
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.judging import Judge
from airflow_provider_coze.batch.plan import Doubt, Job, hash_of
from airflow_provider_coze.batch.results import FailedRow
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.batch.runs import unknown_run
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.errors import CozeError, CozeNotFoundError, CozeProtocolError, CozeRejectedError
from airflow_provider_coze.protocol.endpoints.workflow import execute_id_in
from airflow_provider_coze.protocol.messages import Flow, changed
from airflow_provider_coze.protocol.recovery import is_worth_repeating, may_have_started

__all__ = ["Handler", "Kind"]

#: An answer that cannot be read although Coze can be reached is looked at so often, with such a wait, before its rows go without.
_LOOKS, _LOOK_AGAIN_SECONDS = 3, 10.0


class Kind(Protocol):
    """Chats or runs: how rows are sent, waited for and read."""

    @property
    def replies_soon(self) -> bool:
        """Whether the reply to a start comes at once."""

    def start(self, ask: Ask, marker: str, conversation_id: str | None) -> Flow[Live]:
        """Send the rows."""

    def to_end(self, live: Live) -> Flow[Outcome | None]:
        """Wait for what was sent, and read it."""


class Handler:
    """Handles the jobs of one batch; many at a time.

    :param finder: places and finds chats. None: what is in doubt cannot be found, as runs.
    :param new_marker: makes the marker of a request for these rows.
    :param waits: False: requests are not waited for here, but kept as :attr:`window`; those of *ended* are read.
    :param probes: whether to find out if chats can do without conversations of their own.
    :param push: takes a job that is to be done after so many seconds.
    :param most_starts: how many starts may wait for their reply at the same time: so many a kill can leave in doubt. None: any number.
    :ivar window: requests that are waited for elsewhere.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        engine: Engine,
        journal: Journal,
        perform: Perform,
        stats: Stats,
        log: Any,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        new_marker: Callable[[Ask], str],
        push: Callable[[Job, float], None],
        finder: Finder | None = None,
        waits: bool = True,
        ended: frozenset[str] = frozenset(),
        probes: bool = False,
        most_starts: int | None = None,
    ) -> None:
        self._kind, self._engine, self._journal = kind, engine, journal
        self._perform, self._stats, self._clock = perform, stats, clock
        self._new_marker, self._push, self._log = new_marker, push, log
        self._finder, self._waits, self._ended = finder, waits, ended
        self._judge = judge = Judge(engine=engine, journal=journal, stats=stats, clock=clock, push=push)
        self._doubts = (
            None
            if finder is None
            else Doubts(
                finder=finder,
                engine=engine,
                journal=journal,
                judge=judge,
                push=push,
                log=log,
                clock=clock,
                sleep=sleep,
                probes=probes,
            )
        )
        self._starts = None if most_starts is None else asyncio.Semaphore(most_starts)
        self.window: list[Live] = []

    def is_for_the_window(self, live: Live) -> bool:
        """Tell whether a request is waited for elsewhere."""
        return live.answered is None and not self._waits and live.marker not in self._ended

    async def handle(self, job: Ask | Live | Doubt) -> None:
        """Do what there is to do about a job.

        :raises CozeStateError: the journal cannot be kept, so nothing more is bought.
        """
        if isinstance(job, Doubt):
            if self._doubts is None:
                self._judge.judge(job.ask, Failed(unknown_run(job.marker)), spent=False, marker=job.marker)
            else:
                await self._doubts.resolve(job)
            return
        live = job if isinstance(job, Live) else await self._sent(job)
        if live is None:
            return
        if self.is_for_the_window(live):
            self.window.append(live)
            return
        await self._collect(live)

    # --- sending

    async def _sent(self, ask: Ask) -> Live | None:
        """Send the rows; None: they are dealt with already."""
        marker, conversation_id = self._new_marker(ask), None
        is_probe = self._doubts is not None and self._doubts.is_to_probe()
        if self._finder is not None and not is_probe:
            try:
                conversation_id = await self._finder.place(marker)
            except CozeError as error:
                self._judge.judge(ask, Failed(error), spent=False)
                return None
        async with self._starts if self._starts and self._kind.replies_soon else contextlib.nullcontext():
            live = await self._started(ask, marker, conversation_id)
        if self._doubts is not None and is_probe and live is None:
            self._doubts.probe_failed()
        elif is_probe:
            await self._journal.commit()  # at once: should Coze not list it, nothing but its ids finds it
        return live

    async def _started(self, ask: Ask, marker: str, conversation_id: str | None) -> Live | None:
        now = self._clock()
        ask = changed(ask, first_at=ask.first_at or now)
        await self._journal.intended(
            ask.indexes, marker=marker, at=now, hash=hash_of(ask.items), conversation_id=conversation_id
        )
        if not self._engine.goes_on:  # it has been stopped while this waited
            self._journal.nothing(marker)
            self._judge.left += 1
            return None
        self._stats.asked(now, len(ask.items))
        try:
            live = await self._perform(self._kind.start(ask, marker, conversation_id))
        except CozeError as error:
            self._not_started(ask, marker, now, conversation_id, error)
            return None
        self._journal.bought(marker, ids=live.ids, at=live.at)
        if self._finder is not None and live.ids.get("conversation_id"):
            self._finder.know(live.ids["conversation_id"])
        return live

    def _not_started(self, ask: Ask, marker: str, at: float, conversation_id: str | None, error: CozeError) -> None:
        """Find out what a start without a handle has bought."""
        if execute_id := execute_id_in(error.debug_url):
            ids = {"execute_id": execute_id, "debug_url": error.debug_url or ""}
            self._journal.bought(marker, ids=ids, at=at)
            self._judge.judge(ask, Failed(error, ids), spent=True, marker=marker)
        elif not may_have_started(error) or not is_worth_repeating(error):
            self._journal.nothing(marker)
            self._judge.judge(ask, Failed(error), spent=False)
        else:
            self._stats.retried("lost")
            if self._doubts is None:
                self._judge.judge(ask, Failed(unknown_run(marker, error)), spent=False, marker=marker)
            else:
                self._push(Doubt(ask, marker, at, conversation_id, lost_at=self._clock()), 0.0)

    # --- reading

    async def _collect(self, live: Live) -> None:
        outcome: Outcome | None = live.answered
        if outcome is None:
            try:
                outcome = await self._perform(self._kind.to_end(live))
            except CozeNotFoundError as error:
                outcome = Failed(error, live.ids)
            except (CozeProtocolError, CozeRejectedError) as error:
                # Of this one alone: it must not end the batch, and every try after it.
                if live.looks < _LOOKS:
                    self._push(changed(live, looks=live.looks + 1, is_old=True), _LOOK_AGAIN_SECONDS)
                    return
                outcome = Failed(error, live.ids)
            except CozeError as error:
                if (wait := self._engine.wait_for_coze(error, live.waits)) is not None:
                    self._push(changed(live, waits=live.waits + 1, is_old=True), wait)
                    return
                self._engine.halt(Stop(Terminal.REFUSED, error))  # it stays in the journal, and a retry goes on with it
                self._judge.left += 1
                return
        if outcome is None:  # the batch's time is up: a retry goes on with it
            self._judge.left += 1
            return
        if isinstance(outcome, Failed):
            self._judge.judge(live.ask, outcome, spent=True, marker=live.marker)
        else:
            if outcome.missing:
                self._log.warning(
                    "Rows %s: Coze has trimmed the output of run %s, which lacks %s. Less output, or several output nodes, keep it whole",
                    list(live.ask.indexes),
                    live.ids.get("execute_id"),
                    "; ".join(outcome.missing),
                )
            self._judge.answered(live, outcome)
        if self._doubts is not None:
            await self._doubts.prove(live)

    def bad(self, row: BadRow) -> None:
        """Note down a row that cannot be asked."""
        self._judge.bad(row)

    def leave(self) -> None:
        """Leave rows as they are, for a later try."""
        self._judge.left += 1

    @property
    def leaves_some(self) -> bool:
        """Whether rows are left for a later try, or wait for a proof."""
        return self._judge.left > 0 or (self._doubts is not None and self._doubts.are_there)

    @property
    def examples(self) -> Sequence[FailedRow]:
        """What the first rows that failed have failed of."""
        return self._judge.examples

    def give_up(self) -> bool:
        """Judge what nobody will ever know. False: there is nothing of the kind."""
        return self._doubts is not None and self._doubts.give_up()
