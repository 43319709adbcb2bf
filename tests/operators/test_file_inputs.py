"""Files among the arguments of a task: how they travel through Airflow, and when and how they are uploaded."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_coze import errors as e
from airflow_provider_coze.compat import object_storage_path
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO, FILE_ROW
from airflow_provider_coze.emulator.definitions import AccessToken, Bot, Template
from airflow_provider_coze.operators import file_inputs
from airflow_provider_coze.operators.file import CozeFile, coze_file
from airflow_provider_coze.operators.file_inputs import FileInputs, stand_ins, stand_ins_in_messages
from airflow_provider_coze.protocol.file_limits import KEPT_SECONDS, MAX_BYTES
from airflow_provider_coze.protocol.inputs import run_problems
from airflow_provider_coze.state.record import fingerprint
from tests.tasks import LOGGER, Coze

UPLOAD = "POST /v1/files/upload"
CSV = b"city,sales\nA,10\nB,20.5\n"


@pytest.fixture(autouse=True)
def _nothing_uploaded_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_inputs, "_UPLOADS", OrderedDict())


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_bytes(CSV)
    return path


@pytest.fixture
def files(coze: Coze) -> FileInputs:
    return of(coze)


def of(coze: Coze, conn_id: str = "coze_default") -> FileInputs:
    return FileInputs(coze.hook(conn_id), logging.getLogger(LOGGER))


def stored(coze: Coze) -> list[tuple[str, bytes]]:
    """Return the names and contents that have arrived."""
    return [(file.file_name, file.content) for file in coze.emulator.store.files.values()]


def ids(coze: Coze) -> list[str]:
    return list(coze.emulator.store.files)


def reference(file_id: str) -> str:
    return json.dumps({"file_id": file_id})


# --- through Airflow


class Task(BaseOperator):
    template_fields = ("parameters", "other")

    def __init__(self, *, parameters: Any = None, other: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parameters = parameters
        self.other = other

    def execute(self, context: Any) -> Any:
        return self.parameters


class TaskInstance:
    """As much of one as resolving another task's output touches."""

    dag_id, run_id, task_id, map_index = "d", "r", "t", -1

    def __init__(self, returned: Any) -> None:
        self.returned = returned

    def xcom_pull(self, **_: Any) -> Any:
        return self.returned

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        return None


@pytest.fixture(params=[False, True], ids=["text", "native"])
def dag(request: pytest.FixtureRequest) -> Iterator[DAG]:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    with DAG("d", schedule=None, start_date=start, render_template_as_native_obj=request.param) as made:
        yield made


def rendered(task: Any, **context: Any) -> Any:
    context.setdefault("ti", TaskInstance(None))
    context.setdefault("task_instance", context["ti"])
    context.update(task=task, dag=task.dag, run_id="r", expanded_ti_count=None)
    task.render_template_fields(context)
    return task.parameters


def test_templates_in_a_file_are_rendered_however_deep(dag: DAG) -> None:
    given = {"a": [{"b": coze_file("{{ ds }}/in.csv", filename="{{ ds }}.csv")}], "c": coze_file(file_id="{{ id }}")}
    found = rendered(Task(task_id="t", parameters=given), ds="2025-01-01", id="7514000000000000001")
    assert found["a"] == [{"b": coze_file("2025-01-01/in.csv", filename="2025-01-01.csv")}]
    assert stand_ins(found)["c"] == reference("0")
    assert file_inputs.settled(found["c"]).file_id == "7514000000000000001"


def test_rendering_makes_a_new_file_so_tasks_of_one_process_do_not_share_it(dag: DAG) -> None:
    shared = {"file": coze_file("{{ n }}.csv")}
    found = [rendered(Task(task_id=f"t{n}", parameters=shared), n=f"n{n}") for n in (1, 2)]
    assert found == [{"file": coze_file("n1.csv")}, {"file": coze_file("n2.csv")}]
    assert shared == {"file": coze_file("{{ n }}.csv")}


def test_a_file_that_another_task_returns_makes_that_task_an_upstream_one(dag: DAG) -> None:
    download = Task(task_id="download")
    task = Task(task_id="t", parameters={"file": coze_file(download.output)})
    assert task.upstream_task_ids == {"download"}
    found = rendered(task, ti=TaskInstance("s3://bucket/a.csv"))
    assert found == {"file": coze_file("s3://bucket/a.csv")}


