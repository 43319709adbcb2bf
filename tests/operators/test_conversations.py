"""Which conversation a chat goes to: its own, the DAG run's, the task's, or the user's; and what several tasks make of one."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.default_world import ECHO_BOT, MEMORY_BOT, SLEEPER_BOT
from airflow_provider_coze.operators import conversations
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.conversations import ConversationChoice, coze_conversation
from tests.tasks import Coze, Run, TaskInstance, is_kind

CREATE = "POST /v1/conversation/create"


def instance(**ids: Any) -> TaskInstance:
    ti = TaskInstance()
    for name, value in ids.items():
        setattr(ti, name, value)
    return ti


def chosen(coze: Coze, choice: Any = "dag_run", bot_id: str = ECHO_BOT, **ids: Any) -> str | None:
    hook = coze.hook()
    return ConversationChoice(choice, {"ti": instance(**ids)}, bot_id=bot_id).find_or_create(hook, hook.log)


def test_tasks_of_a_dag_run_that_ask_the_same_bot_share_one(coze: Coze) -> None:
    first = chosen(coze, task_id="a")
    assert chosen(coze, task_id="b") == chosen(coze, task_id="b", map_index=3) == first
    assert len({first, chosen(coze, bot_id=MEMORY_BOT), chosen(coze, run_id="r2"), chosen(coze, dag_id="d2")}) == 4


def test_a_task_has_one_over_all_its_runs(coze: Coze) -> None:
    first = chosen(coze, "task")
    assert chosen(coze, "task", run_id="r2") == first
    others = [chosen(coze, "task", **ids) for ids in ({"task_id": "b"}, {"map_index": 1}, {"map_index": 2})]
    assert len({first, *others, chosen(coze)}) == 5


def test_ids_that_look_alike_when_they_are_joined_do_not_meet(coze: Coze) -> None:
    assert chosen(coze, dag_id="a b", run_id="c") != chosen(coze, dag_id="a", run_id="b c")


def test_an_id_is_taken_as_it_is_and_new_is_none(coze: Coze) -> None:
    assert chosen(coze, "7512000000000000100") == "7512000000000000100"
    assert chosen(coze, "new") is None
    assert coze.seen == []


@pytest.mark.parametrize(
    ("choice", "says"),
    [("dagrun", "must be one of"), ("", "rendered to nothing"), (7512, "must be a string"), (None, "must be a string")],
)
def test_a_word_that_means_nothing_is_named_before_anything_is_sent(coze: Coze, choice: Any, says: str) -> None:
    with pytest.raises(e.CozeInputError, match=says):
        chosen(coze, choice)
    assert coze.seen == []


def test_people_can_tell_in_coze_whose_it_is(coze: Coze) -> None:
    chosen(coze)
    assert coze.bodies(CREATE)[0]["name"] == "airflow: tests scheduled__2025-12-04"
    chosen(coze, run_id="r" * 300)
    assert len(coze.bodies(CREATE)[1]["name"]) == 100


def test_a_studio_is_not_sent_a_name(studio: Coze) -> None:
    first = chosen(studio)
    assert "name" not in studio.bodies(CREATE)[0]
    assert chosen(studio) == first


def test_another_task_finds_the_conversation_by_a_function(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = coze.hook()
    monkeypatch.setattr(conversations, "CozeHook", lambda conn_id: hook)
    of_run, of_task = chosen(coze), chosen(coze, "task", task_id="ask", map_index=2)
    context = {"ti": instance(task_id="later")}
    assert coze_conversation(context, bot_id=ECHO_BOT) == of_run
    found = coze_conversation(context, bot_id=ECHO_BOT, conversation="task", task_id="ask", map_index=2)
    assert found == of_task
    with pytest.raises(e.CozeInputError, match="no conversation to share"):
        coze_conversation(context, bot_id=ECHO_BOT, conversation="new")


# --- with the operator


def test_a_bot_remembers_what_an_earlier_task_of_the_run_said(run: Run) -> None:
    first = run(CozeChatOperator, bot_id=MEMORY_BOT, message="I like tea", conversation="dag_run", task_id="ask")
    second = run(CozeChatOperator, bot_id=MEMORY_BOT, message="What?", conversation="dag_run", task_id="ask")
    assert first == "This is turn 1. First I was told: I like tea"
    assert second == "This is turn 2. First I was told: I like tea"
    assert len(run.coze.ledger) == 2


def test_without_a_choice_every_chat_has_its_own(run: Run) -> None:
    for _ in range(2):
        answer = run(CozeChatOperator, bot_id=MEMORY_BOT, message="hello")
        assert answer == "This is turn 1. First I was told: hello"


@pytest.mark.parametrize(("on_busy", "waits"), [("wait", True), ("new", False)])
def test_a_task_that_comes_while_another_one_asks_gets_its_turn(run: Run, on_busy: str, waits: bool) -> None:
    arguments = {"conversation": "dag_run", "on_busy": on_busy, "wait_for_completion": False}
    first = run(CozeChatOperator, bot_id=SLEEPER_BOT, message="sleep 30: rested", **arguments)
    began = run.coze.time()
    second = run(CozeChatOperator, bot_id=SLEEPER_BOT, message="sleep 1: mine", **arguments)
    assert (second["conversation_id"] == first["conversation_id"]) is waits
    assert (run.coze.time() - began > 20) is waits
    assert len(run.coze.ledger) == 2


def test_a_task_that_may_not_wait_fails_and_has_bought_nothing(run: Run) -> None:
    arguments = {"bot_id": SLEEPER_BOT, "conversation": "dag_run"}
    run(CozeChatOperator, message="sleep 30: rested", wait_for_completion=False, **arguments)
    with pytest.raises(e.CozeConversationBusyError) as caught:
        run(CozeChatOperator, message="sleep 1: mine", on_busy="fail", **arguments)
    assert is_kind(caught.value, e.CozeConversationBusyError)
    assert len(run.coze.ledger) == 1
