"""Batches whose rows a function returns, on one worker and deferred."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.batch.rows import read_rows
from airflow_provider_coze.decorators import coze_batch_task
from airflow_provider_coze.decorators.batch import CozeChatBatchDecoratedOperator, CozeWorkflowBatchDecoratedOperator
from airflow_provider_coze.decorators.kept_rows import forget, keep, kept
from tests.decorators.test_functions import Counted
from tests.operators.batching import ECHO, ECHO_BOT, Batches
from tests.tasks import Coze


@pytest.fixture(params=["plain", "deferred"])
def batches(request: pytest.FixtureRequest, coze: Coze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    return Batches(coze, tmp_path / "results", monkeypatch, defers=request.param == "deferred")


def ask(batches: Batches, function: Any, **arguments: Any) -> Any:
    given = {"bot_id": ECHO_BOT, "message": "{{ row.text }}?", "max_in_flight": 2, **arguments}
    return batches(CozeChatBatchDecoratedOperator, python_callable=function, **given)


def numbered(prefix: str = "row") -> Iterator[dict[str, str]]:
    yield from ({"text": f"{prefix} {index}"} for index in range(4))


def test_each_row_of_a_function_is_asked_once_and_the_function_is_called_once(batches: Batches) -> None:
    function = Counted(numbered)
    manifest = ask(batches, function)
    assert batches.outputs == {index: f"You said: row {index}?" for index in range(4)}
    assert manifest["counts"]["succeeded"] == 4
    assert (function.calls, len(batches.coze.ledger)) == (1, 4)
    assert (batches.legs > 1) == batches.defers
    assert "row 0" not in "".join(path.name for path in batches.folder.rglob("*"))
    assert list((batches.folder / "_inputs").glob("*")) == []


def test_a_function_may_return_the_place_of_its_rows(batches: Batches, tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in numbered("line")))
    function = Counted(lambda: str(place))
    ask(batches, function)
    assert batches.outputs == {index: f"You said: line {index}?" for index in range(4)}
    assert function.calls == 1
    assert place.exists()


def test_a_workflow_is_run_for_each_row_of_a_function(batches: Batches) -> None:
    batches(
        CozeWorkflowBatchDecoratedOperator,
        python_callable=lambda: [{"text": "a"}, {"text": "b"}],
        workflow_id=ECHO,
        parameters={"said": "{{ row.text }}"},
    )
    assert [bill.marker["parameters"] for bill in batches.coze.ledger] == [{"said": "a"}, {"said": "b"}]


def test_rows_that_cannot_be_asked_are_recorded_in_their_place(batches: Batches) -> None:
    ask(batches, lambda: ["good", None, float("nan"), "also good"], message=None)
    assert batches.outputs == {0: "You said: good", 3: "You said: also good"}
    assert batches.errors == {1: "empty", 2: "wrong_type"}


def test_no_rows_are_no_error_and_no_return_is_one(batches: Batches) -> None:
    assert ask(batches, list)["request_count"] == 0
    with pytest.raises(
        e.CozeInputError, match=r"returned nothing \(None\), and @task.coze_batch needs the rows, or \[\]"
    ):
        ask(batches, lambda: None)
    with pytest.raises(e.CozeInputError, match="inputs must not be int"):
        ask(batches, lambda: 17)
    assert batches.coze.ledger == []


def test_a_place_that_cannot_be_written_is_found_before_rows_are_kept(batches: Batches, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(e.CozeInputError, match="cannot be written"):
        ask(batches, numbered, result_path=str(tmp_path / "file"))
    assert batches.coze.seen == []


def test_the_decorator_takes_a_workflow_where_one_is_named_and_splits_the_manifest() -> None:
    common: Any = {"result_path": "/r"}
    chats = coze_batch_task(bot_id="1", **common)(numbered)
    runs = coze_batch_task(workflow_id="1", bot_id="2", **common)(numbered)
    assert chats.operator_class is CozeChatBatchDecoratedOperator
    assert runs.operator_class is CozeWorkflowBatchDecoratedOperator
    assert chats().operator.multiple_outputs
    assert runs().operator.bot_id == "2"
    assert not coze_batch_task(bot_id="1", multiple_outputs=False, **common)(numbered)().operator.multiple_outputs


def test_kept_rows_are_read_as_they_were_and_of_the_last_call_only(tmp_path: Path) -> None:
    rows: list[Any] = ["a", {"index": 3, "x": "ü"}, {}, None, 5, [1], object()]
    place = keep(str(tmp_path), "name", iter(rows))
    assert place == kept(str(tmp_path), "name")
    before = [(row.index, getattr(row, "code", row.value)) for row in read_rows(rows)]
    assert [(row.index, getattr(row, "code", row.value)) for row in read_rows(place)] == before
    assert (
        keep(str(tmp_path), "name", "s3://bucket/rows.jsonl") == kept(str(tmp_path), "name") == "s3://bucket/rows.jsonl"
    )
    assert keep(str(tmp_path), "name", '["b"]') == kept(str(tmp_path), "name") == place
    assert [row.value for row in read_rows(place)] == ["b"]
    forget(str(tmp_path), "name", None)
    assert list((tmp_path / "_inputs").iterdir()) == []


def test_failed_rows_of_an_earlier_batch_keep_their_places(tmp_path: Path) -> None:
    failed = [
        {"index": 7, "input": "a", "error": {"code": 5000}},
        {"index": 2, "input": None, "error": {"code": "too_large"}},
    ]
    place = keep(str(tmp_path), "name", failed)
    assert [(row.index, getattr(row, "code", row.value)) for row in read_rows(place)] == [(7, "a"), (2, "too_large")]
