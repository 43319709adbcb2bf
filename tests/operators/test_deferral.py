"""When a task leaves its worker, what it hands to the triggerer, and how it comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER, SLEEPER_BOT
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.triggers.chat import CozeChatTrigger
from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger
from tests.tasks import NOON, TOKEN, Coze, TaskInstance, fire


def chat(coze: Coze, seconds: float, **arguments: Any) -> Any:
    message = f"sleep {seconds}: the secret recipe"
    return coze.prepared(
        CozeChatOperator(
            **{"task_id": "ask", "bot_id": SLEEPER_BOT, "message": message, "deferrable": True, **arguments}
        )
    )


def run(coze: Coze, seconds: float, **arguments: Any) -> Any:
    parameters = {"seconds": seconds, "value": "the secret recipe"}
    return coze.prepared(
        CozeWorkflowOperator(
            **{"task_id": "run", "workflow_id": SLEEPER, "parameters": parameters, "deferrable": True, **arguments}
        )
    )


IDS = {"chat_id": "1", "conversation_id": "2", "workflow_id": "3", "execute_id": "4"}
KINDS = pytest.mark.parametrize("task_of", [chat, run], ids=["chat", "workflow"])


def deferred(task: Any, ti: TaskInstance | None = None) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferral:
        task.execute({"ti": ti or TaskInstance()})
    return deferral.value


@KINDS
def test_work_that_ends_within_the_grace_is_not_deferred(coze: Coze, task_of: Any) -> None:
    result = task_of(coze, 3).execute({"ti": TaskInstance()})
    assert "the secret recipe" in str(result)
    assert coze.time.now <= NOON + 5


@KINDS
def test_longer_work_is_deferred_after_five_seconds(coze: Coze, task_of: Any) -> None:
    deferral = deferred(task_of(coze, 60))
    assert coze.time.now == NOON + 5
    assert deferral.method_name == "execute_complete"
    assert deferral.kwargs in (None, {}), "dag.test() loses them"
    assert deferral.timeout is None, "the scheduler's timeout would neither cancel the chat nor say what Coze is doing"


@KINDS
def test_the_grace_can_be_set(coze: Coze, task_of: Any) -> None:
    deferred(task_of(coze, 60, deferral_grace=20))
    assert coze.time.now == NOON + 20
    coze.fresh()
    deferred(task_of(coze, 60, deferral_grace=0))
    assert coze.time.now == NOON


@KINDS
def test_a_deferral_lasts_eight_seconds_at_least(coze: Coze, task_of: Any) -> None:
    trigger = deferred(task_of(coze, 6)).trigger
    assert trigger.not_before == NOON + 5 + 8
    fire(coze, trigger)
    assert coze.time.now == NOON + 13


@KINDS
def test_the_least_deferral_is_a_setting_of_airflow(coze: Coze, task_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COZE__MIN_DEFERRAL_SECONDS", "0")
    trigger = deferred(task_of(coze, 6)).trigger
    fire(coze, trigger)
    assert coze.time.now <= NOON + 8


@KINDS
def test_a_task_whose_time_is_up_within_the_grace_ends_there(coze: Coze, task_of: Any) -> None:
    with pytest.raises(e.CozeOutcomeError, match="after 3 s"):
        task_of(coze, 60, timeout=3).execute({"ti": TaskInstance()})
    assert coze.time.now == NOON + 3


@KINDS
def test_a_lasting_refusal_within_the_grace_is_raised_there(coze: Coze, task_of: Any) -> None:
    coze.script(scenarios.error(4101), on="GET /v*", times=None)
    with pytest.raises(e.CozePermissionError):
        task_of(coze, 60).execute({"ti": TaskInstance()})
    assert coze.time.now <= NOON + 5


@KINDS
def test_the_ids_are_pushed_before_the_task_leaves_the_worker(coze: Coze, task_of: Any) -> None:
    ti = TaskInstance()
    deferred(task_of(coze, 60), ti)
    assert coze.ledger[0].id in ti.xcoms.values()
    assert "logid" in ti.xcoms


def test_the_trigger_gets_ids_and_times_of_the_chat(coze: Coze) -> None:
    trigger = deferred(chat(coze, 60, poll_interval=4, cancel_on_kill=False, coze_conn_id="coze_default")).trigger
    [billed] = coze.ledger
    assert isinstance(trigger, CozeChatTrigger)
    assert trigger.serialize()[1] == {
        "conversation_id": billed.conversation_id,
        "chat_id": billed.id,
        "started_at": NOON,
        "coze_conn_id": "coze_default",
        "bot_id": SLEEPER_BOT,
        "status": "in_progress",
        "deadline": NOON + 300,
        "not_before": NOON + 13,
        "poll_interval": 4,
        "cancel_on_kill": False,
        "turn": None,
        "lasts": None,
    }


def test_the_trigger_gets_ids_and_times_of_the_run(coze: Coze) -> None:
    trigger = deferred(run(coze, 60, poll_interval=4, timeout=None)).trigger
    [billed] = coze.ledger
    assert isinstance(trigger, CozeWorkflowTrigger)
    arguments = trigger.serialize()[1]
    assert billed.id in arguments.pop("debug_url")
    assert arguments == {
        "workflow_id": SLEEPER,
        "execute_id": billed.id,
        "started_at": NOON,
        "coze_conn_id": "coze_default",
        "status": "Running",
        "deadline": None,
        "not_before": NOON + 13,
        "poll_interval": 4,
        "lasts": None,
    }


@KINDS
def test_what_airflow_stores_holds_neither_token_nor_question_nor_answer(coze: Coze, task_of: Any) -> None:
    deferral = deferred(task_of(coze, 60))
    event = fire(coze, deferral.trigger)
    stored = json.dumps([deferral.trigger.serialize(), event])
    assert coze.ledger[0].id in stored
    assert TOKEN not in stored
    assert "secret recipe" not in stored


def test_an_event_of_a_failure_holds_no_token_either(coze: Coze) -> None:
    coze.script(scenarios.error(4100, status=401), on="GET /v3/chat/retrieve", times=None)
    event = fire(coze, deferred(chat(coze, 60, deferral_grace=0)).trigger)
    assert event["error"]["error"] == "CozeAuthError"
    assert TOKEN not in json.dumps(event)


@KINDS
@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        [],
        "done",
        {"status": "success"},
        {"chat_id": "1", "execute_id": "1", "status": "completed"},
        {
            "chat_id": "",
            "conversation_id": "2",
            "workflow_id": "3",
            "execute_id": "",
            "status": "completed",
            "started_at": 1,
        },
        {"chat_id": 1, "conversation_id": 2, "workflow_id": 3, "execute_id": 4, "status": "completed", "started_at": 1},
        {**IDS, "started_at": NOON, "status": None},
        {**IDS, "started_at": NOON},
        {**IDS, "status": "success"},
        {**IDS, "status": "success", "started_at": "noon"},
        {**IDS, "status": "success", "started_at": True},
    ],
)
def test_a_task_that_is_resumed_with_something_else_says_where_to_look_and_asks_coze_nothing(
    coze: Coze, task_of: Any, event: Any
) -> None:
    with pytest.raises(e.CozeTriggerEventError, match="XComs") as caught:
        task_of(coze, 1).execute_complete({"ti": TaskInstance()}, event)
    assert "billed" in str(caught.value)
    assert coze.seen == []


@KINDS
def test_the_event_may_be_left_out(coze: Coze, task_of: Any) -> None:
    with pytest.raises(e.CozeTriggerEventError, match="no event"):
        task_of(coze, 1).execute_complete({"ti": TaskInstance()})


def test_an_error_of_a_later_version_is_still_an_error(coze: Coze) -> None:
    event = {
        "chat_id": "1",
        "conversation_id": "2",
        "status": "in_progress",
        "started_at": NOON,
        "error": {"error": "CozeNewerError", "message": "what it said", "facts": {"code": 5, "newer": 1}},
    }
    with pytest.raises(e.CozeError, match="what it said") as caught:
        chat(coze, 1).execute_complete({"ti": TaskInstance()}, event)
    assert caught.value.code == 5


def test_the_wait_is_counted_from_the_start_and_not_from_the_resumption(coze: Coze) -> None:
    deferral = deferred(chat(coze, 600, timeout=50))
    event = fire(coze, deferral.trigger)
    with pytest.raises(e.CozeChatTimeoutError, match="after 50 s"):
        chat(coze, 600, timeout=50).execute_complete({"ti": TaskInstance()}, event)


def test_a_bot_that_answers_at_once_is_answered_at_once(coze: Coze) -> None:
    assert chat(coze, 1, bot_id=ECHO_BOT, message="hello").execute({"ti": TaskInstance()}) == "You said: hello"
    assert coze.time.now <= NOON + 1
