"""What Airflow does with an operator before it runs: templates, XComs as arguments, mapping, defaults."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.default_world import ECHO, ECHO_BOT
from airflow_provider_coze.operators.base import CozeOperator
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor
from tests.tasks import TOKEN, Coze, TaskInstance

#: What these operators mean by themselves; everything else they take is Coze's, and so a template field.
#: Arguments that are numbers, functions or types, which no template makes, or switches of ours.
OURS = {"self", "kwargs", "timeout", "cancel_on_timeout", "cancel_on_kill", "poke_interval"}
OURS |= {"stream", "tools", "max_tool_rounds", "on_tool_error", "max_repairs", "check_parameters"}
OURS |= {"on_interrupt", "hitl_users", "hitl_notifiers", "hitl_timeout", "hitl_default"}


class Upstream(BaseOperator):
    def execute(self, context: Any) -> Any:
        raise AssertionError("only its XCom is used")


class TaskInstanceWithXComs(TaskInstance):
    """One whose upstream tasks have returned something."""

    def __init__(self, **returned: Any) -> None:
        super().__init__()
        self.returned = returned

    def xcom_pull(self, task_ids: Any = None, key: str = "return_value", default: Any = None, **_: Any) -> Any:
        name = task_ids if isinstance(task_ids, str) else next(iter(task_ids))
        return self.returned.get(name, default)

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """What Airflow 2 asks for: none, because nothing is mapped."""


@pytest.fixture(params=[False, True], ids=["text", "native"])
def dag(request: pytest.FixtureRequest) -> Iterator[DAG]:
    """Give a DAG whose templates render to text, and one whose templates render to Python objects."""
    with DAG(
        "d", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), render_template_as_native_obj=request.param
    ) as made:
        yield made


def rendered(coze: Coze, task: Any, **context: Any) -> Any:
    context.setdefault("ti", TaskInstanceWithXComs())
    context.update(task=task, dag=task.dag, run_id="manual__1", expanded_ti_count=None)
    task.render_template_fields(context)
    return coze.prepared(task).execute(context)


@pytest.mark.parametrize(
    "kind", [CozeChatOperator, CozeWorkflowOperator, CozeChatflowOperator, CozeChatSensor, CozeWorkflowSensor]
)
def test_every_argument_that_is_cozes_is_a_template_field(kind: type) -> None:
    arguments = set(inspect.signature(inspect.unwrap(kind.__init__)).parameters) - OURS
    shared = (
        {"coze_conn_id", "reuse", "on_unknown", "output_path"} if issubclass(kind, CozeOperator) else {"coze_conn_id"}
    )
    assert arguments | shared == set(kind.template_fields)
    assert set(getattr(kind, "template_fields_renderers", {})) <= set(kind.template_fields)


@pytest.mark.parametrize("kind", [CozeChatOperator, CozeWorkflowOperator])
def test_a_templated_argument_is_kept_as_it_was_given_until_it_is_rendered(kind: type) -> None:
    given = {name: f"{{{{ params.{name} }}}}" for name in kind.template_fields}
    task = kind(task_id="t", **given)
    assert {name: getattr(task, name) for name in kind.template_fields} == given


def test_templates_in_a_chat_are_rendered_however_deep(coze: Coze, dag: DAG) -> None:
    task = CozeChatOperator(
        task_id="ask",
        bot_id=ECHO_BOT if dag.render_template_as_native_obj else "{{ bot }}",
        additional_messages=[{"content": "{{ word }} of {{ run_id }}", "meta_data": {"run": "{{ run_id }}"}}],
        custom_variables={"city": "{{ word }}"},
        meta_data={"run": "{{ run_id }}"},
        parameters={"list": ["{{ word }}", {"deep": "{{ run_id }}"}], "kept": 5},
        user_id="u-{{ word }}",
    )
    assert rendered(coze, task, bot=ECHO_BOT, word="Oslo") == "You said: Oslo of manual__1"
    [body] = coze.bodies("POST /v3/chat")
    assert body["custom_variables"] == {"city": "Oslo"}
    assert body["meta_data"].items() >= {"run": "manual__1"}.items()
    assert body["parameters"] == {"list": ["Oslo", {"deep": "manual__1"}], "kept": 5}
    assert body["user_id"] == "u-Oslo"
    assert body["additional_messages"][0]["meta_data"].items() >= {"run": "manual__1"}.items()


def test_templates_in_a_run_are_rendered_however_deep(coze: Coze, dag: DAG) -> None:
    task = CozeWorkflowOperator(
        task_id="run",
        workflow_id=ECHO,
        parameters={"list": ["{{ word }}", {"deep": "{{ run_id }}"}], "kept": {"n": 5}},
        ext={"user_id": "{{ word }}"},
        execution_mode="{{ mode }}",
    )
    assert rendered(coze, task, word="Oslo", mode="sync") == {
        "output": {"list": ["Oslo", {"deep": "manual__1"}], "kept": {"n": 5}}
    }
    assert coze.bodies("POST /v1/workflow/run")[0]["ext"] == {"user_id": "Oslo"}


def test_the_result_of_another_task_can_be_any_argument(coze: Coze, dag: DAG) -> None:
    upstream = Upstream(task_id="up")
    ti = TaskInstanceWithXComs(up={"rows": [1, 2]})
    whole = CozeWorkflowOperator(task_id="whole", workflow_id=ECHO, parameters=upstream.output)
    assert rendered(coze, whole, ti=ti) == {"output": {"rows": [1, 2]}}
    part = CozeWorkflowOperator(task_id="part", workflow_id=ECHO, parameters={"in": [upstream.output]})
    assert rendered(coze, part, ti=ti) == {"output": {"in": [{"rows": [1, 2]}]}}
    assert whole.upstream_task_ids == part.upstream_task_ids == {"up"}


@pytest.mark.parametrize("argument", ["message", "bot_id", "conversation_id", "user_id"])
def test_an_xcom_that_is_not_there_is_an_error_that_names_the_argument(coze: Coze, dag: DAG, argument: str) -> None:
    arguments = {"bot_id": ECHO_BOT, "message": "hello", argument: "{{ ti.xcom_pull(task_ids='up') }}"}
    task = CozeChatOperator(task_id="ask", **arguments)
    if dag.render_template_as_native_obj and argument in ("conversation_id", "user_id"):
        assert rendered(coze, task) == "You said: hello"  # None is what leaving it out means
        return
    with pytest.raises(e.CozeInputError, match=argument):
        rendered(coze, task)
    assert coze.seen == []


def test_the_result_of_a_task_that_returned_nothing_is_no_message(coze: Coze, dag: DAG) -> None:
    task = CozeChatOperator(task_id="ask", bot_id=ECHO_BOT, message=Upstream(task_id="up").output)
    with pytest.raises(e.CozeInputError, match="neither given"):
        rendered(coze, task, ti=TaskInstanceWithXComs(up=None))
    assert coze.seen == []


def test_a_template_that_makes_a_mapping_needs_native_rendering_and_the_error_says_so(coze: Coze, dag: DAG) -> None:
    task = CozeWorkflowOperator(task_id="run", workflow_id=ECHO, parameters="{{ ti.xcom_pull(task_ids='up') }}")
    ti = TaskInstanceWithXComs(up={"a": 1})
    if dag.render_template_as_native_obj:
        assert rendered(coze, task, ti=ti) == {"output": {"a": 1}}
        return
    with pytest.raises(e.CozeInputError, match="render_template_as_native_obj"):
        rendered(coze, task, ti=ti)


def test_no_token_is_in_what_airflow_shows_of_a_task(coze: Coze, dag: DAG) -> None:
    task = CozeChatOperator(
        task_id="ask", bot_id=ECHO_BOT, message="hello {{ run_id }}", deferrable=True, deferral_grace=0
    )
    with pytest.raises(TaskDeferred) as deferral:
        rendered(coze, task)
    shown = {name: getattr(task, name) for name in task.template_fields}
    trigger = deferral.value.trigger
    assert TOKEN not in json.dumps(shown)
    assert TOKEN not in f"{task!r} {task} {vars(task)} {trigger!r} {trigger} {trigger.serialize()} {deferral.value!r}"


# --- mapping


def test_mapped_chats_run_each_with_its_own_argument(coze: Coze, dag: DAG) -> None:
    mapped = CozeChatOperator.partial(task_id="ask", bot_id=ECHO_BOT, meta_data={"k": "v"}).expand(message=["a", "b"])
    for message in ("a", "b"):
        task = mapped.unmap({"message": message})
        assert coze.prepared(task).execute({"ti": TaskInstance()}) == f"You said: {message}"
    assert [entry.marker["meta_data"]["k"] for entry in coze.ledger] == ["v", "v"]


def test_mapped_runs_take_whole_sets_of_arguments(coze: Coze, dag: DAG) -> None:
    sets = [{"parameters": {"n": 1}}, {"parameters": {"n": 2}, "execution_mode": "sync"}]
    mapped = CozeWorkflowOperator.partial(task_id="run", workflow_id=ECHO).expand_kwargs(sets)
    outputs = [coze.prepared(mapped.unmap(one)).execute({"ti": TaskInstance()}) for one in sets]
    assert outputs == [{"output": {"n": 1}}, {"output": {"n": 2}}]


def test_mapped_tasks_can_defer(coze: Coze, dag: DAG) -> None:
    mapped = CozeChatOperator.partial(task_id="ask", bot_id=ECHO_BOT, deferrable=True, deferral_grace=0).expand(
        message=["a"]
    )
    with pytest.raises(TaskDeferred):
        coze.prepared(mapped.unmap({"message": "a"})).execute({"ti": TaskInstance()})


@pytest.mark.parametrize("kind", [CozeChatOperator, CozeWorkflowOperator])
def test_every_argument_can_be_mapped_over(kind: type, dag: DAG) -> None:
    own = set(inspect.signature(inspect.unwrap(kind.__init__)).parameters)
    shared = set(inspect.signature(inspect.unwrap(CozeOperator.__init__)).parameters)
    for name in (own | shared) - {"self", "kwargs"}:
        kind.partial(task_id=f"map_{name}").expand(**{name: [1]})  # type: ignore[attr-defined]


# --- defaults


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (CozeChatOperator, {"bot_id": "1", "message": "x"}),
        (CozeWorkflowOperator, {"workflow_id": "1"}),
        (CozeChatSensor, {"conversation_id": "1", "chat_id": "2"}),
        (CozeWorkflowSensor, {"workflow_id": "1", "execute_id": "2"}),
    ],
)
def test_whether_to_defer_is_airflows_default_unless_the_task_says(
    monkeypatch: pytest.MonkeyPatch, kind: type, arguments: dict[str, Any], default: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", str(default))
    assert kind(task_id="t", **arguments).deferrable is default
    assert kind(task_id="t", **arguments, deferrable=not default).deferrable is not default


def test_default_args_of_a_dag_reach_the_operators() -> None:
    defaults = {"coze_conn_id": "other", "deferrable": True, "timeout": 7}
    with DAG("defaults", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), default_args=defaults):
        task = CozeChatOperator(task_id="t", bot_id="1", message="x")
    assert (task.coze_conn_id, task.deferrable, task.timeout) == ("other", True, 7)
    assert task.hook.coze_conn_id == "other"


def test_texts_of_digits_stay_texts_where_templates_render_to_objects(coze: Coze, dag: DAG) -> None:
    texts = {"custom_variables": {"n": "5"}, "meta_data": {"n": "5"}, "extra_params": {"latitude": "59.9"}}
    task = CozeChatOperator(task_id="ask", bot_id=ECHO_BOT, message="42", user_id="7", bot_version="9", **texts)
    assert rendered(coze, task) == "You said: 42"
    [body] = coze.bodies("POST /v3/chat")
    del body["meta_data"]["airflow"]
    assert {name: body[name] for name in texts} == texts
    assert (body["bot_id"], body["user_id"], body["bot_version"]) == (ECHO_BOT, "7", "9")
    task = CozeWorkflowOperator(task_id="run", workflow_id="{{ id }}", connector_id="1024", ext={"user_id": "5"})
    rendered(coze, task, id=ECHO)
    [body] = coze.bodies("POST /v1/workflow/run")
    assert (body["workflow_id"], body["connector_id"], body["ext"]) == (ECHO, "1024", {"user_id": "5"})


def test_a_sensor_finds_its_ids_where_templates_render_to_objects(coze: Coze, dag: DAG) -> None:
    run = coze.hook().run_workflow(workflow_id=ECHO, parameters={}, is_async=True)
    task = CozeWorkflowSensor(task_id="wait", workflow_id=ECHO, execute_id="{{ id }}")
    assert rendered(coze, task, id=run.execute_id) == {"output": {}}


def test_an_int_is_no_id_where_templates_render_to_text(coze: Coze) -> None:
    with DAG("plain", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
        task = CozeChatOperator(task_id="ask", bot_id=int(ECHO_BOT), message="x")  # type: ignore[arg-type]
    with pytest.raises(e.CozeInputError, match="bot_id must be a string, not int"):
        rendered(coze, task)
