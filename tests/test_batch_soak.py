"""A short batch soak (``make batch-soak`` is the long one): what batches come to whose processes are killed again and again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(300)]

ROWS, KILLS = 300, 3
CASES: list[dict[str, Any]] = [
    {"kind": "chat"},
    {"kind": "chat", "deferred": True, "listed": True},
    {"kind": "chat", "listed": True, "faults": True},
    {"kind": "chat", "store": True},
    {"kind": "run"},
    {"kind": "run", "deferred": True},
    {"kind": "run", "deferred": True, "faults": True},
    {"kind": "run", "resend": True, "faults": True},
]
NAMES = [" ".join(str(name if value is True else value) for name, value in case.items()) for case in CASES]


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    small = {"rows": ROWS, "kills": KILLS, "shortest": 0.1, "longest": 0.9, "in_flight": 100}
    quick = {"commit_seconds": 0.25, "poll_interval": 1.0, "hurries": True}
    given = json.dumps([{**small, **quick, "seed": seed, **case} for seed, case in enumerate(CASES)])
    # A process without threads, which can fork.
    ended = subprocess.run(
        [sys.executable, "-m", "tests.batch_soak", "--json", "--cases", given],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


@pytest.fixture(params=range(len(CASES)), ids=NAMES)
def report(request: pytest.FixtureRequest, reports: list[dict[str, Any]]) -> dict[str, Any]:
    return reports[request.param]


def test_nothing_is_missing_twice_wrong_or_billed_twice(report: dict[str, Any]) -> None:
    assert report["problems"] == []


def test_processes_were_killed_in_the_midst_of_it(report: dict[str, Any]) -> None:
    killed = report["ending"]["killed"]
    assert sum(killed.values()) == KILLS + 1 + report["case"]["deferred"]
    assert sum(times for what, times in killed.items() if "triggerer" in what) == 1 + report["case"]["deferred"]


def test_every_chat_is_billed_once(report: dict[str, Any]) -> None:
    if report["case"]["kind"] == "chat":
        assert report["billed"] == {"1": ROWS}


def test_all_rows_are_right_but_for_those_that_nobody_can_know_of(report: dict[str, Any]) -> None:
    assert report["right"] + report["unknown"] == ROWS
    case = report["case"]
    if case["resend"] or (case["kind"] == "chat" and case["listed"]):
        assert report["unknown"] == 0
    elif case["kind"] == "chat":
        assert report["unknown"] <= report["probes"]  # which show whether Coze lists what it makes itself


def test_what_is_resent_is_billed_twice_at_most_as_often(report: dict[str, Any]) -> None:
    excess = sum((int(times) - 1) * rows for times, rows in report["billed"].items() if times != "0")
    assert excess == report["resent_arrived"] <= report["resent"]
    assert report["case"]["resend"] or report["resent"] == 0
