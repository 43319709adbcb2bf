"""The figures of a batch: they add up, they are right in virtual time, they stay small, and they outlive a deferral."""

from __future__ import annotations

import itertools
import json
import random
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.batch.latencies import Latencies
from airflow_provider_coze.batch.speed import Speed
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.batch.tally import Tally
from airflow_provider_coze.batch.timeline import Timeline
from tests.batch import sample
from tests.properties.profiles import EXAMPLES

NOON = sample.NOON


def begun(total: int | None = 100, **more: int) -> Stats:
    stats = Stats()
    stats.begin(NOON, total, **more)
    return stats


def answers(stats: Stats, *, of: float, until: float, per_second: float) -> None:
    """Have rows answered evenly between two ages of the batch."""
    for number in range(round((until - of) * per_second)):
        stats.answered(NOON + of + number / per_second, 1, True, 1.0)


# --- counts


def test_rows_have_one_outcome_each_and_the_rest_has_none() -> None:
    stats = begun(100, done_before=40, failed_before=3)
    stats.answered(NOON + 1, 5, True, 1.0)
    stats.answered(NOON + 2, 2, False, 1.0, "4013")
    figures = stats.figures(NOON + 2)
    assert (figures.ok, figures.failed, figures.done, stats.left()) == (5, 2, 47, 53)
    assert stats.errors.to_dict() == {"4013": 2}


def test_a_stream_has_no_total_until_it_has_been_read() -> None:
    stats = begun(None)
    stats.answered(NOON + 1, 5, True, 1.0)
    assert (stats.figures(NOON + 9).total, stats.figures(NOON + 9).eta, stats.left()) == (None, None, None)
    stats.set_total(7)
    assert stats.left() == 2


def test_rows_whose_tokens_coze_did_not_say_are_told_from_rows_that_used_none() -> None:
    stats = begun()
    stats.answered(NOON, 2, True, 1.0, None, 100, 10)
    stats.answered(NOON, 3, True, 1.0, None, 0, 0)
    stats.answered(NOON, 4, True, 1.0)
    assert (stats.tokens_in, stats.tokens_out, stats.metered_rows) == (100, 10, 5)


def test_a_row_that_was_never_asked_has_no_latency() -> None:
    stats = begun()
    stats.answered(NOON, 1, False, None, "template")
    assert stats.latencies.count == 0
    assert stats.failed == 1


TOLD = st.lists(
    st.tuples(
        st.floats(0, 500),  # seconds since the last thing that was told
        st.integers(1, 40),
        st.booleans(),
        st.none() | st.floats(0, 1e6),
        st.none() | st.sampled_from(["4013", "5000", "template"]) | st.text(max_size=60),
        st.none() | st.integers(0, 9_999),
    ),
    max_size=60,
)


@EXAMPLES
@given(TOLD, st.integers(0, 5_000), st.integers(0, 50))
def test_counts_always_add_up(told: list[Any], total: int, before: int) -> None:
    stats, now = Stats(), NOON
    stats.begin(now, total + before, before)
    for pause, rows, ok, seconds, code, tokens in told:
        now += pause
        stats.in_flight = rows
        stats.asked(now, rows)
        stats.waited_for_quota(now, pause / 2)
        stats.answered(now, rows, ok, seconds, code, tokens, tokens)
        figures = stats.figures(now)
        assert figures.done == figures.ok + figures.failed + before
        assert figures.rate >= 0
        assert 0 <= figures.waiting <= 1
        assert figures.eta is None or figures.eta >= 0
    answered = sum(rows for _, rows, *_ in told)
    assert stats.ok + stats.failed == answered == stats.asked_rows
    assert stats.left() == max(0, total - answered)
    assert stats.errors.total == stats.failed == sum(times for _, times in stats.errors.most_common())
    assert stats.latencies.count == sum(rows for _, rows, _, seconds, *_ in told if seconds is not None)
    for most in (8, 120):
        steps = stats.timeline.steps(now, most)
        assert len(steps) <= most
        assert (sum(step.ok for step in steps), sum(step.failed for step in steps)) == (stats.ok, stats.failed)
        assert sum(step.tokens_in for step in steps) == stats.tokens_in
        assert steps[0].begin == 0
        assert all(step.end > step.begin for step in steps)
        assert all(one.end == other.begin for one, other in itertools.pairwise(steps))
    again = Stats.from_dict(json.loads(json.dumps(stats.to_dict())))
    assert again.to_dict() == stats.to_dict()