def test_a_file_can_be_mapped_over_and_be_given_to_mapped_tasks(dag: DAG) -> None:
    download = Task(task_id="download")
    over = Task.partial(task_id="over").expand(parameters=[{"file": coze_file("a.csv")}, {"file": coze_file("b.csv")}])
    given = Task.partial(task_id="given", parameters={"file": coze_file(download.output)}).expand(other=[1, 2])
    assert given.upstream_task_ids == {"download"}
    assert over.unmap({"parameters": {"file": coze_file("a.csv")}}).parameters == {"file": coze_file("a.csv")}


def test_a_dag_with_files_is_serialised_the_same_way_each_time_and_without_contents(dag: DAG) -> None:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized

    def made() -> str:
        given = {"path": coze_file("{{ ds }}.csv"), "bytes": [coze_file(b"TOPSECRET", filename="a.csv")]}
        with DAG("again", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)) as again:
            Task(task_id="t", parameters=given)
            Task.partial(task_id="m", parameters=given).expand(other=[1])
        return json.dumps(Serialized.to_dict(again)["dag"]["tasks"], default=str, sort_keys=True)

    assert made() == made()
    assert "TOPSECRET" not in made()
    assert " at 0x" not in made()
    assert "{{ ds }}.csv" in made()


@pytest.mark.parametrize(
    "file",
    [
        coze_file("a.csv"),
        coze_file("a", filename="a.csv"),
        coze_file(b"1,2", filename="a.csv"),
        coze_file(file_id="7"),
        coze_file(object_storage_path("file:///data/a.csv")),
    ],
    ids=repr,
)
def test_copies_and_pickles_are_equal_and_look_the_same(file: CozeFile) -> None:
    for copied in (copy.copy(file), copy.deepcopy(file), pickle.loads(pickle.dumps(file))):  # noqa: S301
        assert copied == file
        assert isinstance(copied, CozeFile)
        assert repr(copied) == repr(file)
        assert fingerprint({"parameters": {"file": copied}}) == fingerprint({"parameters": {"file": file}})


def test_equal_sources_have_equal_fingerprints_and_other_ones_have_not() -> None:
    given = [
        coze_file("a.csv"),
        coze_file("b.csv"),
        coze_file("a.csv", filename="b.csv"),
        coze_file(b"1", filename="a.csv"),
        coze_file(b"2", filename="a.csv"),
        coze_file(file_id="1"),
    ]
    assert len({fingerprint({"file": file}) for file in given}) == len(given)
    assert fingerprint({"file": coze_file(Path("a.csv"))}) == fingerprint({"file": coze_file("a.csv")})
    assert fingerprint({"file": coze_file(bytearray(b"1"), filename="a.csv")}) == fingerprint({"file": given[3]})


def test_a_file_that_nobody_uploaded_is_no_json_and_no_xcom() -> None:
    with pytest.raises(TypeError):
        json.dumps(coze_file("a.csv"))
    (problem,) = run_problems(workflow_id=ECHO, parameters={"file": coze_file("a.csv")}, options={})
    assert "which JSON cannot hold" in problem
    try:
        from airflow.sdk.serde import serialize
    except ImportError:
        from airflow.serialization.serde import serialize
    with pytest.raises(TypeError):
        serialize({"file": coze_file("a.csv")})


