"""What is done about one job of a batch: sent, looked for, waited for, read, and noted down in that order.

The order is the point: the intent is durable before the billed request leaves, the ids are noted after its reply, the result after that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from airflow_provider_coze.batch.asks import Answered, Ask, Failed, Live, Outcome
from airflow_provider_coze.batch.engine import Again, Engine, Split, Stop, Terminal
from airflow_provider_coze.batch.finder import Finder, Perform
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.plan import Doubt, Job, hash_of
from airflow_provider_coze.batch.results import RowError, RowResult
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.errors import CozeError, CozeNotFoundError, CozeOutcomeUnknownError, CozeOutputTypeError
from airflow_provider_coze.protocol.endpoints.workflow import execute_id_in
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Chat, Usage
from airflow_provider_coze.protocol.recovery import is_worth_repeating, may_have_started

__all__ = ["Handler", "Kind"]

#: How long lost chats are gathered before they are looked for together.
_GATHER_SECONDS = 2.0


class Kind(Protocol):
    """Chats or runs: how rows are sent, waited for and read."""

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
    ) -> None:
        self._kind, self._engine, self._journal = kind, engine, journal
        self._perform, self._stats, self._log = perform, stats, log
        self._clock, self._sleep, self._new_marker, self._push = clock, sleep, new_marker, push
        self._finder, self._waits, self._ended, self._probes = finder, waits, ended, probes
        self._doubts: list[Doubt] = []
        self._unproven: list[Doubt] = []
        self.window: list[Live] = []

    def is_for_the_window(self, live: Live) -> bool:
        """Tell whether a request is waited for elsewhere."""
        return live.answered is None and not self._waits and live.marker not in self._ended

    async def handle(self, job: Ask | Live | Doubt) -> None:
        """Do what there is to do about a job.

        :raises CozeStateError: the journal cannot be kept, so nothing more is bought.
        """
        if isinstance(job, Doubt):
            await self._resolve(job)
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
        is_probe = False
        if self._finder is not None:
            is_probe = self._probes and self._finder.is_shown is None
            self._probes = self._probes and not is_probe
            try:
                conversation_id = None if is_probe else await self._finder.place(marker)
            except CozeError as error:
                self._judge(ask, Failed(error), spent=False)
                return None
        now = self._clock()
        ask = replace(ask, first_at=ask.first_at or now, probes=is_probe)
        await self._journal.intended(
            ask.indexes, marker=marker, at=now, hash=hash_of(ask.items), conversation_id=conversation_id
        )
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
            self._judge(ask, Failed(error, ids), spent=True, marker=marker)
        elif not may_have_started(error) or not is_worth_repeating(error):
            self._journal.nothing(marker)
            self._judge(ask, Failed(error), spent=False)
        else:
            self._stats.retried("lost")
            self._doubt(Doubt(ask, marker, at, conversation_id), error)

    # --- what is in doubt

    def _doubt(self, doubt: Doubt, error: CozeError | None = None) -> None:
        if self._finder is None:
            self._judge(doubt.ask, Failed(_unknown_run(doubt, error)), spent=False, marker=doubt.marker)
        else:
            self._push(doubt, 0.0)

    async def _resolve(self, doubt: Doubt) -> None:
        """Find out whether a request arrived."""
        if self._finder is None:
            self._judge(doubt.ask, Failed(_unknown_run(doubt, None)), spent=False, marker=doubt.marker)
            return
        try:
            if doubt.conversation_id:
                self._resolved(doubt, await self._finder.find(doubt))
                return
            self._doubts.append(doubt)
            await self._sleep(_GATHER_SECONDS)  # the first of those that gather here looks for all of them
            if doubt not in self._doubts:
                return
            doubts, self._doubts = self._doubts, []
            found = await self._finder.find_listed(doubts)
        except CozeOutcomeUnknownError as error:
            self._judge(doubt.ask, Failed(error), spent=False, marker=doubt.marker)
            return
        except CozeError as error:
            self._engine.halt(Stop(Terminal.REFUSED, error))  # it stays in the journal, for a retry
            return
        for each in doubts:
            self._listed(each, found)

    def _listed(self, doubt: Doubt, found: Mapping[str, Chat | None]) -> None:
        assert self._finder is not None  # noqa: S101 - only it finds
        if found.get(doubt.marker) is not None:
            self._finder.is_shown = True
            self._resolved(doubt, found[doubt.marker])
        elif doubt.marker in found and self._finder.is_shown:
            self._resolved(doubt, None)
        elif doubt.marker in found and self._finder.is_shown is None:
            self._unproven.append(doubt)  # whether a chat like it would be listed has to be shown first
        else:
            self._judge(doubt.ask, Failed(self._finder.unknown(doubt)), spent=False, marker=doubt.marker)

    async def _prove(self, live: Live) -> None:
        """Find out, by a chat that is known, whether others like it could be found."""
        assert self._finder is not None  # noqa: S101 - only it proves
        try:
            shown = await self._finder.prove(live.marker, live.ids["conversation_id"], live.at)
        except CozeError as error:
            self._log.warning("Whether lost chats could be found is not known, so each gets a conversation: %s", error)
            return
        self._journal.note(shown=shown)
        self._log.info(
            "Coze lists the conversations that it makes: the chats of this batch need none of their own"
            if shown
            else "Coze does not list the conversations that it makes, so each chat of this batch gets one of its own"
        )
        unproven, self._unproven = self._unproven, []
        for doubt in unproven:
            if shown:
                self._push(doubt, 0.0)
            else:
                self._judge(doubt.ask, Failed(self._finder.unknown(doubt)), spent=False, marker=doubt.marker)

    def _resolved(self, doubt: Doubt, chat: Chat | None) -> None:
        if chat is None:
            self._journal.nothing(doubt.marker)
            self._push(replace(doubt.ask, waits=doubt.ask.waits + 1), 0.0)
            return
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        self._journal.bought(doubt.marker, ids=ids, at=doubt.at)
        self._push(Live(doubt.ask, doubt.marker, doubt.at, ids, is_old=True), 0.0)

    # --- reading and judging

    async def _collect(self, live: Live) -> None:
        outcome: Outcome | None = live.answered
        if outcome is None:
            try:
                outcome = await self._perform(self._kind.to_end(live))
            except CozeNotFoundError as error:
                outcome = Failed(error, live.ids)
            except CozeError as error:
                self._engine.halt(Stop(Terminal.REFUSED, error))  # it stays in the journal, and a retry goes on with it
                return
        if outcome is None:
            return  # the batch's time is up: a retry goes on with it
        if live.ask.probes and self._finder is not None and self._finder.is_shown is None:
            await self._prove(live)
        if isinstance(outcome, Failed):
            self._judge(live.ask, outcome, spent=True, marker=live.marker)
        else:
            self._answered(live, outcome)

    def _answered(self, live: Live, answer: Answered) -> None:
        usage = answer.usage
        good = [item for item in live.ask.items if item.index not in answer.invalid]
        bad = tuple(item for item in live.ask.items if item.index in answer.invalid)
        for item in good:
            result = RowResult(
                item.index,
                item.hash,
                answer.outputs[item.index],
                usage=usage,
                ids=answer.ids,
                tries=live.ask.tries + 1,
                seconds=self._seconds(live.ask),
            )
            self._over(result, usage)
            usage = None  # of the request as a whole, and so with its first row
        if bad:
            ids = {name: value for name, value in answer.ids.items() if name != "debug_url"}
            error = CozeOutputTypeError(
                f"The answer was read, and is not what was asked for: {answer.invalid[bad[0].index]}. It is paid for.",
                debug_url=answer.ids.get("debug_url"),
                **ids,
            )
            ask = replace(live.ask, items=bad)
            self._judge(ask, Failed(error, answer.ids, usage), spent=True, marker=live.marker if not good else None)

    def _judge(self, ask: Ask, failed: Failed, *, spent: bool, marker: str | None = None) -> None:
        """Do with rows that have no answer what the engine says.

        :param marker: of the request, which no later try has to go on with.
        """
        error = failed.error
        now = self._clock()
        match self._engine.judge(ask, error, now, spent=spent):
            case Again(again, wait):
                self._close(marker, failed.usage)
                self._stats.retried(_code(error))
                self._push(again, wait)
            case Split(asks):
                self._close(marker, failed.usage)
                self._stats.split()
                for half in asks:
                    self._push(half, 0.0)
            case Stop() as stop:
                self._engine.halt(stop)
                if spent:
                    self._record(ask, failed)
            case _:
                self._record(ask, failed)

    def _record(self, ask: Ask, failed: Failed) -> None:
        usage = failed.usage
        for item in ask.items:
            result = RowResult(
                item.index,
                item.hash,
                None,
                RowError.of(failed.error),
                usage=usage,
                ids=failed.ids,
                tries=ask.tries + bool(failed.ids),
                seconds=self._seconds(ask),
                value=item.value,
            )
            self._over(result, usage)
            usage = None

    def bad(self, row: BadRow) -> None:
        """Record a row that cannot be asked."""
        error = RowError("CozeInputError", row.code, row.msg)
        self._over(RowResult(row.index, "", None, error, value=row.value), None)

    def _over(self, result: RowResult, usage: Usage | None) -> None:
        self._journal.result(result)
        ok = result.error is None
        self._engine.count(ok=ok, tokens=usage.token_count if usage else 0)
        self._stats.answered(
            self._clock(),
            1,
            ok,
            result.seconds if result.tries else None,
            None if result.error is None else str(result.error.code or result.error.type),
            None if usage is None else usage.input_count,
            None if usage is None else usage.output_count,
        )

    def _close(self, marker: str | None, usage: Usage | None) -> None:
        """Note that a request has ended without an outcome of its rows, which are asked again."""
        if usage is not None:
            self._engine.tokens += usage.token_count
        if marker is not None:
            self._journal.over(marker, usage)

    def _seconds(self, ask: Ask) -> float:
        return max(0.0, self._clock() - ask.first_at) if ask.first_at else 0.0


def _unknown_run(doubt: Doubt, error: CozeError | None) -> CozeOutcomeUnknownError:
    why = f": {str(error).rstrip('.')}" if error is not None else ", because the process that started it was killed"
    return CozeOutcomeUnknownError(
        f"Whether a run is going on, and billed, cannot be told{why}. Coze lists no runs: see the workflow's own log (运行日志) in Coze. "
        f"Nothing more was sent for its rows (marker {doubt.marker}). To start, and pay for, another, run the failed rows again, or set "
        'on_unknown="resend".'
    )


def _code(error: CozeError) -> str:
    return str(error.code) if error.code else type(error).__name__
