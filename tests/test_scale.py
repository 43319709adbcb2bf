"""What ``make scale`` says of a run, and what the comparison of shared budgets is made of. The run itself takes a quarter of an hour."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.protocol.messages import Request
from tests.airflow.scale import budget
from tests.airflow.scale.coze import Watched
from tests.airflow.scale.verdict import Kill, Outcome

RIGHT = Outcome(
    tasks=2,
    rows=1,
    state="success",
    seconds=60.0,
    answers=["answer 0", "answer 1"],
    outputs={"chats": ["row 0"], "runs": [{"output": 0}]},
    billed=Counter(["ask 0", "ask 1", "chats 0", "runs 0"]),
    kills=[Kill("worker-1", 20.0, ["chats"], 65.0), Kill("triggerer-2", 30.0, ["ask 1"], 31.0)],
)


def test_a_run_in_which_all_is_right_has_no_problem() -> None:
    assert RIGHT.problems() == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"state": "failed"}, "the DAG run is failed"),
        ({"answers": ["answer 1", "answer 0"]}, "2 of 2 answers are wrong"),
        ({"answers": ["answer 0"]}, "1 of 2 answers are wrong"),
        ({"outputs": {"chats": ["row 0"]}}, "1 of 1 outputs of runs are wrong"),
        ({"billed": RIGHT.billed + Counter(["ask 1"])}, "1 billed more than once: ask 1"),
        ({"billed": RIGHT.billed - Counter(["runs 0"])}, "1 never billed: runs 0"),
        ({"billed": RIGHT.billed + Counter(["ask 7"])}, "1 billed, and nobody's: ask 7"),
        ({"kills": RIGHT.kills[:1]}, "no triggerer was killed that had anything on its hands"),
        (
            {"kills": [replace(RIGHT.kills[0], held=[]), RIGHT.kills[1]]},
            "no worker was killed that had anything on its hands",
        ),
        (
            {"kills": [RIGHT.kills[0], replace(RIGHT.kills[1], recovered=None)]},
            "what triggerer-2 had was not taken over",
        ),
        (
            {"refused": Counter(chat=3)},
            "Coze refused {'chat': 3} requests as too many, so the budget was split wrongly",
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_said(wrong: dict[str, Any], told: str) -> None:
    assert replace(RIGHT, **wrong).problems() == [told]


def test_the_coze_of_the_run_notes_what_it_refuses() -> None:
    coze = Watched()
    coze.world.rate_limits = True
    headers = {"authorization": f"Bearer {coze.token}"}
    for _ in range(105):
        coze.respond(Request("GET", "/v1/workflows/1/run_histories/2", headers=headers))
    assert coze.asked["workflow"].total() == 105
    assert 1 <= coze.refused["workflow"] <= 5
    assert coze.asked["chat"].total() == 0
    assert isinstance(coze, Emulator)


def _used(waits: tuple[int, int], way: str, limiter: str = "fixed seconds") -> tuple[float, int]:
    seen = budget.simulate(waits, *budget.WAYS[way](), limiter=budget.LIMITERS[limiter], seconds=20, warm_up=20)
    return budget.used(waits, seen, 20), seen.refused


def test_halves_use_a_budget_up_where_both_processes_have_as_much_to_do() -> None:
    part, refused = _used((750, 750), "half of the budget each")
    assert part > 0.95
    assert refused == 0


def test_halves_leave_what_one_process_has_no_use_for() -> None:
    part, refused = _used((1350, 150), "half of the budget each")
    assert 0.6 < part < 0.7
    assert refused == 0


def test_one_line_for_all_leaves_nothing() -> None:
    part, refused = _used((1350, 150), "one line in Redis")
    assert part > 0.95
    assert refused == 0
