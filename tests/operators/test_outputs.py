"""An answer on its way to XCom: read whole where Coze trimmed it, checked against its type, written where it was asked to be."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from pydantic import BaseModel

from airflow_provider_coze import errors as e
from airflow_provider_coze.compat import object_storage_path
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.definitions import OutputNode, Workflow
from airflow_provider_coze.operators.fate import deciding
from airflow_provider_coze.operators.outputs import checked_output, path_problems, stored_output, whole_output
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.typed_output import OutputType
from tests import needs
from tests.tasks import LOGGER, Coze

LOG = logging.getLogger(LOGGER)
DEBUG_URL = "https://www.coze.cn/work_flow?execute_id=7"


class Row(BaseModel):
    price: float


class Table(BaseModel):
    rows: list[Row]


# --- of its type


def test_an_output_of_its_type_is_plain_json() -> None:
    assert checked_output({"output": '{"rows":[{"price":"1"}]}'}, Table, what="Run") == {"rows": [{"price": 1.0}]}
    assert checked_output("退款", OutputType(Literal["退款"]), what="Run") == "退款"


def refused(value: Any, **facts: str | None) -> e.CozeOutputTypeError:
    with pytest.raises(e.CozeOutputTypeError) as caught:
        checked_output(value, Table, what="Run '7' of workflow '44'", **facts)
    return caught.value


def test_an_output_of_another_type_is_an_error_with_the_place_of_the_first_problem() -> None:
    error = refused(
        {"rows": [{"price": 1}, {"price": "HUNTER2"}]}, execute_id="7", workflow_id="44", debug_url=DEBUG_URL
    )
    for words in (
        "Run '7' of workflow '44'",
        "rows[1].price",
        "valid number",
        "paid for",
        "A retry",
        "clear the task",
        DEBUG_URL,
    ):
        assert words in str(error)
    assert error.facts() == {"execute_id": "7", "workflow_id": "44", "debug_url": DEBUG_URL}
    assert "HUNTER2" not in str(error)
    assert error.__context__ is None


def test_no_retry_helps_an_output_of_another_type() -> None:
    class Task:
        hook = type("Hook", (), {"clock": staticmethod(lambda: 0.0)})()
        log = LOG

    with pytest.raises(e.CozeOutputTypeError) as caught, deciding(Task()):
        raise refused({})
    assert isinstance(caught.value, AirflowFailException)


# --- whole


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger=LOGGER)
    return lambda: [
        record.getMessage() for record in caplog.records if record.levelname == "WARNING" and record.name == LOGGER
    ]


def ended(coze: Coze, **fields: Any) -> tuple[str, RunHistory]:
    """Return a run that has ended, as its record shows it."""
    workflow = coze.emulator.add_workflow(Workflow(**fields)).id
    hook = coze.hook()
    run = hook.run_workflow(workflow_id=workflow, parameters={}, is_async=True)
    coze.time.sleep(60)
    return workflow, hook.run_history(workflow_id=workflow, execute_id=run.execute_id)


def whole(coze: Coze, workflow: str, history: RunHistory) -> Any:
    return whole_output(coze.hook(), history, workflow_id=workflow, log=LOG)


NODES = (OutputNode("Rows", '{"rows":[1,2]}'), OutputNode("Note", "半路"))


def test_an_output_that_was_not_trimmed_is_as_it_is(coze: Coze, warned: Callable[[], list[str]]) -> None:
    workflow, history = ended(coze, output={"x": 1}, nodes=NODES)
    asked = len(coze.seen)
    assert whole(coze, workflow, history) == {"x": 1}
    assert (len(coze.seen), warned()) == (asked, [])


def test_where_the_record_was_cleared_the_output_nodes_are_read_one_by_one(
    coze: Coze, warned: Callable[[], list[str]]
) -> None:
    coze.world.trim_output_bytes = 0
    workflow, history = ended(coze, output={"x": 1}, nodes=NODES)
    assert history.output == ""
    assert whole(coze, workflow, history) == {"Rows": {"rows": [1, 2]}, "Note": "半路"}
    assert sum("/execute_nodes/" in name for name, _, _ in coze.seen) == 2
    assert warned() == []


@pytest.mark.parametrize("large", ["nodes", "names"])
def test_an_end_nodes_output_that_is_whole_is_the_output_and_nothing_more_is_asked(
    coze: Coze, warned: Callable[[], list[str]], large: str
) -> None:
    coze.world.trim_output_bytes = 40
    node = OutputNode("Rows", "x" * 100) if large == "nodes" else OutputNode("数" * 100, "x")
    workflow, history = ended(coze, output={"x": "中文"}, nodes=(node,))
    asked = len(coze.seen)
    assert history.is_output_trimmed
    assert whole(coze, workflow, history) == {"x": "中文"}
    assert (len(coze.seen), warned()) == (asked, [])


def test_an_end_nodes_output_that_was_cut_is_returned_with_a_warning(
    coze: Coze, warned: Callable[[], list[str]]
) -> None:
    coze.world.trim_output_bytes = 40
    workflow, history = ended(coze, output="x" * 100, nodes=NODES)
    assert whole(coze, workflow, history) == '{"Output":"' + "x" * 29
    [warning] = warned()
    assert "Missing: the end of the end node's output" in warning
    assert history.execute_id in warning
    assert (history.debug_url or "?") in warning


def test_an_output_node_that_coze_keeps_no_more_is_missing_and_the_others_are_not(
    coze: Coze, warned: Callable[[], list[str]]
) -> None:
    coze.world.trim_output_bytes = 0
    workflow, history = ended(coze, output={"x": 1}, nodes=NODES)
    coze.script(scenarios.error(4314), on="/v1/workflows/*")
    assert whole(coze, workflow, history) == {"Note": "半路"}
    assert "Missing: output node 'Rows' (Coze has it no more: it keeps output nodes for 24 hours)" in warned()[0]


def test_after_a_day_the_trimmed_output_is_what_there_is(coze: Coze, warned: Callable[[], list[str]]) -> None:
    coze.world.trim_output_bytes = 0
    workflow, history = ended(coze, output={"x": 1}, nodes=NODES)
    coze.time.sleep(90_000)
    assert whole(coze, workflow, history) == ""
    assert "'Rows'" in warned()[0]
    assert "'Note'" in warned()[0]


def test_studio_has_no_single_nodes_and_a_paid_output_does_not_fail_for_it(
    studio: Coze, warned: Callable[[], list[str]]
) -> None:
    history = RunHistory(
        "7", "Success", output="", is_output_trimmed=True, nodes={name: {"node_execute_uuid": name} for name in "ab"}
    )
    assert whole(studio, "44", history) == ""
    assert "this server does not hand out" in warned()[0]
    assert studio.seen == []


def test_a_node_that_cannot_be_read_for_now_fails_the_try_and_says_that_a_retry_is_free(coze: Coze) -> None:
    coze.world.trim_output_bytes = 0
    workflow, history = ended(coze, output={"x": 1}, nodes=NODES)
    coze.script(scenarios.error(5000), on="/v1/workflows/*", times=None)
    with pytest.raises(e.CozeUnavailableError, match=r"paid for.*A retry of the task reads it again") as caught:
        whole(coze, workflow, history)
    assert caught.value.execute_id == history.execute_id


@pytest.mark.parametrize(
    ("output", "nodes", "expected", "missing"),
    [
        (None, {}, None, "names no output nodes"),
        ('{"A":"{\\"x\\":1}","B":"cu', {}, {"A": {"x": 1}}, "'B'"),
        ('{ "A" : 1, "B" : 12', {}, {"A": 1}, "'B'"),
        ('{"A":"1","Outp', {}, {"A": "1"}, "cut off"),
        ('{"Output":"{\\"x\\":1}"}', {}, {"x": 1}, "a part of"),
        ('{"Output":"{\\"x\\":"}', {"n": {}}, '{"x":', "a part of"),
        ('{"Output":"{\\"x\\":1}","B":""}', {"B": {}}, {"x": 1}, ""),
        ('{"A":"1","B":"c', {"A": {}, "B": {}}, {"A": "1"}, "'B'"),
        ("plain text that was c", {}, "plain text that was c", "cut off"),
        ('{"A":' + "[" * 100_000, {}, '{"A":' + "[" * 100_000, "'A'"),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_whole_in_a_cut_record_is_kept(
    coze: Coze, warned: Callable[[], list[str]], output: str | None, nodes: dict[str, Any], expected: Any, missing: str
) -> None:
    history = RunHistory("7", "Success", output=output, is_output_trimmed=True, nodes=nodes)
    assert whole(coze, "44", history) == expected
    assert [missing in warning for warning in warned()] == ([True] if missing else [])


# --- in object storage


@pytest.fixture(params=["path", "file://", "memory://"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every test using this runs once per kind of storage."""
    if request.param == "memory://":
        needs.ANY_FILE_SYSTEM.or_skip()
    return str(tmp_path) if request.param == "path" else f"{request.param}{tmp_path}"


