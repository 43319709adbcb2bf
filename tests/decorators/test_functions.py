"""Tasks whose question or parameters a function returns: when it is called, with what, and what of it goes to Coze."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypedDict

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze import errors as e
from airflow_provider_coze.compat import AirflowFailException
from airflow_provider_coze.decorators import coze_batch_task, coze_chat_task, coze_workflow_task
from airflow_provider_coze.decorators.chat import CozeChatDecoratedOperator
from airflow_provider_coze.decorators.workflow import CozeWorkflowDecoratedOperator
from airflow_provider_coze.emulator.default_world import ECHO, ECHO_BOT
from airflow_provider_coze.emulator.definitions import Seconds, Turn
from airflow_provider_coze.operators.chat import CozeChatOperator
from tests.tasks import Coze, Run, TaskInstance, is_kind
from tests.tries import StateStore

SEND, START = "POST /v3/chat", "POST /v1/workflow/run"


class Counted:
    """A function, and how often it was called."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.calls = 0
        self.function = function

    def __call__(self) -> Any:
        self.calls += 1
        return self.function()


def ask(run: Run, returned: Any, **arguments: Any) -> Any:
    function = returned if callable(returned) else lambda: returned
    return run(CozeChatDecoratedOperator, **{"bot_id": ECHO_BOT, "python_callable": function, **arguments})


def start(run: Run, returned: Any, **arguments: Any) -> Any:
    function = returned if callable(returned) else lambda: returned
    return run(CozeWorkflowDecoratedOperator, **{"workflow_id": ECHO, "python_callable": function, **arguments})


def said(coze: Coze) -> list[str]:
    return [message["content"] for message in coze.bodies(SEND)[-1]["additional_messages"]]


# --- what is sent


def test_the_text_of_a_function_is_the_message(coze: Coze, run: Run) -> None:
    assert ask(run, "hello") == "You said: hello"
    assert said(coze) == ["hello"]


def test_a_list_of_a_function_is_the_messages(coze: Coze, run: Run) -> None:
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes?"}, {"content": "go on"}]
    assert ask(run, messages) == "You said: go on"
    assert said(coze) == ["hello", "yes?", "go on"]


@pytest.mark.parametrize("parameters", [{"text": "hello", "top": 3}, {}, None])
def test_the_mapping_of_a_function_is_the_parameters(coze: Coze, run: Run, parameters: Any) -> None:
    start(run, parameters)
    assert [bill.marker["parameters"] for bill in coze.ledger] == [parameters or {}]


def test_a_function_gets_its_arguments_and_what_it_names_of_the_context(coze: Coze, run: Run) -> None:
    def function(text: str, *, mark: str, ti: Any = None) -> str:
        return f"{text}{mark} in {ti.run_id}"

    assert (
        ask(run, function, op_args=["hello"], op_kwargs={"mark": "!"}) == f"You said: hello! in {TaskInstance.run_id}"
    )


def test_what_a_function_returns_is_data_and_no_template(coze: Coze, run: Run) -> None:
    ask(run, "{{ ds }} of a customer")
    assert said(coze) == ["{{ ds }} of a customer"]
    for kind, returned in (
        (CozeChatDecoratedOperator, {"message", "additional_messages"}),
        (CozeWorkflowDecoratedOperator, {"parameters"}),
    ):
        assert {"op_args", "op_kwargs", "coze_conn_id"} <= set(kind.template_fields)
        assert not returned & {*kind.template_fields, *kind.template_fields_renderers}
    assert {"user_id", "bot_id"} <= set(CozeChatDecoratedOperator.template_fields)


def test_arguments_of_the_function_do_not_stay_in_the_context(coze: Coze) -> None:
    task = Run(coze, defers=False).task(
        CozeChatDecoratedOperator, bot_id=ECHO_BOT, python_callable=lambda x: x, op_kwargs={"x": "hello"}
    )
    context = {"ti": TaskInstance()}
    task.execute(context)
    assert set(context) == {"ti"}


# --- when it is called


def test_a_deferral_does_not_call_the_function_again(coze: Coze) -> None:
    function, run = Counted(lambda: "hello"), Run(coze, defers=True)
    bot = coze.emulator.add_bot(answer="well", duration=Seconds(60))
    assert ask(run, function, bot_id=bot.id) == "well"
    assert (run.deferrals, function.calls) == (1, 1)
    parameters = Counted(lambda: {"a": 1})
    slow = coze.emulator.add_workflow(output="done", duration=Seconds(60))
    assert start(run, parameters, workflow_id=slow.id) == "done"
    assert (run.deferrals, parameters.calls) == (2, 1)


class Mood(TypedDict):
    mood: str


def test_a_repair_after_a_deferral_needs_no_function(coze: Coze) -> None:
    def answer(turn: Turn) -> str:
        return "fine" if turn == "How is it?" else '{"mood": "fine"}'

    function, run = Counted(lambda: "How is it?"), Run(coze, defers=True)
    bot = coze.emulator.add_bot(answer=answer, duration=Seconds(30))
    assert ask(run, function, bot_id=bot.id, output_type=Mood) == {"mood": "fine"}
    assert (run.deferrals, function.calls, coze.asked(SEND)) == (2, 1, 2)
    assert "deferral" not in str([request.body for _, request, _ in coze.seen])


_WAITED = CozeChatOperator._waited