def test_the_password_of_an_address_and_the_bytes_are_in_no_repr() -> None:
    assert repr(coze_file("ftp://me:hidden@host/a.csv")) == "coze_file('ftp://me:***@host/a.csv')"
    assert repr(coze_file("s3://aws@bucket/a.csv", filename="b.csv")) == (
        "coze_file('s3://aws@bucket/a.csv', filename='b.csv')"
    )
    assert "hidden" not in repr(coze_file(b"hidden", filename="a.csv"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "neither given"),
        ({"source": "a.csv", "file_id": "1"}, "both given"),
        ({"source": b"1"}, "needs a filename"),
    ],
)
def test_what_no_template_can_mend_is_an_error_when_the_dag_is_read(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(e.CozeInputError, match=problem):
        coze_file(**arguments)


# --- in parameters


def test_each_file_is_uploaded_and_replaced_by_its_id_in_a_string(coze: Coze, files: FileInputs, sales: Path) -> None:
    given = {
        "one": coze_file(sales),
        "many": [coze_file(b"%PDF", filename="b.pdf"), coze_file(b"%PDF-2", filename="c.pdf")],
        "deep": {"list": [{"file": coze_file(str(sales), filename="other.csv")}]},
        "kept": [1, "two", None, {"three": 3.0}],
    }
    found = files.in_parameters(given)
    assert stored(coze) == [("sales.csv", CSV), ("b.pdf", b"%PDF"), ("c.pdf", b"%PDF-2"), ("other.csv", CSV)]
    one, two, three, four = map(reference, ids(coze))
    assert found == {
        "one": one,
        "many": [two, three],
        "deep": {"list": [{"file": four}]},
        "kept": [1, "two", None, {"three": 3.0}],
    }
    assert run_problems(workflow_id=ECHO, parameters=found, options={}) == []


def test_the_workflow_reads_what_was_uploaded(coze: Coze, files: FileInputs, sales: Path) -> None:
    run = coze.hook().run_workflow(
        workflow_id=FILE_ROW, parameters=files.in_parameters({"file": coze_file(sales)}), is_async=False
    )
    assert json.loads(run.data or "")["file_name"] == "sales.csv"
    assert json.loads(run.data or "")["total"] == 30.5
    assert coze.ledger[0].marker == {"parameters": {"file": reference(ids(coze)[0])}}


def test_what_holds_no_file_stays_the_very_same_object(coze: Coze, files: FileInputs) -> None:
    given: dict[str, Any] = {"a": [1, {"b": (2, 3)}]}
    assert files.in_parameters(given) is given
    assert stand_ins(given) is given
    assert files.in_parameters(None) is None
    assert coze.seen == []


def test_an_address_of_the_web_and_an_earlier_upload_are_passed_on(coze: Coze, files: FileInputs) -> None:
    given = {"url": coze_file("https://example.com/a.png"), "id": [coze_file(file_id="7514000000000000001")]}
    wanted = {"url": "https://example.com/a.png", "id": [reference("7514000000000000001")]}
    assert files.in_parameters(given) == wanted
    assert coze.seen == []


def test_stand_ins_have_the_shape_of_the_real_ones_and_upload_nothing(coze: Coze) -> None:
    given = {"a": [coze_file("nowhere.csv")], "b": coze_file("https://example.com/a.png")}
    assert stand_ins(given) == {"a": [reference("0")], "b": "https://example.com/a.png"}
    assert coze.seen == []


def test_what_stands_in_itself_is_left_to_whoever_checks_for_json(files: FileInputs) -> None:
    given: dict[str, Any] = {}
    given.update(self=given, again=[given, given], file=coze_file("a.csv"))
    found = stand_ins(given)
    assert found["file"] == reference("0")
    assert found["self"] is given
    assert len(files.problems(given)) == 1


@pytest.mark.parametrize("place", ["memory://files-of-tests/sales.csv", "file://{tmp_path}/sales.csv"])
@pytest.mark.parametrize("made", [str, object_storage_path], ids=["url", "path"])
def test_files_come_from_whatever_fsspec_reads(
    coze: Coze, files: FileInputs, tmp_path: Path, place: str, made: Any
) -> None:
    url = place.format(tmp_path=tmp_path)
    with fsspec.open(url, "wb") as file:
        file.write(CSV)
    assert files.problems({"file": coze_file(made(url))}) == []
    files.in_parameters({"file": coze_file(made(url))})
    assert stored(coze) == [("sales.csv", CSV)]


# --- once


def test_equal_content_is_uploaded_once_under_one_name(
    coze: Coze, sales: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = sales.parent / "copy" / "sales.csv"
    other.parent.mkdir()
    other.write_bytes(CSV)
    files = of(coze)
    found = files.in_parameters(
        [coze_file(sales), coze_file(sales), coze_file(other), coze_file(CSV, filename="b.csv")]
    )
    assert coze.asked(UPLOAD) == 2
    assert found[0] == found[1] == found[2] != found[3]
    assert of(coze).in_parameters([coze_file(sales)]) == found[:1]
    assert coze.asked(UPLOAD) == 2
    assert f"sales.csv was uploaded before, as file {ids(coze)[0]}" in caplog.text


def test_a_file_that_has_changed_is_uploaded_again_by_the_next_try(coze: Coze, sales: Path) -> None:
    before = of(coze).in_parameters([coze_file(sales)])
    sales.write_bytes(CSV + b"C,1\n")
    assert of(coze).in_parameters([coze_file(sales)]) != before
    assert [content for _, content in stored(coze)] == [CSV, CSV + b"C,1\n"]


def test_an_upload_is_used_again_until_coze_may_have_forgotten_it(coze: Coze, sales: Path) -> None:
    of(coze).in_parameters([coze_file(sales)])
    coze.time.sleep(KEPT_SECONDS - 1)
    of(coze).in_parameters([coze_file(sales)])
    assert coze.asked(UPLOAD) == 1
    coze.time.sleep(1)
    of(coze).in_parameters([coze_file(sales)])
    assert coze.asked(UPLOAD) == 2


def test_an_upload_of_one_account_is_not_used_by_another(
    coze: Coze, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coze.world.tokens.append(AccessToken("pat_other", user_id="3902000000000000"))
    monkeypatch.setenv("AIRFLOW_CONN_COZE_OTHER", coze.connection(password="pat_other"))
    of(coze).in_parameters([coze_file(sales)])
    of(coze, "coze_other").in_parameters([coze_file(sales)])
    assert len({file.owner for file in coze.emulator.store.files.values()}) == 2


def test_a_process_remembers_only_so_many_uploads(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_inputs, "_MAX_UPLOADS", 2)
    of(coze).in_parameters([coze_file(b"%d" % n, filename="a.csv") for n in range(3)])
    assert len(file_inputs._UPLOADS) == 2
    of(coze).in_parameters([coze_file(b"2", filename="a.csv"), coze_file(b"1", filename="a.csv")])
    assert coze.asked(UPLOAD) == 3


# --- what is wrong


def problems(tmp_path: Path) -> list[tuple[CozeFile, str]]:
    (tmp_path / "empty.csv").touch()
    with (tmp_path / "big.csv").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.exe").write_bytes(b"MZ")
    memory = "memory://files-of-tests"
    fsspec.filesystem("memory").pipe("/files-of-tests/empty.pdf", b"")
    return [
        (coze_file(tmp_path / "nothing.csv"), "nothing.csv' does not exist on this worker"),
        (coze_file(tmp_path / "empty.csv" / "x.csv"), "x.csv' does not exist on this worker"),
        (coze_file(f"{memory}/nothing.csv"), "'memory://files-of-tests/nothing.csv' does not exist"),
        (coze_file(tmp_path / "empty.csv"), "empty.csv' is empty (code 4300)"),
        (coze_file(f"{memory}/empty.pdf"), "empty.pdf' is empty (code 4300)"),
        (coze_file(b"", filename="a.csv"), "is empty (code 4300)"),
        (coze_file(tmp_path / "big.csv"), "big.csv' has 536870913 bytes"),
        (coze_file(tmp_path / "folder.csv"), "is no file but a folder"),
        (coze_file(f"file://{tmp_path}/folder.csv"), "is no file but a folder"),
        (coze_file(tmp_path / "a.exe"), "'exe' is no type that Coze takes"),
        (coze_file(tmp_path / "a.exe", filename="a"), "has no extension"),
        (coze_file("nosuchscheme://bucket/a.csv"), "cannot be read on this worker"),
        (coze_file(""), "source is '': empty, or a template that rendered to nothing"),
        (coze_file("None"), "source is 'None': empty, or a template that rendered to nothing"),
        (coze_file(["a.csv"]), "source must be a path, an address or bytes, not list"),
        (coze_file(file_id="None"), "file_id is 'None'"),
        (coze_file("nul\0.csv"), "is no file name"),
    ]


def test_every_problem_is_found_before_anything_is_sent(coze: Coze, files: FileInputs, tmp_path: Path) -> None:
    cases = problems(tmp_path)
    found = files.problems({"list": [file for file, _ in cases]})
    assert len(found) == len(cases), found
    for index, (_, wanted) in enumerate(cases):
        assert found[index].startswith(f"parameters['list'][{index}]: ")
        assert wanted in found[index]
    good = coze_file(CSV, filename="a.csv")
    with pytest.raises(e.CozeInputError, match="Nothing was sent, so nothing is billed") as caught:
        files.in_parameters([good, *(file for file, _ in cases)])
    assert str(caught.value).count("; ") >= len(cases)
    assert coze.seen == []


def test_a_later_try_need_not_find_the_file_any_more(files: FileInputs, tmp_path: Path) -> None:
    gone = {"file": coze_file(tmp_path / "gone.csv"), "bad": coze_file("a.exe")}
    assert len(files.problems(gone)) == 2
    (found,) = files.problems(gone, look=False)
    assert "'exe'" in found


def test_a_file_that_is_found_out_to_be_too_large_only_when_read_is_not_sent(
    coze: Coze, files: FileInputs, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_inputs, "size_problem", lambda size: f"has {size} bytes")
    with pytest.raises(e.CozeInputError, match=f"has {len(CSV)} bytes"):
        files.in_parameters([coze_file(sales)])
    assert coze.seen == []


def test_a_storage_in_trouble_is_worth_a_retry(coze: Coze, files: FileInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError("the secret key was refused")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "info", refused)
    with pytest.raises(e.CozeTransportError, match=r"could not be read \(PermissionError\)") as caught:
        files.in_parameters([coze_file("memory://files-of-tests/a.csv")])
    assert caught.value.never_sent is True
    assert "secret key" not in str(caught.value)
    assert coze.seen == []


def test_types_that_are_in_no_list_are_sent_with_a_warning(
    coze: Coze, files: FileInputs, caplog: pytest.LogCaptureFixture
) -> None:
    assert files.problems([coze_file(b"x", filename="notes.txt")]) == []
    with pytest.raises(e.CozeRejectedError, match=r"upload of 'notes\.txt'"):  # the emulator goes by the list
        files.in_parameters([coze_file(b"x", filename="notes.txt")])
    assert "Whether Coze takes files like notes.txt is in none of its documents" in caplog.text


def test_studio_has_no_list_of_types(studio: Coze) -> None:
    files = of(studio)
    assert files.problems([coze_file(b"<p>", filename="page.html")]) == []
    assert files.in_parameters({"a": coze_file(CSV, filename="a.csv")}) == {"a": reference(ids(studio)[0])}
    assert stored(studio) == [("a.csv", CSV)]


# --- uploads that fail


@pytest.mark.parametrize(
    "fault",
    [scenarios.server_error(), scenarios.reset(after_commit=True), scenarios.bad_gateway()],
    ids=["500", "reset", "502"],
)
def test_an_upload_that_coze_may_have_carried_out_is_not_repeated(coze: Coze, files: FileInputs, fault: Any) -> None:
    coze.script(fault, on=UPLOAD)
    with pytest.raises(
        e.CozeError, match=r"It was the upload of 'a.csv', which costs nothing; no chat or run was begun"
    ):
        files.in_parameters([coze_file(CSV, filename="a.csv")])
    assert coze.asked(UPLOAD) == 1
    files.in_parameters([coze_file(CSV, filename="a.csv")])
    assert coze.asked(UPLOAD) == 2


def test_an_upload_that_was_turned_away_is_repeated(coze: Coze, files: FileInputs) -> None:
    coze.script(scenarios.rate_limited(retry_after=7), on=UPLOAD)
    files.in_parameters([coze_file(CSV, filename="a.csv")])
    assert coze.times(UPLOAD) == [0, 7]


def test_a_missing_permission_is_named(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    coze.world.tokens.append(AccessToken("pat_weak", permissions=["run"]))
    monkeypatch.setenv("AIRFLOW_CONN_COZE_WEAK", coze.connection(password="pat_weak"))
    with pytest.raises(e.CozePermissionError, match="uploadFile"):
        of(coze, "coze_weak").in_parameters([coze_file(CSV, filename="a.csv")])


# --- in messages


def test_text_and_files_make_one_message_and_kinds_come_from_extensions(coze: Coze, files: FileInputs) -> None:
    given = [
        {"role": "assistant", "content": "Send it."},
        {
            "content": [
                "What is wrong here?",
                coze_file(b"PNG", filename="a.png"),
                coze_file(b"MP3", filename="b.mp3"),
                coze_file(CSV, filename="c.csv"),
                coze_file("https://example.com/d.jpg?size=3"),
                coze_file(file_id="7514000000000000001"),
                {"type": "file", "file_id": coze_file(b"PNG", filename="a.png")},
                {"type": "image", "file_url": "https://example.com/e.png"},
            ],
            "meta_data": {"k": "v"},
        },
    ]
    assert files.message_problems(given) == []
    first, second = files.in_messages(given)
    assert first is given[0]
    png, mp3, csv = ids(coze)
    assert second == {"content": second["content"], "content_type": "object_string", "meta_data": {"k": "v"}}
    assert json.loads(second["content"]) == [
        {"type": "text", "text": "What is wrong here?"},
        {"type": "image", "file_id": png},
        {"type": "audio", "file_id": mp3},
        {"type": "file", "file_id": csv},
        {"type": "image", "file_url": "https://example.com/d.jpg?size=3"},
        {"type": "file", "file_id": "7514000000000000001"},
        {"type": "file", "file_id": png},
        {"type": "image", "file_url": "https://example.com/e.png"},
    ]


def test_the_bot_gets_the_text_and_the_files(coze: Coze, files: FileInputs) -> None:
    coze.world.bots.append(Bot(id="7511000000000000077", answer=Template("{message} {files}")))
    messages = files.in_messages([{"role": "user", "content": ["Look:", coze_file(b"PNG", filename="a.png")]}])
    hook = coze.hook()
    chat = hook.create_chat(bot_id="7511000000000000077", user_id="u", additional_messages=messages)
    answers = [
        m for m in hook.chat_messages(conversation_id=chat.conversation_id, chat_id=chat.id) if m.type == "answer"
    ]
    assert [answer.content for answer in answers] == ["Look: ['a.png']"]


def test_a_list_of_one_text_is_a_plain_message(files: FileInputs) -> None:
    given = [{"content": ["Hello"]}, {"content": "plain"}]
    assert files.message_problems(given) == []
    assert files.in_messages(given) == [{"content": "Hello", "content_type": "text"}, {"content": "plain"}]


def test_a_file_alone_needs_a_text_beside_it(files: FileInputs) -> None:
    alone = {"content": coze_file(CSV, filename="a.csv")}
    for text in ({"content": "What is it?"}, {"content": ["What is it?"]}):
        assert files.message_problems([text, alone]) == files.message_problems([alone, text]) == []
    with_file = {"content": ["x", coze_file(CSV, filename="b.csv")]}
    for messages in ([alone], [alone, alone], [with_file, alone], [{"content": "far"}, with_file, alone]):
        assert any("has only files" in problem for problem in files.message_problems(messages))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "additional_messages[0]: content is an empty list"),
        (["a", "b"], "additional_messages[0]: content has 2 texts"),
        (["a", 7], "additional_messages[0]: content[1] must be a text, a coze_file or a mapping, not int"),
        (["a", {"type": "file"}], "additional_messages[0]: content[1] needs a file_id or a file_url"),
        (["a", coze_file("a.exe")], "additional_messages[0]['content'][1]: 'a.exe' is called 'a.exe'"),
    ],
)
def test_what_is_wrong_with_parts_is_found_before_anything_is_sent(
    coze: Coze, files: FileInputs, content: Any, problem: str
) -> None:
    (found,) = files.message_problems([{"content": content}], look=False)
    assert found.startswith(problem)
    (stand_in,) = stand_ins_in_messages([{"content": content}])
    assert isinstance(stand_in["content"], str)
    assert coze.seen == []


@pytest.mark.parametrize("messages", [None, "text", [None, 3], [{"role": "user"}], [{"content": 7}]])
def test_messages_that_are_none_are_left_to_whoever_checks_messages(files: FileInputs, messages: Any) -> None:
    assert files.message_problems(messages) == []
    assert files.in_messages(messages) == stand_ins_in_messages(messages) == messages
