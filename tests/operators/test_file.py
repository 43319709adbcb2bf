"""Uploading a file as a task of its own, and using it by its id."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import FILE_ROW
from airflow_provider_coze.emulator.definitions import Bot, Template
from airflow_provider_coze.operators import file_inputs
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.file import CozeFileUploadOperator, coze_file
from airflow_provider_coze.operators.file_inputs import FileInputs
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests.tasks import LOGGER, TOKEN, Coze, Run, TaskInstance

UPLOAD = "POST /v1/files/upload"
CSV = b"city,sales\nA,10\nB,20.5\n"


@pytest.fixture(autouse=True)
def _nothing_uploaded_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_inputs, "_UPLOADS", OrderedDict())


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "销售.csv"
    path.write_bytes(CSV)
    return path


def uploaded(coze: Coze, ti: TaskInstance | None = None, **arguments: Any) -> Any:
    task = coze.prepared(CozeFileUploadOperator(task_id="upload", **arguments))
    return task.execute({"ti": ti or TaskInstance(), "task": task})


def test_the_id_is_returned_and_size_and_name_are_beside_it(coze: Coze, sales: Path) -> None:
    ti = TaskInstance()
    file_id = uploaded(coze, ti, source=sales)
    (file,) = coze.emulator.store.files.values()
    assert (file.id, file.file_name, file.content) == (file_id, "销售.csv", CSV)
    assert ti.xcoms == {"bytes": len(CSV), "file_name": "销售.csv"}
    assert coze.ledger == []


def test_pushing_can_be_off(coze: Coze, sales: Path) -> None:
    ti = TaskInstance()
    uploaded(coze, ti, source=sales, do_xcom_push=False)
    assert ti.xcoms == {}


@pytest.mark.parametrize("source", [CSV, bytearray(CSV)])
def test_bytes_need_a_name_and_are_in_nothing_that_airflow_shows(coze: Coze, source: Any) -> None:
    task = CozeFileUploadOperator(task_id="upload", source=source, filename="a.csv")
    assert "sales" not in f"{task!r} {task.source!r} {task.source}"
    assert uploaded(coze, source=source, filename="a.csv") in coze.emulator.store.files
    with pytest.raises(e.CozeInputError, match="has no name; give it one with filename="):
        uploaded(coze, source=source)


def test_an_upload_is_used_by_its_id_in_a_run(coze: Coze, sales: Path) -> None:
    file_id = uploaded(coze, source=sales)
    files = FileInputs(coze.hook(), logging.getLogger(LOGGER))
    run = coze.hook().run_workflow(
        workflow_id=FILE_ROW, parameters=files.in_parameters({"file": coze_file(file_id=file_id)}), is_async=False
    )
    assert json.loads(run.data or "")["file_name"] == "销售.csv"
    assert coze.asked(UPLOAD) == 1


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("https://example.com/a.csv", "Coze fetches a web address itself"),
        ("nowhere.csv", "does not exist on this worker"),
        (None, "source must be a path, an address or bytes, not NoneType"),
        ("", "a template that rendered to nothing"),
        (coze_file("a.csv"), "source must be a path, an address or bytes, not CozeFile"),
    ],
)
def test_what_cannot_be_uploaded_fails_for_good_before_anything_is_sent(coze: Coze, source: Any, problem: str) -> None:
    with pytest.raises(e.CozeInputError, match=problem) as caught:
        uploaded(coze, source=source)
    assert isinstance(caught.value, AirflowFailException)
    assert coze.seen == []


def test_an_answer_that_was_lost_is_left_to_a_retry_of_the_task(coze: Coze, sales: Path) -> None:
    coze.script(scenarios.reset(after_commit=True), on=UPLOAD)
    with pytest.raises(e.CozeTransportError, match="which costs nothing") as caught:
        uploaded(coze, source=sales)
    assert not isinstance(caught.value, AirflowFailException)
    assert uploaded(coze, source=sales) in coze.emulator.store.files
    assert coze.asked(UPLOAD) == 2


def test_studio_takes_uploads_too(studio: Coze, sales: Path) -> None:
    ti = TaskInstance()
    assert uploaded(studio, ti, source=sales) in studio.emulator.store.files
    assert ti.xcoms == {"bytes": len(CSV), "file_name": "销售.csv"}


def test_what_is_cozes_is_templated_and_no_token_is_shown(coze: Coze, sales: Path) -> None:
    assert set(CozeFileUploadOperator.template_fields) == {"source", "filename", "coze_conn_id"}
    task = coze.prepared(CozeFileUploadOperator(task_id="upload", source="{{ d }}/{{ f }}", filename="{{ n }}.csv"))
    context: dict[str, Any] = {"ti": TaskInstance(), "d": str(sales.parent), "f": sales.name, "n": "2025-01-01"}
    task.render_template_fields(context)
    task.execute(context)
    assert [file.file_name for file in coze.emulator.store.files.values()] == ["2025-01-01.csv"]
    assert TOKEN not in f"{task!r} {vars(task)}"


def test_many_files_are_uploaded_by_mapping_over_their_paths(coze: Coze, sales: Path) -> None:
    mapped = CozeFileUploadOperator.partial(task_id="upload").expand(source=[str(sales)])
    task = coze.prepared(mapped.unmap({"source": str(sales)}))
    assert task.execute({"ti": TaskInstance()}) in coze.emulator.store.files


# --- in the operators that use files


def test_a_run_uploads_its_files_and_reads_them(run: Run, coze: Coze, sales: Path) -> None:
    row = run(CozeWorkflowOperator, workflow_id=FILE_ROW, parameters={"file": coze_file(sales)})
    assert (row["file_name"], row["total"]) == ("销售.csv", 30.5)
    assert coze.asked(UPLOAD) == 1


def test_a_chat_uploads_its_files_and_the_bot_gets_them(run: Run, coze: Coze, sales: Path) -> None:
    coze.world.bots.append(Bot(id="7511000000000000077", answer=Template("{message} {files}")))
    content = ["Look:", coze_file(sales), coze_file("https://example.com/a.png")]
    answer = run(CozeChatOperator, bot_id="7511000000000000077", additional_messages=[{"content": content}])
    assert answer == "Look: ['销售.csv', 'https://example.com/a.png']"
    assert coze.asked(UPLOAD) == 1


def test_a_run_whose_file_is_not_there_is_not_begun(run: Run, coze: Coze) -> None:
    with pytest.raises(e.CozeInputError, match="does not exist on this worker"):
        run(CozeWorkflowOperator, workflow_id=FILE_ROW, parameters={"file": coze_file("nowhere.csv")})
    assert coze.ledger == []


def test_a_later_try_that_goes_on_with_a_run_neither_uploads_nor_needs_the_file(
    run: Run, coze: Coze, sales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COZE__STATE_PATH", f"file://{tmp_path}/state")
    arguments: dict[str, Any] = {"workflow_id": FILE_ROW, "parameters": {"file": coze_file(sales)}, "reuse": "always"}
    first = run(CozeWorkflowOperator, **arguments)
    sales.unlink()
    file_inputs._UPLOADS.clear()
    assert run(CozeWorkflowOperator, try_number=2, **arguments) == first
    assert (coze.asked(UPLOAD), len(coze.ledger)) == (1, 1)


@pytest.mark.parametrize("how", [scenarios.server_error, scenarios.reset])
def test_an_upload_that_fails_leaves_nothing_that_a_later_try_would_wonder_about(
    run: Run, coze: Coze, sales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    monkeypatch.setenv("AIRFLOW__COZE__STATE_PATH", f"file://{tmp_path}/state")
    arguments: dict[str, Any] = {"workflow_id": FILE_ROW, "parameters": {"file": coze_file(sales)}}
    coze.script(how(after_commit=True), on=UPLOAD)
    with pytest.raises(e.CozeError, match="It was the upload of"):
        run(CozeWorkflowOperator, **arguments)
    assert coze.ledger == []
    assert run(CozeWorkflowOperator, try_number=2, **arguments)["rows"] == 2
    assert len(coze.ledger) == 1