def stored(uri: str) -> str:
    content: bytes = object_storage_path(uri).read_bytes()
    return content.decode()


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ({"a": ["数据", None, 1.5]}, '{"a": ["数据", null, 1.5]}'),
        ("纯文本 😀\n", "纯文本 😀\n"),
        ("", ""),
        (None, "null"),
        (7, "7"),
    ],
)
def test_an_answer_is_written_as_json_and_a_text_as_it_is(root: str, value: Any, content: str) -> None:
    uri = stored_output(value, f"{root}/coze/scheduled__2025-12-04T12:00:00+00:00/a b.json", LOG)
    assert "://" in uri
    assert stored(uri) == content


def test_a_second_try_replaces_what_the_first_one_wrote_and_leaves_nothing_beside_it(root: str, tmp_path: Path) -> None:
    for value in ({"a": "x" * 1000}, {"a": 1}):
        uri = stored_output(value, f"{root}/answer.json", LOG)
    assert stored(uri) == '{"a": 1}'
    assert [path.name for path in tmp_path.iterdir()] in ([], ["answer.json"])


def test_in_a_folder_the_file_is_named_after_what_it_holds(root: str) -> None:
    uris = [stored_output(value, f"{root}/answers/", LOG) for value in ({"a": 1}, {"a": 1}, {"a": 2}, "text")]
    assert uris[0] == uris[1]
    assert len(set(uris)) == 3
    assert uris[0].endswith(".json")
    assert uris[3].endswith(".txt")


