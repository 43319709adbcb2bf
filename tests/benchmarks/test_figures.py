"""The arithmetic of the benchmarks, and that time can be hurried."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from tests.benchmarks import lag, lapse, polling, waiting
from tests.benchmarks.__main__ import NAMES, PAGE, filled, updated
from tests.benchmarks.figures import Check, Result, percentile, shown, table, verdicts


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (12.345, "12.3"), (1.2345, "1.23"), (1234, "1,234"), ("a", "a"), (None, "-"), (math.nan, "-")],
)
def test_numbers_are_shown_with_the_digits_that_count(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_table_and_what_was_promised() -> None:
    assert table(["a", "b"], [["x", 1.0]]) == "| a | b |\n|---|---|\n| x | 1.00 |"
    checks = [Check("one", "≤ 1", "2", False), Check("two", "≤ 1", "-", None), Check("three", "≤ 1", "1", True)]
    assert [line.split("|")[4].strip() for line in verdicts([Result("r", checks=checks)]).splitlines()[2:]] == [
        "**no**",
        "not measured",
        "yes",
    ]


def test_ratios_are_of_each_round_and_the_median_of_them() -> None:
    def figures(*us: float) -> list[dict[str, float]]:
        return [{"us": value, "bytes_resident": 10 * 1024} for value in us]

    seen: polling.Seen = {}
    for column in (100, polling.SATURATED):
        # The machine was three times as slow in the second round.
        seen["bare aiohttp", column] = figures(100, 300, 100)
        seen["CozeChatTrigger", column] = figures(120, 360, 130)
        seen["CozeWorkflowTrigger", column] = figures(120, 360, 130)
        seen["floor", column] = figures(10, 30, 10)
    checks = polling.result(seen, {}, (100,)).checks
    assert [(check.seen, check.ok) for check in checks] == [
        ("1.20 × at worst", True),
        ("1.00 ×", True),
        ("-", None),
        ("10.0 KB", True),
    ]


def test_the_lag_beyond_the_interval_is_that_of_the_moment() -> None:
    given = waiting.Given(chats=100, qps=2, seconds="10")  # 50 s between two looks while all wait
    # The first ends at 10 and is noticed when its turn comes round; the last within what two waiting ones need.
    chats = {str(n): [0.0, 10.0 + n, None] for n in range(100)}
    events = {str(n): 10.0 + n + (50.2 if n == 0 else 1) for n in range(100)}
    stats = {
        "first": 0.0,
        "per_second": {"chat": [0] + [2] * 90 + [1] * 10},
        "worst": {"chat": 3},
        "requests": {"retrieve": 142},
    }
    waited = {
        "events": events,
        "beats": [0.011] * 100,
        "beats_starting": [0.5],
        "since": 1.0,
        "cpu": 1.0,
        "wall": 110.0,
    }
    checks = {check.what: check for check in waiting.result(given, waited, chats, stats).checks}
    assert checks["10 ms heartbeat, p99"].seen == "11.0 ms"
    assert checks["most requests in any second"].ok is False
    assert checks["share of the budget used when there is work"].ok
    # All but one are far below their interval, and p99 of a hundred is the second largest.
    assert checks["from end to event beyond the poll interval, p99"].ok


def test_lag_is_compared_with_looking_every_five_seconds() -> None:
    fixed = {"lags": [1.0, 2.0, 4.0], "requests": 30}
    seen = {
        (name, way): fixed if way == lag.FIXED else {"lags": [0.5, 1.0, 2.0], "requests": 33}
        for name in lag.DURATIONS
        for way in (lag.FIXED, lag.OURS)
    }
    assert [(check.seen, check.ok) for check in lag.result(seen, 3).checks] == [("0.50 ×", True), ("1.10 ×", False)] * 2


def test_a_page_keeps_what_was_not_measured() -> None:
    page = "<!-- bench: a -->\nold\n<!-- end of bench -->\ntext\n<!-- bench: b -->\nold\n<!-- end of bench -->\n"
    assert filled(page, {"b": "new"}) == page[: page.index("b -->")] + "b -->\n\nnew\n\n<!-- end of bench -->\n"


def test_the_page_has_a_place_for_each_benchmark() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- bench: {name} -->" in page for name in (*NAMES, "machine", "verdicts"))


def test_time_can_be_hurried_for_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", time.time)
    monkeypatch.setattr(time, "monotonic", time.monotonic)
    began = lapse.real()
    lapse.quicken(1000)

    async def wait() -> tuple[float, float]:
        wall, clock = time.time(), asyncio.get_running_loop().time()
        await asyncio.sleep(20)
        return time.time() - wall, asyncio.get_running_loop().time() - clock

    wall, clock = lapse.run(wait(), 1000)
    assert lapse.real() - began < 2
    assert min(wall, clock) >= 20


def test_verdicts_of_some_benchmarks_leave_those_of_the_others() -> None:
    def told(*seen: tuple[str, str]) -> str:
        return verdicts([Result("r", checks=[Check(what, "< 1", figure, ok=True) for what, figure in seen])])

    page = f"<!-- bench: verdicts -->\n\n{told(('a', '1'), ('b', '2'), ('c', '3'))}\n\n<!-- end of bench -->\n"
    assert updated(page, told(("d", "5"), ("b", "4"))) == told(("a", "1"), ("b", "4"), ("c", "3"), ("d", "5"))
