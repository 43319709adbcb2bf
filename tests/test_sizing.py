"""The figures of docs/explanation/limits-and-cost.md: one source of the plans, and a formula that a simulation agrees with."""

from __future__ import annotations

import heapq
import runpy
from typing import Any

import pytest

from airflow_provider_coze.emulator.world import PLANS
from airflow_provider_coze.protocol.pacing import RUN_POLLS
from tests import docs_parts

SIZING = runpy.run_path(str(docs_parts.ROOT / "docs" / "snippets" / "sizing.py"))


def test_the_page_and_the_emulator_have_the_same_limits() -> None:
    page = [(p.chats_per_second, p.workflows_per_second, p.uploads_per_second) for p in SIZING["PLANS"].values()]
    assert page == [(plan.chat, plan.workflow, plan.upload) for plan in PLANS.values()]


def test_the_worked_example_is_the_one_that_the_page_explains() -> None:
    size = SIZING["size_runs"](SIZING["PLANS"]["personal, advanced"], **docs_parts.EXAMPLE)
    assert SIZING["looks_at"](60) == 14
    assert round(size.starts_per_second * 14) == 58
    assert round(size.workflow_qps - size.starts_per_second) == 46
    assert (size.under_way, size.slots, size.requests_per_minute) == (250, 334, 250)


def _wait(age: float) -> float:
    return RUN_POLLS.wait(age=age, left=None, chance=0.5) or 0.0


def _run(size: Any, *, runs: int, seconds: float) -> tuple[int, float, float]:
    """Start runs at their rate, and give every look that the budget leaves to the one that has waited longest for it.

    :returns: the most under way at once, requests per second, and how late ends are noticed on average.
    """
    waiting: list[tuple[float, float]] = []  # when to look next, when started
    now, started, most, requests, late, noticed = 0.0, 0, 0, 0, 0.0, 0
    while noticed < runs:
        if started < runs and started <= now * size.starts_per_second:
            heapq.heappush(waiting, (now + _wait(0.0), now))
            started, requests = started + 1, requests + 1
        elif waiting and waiting[0][0] <= now:
            age, requests = now - waiting[0][1], requests + 1
            if age >= seconds:
                heapq.heappop(waiting)
                late, noticed = late + age - seconds, noticed + 1
            else:
                heapq.heapreplace(waiting, (now + _wait(age), now - age))
        most = max(most, len(waiting))
        now += 1 / size.workflow_qps
    return most, requests / now, late / noticed


@pytest.mark.parametrize("plan", ["personal, advanced", "team"])
def test_a_simulation_stays_within_what_the_formula_says(plan: str) -> None:
    size = SIZING["size_runs"](SIZING["PLANS"][plan], **docs_parts.EXAMPLE)
    most, per_second, late = _run(size, runs=round(size.under_way * 1.5), seconds=60.0)
    assert size.under_way <= most <= size.slots
    assert per_second <= size.workflow_qps
    assert late <= max(size.look_every_seconds, 15)


def test_a_budget_of_tokens_is_the_samples_use_for_all_rows_and_a_margin() -> None:
    sample = {"request_count": 100, "counts": {"missing": 0}, "usage": {"token_count": 55_300}}
    assert SIZING["token_budget"](sample, 20_000) == 13_272_000
