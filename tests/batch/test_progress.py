"""What a log is told of a batch: a line now and then, and a table at the end."""

from __future__ import annotations

import itertools
import locale
import re

import pytest

from airflow_provider_coze.batch import units
from airflow_provider_coze.batch.progress import Lines, progress_line, summary_table
from airflow_provider_coze.batch.stats import Stats
from tests.batch import sample

NOON = sample.NOON


def halfway() -> Stats:
    """A batch that has 1,234 of 20,000 rows, at 57 a second."""
    stats = Stats()
    stats.begin(NOON, 20_000)
    for number in range(1_234):
        code = "4013" if number % 137 == 0 else "template" if number % 411 == 1 else None
        stats.answered(NOON + 0.5 + number / 57.3, 1, code is None, 4.0, code, 1_000, 280)
    stats.in_flight = 480
    for _ in range(31):
        stats.retried("4013")
    stats.waited_for_quota(NOON + 10, 3.1)
    return stats


def test_a_line_says_how_far_how_fast_how_long_and_what_went_wrong() -> None:
    assert progress_line(halfway(), NOON + 22) == (
        "1,234/20,000 rows (6 %), 57.3/s, 480 in flight, ETA 5 min 27 s; failed 13 (4013: 10, template: 3); retried 31; "
        "tokens 1.2 M in, 346 k out; 14 % of the time waiting for quota"
    )


def test_a_line_leaves_out_what_there_is_none_of() -> None:
    stats = Stats()
    stats.begin(NOON, 20_000)
    stats.in_flight = 480
    assert progress_line(stats, NOON + 10) == "0/20,000 rows (0 %), 0/s, 480 in flight, ETA unknown"


def test_a_line_of_a_stream_has_no_share_and_no_time_left() -> None:
    stats = halfway()
    stats.total = None
    assert progress_line(stats, NOON + 22).startswith("1,234 rows so far, 57.3/s, 480 in flight, ETA unknown; ")


def test_a_line_names_the_three_most_frequent_codes() -> None:
    stats = Stats()
    stats.begin(NOON, 100)
    for code, times in {"a": 9, "b": 8, "c": 7, "d": 3, "e": 2, None: 1}.items():
        stats.answered(NOON, times, False, 1.0, code)
    assert "failed 30 (a: 9, b: 8, c: 7, other: 6)" in progress_line(stats, NOON + 1)


def test_all_but_one_is_not_all() -> None:
    stats = Stats()
    stats.begin(NOON, 20_000, 19_999)
    assert "(99 %)" in progress_line(stats, NOON + 1)
    stats.answered(NOON, 1, True, 1.0)
    assert "(100 %)" in progress_line(stats, NOON + 1)


