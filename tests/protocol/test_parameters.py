"""Parameters against the start node of a workflow: what is refused before the run, and what passes because Coze reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.protocol.parameters import FILE_KINDS, problems

ROW = {"type": "object", "properties": {"n": {"type": "integer", "required": True}, "name": {"type": "string"}}}
TABLE = {"table": {"type": "string", "required": True}, "top": {"type": "integer"}}
NATIVE = "; a template makes text: pass the task's output itself, or set render_template_as_native_obj=True on the DAG"


def found(kind: str, value: Any, **more: Any) -> list[str]:
    return problems({"p": value}, {"p": {"type": kind, **more}})


class CozeFile:
    """As that of ``coze_file``, which is known by its name."""


def test_what_fits_has_no_problems() -> None:
    assert problems({"table": "a,b", "top": 3}, TABLE) == []


def test_everything_is_reported_at_once() -> None:
    assert problems({"tabel": "a,b", "top": "many"}, TABLE) == [
        "parameters['table'] is missing, and the workflow needs it (string)",
        "parameters['tabel'] is unknown to the workflow; did you mean 'table'?",
        "parameters['top'] must be an integer of at most 64 bits, not str that says none",
    ]


def test_none_is_as_good_as_absent() -> None:
    assert problems({"table": None, "top": None}, TABLE) == [
        "parameters['table'] is None, and the workflow needs it (string)"
    ]


def test_what_has_a_default_need_not_be_given() -> None:
    assert problems({}, {"a": {"type": "string", "required": True, "default_value": "x"}}) == []
    assert problems({}, {"a": {"type": "string", "required": True, "default_value": ""}}) != []


def test_an_unknown_name_comes_with_the_one_that_was_meant_or_with_those_there_are() -> None:
    assert problems({"table": "t", "TOP": 1}, TABLE)[0].endswith("; did you mean 'top'?")
    assert problems({"table": "t", "zzz": 1}, TABLE)[0].endswith(", which knows 'table', 'top'")
    many = {f"p{number}": {"type": "string"} for number in range(50)}
    assert problems({"zzz": 1}, many)[0].endswith("'p9', …")


def test_a_workflow_that_names_no_inputs_says_nothing_about_names() -> None:
    assert problems({"anything": 1}, {}) == []


def test_the_inputs_every_chatflow_has_are_neither_unknown_nor_missing() -> None:
    schema = {"USER_INPUT": {"type": "string", "required": True}, "city": {"type": "string"}}
    assert problems({"CONVERSATION_NAME": "c"}, schema) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", ""),
        ("string", "text"),
        ("string", 5),
        ("string", True),
        ("integer", -7),
        ("integer", 3.0),
        ("integer", "42"),
        ("integer", -(2**63)),
        ("number", 1),
        ("number", 0.5),
        ("number", "-1.5e3"),
        ("boolean", False),
        ("boolean", "True"),
        ("object", {}),
        ("object", '{"a": 1}'),
        ("array", []),
        ("array", (1, 2)),
        ("array", "[1, 2]"),
        ("image", "https://example.com/a.png"),
        ("file", '{"file_id": "7514"}'),
        ("file", CozeFile()),
        ("string", CozeFile()),
        ("INTEGER", 1),
        ("hologram", object()),
        ("", object()),
    ],
)
def test_what_coze_reads_as_the_type_passes(kind: str, value: Any) -> None:
    assert found(kind, value) == []


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("string", ["a"], "must be text, not list; if its JSON is meant, give it as text, with json.dumps"),
        ("integer", True, "must be an integer of at most 64 bits, not bool"),
        ("integer", 2.5, "must be an integer of at most 64 bits, not float with a fraction"),
        ("integer", "2.5", "must be an integer of at most 64 bits, not str that says none"),
        ("integer", " 5", "must be an integer of at most 64 bits, not str that says none"),
        ("integer", 2**63, "must be an integer of at most 64 bits, not int"),
        ("integer", "9" * 20, "must be an integer of at most 64 bits, not str that says none"),
        (
            "integer",
            "None",
            "must be an integer of at most 64 bits, and is empty, or a template that rendered to nothing",
        ),
        ("number", "nan", "must be a number, not str that says none"),
        ("number", "1_000", "must be a number, not str that says none"),
        ("number", False, "must be a number, not bool"),
        ("boolean", 1, "must be true or false, not int"),
        ("boolean", "yes", "must be true or false, not str that says neither"),
        ("object", [1], "must be an object, not list"),
        ("object", "{'a': 1}", f"must be an object, not str that is no JSON of one{NATIVE}"),
        ("array", {"a": 1}, "must be a list, not dict"),
        ("array", "a, b", f"must be a list, not str that is no JSON of one{NATIVE}"),
        ("array", CozeFile(), "must be a list, not CozeFile"),
        ("doc", "data/a.pdf", "it is str that is neither"),
        ("doc", r"C:\a.pdf", "it is str that is neither"),
        ("doc", '{"file": 1}', "it is str that is neither"),
        ("doc", "", "it is empty, or a template that rendered to nothing"),
        ("doc", {"file_id": "7514"}, "it is dict; give it as text, with json.dumps"),
        ("doc", 7514, "it is int"),
    ],
)
def test_what_coze_cannot_read_is_a_problem_named_by_its_type(kind: str, value: Any, words: str) -> None:
    (problem,) = found(kind, value)
    assert problem.startswith("parameters['p'] must be ")
    assert problem.endswith(words)


def test_problems_inside_have_their_whole_path() -> None:
    schema = {"rows": {"type": "array", "items": ROW}}
    given = {"rows": [{"n": 1}, {"n": "x", "nam": "y"}, {}, None, 5]}
    assert problems(given, schema) == [
        "parameters['rows'][1]['n'] must be an integer of at most 64 bits, not str that says none",
        "parameters['rows'][1]['nam'] is unknown to the workflow; did you mean 'name'?",
        "parameters['rows'][2]['n'] is missing, and the workflow needs it (integer)",
        "parameters['rows'][4] must be an object, not int",
    ]


def test_json_in_text_is_looked_into_as_well() -> None:
    assert problems({"row": '{"n": "x"}'}, {"row": ROW})[0].startswith("parameters['row']['n'] must be an integer")


def test_a_list_of_files_is_a_list_of_file_values() -> None:
    assert found("array", ["https://a/b", CozeFile()], items={"type": "image"}) == []
    assert found("array", ["https://a/b", "c.png"], items={"type": "image"})[0].startswith(
        "parameters['p'][1] must be a file"
    )


def test_an_object_or_a_list_of_no_known_inside_takes_any() -> None:
    assert found("object", {"a": object()}) == []
    assert found("array", [object(), 1]) == []
    assert found("object", {"a": 1}, properties={"a": "broken"}) == []


def test_a_value_that_stands_in_itself_ends() -> None:
    loop: dict[str, Any] = {}
    loop["n"] = loop
    assert problems({"row": loop}, {"row": ROW}) == [
        "parameters['row']['n'] must be an integer of at most 64 bits, not dict"
    ]


@pytest.mark.parametrize("kind", ["string", "integer", "number", "boolean", "object", "array", *sorted(FILE_KINDS)])
def test_no_problem_repeats_what_was_given(kind: str) -> None:
    for value in ("hunter2!", {"hunter2!": "hunter2!"}, ["hunter2!"], b"hunter2!", CozeFile()):
        assert "hunter2!" not in " ".join(found(kind, value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_no_value_and_no_schema_of_coze_breaks_it(value: Any, schema: Any) -> None:
    wanted = schema if isinstance(schema, dict) else {}
    for kind in ("string", "integer", "number", "boolean", "object", "array", "file"):
        listed = problems(
            {"p": value, "q": value}, {"p": {**wanted, "type": kind, "items": wanted, "properties": wanted}}
        )
        assert all(isinstance(problem, str) and problem.startswith("parameters[") for problem in listed)
