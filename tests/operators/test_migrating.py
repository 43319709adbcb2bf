"""The page about migrating: what it shows before and after does the same, run against one Coze."""

from __future__ import annotations

import json
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.operators.test_snippets import batch, execute
from tests.pages import run_page
from tests.tasks import TOKEN, Coze

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets" / "migrate"
REVIEWS = Path(__file__).parents[2] / "example_dags" / "data" / "product_reviews.csv"
ECHO, SORTER, SUMMARY = "7511000000000000002", "7511000000000000008", "7511500000000000001"


@pytest.fixture
def after() -> Any:
    return run_page(SNIPPETS / "dag.py")


def before(name: str, coze: Coze, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("COZE_API", coze.base_url)
    monkeypatch.setenv("COZE_TOKEN", TOKEN)
    monkeypatch.setattr("time.sleep", coze.time.sleep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cozepy's own use of authlib
        return runpy.run_path(str(SNIPPETS / f"{name}.py"))


def test_a_script_with_requests_asks_and_runs_as_the_dag_does(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, after: Any
) -> None:
    script = before("requests_script", coze, monkeypatch)
    ask, summarise = (after["dag"].get_task(name) for name in ("ask", "summarise"))
    assert execute(coze, ask)[0] == script["ask"](ECHO, ask.message)
    assert execute(coze, summarise)[0] == script["run"](SUMMARY, summarise.parameters)
    assert [entry.kind for entry in coze.ledger] == ["chat", "chat", "workflow", "workflow"]


def test_a_script_with_cozepy_runs_and_sorts_as_the_dag_does(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, after: Any, tmp_path: Path
) -> None:
    script = before("cozepy_script", coze, monkeypatch)
    summarise, moods = (after["dag"].get_task(name) for name in ("summarise", "moods"))
    assert execute(coze, summarise)[0] == script["summarise"](SUMMARY, after["TABLE"])
    manifest, outputs = batch(coze, moods, tmp_path, inputs=str(REVIEWS))
    assert outputs == script["moods"](SORTER, REVIEWS)
    assert manifest["counts"]["succeeded"] == len(outputs) == 12
    assert json.loads(json.dumps(manifest)) == manifest


def test_a_batch_of_some_rows_says_what_all_of_them_may_use(coze: Coze, after: Any, tmp_path: Path) -> None:
    sizing = runpy.run_path(str(SNIPPETS.parent / "sizing.py"))
    manifest, _ = batch(coze, after["dag"].get_task("moods"), tmp_path, inputs=str(REVIEWS))
    used = sum(entry.tokens for entry in coze.ledger)
    assert sizing["token_budget"](manifest, 12_000, margin=1) == used * 1_000


def test_what_a_script_loses_the_dag_finds(coze: Coze, monkeypatch: pytest.MonkeyPatch, after: Any) -> None:
    from airflow_provider_coze.emulator import scenarios

    coze.script(scenarios.reset(after_commit=True), on="POST /v3/chat")
    ask = after["dag"].get_task("ask")
    assert execute(coze, ask)[0] == f"You said: {ask.message}"
    assert len(coze.ledger) == 1
    coze.script(scenarios.reset(after_commit=True), on="POST /v3/chat")
    with pytest.raises(OSError, match=r"reset|aborted"):
        before("requests_script", coze, monkeypatch)["ask"](ECHO, "x")
    assert len(coze.ledger) == 2  # paid for, and nobody knows its id
