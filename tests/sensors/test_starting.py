"""Sensors that begin in the triggerer: which do, with what, and what they find out there that no worker has told them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import DAG, AirflowSensorTimeout

from airflow_provider_coze.emulator.default_world import SLEEPER_BOT
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.sensors import starting
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor
from airflow_provider_coze.triggers.base import NET_SECONDS
from tests import needs
from tests.pages import SNIPPETS, run_page
from tests.tasks import NOON, Coze, TaskInstance

IDS = {"conversation_id": "7", "chat_id": "8"}


def sensor(**more: Any) -> CozeChatSensor:
    return CozeChatSensor(**{"task_id": "wait", "deferrable": True, "start_from_trigger": True, **IDS, **more})


def chat(coze: Coze, seconds: float) -> dict[str, str]:
    question = {"role": "user", "content": f"sleep {seconds}: rested", "content_type": "text"}
    made = coze.hook().create_chat(bot_id=SLEEPER_BOT, user_id="u", additional_messages=[question])
    coze.seen.clear()
    return {"conversation_id": made.conversation_id, "chat_id": made.id}


# --- which do


@needs.STARTS.mark
def test_the_sensor_of_the_page_begins_in_the_triggerer() -> None:
    assert run_page(SNIPPETS / "starting.py")["dag"].get_task("wait").start_from_trigger


@needs.STARTS.mark
def test_a_sensor_that_defers_begins_in_the_triggerer_when_asked_to() -> None:
    assert sensor().start_from_trigger
    begins = sensor(timeout=90, poke_interval=4).start_trigger_args
    assert begins.trigger_cls == "airflow_provider_coze.triggers.chat.CozeChatTrigger"
    assert begins.timeout == timedelta(seconds=90 + NET_SECONDS)
    told = {name: begins.trigger_kwargs[name] for name in (*IDS, "coze_conn_id", "poll_interval", "lasts")}
    assert told == {**IDS, "coze_conn_id": "coze_default", "poll_interval": 4, "lasts": 90}
    assert begins.trigger_kwargs["cancel_on_kill"] is False


@needs.STARTS.mark
def test_so_does_a_sensor_of_runs() -> None:
    more = {"deferrable": True, "start_from_trigger": True}
    begins = CozeWorkflowSensor(task_id="wait", workflow_id="7", execute_id="{{ params.run }}", **more)
    assert begins.start_from_trigger
    assert begins.start_trigger_args.trigger_kwargs["execute_id"] == "{{ params.run }}"
    assert begins.start_trigger_args.trigger_cls == "airflow_provider_coze.triggers.workflow.CozeWorkflowTrigger"


@pytest.mark.parametrize(
    "more",
    [
        {"start_from_trigger": False},
        {"deferrable": False},
        {"execution_timeout": timedelta(minutes=5)},
        {"chat_id": None},
        {"chat_id": "{{ ti.xcom_pull(task_ids='start', key='chat_id') }}"},
        {"chat_id": "{{ prev_start_date_success }}"},
        {"chat_id": "{{ var.value.chat }}"},
        {"chat_id": "{{ broken"},
        {"chat_id": "{% include 'chat_id.txt' %}"},
        {"coze_conn_id": "{{ ti.xcom_pull('start') }}"},
    ],
    ids=str,
)
def test_otherwise_a_worker_looks_first(more: dict[str, Any]) -> None:
    assert not sensor(**more).start_from_trigger
    assert sensor(**more).start_trigger_args is None


@pytest.mark.parametrize(
    "own",
    [{"jinja_environment_kwargs": {"variable_start_string": "<<"}}, {"user_defined_filters": {"as_id": str}}],
    ids=str,
)
def test_a_worker_looks_first_where_templates_are_written_in_words_of_the_dags_own(own: dict[str, Any]) -> None:
    # Airflow keeps neither in the DAG's serialised form, which is all that a triggerer has.
    with DAG("own_words", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **own):
        assert not sensor(chat_id="{{ params.chat | as_id if params.chat else '' }}").start_from_trigger
        assert not sensor(task_id="in_other_brackets", chat_id="<< params.chat }}").start_from_trigger


def test_before_airflow_3_3_a_worker_looks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "triggers_render_templates", lambda: False)
    assert not sensor().start_from_trigger


@needs.STARTS.mark
def test_the_output_of_a_task_is_asked_for_in_words_that_the_triggerer_knows() -> None:
    with DAG("outputs", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        start = CozeChatOperator(task_id="start", bot_id="1", message="hi", wait_for_completion=False)
        wait = sensor(conversation_id="7", chat_id=start.output["chat_id"])
        mapped = CozeChatOperator.partial(task_id="many", bot_id="1").expand(message=["a", "b"])
        of_many = sensor(task_id="wait_for_many", chat_id=mapped.output)
    assert wait.upstream_task_ids == {"start"}
    # Without map_indexes Airflow 3.3.2 asks for a slice, its triggerer does not know that word, and the task hangs.
    asked = "{{ task_instance.xcom_pull(task_ids='start', dag_id='outputs', key='chat_id', map_indexes=-1) }}"
    assert wait.start_trigger_args.trigger_kwargs["chat_id"] == asked
    assert not of_many.start_from_trigger


@needs.STARTS.mark
def test_what_a_sensor_begins_with_is_in_the_serialised_dag_and_says_nothing_more() -> None:
    assert (
        json.loads(json.dumps(sensor().start_trigger_args.trigger_kwargs)) == sensor().start_trigger_args.trigger_kwargs
    )


# --- in the triggerer


def trigger(coze: Coze, wait: CozeChatSensor, begun: float = NOON, **rendered: Any) -> Any:
    """Make the trigger as a triggerer does that takes the task up now, which began a while ago."""
    begins = wait.start_trigger_args
    made = coze.prepared(import_string(begins.trigger_cls)(**{**begins.trigger_kwargs, **rendered}))
    made.timeout_after = datetime.fromtimestamp(begun, UTC) + begins.timeout
    return made


def fired(made: Any) -> dict[str, Any]:
    async def events() -> list[Any]:
        return [json.loads(json.dumps(event.payload)) async for event in made.run()]

    [event] = asyncio.run(events())
    return event


@needs.STARTS.mark
def test_the_deadline_is_that_of_the_task_also_after_a_restart_of_the_triggerer(coze: Coze) -> None:
    ids = chat(coze, 600)
    wait = coze.prepared(sensor(**ids, timeout=100))
    coze.time.now = NOON + 70
    event = fired(trigger(coze, wait, begun=NOON))
    assert coze.time.now == NOON + 100
    with pytest.raises(AirflowSensorTimeout, match="after 100 s"):
        wait.execute_complete({"ti": TaskInstance(), "task": wait}, event)


@needs.STARTS.mark
def test_a_short_chat_needs_no_minimum_of_time_for_no_worker_has_to_be_let_go_of(coze: Coze) -> None:
    ids = chat(coze, 2)
    wait = coze.prepared(sensor(**ids))
    event = fired(trigger(coze, wait))
    assert coze.time.now <= NOON + 4
    assert wait.execute_complete({"ti": TaskInstance(), "task": wait}, event) == "rested"


@needs.STARTS.mark
@pytest.mark.parametrize("nothing", ["None", ""])
def test_ids_that_a_template_did_not_give_are_not_asked_for(coze: Coze, nothing: str) -> None:
    event = fired(trigger(coze, coze.prepared(sensor(**chat(coze, 1))), chat_id=nothing))
    assert event["error"]["error"] == "CozeInputError"
    assert "chat_id" in event["error"]["message"]
    assert coze.seen == []


@needs.STARTS.mark
def test_ids_that_native_rendering_made_numbers_of_are_texts_again(coze: Coze) -> None:
    ids = chat(coze, 2)
    event = fired(trigger(coze, coze.prepared(sensor(**ids)), chat_id=int(ids["chat_id"])))
    assert (event["status"], event["chat_id"]) == ("completed", ids["chat_id"])


@needs.STARTS.mark
def test_without_a_deadline_of_airflow_the_wait_begins_now(coze: Coze) -> None:
    made = trigger(coze, coze.prepared(sensor(**chat(coze, 600), timeout=100)))
    made.timeout_after = None
    fired(made)
    assert coze.time.now == NOON + 100
