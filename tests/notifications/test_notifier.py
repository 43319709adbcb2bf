"""``CozeNotifier``: a bot is told once, and no task ever notices that something went wrong with it."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import logging
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.emulator.default_world import ECHO_BOT
from airflow_provider_coze.emulator.definitions import Failure, Seconds, Turn
from airflow_provider_coze.emulator.scenarios import error, reset
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.notifications.coze import CozeNotifier
from tests import needs
from tests.pages import SNIPPETS, run_page
from tests.tasks import LOGGER, TOKEN, Coze

SEND = "POST /v3/chat"
TI = SimpleNamespace(
    dag_id="daily",
    task_id="load",
    run_id="r",
    map_index=-1,
    try_number=1,
    max_tries=0,
    state="failed",
    log_url="http://a/l",
)


def context(**facts: Any) -> dict[str, Any]:
    dag = DAG("daily", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC))
    return {"dag": dag, "ti": TI, "run_id": "r", "exception": ValueError("no rows"), "params": {"x": "y"}, **facts}


def called(coze: Coze, given: dict[str, Any], **arguments: Any) -> None:
    coze.prepared(CozeNotifier(**{"bot_id": ECHO_BOT, **arguments}))(given)


def awaited(coze: Coze, given: dict[str, Any], **arguments: Any) -> None:
    async def wait() -> None:
        await coze.prepared(CozeNotifier(**{"bot_id": ECHO_BOT, "context": given, **arguments}))

    asyncio.run(wait())


@pytest.fixture(params=[called, awaited], ids=lambda way: way.__name__)
def tell(request: pytest.FixtureRequest, coze: Coze) -> Any:
    """Every test using this runs once per way in which Airflow uses a notifier. No test may ask which."""
    return lambda given=None, **arguments: request.param(coze, context() if given is None else given, **arguments)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Any:
    def of_now() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == LOGGER and r.levelno >= logging.WARNING]

    return of_now


def said(coze: Coze) -> list[str]:
    return [body["additional_messages"][0]["content"] for body in coze.bodies(SEND)]


# --- what it tells


def test_a_bot_is_told_what_happened(coze: Coze, tell: Any, warnings: Any) -> None:
    tell()
    assert said(coze) == [
        "Airflow: task 'load' of DAG 'daily' failed, in try 1 of 1.\nRun: r\nError: ValueError: no rows\nLog: http://a/l"
    ]
    assert coze.bodies(SEND)[0]["user_id"] == "airflow:daily"
    assert len(coze.ledger) == 1
    assert warnings() == []


def test_everything_it_says_is_a_template(coze: Coze, tell: Any) -> None:
    conversation = coze.hook().create_conversation(bot_id=ECHO_BOT).id
    tell(
        context(conversation=conversation, bot=ECHO_BOT),
        bot_id="{{ bot }}",
        message="{{ params.x }}: {{ what_happened.splitlines()[0] }}",
        user_id="{{ dag.dag_id }}",
        conversation_id="{{ conversation }}",
    )
    assert said(coze) == ["y: Airflow: task 'load' of DAG 'daily' failed, in try 1 of 1."]
    assert coze.bodies(SEND)[0]["user_id"] == "daily"
    assert coze.ledger[0].conversation_id == conversation


def test_one_notifier_tells_each_task_its_own_and_leaves_the_context_as_it_was(coze: Coze) -> None:
    notifier = coze.prepared(CozeNotifier(bot_id=ECHO_BOT, message="{{ params.x }}"))
    given = context()
    before = dict(given)
    notifier(given)
    notifier(context(params={"x": "z"}))
    assert said(coze) == ["y", "z"]
    assert given == before


def test_native_rendering_makes_no_numbers_of_ids(coze: Coze, tell: Any) -> None:
    dag = DAG("daily", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), render_template_as_native_obj=True)
    tell(context(dag=dag), message="42", user_id="7")
    assert (said(coze), coze.bodies(SEND)[0]["user_id"]) == (["42"], "7")


@needs.DEADLINES.mark
def test_a_missed_deadline_has_a_context_without_a_dag(coze: Coze, tell: Any, warnings: Any) -> None:
    tell(DEADLINE)
    assert said(coze) == ["Airflow: DAG 'daily' missed its deadline.\nRun: r\nDeadline: noon"]


def test_airflow_2_tells_of_slas_by_five_arguments_and_later_ones_by_four(coze: Coze) -> None:
    notifier = coze.prepared(CozeNotifier(bot_id=ECHO_BOT))
    try:
        import airflow.sdk  # noqa: F401

        notifier(context()["dag"], "load on noon", "", [])
    except ImportError:
        notifier(context()["dag"], "load on noon", "", [], [])
    assert said(coze) == ["Airflow: DAG 'daily' missed an SLA: load on noon."]


def test_airflow_can_make_one_for_a_deadline() -> None:
    """AsyncCallback looks for ``__await__``; what calls it looks for ``context``, and whether a call takes it by position."""
    assert hasattr(CozeNotifier, "__await__")
    assert "context" in inspect.signature(CozeNotifier).parameters
    assert [p.kind.name for p in inspect.signature(CozeNotifier(bot_id="1")).parameters.values()] == ["VAR_POSITIONAL"]


DEADLINE = {"dag_run": {"dag_id": "daily", "dag_run_id": "r"}, "deadline": {"id": "1", "deadline_time": "noon"}}


@needs.DEADLINES.mark
def test_a_triggerer_runs_it_as_airflow_3_does(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    triggers = {"airflow.triggers.callback": "CallbackTrigger", "airflow.triggers.deadline": "DeadlineCallbackTrigger"}
    found = [getattr(importlib.import_module(m), name) for m, name in triggers.items() if importlib.util.find_spec(m)]
    monkeypatch.setattr(CozeNotifier, "hook", coze.hook())
    path = f"{CozeNotifier.__module__}.{CozeNotifier.__qualname__}"
    trigger = found[0](path, {"bot_id": ECHO_BOT, "context": DEADLINE})

    async def events() -> list[str]:
        return [str(event.payload["state"]).rpartition(".")[2].lower() async for event in trigger.run()]

    assert asyncio.run(events()) == ["running", "success"]
    assert said(coze) == ["Airflow: DAG 'daily' missed its deadline.\nRun: r\nDeadline: noon"]


@needs.EXECUTOR_CALLBACKS.mark
def test_an_executor_runs_it_as_airflow_from_3_3_on_does(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = importlib.import_module("airflow.sdk.execution_time.callback_supervisor")
    monkeypatch.setattr(CozeNotifier, "hook", coze.hook())
    path = f"{CozeNotifier.__module__}.{CozeNotifier.__qualname__}"
    given = {"bot_id": ECHO_BOT, "context": DEADLINE}
    assert supervisor.execute_callback(path, given, "", None, supervisor.log) == (True, None)
    assert len(said(coze)) == 1


# --- its answer


def test_the_answer_goes_into_the_log_if_wanted(coze: Coze, tell: Any, caplog: pytest.LogCaptureFixture) -> None:
    bot = coze.emulator.add_bot(answer="Look at the table.", duration=Seconds(2))
    tell(bot_id=bot.id, log_answer=True)
    assert "answered in chat" in caplog.text
    assert "Look at the table." in caplog.text
    caplog.clear()
    tell(bot_id=bot.id)
    assert "Look at the table." not in caplog.text


def test_an_answer_that_takes_too_long_is_not_waited_for(coze: Coze, tell: Any, warnings: Any) -> None:
    bot = coze.emulator.add_bot(answer="well", duration=Seconds(60))
    began = coze.time.now
    tell(bot_id=bot.id, log_answer=True, timeout=5)
    assert coze.time.now - began <= 5
    (warning,) = warnings()
    assert "has been told, in chat" in warning
    assert "was not over after 5 s" in warning
    assert len(coze.ledger) == 1


def test_a_bot_that_fails_has_been_told(coze: Coze, tell: Any, warnings: Any) -> None:
    def answer(turn: Turn) -> str:
        raise Failure(5000, "the bot's own trouble")

    tell(bot_id=coze.emulator.add_bot(answer=answer).id, log_answer=True)
    (warning,) = warnings()
    assert "has been told" in warning


# --- when something goes wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bot_id": "7519999999999999999"}, "was not told what happened"),
        ({"bot_id": "not an id"}, "has white space in it"),
        ({"message": "  "}, "empty, or a template that rendered to nothing"),
        ({"message": "{{ nothing.of.that }}"}, "was not told what happened: a UndefinedError"),
        ({"message": "{{ unclosed"}, "was not told what happened: a TemplateSyntaxError"),
        ({"conversation_id": "1"}, "was not told what happened"),
    ],
)
def test_what_is_wrong_is_one_warning(
    coze: Coze, tell: Any, warnings: Any, arguments: dict[str, Any], words: str
) -> None:
    tell(**arguments)
    (warning,) = warnings()
    assert words in warning
    assert "Nothing is sent again; the task goes on as it would have" in warning
    assert coze.ledger == []


def test_a_connection_that_is_missing_is_one_warning(coze: Coze, tell: Any, warnings: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_COZE_DEFAULT")
    tell()
    (warning,) = warnings()
    assert "'coze_default'" in warning
    assert coze.seen == []


@pytest.mark.parametrize(
    "fault", [reset(), reset(after_commit=True)], ids=["before it was read", "after it was acted on"]
)
def test_a_lost_reply_is_not_sent_again(coze: Coze, tell: Any, warnings: Any, fault: Any) -> None:
    coze.script(fault, on=SEND)
    tell()
    (warning,) = warnings()
    assert "may or may not have been told what happened" in warning
    assert coze.asked(SEND) <= 1


@pytest.mark.parametrize("code", [4013, 700012006, 5000])
def test_a_refusal_is_not_repeated(coze: Coze, tell: Any, warnings: Any, code: int) -> None:
    coze.script(error(code), on=SEND)
    tell()
    assert len(warnings()) == 1
    assert (coze.asked(SEND), coze.time.slept) == (1, [])


def test_no_secret_and_no_prompt_is_in_the_log(
    coze: Coze, tell: Any, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    tell(context(exception=ValueError("the recipe")))
    coze.script(error(5000), on=SEND)
    tell(context(exception=ValueError("the recipe")))
    monkeypatch.setattr(CozeHook, "settings", property(lambda _: 1 / 0))
    tell()
    assert "the recipe" not in caplog.text
    assert TOKEN not in caplog.text


def test_a_task_is_held_up_no_longer_than_the_timeout(coze: Coze, warnings: Any, monkeypatch: Any) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(CozeHook, "perform", lambda *_, **__: stuck.wait(30))
    notifier = coze.prepared(CozeNotifier(bot_id=ECHO_BOT, timeout=0.01))
    notifier(context())
    stuck.set()
    (warning,) = warnings()
    assert "may or may not have been told what happened: it was not over after 0.01 s" in warning


def test_an_event_loop_is_held_up_no_longer_than_the_timeout(coze: Coze, warnings: Any, monkeypatch: Any) -> None:
    async def stuck(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(CozeHook, "aperform", stuck)
    awaited(coze, context(), timeout=0.01)
    (warning,) = warnings()
    assert "it was not over after 0.01 s" in warning


@needs.DEADLINES.mark
def test_the_page_about_deadlines_makes_a_dag() -> None:
    dag = run_page(SNIPPETS / "deadline.py")["dag"]
    alert = dag.deadline[0] if isinstance(dag.deadline, list) else dag.deadline
    assert alert.callback.path == f"{CozeNotifier.__module__}.{CozeNotifier.__qualname__}"
    assert CozeNotifier(**alert.callback.kwargs).bot_id == ECHO_BOT