def test_lines_come_every_ten_seconds_then_more_rarely() -> None:
    lines = Lines(NOON)
    due = [second for second in range(3_600) if lines.due(NOON + second)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert due[0] == 10
    assert [gaps.count(seconds) for seconds in (10, 30, 60)] == [29, 50, 29]
    assert len(due) == 109


def test_a_batch_that_slept_has_one_line_due_and_not_all_it_missed() -> None:
    lines = Lines(NOON)
    assert lines.due(NOON + 1_000)
    assert not lines.due(NOON + 1_001)
    assert lines.next_at == NOON + 1_030


def test_the_table_has_every_figure_and_its_lines_are_aligned() -> None:
    stats = sample.run(rows=2_000)
    table = summary_table(stats)
    head, *lines = table.splitlines()
    assert re.fullmatch(r"Batch ended after [\d min s]+: complete", head)
    found = {match[1]: match[2] for line in lines if (match := re.match(r" *(\D+?|latency \w+)  +(\S+( \S+)?)", line))}
    for name, number in {
        "rows": "2,000",
        "ok": f"{stats.ok:,}",
        "failed": f"{stats.failed:,}",
        "done by earlier tries": "150",
        "without an outcome": "0",
        "taken over": "3",
        "calls": f"{stats.calls:,}",
        "tokens in": f"{stats.tokens_in:,}",
    }.items():
        assert found[name].split("  ")[0].startswith(number), name
    for name in ("latency p50", "latency p90", "latency p99", "latency max", "throughput", "waiting for quota"):
        assert any(line.startswith(name) for line in lines)
    assert len({line.index("  ", 24) for line in lines if "  " in line[24:]}) <= 12
    assert all(line == line.rstrip() for line in lines)


def test_the_table_of_a_batch_that_was_stopped_says_what_was_not_done() -> None:
    stats = halfway()
    stats.end(NOON + 30, "max_error_ratio")
    table = summary_table(stats)
    assert table.startswith("Batch ended after 30 s: max_error_ratio\n")
    assert re.search(r"without an outcome +18,766  94 %", table)


def test_the_log_that_the_documentation_shows_is_current() -> None:
    shown = (sample.DOCS / "snippets" / "batch_log.txt").read_text(encoding="utf-8")
    assert shown == sample.log(), "run: python -m tests.batch.sample build --docs"


def test_the_table_of_nothing_is_a_table() -> None:
    stats = Stats()
    stats.begin(NOON, 0)
    stats.end(NOON, "complete")
    table = summary_table(stats)
    assert table.startswith("Batch ended after 0 s: complete\nrows ")
    assert "latency" not in table


def test_packed_rows_are_told_from_calls() -> None:
    stats = Stats()
    stats.begin(NOON, 40)
    stats.asked(NOON, 20)
    stats.asked(NOON, 20)
    stats.split()
    stats.end(NOON + 5, "complete")
    assert re.search(r"calls +2  20\.0 rows each", summary_table(stats))
    assert re.search(r"split in two +1\n", summary_table(stats))


# --- numbers


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.6, "1 s"),
        (59.7, "1 min"),
        (327, "5 min 27 s"),
        (3_600, "1 h"),
        (7_199, "2 h"),
        (7_500, "2 h 5 min"),
        (86_400 * 3 + 3_600 * 4, "3 d 4 h"),
        (86_400 * 2 - 1, "2 d"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert units.duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0 k"),
        (9_949, "9.9 k"),
        (34_400, "34 k"),
        (999_600, "1.0 M"),
        (1.2e6, "1.2 M"),
        (3.4e9, "3.4 G"),
    ],
)
def test_amounts_are_short(number: float, words: str) -> None:
    assert units.amount(number) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (1, 9_999, "< 0.1 %"),
        (7, 1_000, "0.7 %"),
        (61, 1_000, "6.1 %"),
        (1, 2, "50 %"),
        (9_999, 10_000, "99.9 %"),
        (9, 9, "100 %"),
    ],
)
def test_a_share_is_nothing_or_all_only_if_it_is(part: float, whole: float, words: str) -> None:
    assert units.share(part, whole) == words


@pytest.mark.parametrize(
    ("per_second", "words"),
    [(0, "0/s"), (57.34, "57.3/s"), (1_234.5, "1,234/s"), (3.456, "3.46/s"), (0.4, "24.0/min"), (3 / 3_600, "3.00/h")],
)
def test_rates_have_the_unit_that_shows_them(per_second: float, words: str) -> None:
    assert units.rate(per_second) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0854, "85 ms"), (0.9999, "1.00 s"), (1.42, "1.42 s"), (31.24, "31.2 s"), (327, "5 min 27 s")],
)
def test_latencies_have_about_three_digits(seconds: float, words: str) -> None:
    assert units.latency(seconds) == words


def test_numbers_are_the_same_under_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    line = progress_line(halfway(), NOON + 22)
    try:
        for name in ("de_DE.UTF-8", "C.UTF-8", ""):
            try:
                locale.setlocale(locale.LC_NUMERIC, name)
            except locale.Error:  # not on this machine
                continue
            assert progress_line(halfway(), NOON + 22) == line
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