class Tries:
    """Tries of one task instance that keep a record, each killed once its chat is known, except the last."""

    def __init__(self, coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
        self.coze, self.store, self.number = coze, StateStore(), 0
        self._run = Run(coze, defers=False)
        self._patch = monkeypatch

    def __call__(self, function: Any, *, dies: bool = False) -> Any:
        self.number += 1
        task = self._run.task(CozeChatDecoratedOperator, bot_id=ECHO_BOT, python_callable=function)
        context = {"ti": TaskInstance(self.number), "task_state_store": self.store}
        if not dies:
            return task.execute(context)

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        self._patch.setattr(CozeChatOperator, "_waited", die)
        with pytest.raises(KeyboardInterrupt):
            task.execute(context)
        self._patch.setattr(CozeChatOperator, "_waited", _WAITED)
        return None


def test_a_retry_calls_the_function_again_and_goes_on_with_the_chat_that_it_meant(
    coze: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, attempt = Counted(lambda: "hello"), Tries(coze, monkeypatch)
    attempt(function, dies=True)
    assert attempt(function) == "You said: hello"
    assert (function.calls, len(coze.ledger)) == (2, 1)


def test_a_function_that_returns_something_else_in_a_retry_buys_a_new_chat_and_the_log_says_why(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers, attempt = iter(["at 09:00", "at 09:05"]), Tries(coze, monkeypatch)
    attempt(lambda: next(answers), dies=True)
    assert attempt(lambda: next(answers)) == "You said: at 09:05"
    assert len(coze.ledger) == 2
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING and "paying for" in r.getMessage()]
    assert "the rendered input is not the recorded one's" in warning.getMessage()
    assert coze.ledger[0].id in warning.getMessage()


# --- what it must not return


async def asynchronous() -> str:
    return "hello"


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "nothing (None)"),
        (17, "a value of type int"),
        ("  ", "a text with nothing in it"),
        ({"content": "hello"}, "a value of type dict (a list of one will do)"),
        (asynchronous, "a coroutine, because it is declared with `async def`"),
    ],
)
def test_a_message_of_the_wrong_type_is_refused_before_anything_is_sent(coze: Coze, returned: Any, words: str) -> None:
    with pytest.raises(e.CozeInputError) as caught:
        ask(Run(coze, defers=False), returned)
    assert f" returned {words}, and @task.coze_chat needs a " in str(caught.value)
    assert "Nothing was sent, so nothing is billed; a retry calls the function again" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)  # and so Airflow does not retry it
    assert is_kind(caught.value, e.CozeInputError)
    assert coze.seen == []


@pytest.mark.parametrize("returned", ["text", 17, [{"a": 1}]])
def test_parameters_of_the_wrong_type_are_refused_before_anything_is_sent(coze: Coze, returned: Any) -> None:
    with pytest.raises(
        e.CozeInputError,
        match=r"its function returned a value of type \w+, and @task.coze_workflow needs the parameters as",
    ):
        start(Run(coze, defers=False), returned)
    assert coze.seen == []


def test_what_is_wrong_within_it_is_found_as_ever(coze: Coze) -> None:
    with pytest.raises(e.CozeInputError, match=r"additional_messages\[0\] must be a mapping"):
        ask(Run(coze, defers=False), ["hello"])
    assert coze.seen == []


@pytest.mark.parametrize(
    ("decorate", "given", "name"),
    [
        (coze_chat_task, {"bot_id": "1", "message": "hello"}, "message"),
        (coze_chat_task, {"bot_id": "1", "additional_messages": []}, "additional_messages"),
        (coze_workflow_task, {"workflow_id": "1", "parameters": {}}, "parameters"),
        (coze_batch_task, {"bot_id": "1", "result_path": "/r", "inputs": []}, "inputs"),
    ],
)
def test_what_the_function_returns_is_no_argument_of_the_decorator(decorate: Any, given: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"@task\.coze_\w+ takes no {name}: its function returns that"):
        decorate(**given)(lambda: "x")()


# --- in a DAG


def made() -> DAG:
    return DAG("d", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), default_args={"bot_id": ECHO_BOT})


def test_a_decorated_function_is_a_task_that_can_be_mapped_and_changed() -> None:
    with made() as dag:

        @coze_chat_task(bot_id=ECHO_BOT, retries=3)
        def ask(text: str, mark: str = "") -> str:
            """Ask the echo."""
            return text + mark

        ask("a") >> ask.override(task_id="other", bot_id="2", retries=0)("b")
        ask.partial(mark="!").expand(text=["c", "d"])
    one, other, mapped = (dag.get_task(name) for name in ("ask", "other", "ask__1"))
    assert (one.bot_id, one.retries, one.doc_md) == (ECHO_BOT, 3, "Ask the echo.")
    assert (other.bot_id, other.retries, other.upstream_task_ids) == ("2", 0, {"ask"})
    assert mapped.operator_class is CozeChatDecoratedOperator
    assert mapped.partial_kwargs["bot_id"] == ECHO_BOT
    assert mapped.operator_name == "@task.coze_chat"


def test_default_args_reach_the_operator() -> None:
    with made() as dag:
        coze_chat_task()(lambda: "hello").override(task_id="ask")()
    assert dag.get_task("ask").bot_id == ECHO_BOT


def test_annotations_of_the_function_say_nothing_of_the_output() -> None:
    """Airflow would make an XCom of each key of an output whose function returns a mapping, and fail where it is a text."""
    with made() as dag:

        @coze_workflow_task(workflow_id=ECHO)
        def run() -> dict[str, Any]:
            return {}

        run()
        run.override(task_id="other")()
        coze_workflow_task(workflow_id=ECHO, multiple_outputs=True)(lambda: None).override(task_id="split")()
    assert [dag.get_task(name).multiple_outputs for name in ("run", "other", "split")] == [False, False, True]
