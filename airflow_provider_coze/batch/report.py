"""What a batch was like, as one HTML page that needs nothing else: no network, no script, no fonts. No question and no answer is in it.

Error messages and ids come from outside, as do the facts: all are escaped, and the page allows itself nothing but its own style.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from airflow_provider_coze.batch.page import figure, outside, page, section, table, tallied
from airflow_provider_coze.batch.plots import Bar, Mark, Panel, Series, histogram, over_time
from airflow_provider_coze.batch.progress import per_row, percentiles, waiting_words
from airflow_provider_coze.batch.results import MOST_EXAMPLES, FailedRow
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.batch.timeline import Step
from airflow_provider_coze.batch.units import amount, count, duration, latency, rate, share

__all__ = ["html_report"]

_LONGEST_ID = 80
_PLOT_STEPS, _TABLE_STEPS, _BARS = 120, 8, 32


def html_report(stats: Stats, title: str, facts: Mapping[str, str], failed_examples: Sequence[FailedRow]) -> str:
    """Return the page.

    :param facts: what to know of the batch, by name: the DAG, the task, where the results are. Nothing that is secret.
    :param failed_examples: the first :data:`MOST_EXAMPLES` are shown.
    """
    sections = [
        _head(stats, title),
        _rows(stats),
        _speed(stats),
        _latencies(stats),
        _errors(stats, failed_examples),
        _tokens(stats),
        _facts(stats, facts),
    ]
    return page(title, sections)


def _head(stats: Stats, title: str) -> str:
    done, elapsed = stats.ok + stats.failed, stats.elapsed()
    whole = stats.total if stats.total is not None else done + stats.done_before
    left = stats.left()
    tiles = [
        ("Rows", count(whole), f"{count(stats.done_before)} done by earlier tries" if stats.done_before else ""),
        ("Succeeded", count(stats.ok), f"{share(stats.ok, done)} of this try's"),
        ("Failed", count(stats.failed), f"{share(stats.failed, done)} of this try's"),
        ("Wall time", duration(elapsed), f"{rate(done / elapsed)} on average" if elapsed else ""),
        ("Held back", share(stats.waiting(), 1), "of the time, by quota"),
        ("Tokens", amount(stats.tokens_in + stats.tokens_out), f"{amount(stats.tokens_out)} of them out"),
    ]
    if left:
        tiles.insert(3, ("Without an outcome", count(left), share(left, whole)))
    if stats.recovered_rows:
        tiles.append(("Taken over", count(stats.recovered_rows), "in flight when an earlier try ended"))
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{number}{f'<small>{remark}</small>' if remark else ''}</dd></div>"
        for name, number, remark in tiles
    )
    return (
        f'<header>\n<h1>{outside(title)}</h1>\n<p class="soft">Batch ended: <strong>{outside(stats.reason or "not yet over")}</strong>, '
        f'after {duration(elapsed)}</p>\n<dl class="tiles">{shown}</dl>\n</header>'
    )


def _rows(stats: Stats) -> str:
    steps = stats.timeline.steps(stats.began + stats.elapsed(), _PLOT_STEPS)
    ok = _sums(steps, [step.ok for step in steps])
    failed = _sums(steps, [step.failed for step in steps])
    done = [(at, good + bad) for (at, good), (_, bad) in zip(ok, failed, strict=True)]
    flying = [*((step.begin, float(step.in_flight)) for step in steps), (steps[-1].end, float(steps[-1].in_flight))]
    panels = [
        Panel([Series(ok, "ok", _floor(ok)), Series(done, "failed", ok)], "rows with an outcome", 150),
        Panel([Series(failed, "failed", _floor(failed))], "of them failed", 50),
        Panel([Series(flying, "flight", _floor(flying), is_stepped=True)], "calls in flight", 50),
    ]
    return section(
        "Rows over time",
        f"{count(stats.ok)} rows succeeded and {count(stats.failed)} failed in {count(stats.calls)} calls; "
        f"{count(stats.retries.total)} calls were sent again.",
        figure(
            "rows",
            f"Rows with an outcome rise to {count(stats.ok + stats.failed)} in {duration(stats.elapsed())}; {count(stats.failed)} of them "
            "failed. Below: failed rows, and calls in flight.",
            over_time(panels, stats.elapsed()),
            [("ok", "succeeded"), ("failed", "failed"), ("flight", "calls in flight")],
        ),
        table(
            "Rows until then, and the most calls in flight",
            ("until", "ok", "failed", "in flight"),
            _running(stats, lambda step, sums: (count(sums[0]), count(sums[1]), count(step.in_flight))),
        ),
    )


def _speed(stats: Stats) -> str:
    steps = stats.timeline.steps(stats.began + stats.elapsed(), _PLOT_STEPS)
    rates = [*((step.begin, step.rate) for step in steps), (steps[-1].end, steps[-1].rate)]
    allowed = [(step.begin, step.budget) for step in steps if step.budget] + [
        (step.end, step.budget) for step in steps[-1:] if step.budget
    ]
    series = [Series(rates, "ok", _floor(rates), is_stepped=True)]
    legend = [("ok", "rows per second")]
    if allowed:
        series.append(Series(allowed, "budget", is_stepped=True))
        legend.append(("budget", "budget"))
    words = waiting_words(stats)
    return section(
        "Rate against the budget",
        f"A call waited for the budget {share(stats.waiting(), 1)} {words}."
        if words
        else "No call had to wait for the budget of requests.",
        figure(
            "rate",
            f"Rows per second over {duration(stats.elapsed())}, with what the budget allowed as a dashed line where it is known.",
            over_time([Panel(series, "rows a second", 170)], stats.elapsed()),
            legend,
        ),
        table(
            "Rows per second, and the budget at the end of each time",
            ("until", "rate", "budget"),
            [
                (duration(step.end), rate(step.rate), rate(step.budget) if step.budget else "-")
                for step in stats.timeline.steps(stats.began + stats.elapsed(), _TABLE_STEPS)
            ],
        ),
    )


def _latencies(stats: Stats) -> str:
    bars = [Bar(*bar) for bar in stats.latencies.bars(_BARS)]
    if not bars:
        return section("Latency", "No row was asked in this try.")
    named = percentiles(stats)
    marks = [Mark(seconds, f"{name.removeprefix('latency ')} {latency(seconds)}") for name, seconds in named[:3]]
    mean = stats.latencies.seconds / stats.latencies.count
    rows = [(name.removeprefix("latency "), latency(seconds)) for name, seconds in named]
    return section(
        "Latency",
        f"From the first call for a row to its outcome. Half of the rows took {latency(named[0][1])} at most.",
        figure(
            "latency",
            f"A histogram over a logarithmic axis of seconds: {', '.join(mark.name for mark in marks)}.",
            histogram(bars, marks),
            [("ok", "rows")],
        ),
        table("Rows answered within", ("of rows", "seconds"), [*rows, ("mean", latency(mean))]),
    )


def _errors(stats: Stats, examples: Sequence[FailedRow]) -> str:
    if not (stats.errors.total or stats.retries.total or examples):
        return section("Errors", "No row failed, and no call was sent again.")
    shown = examples[:MOST_EXAMPLES]
    rows = "".join(map(_example, shown))
    table = (
        f"<h3>Failed rows, {count(len(shown))} of {count(max(stats.failed + stats.failed_before, len(examples)))}</h3>"
        '<table><thead><tr><th class="number" scope="col">row</th><th scope="col">code</th>'
        f'<th scope="col">message and ids</th></tr></thead><tbody>{rows}</tbody></table>'
    )
    return section(
        "Errors",
        f"{count(stats.failed)} rows failed; {count(stats.retries.total)} calls were sent again.",
        tallied("Rows that failed, by code", "rows", stats.errors),
        tallied("Calls that were sent again, by code", "calls", stats.retries),
        after=table if shown else "",
    )


def _example(row: FailedRow) -> str:
    ids = "".join(
        f'<br><small class="soft">{outside(f"{name} {value}", _LONGEST_ID)}</small>' for name, value in row.ids.items()
    )
    return (
        f'<tr><td class="number">{count(row.index)}</td><td class="code">{outside(row.code, _LONGEST_ID)}</td>'
        f"<td>{outside(row.message)}{ids}</td></tr>"
    )


def _tokens(stats: Stats) -> str:
    if not stats.metered_rows:
        return section("Tokens", "Coze reported no tokens.")
    steps = stats.timeline.steps(stats.began + stats.elapsed(), _PLOT_STEPS)
    taken = _sums(steps, [step.tokens_in for step in steps])
    given = _sums(steps, [step.tokens_out for step in steps])
    both = [(at, one + other) for (at, one), (_, other) in zip(taken, given, strict=True)]
    return section(
        "Tokens",
        f"{count(stats.tokens_in)} in ({per_row(stats.tokens_in, stats)}), {count(stats.tokens_out)} out "
        f"({per_row(stats.tokens_out, stats)}).",
        figure(
            "tokens",
            f"Tokens rise to {count(stats.tokens_in)} in and {count(stats.tokens_out)} out.",
            over_time(
                [Panel([Series(taken, "in", _floor(taken)), Series(both, "out", taken)], "tokens", 170)],
                stats.elapsed(),
            ),
            [("in", "in"), ("out", "out")],
        ),
        table(
            "Tokens until then",
            ("until", "in", "out"),
            _running(stats, lambda _, sums: (count(sums[2]), count(sums[3]))),
        ),
    )


def _facts(stats: Stats, facts: Mapping[str, str]) -> str:
    times = {"began": _moment(stats.began), "ended": _moment(stats.began + stats.elapsed())}
    listed = "".join(f"<dt>{outside(name)}</dt><dd>{outside(value)}</dd>" for name, value in {**facts, **times}.items())
    return f'<section>\n<h2>About this batch</h2>\n<dl class="facts">{listed}</dl>\n</section>'


def _running(stats: Stats, cells: Callable[[Step, Sequence[int]], tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the lines of a table of sums: the end of each step, and what *cells* makes of the sums until then."""
    steps = stats.timeline.steps(stats.began + stats.elapsed(), _TABLE_STEPS)
    counts = ([step.ok, step.failed, step.tokens_in, step.tokens_out] for step in steps)
    sums = itertools.accumulate(counts, lambda before, more: [sum(pair) for pair in zip(before, more, strict=True)])
    return [(duration(step.end), *cells(step, so_far)) for step, so_far in zip(steps, sums, strict=True)]


def _sums(steps: Sequence[Step], counts: Iterable[int]) -> list[tuple[float, float]]:
    """Return the sum so far at the end of each step, from 0 on."""
    ends = (step.end for step in steps)
    return [(0.0, 0.0), *((end, float(so_far)) for end, so_far in zip(ends, itertools.accumulate(counts), strict=True))]


def _floor(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(at, 0.0) for at, _ in points]


def _moment(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