# --- rate and time left


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    stats = begun(100_000)
    answers(stats, of=0, until=300, per_second=50)
    answers(stats, of=300, until=340, per_second=10)
    assert stats.figures(NOON + 340).rate == pytest.approx(10, rel=0.02)
    assert stats.figures(NOON + 300).rate > 40


def test_the_time_left_is_what_the_rate_of_late_makes_of_the_rest() -> None:
    stats = begun(20_000)
    answers(stats, of=0, until=100, per_second=40)
    assert stats.eta(NOON + 100) == pytest.approx(16_000 / 40, rel=0.03)


def test_no_time_is_promised_before_some_seconds_of_answers() -> None:
    stats = begun(20_000)
    assert stats.eta(NOON + 20) is None
    answers(stats, of=20, until=24, per_second=100)
    assert stats.eta(NOON + 24) is None
    answers(stats, of=24, until=30, per_second=100)
    assert stats.eta(NOON + 30) == pytest.approx(190, rel=0.1)


def test_no_time_is_promised_while_nothing_comes_back() -> None:
    stats = begun(20_000)
    answers(stats, of=0, until=60, per_second=50)
    assert stats.eta(NOON + 500) is None
    assert stats.figures(NOON + 500).rate == 0


def test_slow_rows_are_measured_over_minutes() -> None:
    stats = begun(100)
    for minute in range(1, 6):
        stats.answered(NOON + 60 * minute, 1, True, 60.0)
    assert stats.figures(NOON + 300).rate == pytest.approx(1 / 60, rel=0.1)


def test_one_slow_row_says_nothing_about_the_others() -> None:
    stats = begun(100)
    stats.answered(NOON + 100, 1, True, 100.0)
    assert stats.eta(NOON + 110) is None


def test_the_last_rows_take_as_long_as_a_row_takes() -> None:
    stats = begun(3_001)
    for number in range(3_000):
        stats.answered(NOON + number / 50, 1, True, 8.0)
    assert stats.eta(NOON + 60) == pytest.approx(8, rel=0.03)


def test_a_batch_that_is_over_has_no_time_left_and_stands_still() -> None:
    stats = begun(100)
    answers(stats, of=0, until=10, per_second=1)
    stats.in_flight = 4
    stats.end(NOON + 12, "timeout")
    figures = stats.figures(NOON + 9_999)
    assert (figures.eta, figures.rate, figures.in_flight, figures.elapsed) == (0, 0, 0, 12)


def test_rows_of_earlier_tries_are_done_and_are_no_speed() -> None:
    stats = begun(1_000, done_before=900)
    answers(stats, of=0, until=20, per_second=1)
    figures = stats.figures(NOON + 20)
    assert (figures.done, figures.rate) == (920, pytest.approx(1, rel=0.1))


# --- waiting for quota


def test_waits_that_overlap_count_once_as_time_and_each_as_a_wait() -> None:
    stats = begun()
    for moment in (0, 2, 4):
        stats.waited_for_quota(NOON + moment, 6)
    stats.waited_for_quota(NOON + 20, 5)
    assert (stats.waits, stats.waited_seconds) == (4, 23)
    assert stats.waiting(NOON + 50) == pytest.approx(15 / 50)


def test_a_wait_that_is_not_over_counts_as_far_as_it_has_come() -> None:
    stats = begun()
    stats.waited_for_quota(NOON + 10, 3_600)
    assert stats.waiting(NOON + 20) == pytest.approx(0.5)


# --- what it costs


def _size(found: Any, seen: set[int]) -> int:
    """Return the bytes of a value and of all that belongs to it."""
    if id(found) in seen:
        return 0
    seen.add(id(found))
    size = sys.getsizeof(found)
    if isinstance(found, dict):
        return size + sum(_size(key, seen) + _size(value, seen) for key, value in found.items())
    slots = [name for kind in type(found).__mro__ for name in getattr(kind, "__slots__", ())]
    return size + sum(_size(getattr(found, name), seen) for name in slots if hasattr(found, name))


def test_its_size_does_not_grow_with_the_batch() -> None:
    chance = random.Random(7)  # noqa: S311
    stats = begun(30_000)
    for number in range(30_000):
        now = NOON + number * 3.0  # more than a day
        stats.answered(now, 1, number % 3 > 0, chance.expovariate(0.1), f"made up {number}", 400, 50)
        stats.retried(f"made up {number}")
    assert _size(stats, set()) < 50_000
    assert len(json.dumps(stats.to_dict())) < 30_000
    assert len(stats.errors.most_common()) <= 51


