"""Every operator on a self-hosted Coze Studio: what it can serve works as on the cloud, and what it cannot costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.default_world import (
    ASKING,
    BROKE_BOT,
    BROKEN,
    CHATFLOW,
    ECHO,
    ECHO_BOT,
    PLAIN,
    TOOL_BOT,
)
from airflow_provider_coze.emulator.definitions import Failure, Interrupt, Template
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests.tasks import NOON, Coze, Run

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

MODES = ("async", "stream", "sync")


@pytest.fixture(params=[False, True], ids=["plain", "deferred"])
def run(studio: Coze, request: pytest.FixtureRequest) -> Run:
    return Run(studio, defers=request.param)


@pytest.fixture
def conversation(studio: Coze) -> str:
    made: str = studio.hook().create_conversation(bot_id=ECHO_BOT).id
    return made


def refused(studio: Coze, act: Callable[[], Any]) -> str:
    """Return the words of an error before which nothing was sent that could be billed."""
    with pytest.raises(e.CozeInputError) as caught:
        act()
    assert studio.ledger == []
    return str(caught.value)


# --- chats


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_answers_streamed_or_not(studio: Coze, run: Run, stream: bool) -> None:
    assert run(CozeChatOperator, bot_id=ECHO_BOT, message="你好", stream=stream) == "You said: 你好"
    assert run.xcoms["usage"]["token_count"] == studio.ledger[0].tokens


def test_a_chat_goes_on_in_a_conversation_of_ones_own(studio: Coze, run: Run, conversation: str) -> None:
    for word in ("one", "two"):
        assert run(CozeChatOperator, bot_id=ECHO_BOT, message=word, conversation_id=conversation) == f"You said: {word}"
    assert {entry.conversation_id for entry in studio.ledger} == {conversation}


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_that_fails_is_an_error_of_its_own(run: Run, stream: bool) -> None:
    with pytest.raises(e.CozeChatFailedError):
        run(CozeChatOperator, bot_id=BROKE_BOT, message="x", stream=stream)


def test_the_stream_of_a_chat_that_fails_is_the_only_one_to_say_why(run: Run) -> None:
    with pytest.raises(e.CozeChatFailedError, match="4028"):
        run(CozeChatOperator, bot_id=BROKE_BOT, message="x", stream=True)


def test_tools_are_refused_before_the_chat_is_sent(studio: Coze, run: Run) -> None:
    tools = {"read_sensor": lambda room: "21 °C"}
    words = refused(studio, lambda: run(CozeChatOperator, bot_id=TOOL_BOT, message="x", tools=tools))
    assert "Coze Studio" in words


# --- chatflows


def test_a_chatflow_answers_in_a_conversation_that_is_named(studio: Coze, run: Run, conversation: str) -> None:
    given = {"workflow_id": CHATFLOW, "bot_id": ECHO_BOT, "message": "你好"}
    assert run(CozeChatflowOperator, **given, conversation_id=conversation) == "You said: 你好"
    assert run(CozeChatflowOperator, **given, parameters={"CONVERSATION_NAME": "daily"}) == "You said: 你好"
    assert run.xcoms["execute_id"] == studio.ledger[1].id


def test_a_chatflow_without_a_conversation_is_refused_before_it_is_sent(studio: Coze, run: Run) -> None:
    given = {"workflow_id": CHATFLOW, "bot_id": ECHO_BOT, "message": "x"}
    assert "CONVERSATION_NAME" in refused(studio, lambda: run(CozeChatflowOperator, **given))


def test_a_chatflow_that_fails_says_why(studio: Coze, run: Run, conversation: str) -> None:
    broken = studio.emulator.add_workflow(mode="chatflow", failure=Failure(720701002, "division by zero"))
    with pytest.raises(e.CozeChatFailedError, match="division by zero"):
        run(CozeChatflowOperator, workflow_id=broken.id, bot_id=ECHO_BOT, message="x", conversation_id=conversation)


def test_a_chatflow_that_asks_is_answered_by_the_next_task(studio: Coze, run: Run, conversation: str) -> None:
    asking = studio.emulator.add_workflow(
        mode="chatflow", interrupt=Interrupt("Which city?"), output=Template("{message} {answer}")
    )
    given = {"workflow_id": asking.id, "bot_id": ECHO_BOT, "conversation_id": conversation, "reuse": "never"}
    with pytest.raises(e.CozeChatRequiresActionError):
        run(CozeChatflowOperator, **given, message="weather in")
    assert run(CozeChatflowOperator, **given, message="Hangzhou") == "weather in Hangzhou"
    assert [entry.continued for entry in studio.ledger] == [1]


# --- workflows


@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_a_workflow_runs_in_every_mode(studio: Coze, run: Run, mode: str) -> None:
    given = {"execution_mode": mode, "workflow_version": "v0.0.1"}
    assert run(CozeWorkflowOperator, workflow_id=ECHO, parameters={"a": "值"}, **given) == {"output": {"a": "值"}}
    assert run(CozeWorkflowOperator, workflow_id=PLAIN, **given) == "All 42 rows are fine."
    assert run.xcoms["execute_id"] == studio.ledger[1].id


@pytest.mark.parametrize("mode", MODES)
def test_a_workflow_that_fails_says_why_in_every_mode(run: Run, mode: str) -> None:
    with pytest.raises(e.CozeError, match="division by zero") as caught:
        run(CozeWorkflowOperator, workflow_id=BROKEN, execution_mode=mode)
    assert (caught.value.code, bool(caught.value.debug_url)) == (720701002, True)


@pytest.mark.parametrize("mode", ["async", "stream"])
def test_a_workflow_that_asks_and_nobody_answers_is_no_long_wait(studio: Coze, run: Run, mode: str) -> None:
    with pytest.raises(e.CozeRunInterruptedError):
        run(CozeWorkflowOperator, workflow_id=ASKING, execution_mode=mode)
    assert studio.time.now < NOON + 60


def test_a_streamed_workflow_that_asks_twice_is_answered_twice(studio: Coze, run: Run) -> None:
    questions = [Interrupt("Which city?"), Interrupt("?", type=5, parameters={"nights": "integer"})]
    asking = studio.emulator.add_workflow(interrupt=questions, output=lambda inputs: " ".join(inputs.answers))
    answers = iter(["Hangzhou", {"nights": 2}])
    said = run(
        CozeWorkflowOperator,
        workflow_id=asking.id,
        execution_mode="stream",
        on_interrupt=lambda question: next(answers),
    )
    assert said == 'Hangzhou {"nights": 2}'
    assert [entry.continued for entry in studio.ledger] == [2]


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_mode_in_which_nobody_could_answer_is_refused_where_answers_are_promised(
    studio: Coze, run: Run, mode: str
) -> None:
    given = {"execution_mode": mode, "on_interrupt": lambda question: "Hangzhou"}
    assert "stream" in refused(studio, lambda: run(CozeWorkflowOperator, workflow_id=ASKING, **given))


def test_a_workflow_whose_questions_are_answered_is_streamed_by_itself(run: Run) -> None:
    given = {"on_interrupt": lambda question: "Hangzhou"}
    assert run(CozeWorkflowOperator, workflow_id=ASKING, **given) == {"output": "Hangzhou"}
