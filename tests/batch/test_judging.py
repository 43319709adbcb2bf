"""What a judge leaves for a later try, and what it does not."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_coze.batch.asks import Ask, Failed, Item
from airflow_provider_coze.batch.engine import Engine, Limits, Stop, Terminal
from airflow_provider_coze.batch.judging import Judge
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.errors import CozeAuthError

ASK = Ask((Item(0, "row", "row", "hash"),))


@pytest.mark.parametrize(("spent", "left"), [(False, 1), (True, 0)])
def test_rows_that_a_refusal_leaves_unasked_are_not_taken_for_done_when_the_time_is_up_as_well(
    spent: bool, left: int
) -> None:
    engine, journal = Engine(Limits()), Mock()
    engine.halt(Stop(Terminal.TIMEOUT))
    pushed: list[Any] = []
    judge = Judge(
        engine=engine, journal=journal, stats=Stats(), clock=lambda: 0.0, push=lambda *job: pushed.append(job)
    )
    judge.judge(ASK, Failed(CozeAuthError("no", code=4100)), spent=spent)
    assert (judge.left, pushed) == (left, [])
    assert journal.result.call_count == 1 - left