# --- its parts


def test_percentiles_are_within_their_buckets_and_the_ends_exact() -> None:
    latencies = Latencies()
    for number in range(1, 1_001):
        latencies.add(number / 100, 1)
    for percent in (1, 50, 90, 99):
        assert latencies.percentile(percent) == pytest.approx(percent / 10, rel=0.03)
    assert latencies.percentile(100) == latencies.most == 10.0
    assert latencies.least == 0.01


@pytest.mark.parametrize("seconds", [0, 0.0005, 0.001, 1, 86_400, 1e9])
def test_any_latency_has_a_bucket(seconds: float) -> None:
    latencies = Latencies()
    latencies.add(seconds, 3)
    assert latencies.percentile(50) == seconds
    assert [rows for *_, rows in latencies.bars(30)] == [3]


def test_without_answers_there_is_no_percentile_and_no_bar() -> None:
    assert Latencies().percentile(50) is None
    assert Latencies().bars(30) == []


def test_bars_hold_every_row_and_are_adjacent() -> None:
    latencies, chance = Latencies(), random.Random(3)  # noqa: S311
    for _ in range(5_000):
        latencies.add(chance.lognormvariate(1, 1), 1)
    bars = latencies.bars(30)
    assert len(bars) <= 30
    assert sum(rows for *_, rows in bars) == 5_000
    assert all(one[1] == other[0] for one, other in itertools.pairwise(bars))


def test_steps_double_and_lose_nothing() -> None:
    timeline = Timeline(NOON)
    for second in range(100_000):
        timeline.look(NOON + second, second % 100, 60.0)
        timeline.answered(1, True, 0, 0)
    steps = timeline.steps(NOON + 100_000)
    assert len(steps) <= 240
    assert sum(step.ok for step in steps) == 100_000
    assert all(step.rate == pytest.approx(1, rel=0.01) for step in steps)
    assert {step.in_flight for step in steps} == {99}


def test_a_gap_has_what_was_in_flight_before_it() -> None:
    timeline = Timeline(NOON)
    timeline.look(NOON, 80, 60.0)
    timeline.look(NOON, 50, 60.0)
    timeline.look(NOON + 100, 7, 30.0)
    steps = timeline.steps(NOON + 101)
    assert [steps[0].in_flight, steps[50].in_flight, steps[-1].in_flight] == [80, 50, 7]
    assert [steps[50].budget, steps[-1].budget] == [60, 30]


def test_a_clock_that_is_set_back_or_far_ahead_breaks_nothing() -> None:
    stats = begun(10)
    for moment in (5, -400, 6, 3e9, 7):
        stats.answered(NOON + moment, 1, True, 1.0)
    assert sum(step.ok for step in stats.timeline.steps(NOON + 3e9)) == 5
    assert stats.figures(NOON - 500).elapsed == 0


def test_codes_are_words_of_one_line() -> None:
    tally = Tally()
    for code in ("4013", None, "", "a\nb\x1b[31m", "x" * 500):
        tally.add(code)
    assert tally.to_dict() == {"4013": 1, "other": 2, "ab[31m": 1, "x" * 40: 1}


def test_the_rate_forgets_what_is_long_past() -> None:
    speed = Speed()
    for second in range(10_000):
        speed.add(NOON + second, 2)
    assert speed.rate(NOON + 10_000) == pytest.approx(2, rel=0.02)
    assert len(speed.to_dict()["slots"]) <= 61


# --- over a deferral


def test_another_process_goes_on_where_one_left_off() -> None:
    whole = sample.run(rows=400)
    again = Stats.from_dict(json.loads(json.dumps(whole.to_dict())))
    assert again.figures(NOON + 999) == whole.figures(NOON + 999)
    again.answered(NOON + 999, 1, True, 1.0)
    assert again.ok == whole.ok + 1


@pytest.mark.parametrize(
    "kept",
    [None, {}, [], "x", {"format": 2}, {"format": 1}, {**begun().to_dict(), "timeline": {}}],
    ids=lambda kept: str(kept)[:12],
)
def test_figures_that_cannot_be_read_are_refused(kept: Any) -> None:
    with pytest.raises(ValueError, match=r"figures of"):
        Stats.from_dict(kept)
