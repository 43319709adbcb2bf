"""What a log is told of a batch: a line now and then while it runs, and a table when it is over. No row is quoted in it."""

from __future__ import annotations

from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.batch.tally import OTHER, Tally
from airflow_provider_coze.batch.units import amount, count, duration, latency, rate, share

__all__ = ["Lines", "progress_line", "summary_table"]

#: Seconds between two lines, by the age of the batch: a batch of ten minutes has some fifty of them, one of a night some 500.
_RHYTHM = ((5 * 60.0, 10.0), (30 * 60.0, 30.0), (float("inf"), 60.0))
_CODES_ON_A_LINE, _CODES_IN_THE_TABLE = 3, 6


class Lines:
    """When a line is due.

    :param began: of the batch, on the clock of every ``now``.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self.next_at = began + _RHYTHM[0][1]

    def due(self, now: float) -> bool:
        """Tell whether a line is due now. If so the next one is due only after some time: 10 s, later 30 s and 60 s."""
        if now < self.next_at:
            return False
        self.next_at = now + next(seconds for until, seconds in _RHYTHM if now - self._began < until)
        return True


def progress_line(stats: Stats, now: float) -> str:
    """Return how a batch is doing, in one line. What there is none of is left out."""
    now_ = stats.figures(now)
    if now_.total is None:
        rows = f"{count(now_.done)} rows so far"
    else:
        # Whole percent, rounded down: 100 % is when all are done.
        percent = 100 if now_.done >= now_.total else int(100 * now_.done / now_.total)
        rows = f"{count(now_.done)}/{count(now_.total)} rows ({percent} %)"
    eta = "unknown" if now_.eta is None else duration(now_.eta)
    parts = [f"{rows}, {rate(now_.rate)}, {count(now_.in_flight)} in flight, ETA {eta}"]
    if now_.failed:
        parts.append(f"failed {count(now_.failed)} ({_codes(stats.errors, _CODES_ON_A_LINE)})")
    if now_.retried:
        parts.append(f"retried {count(now_.retried)}")
    if now_.tokens_in or now_.tokens_out:
        parts.append(f"tokens {amount(now_.tokens_in)} in, {amount(now_.tokens_out)} out")
    if now_.waiting >= 0.005:
        parts.append(f"{share(now_.waiting, 1)} of the time waiting for quota")
    return "; ".join(parts)


def summary_table(stats: Stats) -> str:
    """Return what became of a batch that has ended, as lines of one table."""
    lines = [(label, *cells) for label, *cells in _summary(stats)]
    wide = max(len(line[0]) for line in lines)
    numbers = max(len(line[1]) for line in lines)
    table = (f"{line[0]:<{wide}}  {line[1]:>{numbers}}  {line[2]}".rstrip() for line in lines)
    return "\n".join([f"Batch ended after {duration(stats.elapsed())}: {stats.reason or 'not yet over'}", *table])


def _summary(stats: Stats) -> list[tuple[str, str, str]]:
    """Return label, number and remark."""
    whole = stats.total if stats.total is not None else stats.done_before + stats.ok + stats.failed
    lines = [("rows", count(whole), "" if stats.total is not None else "so far: the input was not read to its end")]
    lines.append(("  ok", count(stats.ok), share(stats.ok, whole)))
    failed = share(stats.failed, whole)
    lines.append(("  failed", count(stats.failed), f"{failed}  {_codes(stats.errors, _CODES_IN_THE_TABLE)}".rstrip()))
    if stats.done_before:
        before = f"{share(stats.done_before, whole)}  {count(stats.failed_before)} of them failed"
        lines.append(("  done by earlier tries", count(stats.done_before), before))
    left = stats.left()
    lines.append(("  without an outcome", "?" if left is None else count(left), share(left or 0, whole)))
    if stats.recovered_rows:
        lines.append(("taken over", count(stats.recovered_rows), "rows in flight when an earlier try ended"))
    each = f"{stats.asked_rows / stats.calls:.1f} rows each" if stats.asked_rows > stats.calls else ""
    lines.append(("calls", count(stats.calls), each))
    lines.append(("  sent again", count(stats.retries.total), _codes(stats.retries, _CODES_IN_THE_TABLE)))
    if stats.splits:
        lines.append(("  split in two", count(stats.splits), ""))
    elapsed, done = stats.elapsed(), stats.ok + stats.failed
    lines.append(("throughput", rate(done / elapsed if elapsed else 0), "rows, over the whole time"))
    for label, seconds in percentiles(stats):
        lines.append((label, latency(seconds), ""))
    lines.append(("waiting for quota", share(stats.waiting(), 1), waiting_words(stats)))
    lines.append(("tokens in", count(stats.tokens_in), per_row(stats.tokens_in, stats)))
    lines.append(("tokens out", count(stats.tokens_out), per_row(stats.tokens_out, stats)))
    return lines


def percentiles(stats: Stats) -> list[tuple[str, float]]:
    """Return names and seconds of what is told of the latencies; nothing where there are none."""
    found = [(f"latency p{percent}", stats.latencies.percentile(percent)) for percent in (50, 90, 99)]
    named = [(name, seconds) for name, seconds in found if seconds is not None]
    return [*named, ("latency max", stats.latencies.most)] if named else []


def waiting_words(stats: Stats) -> str:
    """Return how long calls waited for the budget, in words; nothing if they did not."""
    if not stats.waited_seconds:
        return ""
    return f"of the time; {duration(stats.waited_seconds)} of all calls together"


def per_row(tokens: int, stats: Stats) -> str:
    """Return the tokens of a row, in words; nothing if Coze reported none."""
    if not stats.metered_rows:
        return ""
    unreported = stats.ok + stats.failed - stats.metered_rows
    known = f" of the {count(stats.metered_rows)} that Coze reported" if unreported else ""
    return f"{tokens / stats.metered_rows:,.0f} a row{known}"


def _codes(tally: Tally, most: int) -> str:
    """Return the most frequent codes with their counts, and the sum of the others."""
    found = tally.most_common()
    named = [(code, times) for code, times in found if code != OTHER][:most]
    rest = tally.total - sum(times for _, times in named)
    return ", ".join(f"{code}: {count(times)}" for code, times in [*named, *([(OTHER, rest)] if rest else [])])
