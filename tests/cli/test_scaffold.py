"""The DAG that is written for a workflow: it is valid, clean and typed, whatever the workflow is called."""

from __future__ import annotations

import ast
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.cli.scaffold import dag_file
from airflow_provider_coze.protocol.models import WorkflowInfo
from airflow_provider_coze.protocol.parameters import FILE_KINDS, problems

ROW = {"type": "object", "properties": {"n": {"type": "integer", "required": True}, "note": {"type": "string"}}}
RICH: dict[str, Any] = {
    "table": {"type": "string", "required": True, "description": "CSV text\nwith a header line"},
    "top": {"type": "integer", "required": False, "default_value": "3"},
    "share": {"type": "number", "required": True},
    "deep": {"type": "boolean", "required": True, "default_value": "true"},
    "pictures": {"type": "array", "required": True, "items": {"type": "image"}},
    "rows": {"type": "array", "required": True, "items": ROW},
    "free": {"type": "object", "required": True},
    "odd": {"type": "object", "required": True, "properties": {"class": {"type": "string", "required": True}}},
    "new": {"type": "hologram"},
}
RETURNS: dict[str, Any] = {
    "terminate_plan": "return_variables",
    "parameters": {
        "total": {"type": "number", "description": "of all rows"},
        "rows": {"type": "array", "items": ROW},
        "tags": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object"},
    },
}
#: As a project that uses the provider may have them, beside ruff's own default.
RULES = ("--select", "E,F,W,I,UP,B,C4,SIM,RUF,PT,TID,S,D1,D2,D4,AIR", "--ignore", "D203,D213,RUF001,RUF002,RUF003,E501")


def info(inputs: Any = None, output: Any = None, name: str = "table summary", description: str = "") -> WorkflowInfo:
    return WorkflowInfo("7511", name, description, input_parameters=inputs or {}, output=output or {})


def written(*args: Any, conn_id: str | None = None, **kwargs: Any) -> str:
    return dag_file(info(*args, **kwargs), workflow_id="7511500000000000001", conn_id=conn_id)


def parameters(text: str) -> dict[str, Any]:
    (found,) = [node for node in ast.parse(text).body if isinstance(node, ast.AnnAssign)]
    assert found.value
    value: dict[str, Any] = ast.literal_eval(found.value)
    return value


def loaded(text: str) -> dict[str, Any]:
    """Do what importing the file does."""
    names: dict[str, Any] = {"__name__": "dag"}
    exec(compile(text, "dag.py", "exec", dont_inherit=True), names)  # noqa: S102
    return names


def test_required_inputs_have_placeholders_that_fit_and_the_others_are_comments() -> None:
    text = written(RICH)
    assert parameters(text) == {
        "table": "TODO",
        "share": 0.0,
        "pictures": ["https://example.com/TODO"],
        "rows": [{"n": 0}],
        "deep": True,
        "free": {},
        "odd": {"class": "TODO"},
    }
    assert '    # "top": 3,  # may be left out\n' in text
    assert "    # CSV text with a header line\n    table: str\n" in text
    assert problems(parameters(text), RICH) == []


def test_inputs_are_a_typed_dict_with_classes_for_what_is_inside() -> None:
    names = loaded(written(RICH))
    shape = names["Parameters"]
    assert shape.__required_keys__ == {"table", "share", "deep", "pictures", "rows", "free", "odd"}
    assert shape.__optional_keys__ == {"top", "new"}
    hints = typing.get_type_hints(shape)
    assert (hints["table"], hints["top"], hints["pictures"], hints["new"]) == (str, int, list[str], Any)
    assert typing.get_args(hints["rows"]) == (names["ParametersRows"],)
    assert hints["odd"].__required_keys__ == {"class"}


def test_variables_that_are_returned_are_the_output_type() -> None:
    names = loaded(written(RICH, RETURNS))
    task = names["dag"].get_task("run_workflow")
    assert task.output_type is names["Output"]
    assert names["Output"](total=1.5).rows is None
    hints = typing.get_type_hints(names["Output"], names)
    assert typing.get_args(typing.get_args(hints["rows"])[0]) == (names["OutputRows"],)
    assert hints["tags"] == list[str] | None


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"terminate_plan": "use_answer_content", "content": "{{n}}", "parameters": {"n": {"type": "number"}}},
        {"terminate_plan": "return_variables", "parameters": {}},
    ],
    ids=["untold", "text", "none"],
)
def test_without_variables_the_output_has_no_type(output: Any) -> None:
    assert "output_type" not in written(RICH, output)


