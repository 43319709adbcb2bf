"""Templates of rows: what they make of a row, and what is wrong with one for which they cannot be rendered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment

from airflow_provider_coze.batch.rows import BadRow, Row
from airflow_provider_coze.batch.templates import RowTemplates
from airflow_provider_coze.errors import CozeInputError
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import json_values, kept_values

CONTEXT = {"ds": "2024-02-29", "logical_date": dt.datetime(2024, 2, 29), "params": {"tone": "kind"}}


@pytest.fixture(params=[SandboxedEnvironment, NativeEnvironment])
def environment(request: pytest.FixtureRequest) -> jinja2.Environment:
    """What a DAG renders with, text and native. No test may ask which."""
    return request.param(cache_size=0)  # type: ignore[no-any-return]


def _message(environment: jinja2.Environment, template: str | None, value: Any, context: Any = CONTEXT) -> Any:
    return RowTemplates(environment, context, message=template).render(Row(7, value))


def _parameters(environment: jinja2.Environment, template: Any, value: Any) -> Any:
    return RowTemplates(environment, CONTEXT, parameters=template).render(Row(7, value))


def test_a_message_is_made_for_each_row(environment: jinja2.Environment) -> None:
    templates = RowTemplates(environment, CONTEXT, message="{{ index }}: classify {{ row.text }} of {{ ds }}")
    rows = [Row(0, {"text": "一"}), Row(9, {"text": "two"})]
    assert [templates.render(row) for row in rows] == [
        "0: classify 一 of 2024-02-29",
        "9: classify two of 2024-02-29",
    ]


def test_a_message_without_templates_is_the_same_for_all(environment: jinja2.Environment) -> None:
    assert _message(environment, "Tell a joke", {"x": 1}) == "Tell a joke"


@pytest.mark.parametrize(
    ("template", "value", "message"),
    [
        ("{{ row }}", "words", "words"),
        ("{{ row.n }}", {"n": 5}, "5"),
        ("{{ row.b }}", {"b": True}, "true"),
        ("{{ row }}", {"t": "中", "n": [1, None]}, '{"t": "中", "n": [1, null]}'),
        ("Rate: {{ row }}", {"t": "中", "n": [1, None]}, 'Rate: {"t": "中", "n": [1, null]}'),
        ("Rate: {{ row.n }}!", {"n": 5}, "Rate: 5!"),
        ("{% for t in row.tags %}{{ t }};{% endfor %}", {"tags": ["a", "b"]}, "a;b;"),
        ("{{ row.note | default('none') }}", {}, "none"),
        ("{{ row['a b'] }}", {"a b": "x"}, "x"),
        ("{{ row | tojson }}", {"t": "x"}, '{"t": "x"}'),
        ("007", {"x": 1}, "007"),
        ("{{ row.id }}", {"id": "007"}, "007"),
    ],
)
def test_a_message_is_always_text(environment: jinja2.Environment, template: str, value: Any, message: str) -> None:
    assert _message(environment, template, value) == message


def test_a_column_comes_before_a_method_of_the_same_name(environment: jinja2.Environment) -> None:
    row = {"items": "three", "values": {"get": 1}, "keys": None}
    assert _message(environment, "{{ row.items }} {{ row.values.get }}", row) == "three 1"
    assert _message(environment, "{% for k, v in row.items() %}{{ k }}{{ v }}{% endfor %}", {"a": 1}) == "a1"


def test_parameters_keep_the_types_of_expressions_at_any_depth(environment: jinja2.Environment) -> None:
    template = {
        "text": "{{ row.text }}",
        "n": "{{ row.n }}",
        "sum": "{{ row.n + 1 }}",
        "words": "n is {{ row.n }}",
        "tags": ["{{ row.tags }}", "fixed", 3, None],
        "deep": {"day": "{{ logical_date }}", "tone": "{{ params.tone }}", "all": "{{ row }}"},
        "{{ not a template }}": True,
    }
    row = {"text": "{{ ds }}", "n": 5, "tags": ["a", {"b": None}]}
    assert _parameters(environment, template, row) == {
        "text": "{{ ds }}",
        "n": 5,
        "sum": 6,
        "words": "n is 5",
        "tags": [["a", {"b": None}], "fixed", 3, None],
        "deep": {"day": "2024-02-29T00:00:00", "tone": "kind", "all": row},
        "{{ not a template }}": True,
    }


@EXAMPLES
@given(kept_values, st.sampled_from(["{{ ds }}", "{% raw %}", "{{ 1/0 }}", "{#"]))
def test_what_is_in_a_row_is_never_a_template(value: Any, words: str) -> None:
    environment = SandboxedEnvironment()
    row = {"words": words, "value": value}
    assert _message(environment, "Say {{ row.words }}", row) == f"Say {words}"
    assert _parameters(environment, {"x": "{{ row.words }}", "y": "{{ row.value }}"}, row) == {"x": words, "y": value}


@EXAMPLES
@given(json_values, st.sampled_from(["{{ row }}", "{{ row.a }}", "a {{ row }}", "{{ row.a.b | upper }}", None]))
def test_any_row_gives_a_text_or_says_why_not(value: Any, template: str | None) -> None:
    made = _message(SandboxedEnvironment(), template, value)
    assert isinstance(made, str | BadRow)
    assert isinstance(made, BadRow) or made.strip()


class TestWithoutATemplate:
    def test_the_row_is_the_message(self, environment: jinja2.Environment) -> None:
        assert _message(environment, None, "How are you? {{ ds }}") == "How are you? {{ ds }}"

    def test_the_row_is_the_parameters(self, environment: jinja2.Environment) -> None:
        assert _parameters(environment, None, {"text": "{{ ds }}"}) == {"text": "{{ ds }}"}

    @pytest.mark.parametrize("value", [{"text": "x"}, ["x"], 7, True])
    def test_a_row_that_is_no_text_is_no_message(self, environment: jinja2.Environment, value: Any) -> None:
        bad = _message(environment, None, value)
        assert (bad.index, bad.code, bad.value) == (7, "wrong_type", value)
        assert bad.msg == f"is of type {type(value).__name__}; where message has no template, a row has to be a text"

    @pytest.mark.parametrize("value", ["x", ["x"], 7])
    def test_a_row_that_is_no_mapping_is_no_parameters(self, environment: jinja2.Environment, value: Any) -> None:
        bad = _parameters(environment, None, value)
        assert (bad.code, "has to be a mapping" in bad.msg) == ("wrong_type", True)


class TestBadRows:
    @pytest.mark.parametrize(
        ("template", "told"),
        [
            ("{{ row.missing }}", "message: UndefinedError: 'missing' is not there"),
            ("Say {{ row.missing }}", "message: UndefinedError: 'missing' is not there"),
            ("{{ row['missing'].x }}", "message: UndefinedError: 'missing' is not there"),
            ("{{ [row.missing] }}", "message: UndefinedError: 'missing' is not there"),
            ("{{ rwo.text }}", "message: UndefinedError: 'rwo' is not there"),
            ("{{ row[row.secret] }}", "message: UndefinedError"),
            ("Say {{ row.n + row.secret }}", "message: TypeError"),
            ("{{ row.secret | int / 0 }}", "message: ZeroDivisionError"),
            ("{{ row.secret | map('upper') }}", "message: what it gives holds a value of type generator, which JSON"),
            ("{{ row.secret.upper }}", "message: what it gives holds a value of type builtin_function_or_method"),
            ("{{ row.n / 1e-320 / 1e-320 }}", "message: what it gives holds NaN, an infinity or itself"),
            ("{{ row.secret.nope.nope }}", "message: UndefinedError: 'nope' is not there"),
        ],
    )
    def test_a_template_that_fails_says_how_and_never_what_is_in_the_row(
        self, environment: jinja2.Environment, template: str, told: str
    ) -> None:
        row = {"n": 5, "secret": "hunter2"}
        bad = _message(environment, template, row)
        assert isinstance(bad, BadRow)
        assert (bad.index, bad.code, bad.value) == (7, "template", row)
        assert bad.msg.startswith(told)
        assert "hunter2" not in bad.msg

    @pytest.mark.parametrize(
        "template", ["{{ row.t }}", " {{ row.t }}\n", "{{ row.none }}", "{% if row.t %}x{% endif %}"]
    )
    def test_a_message_without_words_is_empty(self, environment: jinja2.Environment, template: str) -> None:
        bad = _message(environment, template, {"t": "", "none": None})
        assert isinstance(bad, BadRow)
        assert bad.code == "empty"

    def test_the_next_row_knows_nothing_of_the_one_before(self, environment: jinja2.Environment) -> None:
        templates = RowTemplates(
            environment, CONTEXT, message="{% if row.a %}{% set x = row.a %}{% endif %}Say {{ x }}"
        )
        assert templates.render(Row(0, {"a": "one"})) == "Say one"
        assert isinstance(templates.render(Row(1, {"a": ""})), BadRow)


class TestTemplatesThatCannotBeRead:
    def test_all_are_told_at_once_before_anything_is_sent(self, environment: jinja2.Environment) -> None:
        template = {"a": ["fine", "{{ row."], "b": {"c": "{{ row | nope }}"}, "d": "{% foo %}"}
        with pytest.raises(CozeInputError) as caught:
            RowTemplates(environment, CONTEXT, parameters=template)
        for place in ("parameters['a'][1] ", "parameters['b']['c'] ", "parameters['d'] ", "Nothing was sent"):
            assert place in str(caught.value)

    def test_a_template_of_the_wrong_kind_is_told(self, environment: jinja2.Environment) -> None:
        with pytest.raises(CozeInputError, match="message must be a text with templates, not dict"):
            RowTemplates(environment, CONTEXT, message={"text": "{{ row }}"})
        with pytest.raises(CozeInputError, match="parameters must be a mapping with templates, not str"):
            RowTemplates(environment, CONTEXT, parameters="{{ row }}")

    def test_there_is_exactly_one(self, environment: jinja2.Environment) -> None:
        with pytest.raises(TypeError, match="exactly one"):
            RowTemplates(environment, CONTEXT)
        with pytest.raises(TypeError, match="exactly one"):
            RowTemplates(environment, CONTEXT, message=None, parameters=None)


class TestTheDagsOwn:
    def test_environment_and_context_stay_as_they_are(self) -> None:
        environment = SandboxedEnvironment()
        context = dict(CONTEXT)
        assert isinstance(_message(environment, "{{ row.x }}", {}, context), BadRow)
        assert context == CONTEXT
        assert environment.undefined is jinja2.Undefined
        assert environment.from_string("[{{ x }}] {{ y.items }}").render(y={"items": 1}).startswith("[] <built-in")

    def test_filters_globals_and_the_finalizer_of_the_dag_are_there(self) -> None:
        environment = SandboxedEnvironment(finalize=lambda value: "-" if value is None else value)
        environment.filters["double"] = lambda value: value * 2
        environment.globals["macros"] = {"seven": 7}
        template = "{{ row.t | double }} {{ macros.seven }} {{ row.none }} {{ row.list }}"
        assert _message(environment, template, {"t": "a", "none": None, "list": ["é"]}) == 'aa 7 - ["é"]'

    def test_what_a_context_makes_when_asked_is_not_made_before(self) -> None:
        class Lazy(dict[str, Any]):
            asked: list[str] = []  # noqa: RUF012

            def __getitem__(self, name: str) -> Any:
                self.asked.append(name)
                return super().__getitem__(name)

            def __copy__(self) -> Lazy:
                return Lazy(self)

        context: Mapping[str, Any] = Lazy(ds="2024", prev_ds="deprecated")
        assert _message(SandboxedEnvironment(), "{{ ds }} {{ row }}", "x", context) == "2024 x"
        assert set(Lazy.asked) <= {"ds", "row"}

    def test_a_sandbox_stays_one(self) -> None:
        bad = _message(SandboxedEnvironment(), "Say {{ row.__class__.__mro__ }}", {"t": 1})
        assert bad.msg == "message: SecurityError"
