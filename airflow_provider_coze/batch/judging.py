"""What is noted down of rows whose request is over, by what the engine decides. Sends nothing, and asks nobody."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_coze.batch.asks import Answered, Ask, Failed, Live
from airflow_provider_coze.batch.engine import Again, Engine, Split, Stop
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.plan import Job
from airflow_provider_coze.batch.results import MOST_EXAMPLES, FailedRow, RowError, RowResult
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.errors import CozeError, CozeOutputTypeError
from airflow_provider_coze.protocol.messages import changed
from airflow_provider_coze.protocol.models import Usage

__all__ = ["Judge"]


class Judge:
    """Notes outcomes down, and has rows asked again.

    :param push: takes a job that is to be done after so many seconds.
    :ivar left: how many requests or rows were left as they are, for a later try.
    :ivar examples: what the first rows that failed have failed of.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        journal: Journal,
        stats: Stats,
        clock: Callable[[], float],
        push: Callable[[Job, float], None],
    ) -> None:
        self._engine, self._journal, self._stats = engine, journal, stats
        self._clock, self._push = clock, push
        self.left = 0
        self.examples: list[FailedRow] = []

    def answered(self, live: Live, answer: Answered) -> None:
        """Note what came back for the rows of a request, and judge those whose output is not what was asked for."""
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
            ask = changed(live.ask, items=bad)
            self.judge(ask, Failed(error, answer.ids, usage), spent=True, marker=live.marker)

    def judge(self, ask: Ask, failed: Failed, *, spent: bool, marker: str | None = None) -> None:
        """Do with rows that have no answer what the engine says.

        :param spent: whether the request was billed.
        :param marker: of the request, which no later try has to go on with. None: that is noted already.
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
                else:
                    self.left += 1
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
        if result.error is not None and len(self.examples) < MOST_EXAMPLES:
            code = str(result.error.code or result.error.type)
            self.examples.append(FailedRow(result.index, code, result.error.msg, result.ids))
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


def _code(error: CozeError) -> str:
    return str(error.code) if error.code else type(error).__name__