def test_ten_megabytes_are_written_and_their_words_are_in_no_log(root: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=LOGGER)
    uri = stored_output({"a": "数" * 3_400_000}, f"{root}/large.json", LOG)
    assert len(json.loads(stored(uri))["a"]) == 3_400_000
    assert "large.json" in caplog.text
    assert "数" not in caplog.text


def test_a_path_that_can_be_written_is_no_problem_and_the_look_leaves_nothing(root: str, tmp_path: Path) -> None:
    for output_path in (f"{root}/answer.json", f"{root}/new/folder/answer.json", f"{root}/new/"):
        assert path_problems(output_path) == []
    assert list(tmp_path.iterdir()) == []
    if root.startswith("memory"):
        assert fsspec.filesystem("memory").find(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("output_path", "problem"),
    [
        (7, "must be a text, not int"),
        ("", "rendered to nothing"),
        ("None", "rendered to nothing"),
        ("answers/x.json", "absolute path"),
        ("s3://", "names no file"),
        ("unheardof://user:hunter2@bucket/x.json", "'unheardof://bucket/x.json' cannot be written to"),
        ("file:///proc/nothing/x.json", "cannot be written to"),
        ("{root}/taken/x.json", "cannot be written to"),
        ("{root}/folder", "cannot be written to (IsADirectoryError)"),
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_written_is_a_problem_before_anything_is_paid_for(
    tmp_path: Path, output_path: Any, problem: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder").mkdir()
    path = output_path.replace("{root}", str(tmp_path)) if isinstance(output_path, str) else output_path
    [found] = path_problems(path)
    assert problem in found
    assert "hunter2" not in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "PermissionError" in path_problems(f"{tmp_path}/x.json")[0]
    finally:
        tmp_path.chmod(0o700)


def test_an_answer_that_cannot_be_written_after_all_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(e.CozeStateError, match=r"taken.*paid for.*a retry of this task reads it again") as caught:
        stored_output({"a": "HUNTER2"}, f"{tmp_path}/taken/x.json", LOG, execute_id="7", chat_id=None)
    assert caught.value.facts() == {"execute_id": "7"}
    assert "HUNTER2" not in str(caught.value)
    assert caught.value.__context__ is None
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