def test_variables_that_python_cannot_name_are_any_dict() -> None:
    text = written({}, {"terminate_plan": "return_variables", "parameters": {"a-b": {"type": "string"}}})
    assert "output_type=dict[str, Any]," in text
    # A field called int would be what the next field's annotation means.
    inner = {"type": "object", "properties": {"int": {"type": "integer"}, "n": {"type": "integer"}}}
    text = written({}, {"terminate_plan": "return_variables", "parameters": {"o": inner}})
    assert "    o: dict[str, Any] | None = None\n" in text


def test_a_workflow_without_inputs_gets_none() -> None:
    text = written()
    assert "Parameters" not in text
    assert "parameters=" not in text
    assert loaded(text)["dag"].task_ids == ["run_workflow"]


def test_the_dag_is_what_was_asked_for() -> None:
    names = loaded(written(RICH, RETURNS, conn_id="other"))
    task = names["dag"].get_task("run_workflow")
    assert (names["dag"].dag_id, task.workflow_id, task.coze_conn_id) == (
        "coze_table_summary",
        "7511500000000000001",
        "other",
    )
    assert task.parameters == parameters(written(RICH))
    assert getattr(names["dag"], "schedule", None) is None


def test_a_name_without_letters_of_ascii_makes_an_id_of_the_number() -> None:
    assert 'dag_id="coze_7511500000000000001",' in written(name="表格汇总")


def test_a_chatflow_is_pointed_out_and_its_message_is_no_parameter() -> None:
    inputs = {"USER_INPUT": {"type": "string", "required": True}, "CONVERSATION_NAME": {"type": "string"}}
    text = written(inputs)
    assert "# A chatflow, as USER_INPUT says: run it with CozeChatflowOperator.\n" in text
    assert parameters(text) == {}


@pytest.mark.skipif(not Path(sys.executable).with_name("ruff").exists(), reason="ruff is in the main environment only")
@pytest.mark.parametrize("rules", [(), RULES], ids=["default", "many"])
@pytest.mark.parametrize(
    "text",
    [
        written(),
        written(RICH),
        written({}, RETURNS),
        written(RICH, RETURNS, name='a "b" \\ 汇总', description="统计表格的行数，返回合计。" * 12, conn_id="o'clock"),
    ],
    ids=["bare", "inputs", "output", "all"],
)
def test_what_is_written_is_clean_and_formatted(text: str, rules: tuple[str, ...], tmp_path: Path) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    for arguments in (["check", *rules, "--target-version", "py311"], ["format", "--check", "--diff"]):
        command = [*ruff, *arguments, "--isolated", "--stdin-filename", "dag.py", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


HOSTILE = [
    '"""\nimport os; os.abort()\n"""',
    "x\rimport os",
    "x\u2028import os\x85\x0c\x1c",
    'a"b\\',
    "\\",
    "'''",
    "\u202egnihton",
    "__x",
    "class",
    "ｆｕｌｌ",
    "",
    "None",
    "\U0001f600",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_words_of_a_workflow_never_become_code(words: str) -> None:
    assert_harmless(words, {words: {"type": "string", "required": True, "description": words, "default_value": words}})


NAMES = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "?", *sorted(FILE_KINDS)[:2]])
FIELD = st.fixed_dictionaries(
    {"type": KINDS, "required": st.booleans(), "description": NAMES, "default_value": NAMES | st.just("7")}
)
SCHEMA = st.recursive(
    FIELD,
    lambda inner: st.builds(
        lambda field, items, within: {**field, "items": items, "properties": within},
        FIELD,
        inner,
        st.dictionaries(NAMES, inner, max_size=3),
    ),
    max_leaves=6,
)


@given(NAMES, st.dictionaries(NAMES, SCHEMA, max_size=4))
def test_whatever_coze_tells_the_file_is_one_of_python_and_its_placeholders_fit(name: str, inputs: Any) -> None:
    assert_harmless(name, inputs)


def assert_harmless(name: str, inputs: dict[str, Any]) -> None:
    output = {"terminate_plan": "return_variables", "parameters": inputs}
    text = written(inputs, output, name=name, description=name)
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) for node in imports} <= {
        "dataclasses",
        "typing",
        "airflow.providers.common.compat.sdk",
        "airflow_provider_coze.operators.workflow",
    }
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert calls <= {"DAG", "CozeWorkflowOperator", "TypedDict"}
    assert all(line.isprintable() for line in text.split("\n"))
    if inputs:
        assert problems(parameters(text), inputs) == []
    shapes = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.Assign | ast.ImportFrom)]
    names: dict[str, Any] = {"__name__": "dag"}
    kept = [node for node in shapes if not isinstance(node, ast.ImportFrom) or node.module in ("dataclasses", "typing")]
    exec(compile(ast.Module(kept, []), "dag.py", "exec", dont_inherit=True), names)  # noqa: S102
