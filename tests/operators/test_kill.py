"""A task that is killed on its worker: what it cancels, what it cannot, and how little time it takes."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO, SLEEPER, SLEEPER_BOT
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests.tasks import Airflow, Coze, TaskInstance

CANCEL = "POST /v3/chat/cancel"

#: In all tests that do not say otherwise a person has ended the task.
pytestmark = pytest.mark.usefixtures("airflow")


def chat(coze: Coze, **arguments: Any) -> CozeChatOperator:
    """Return a task that asks a bot which takes ten minutes, on the worker."""
    task = CozeChatOperator(
        **{"task_id": "ask", "bot_id": SLEEPER_BOT, "message": "sleep 600: x", "deferrable": False, **arguments}
    )
    prepared: CozeChatOperator = coze.prepared(task)
    return prepared


def status(coze: Coze) -> str:
    return coze.emulator.store.chats[coze.ledger[0].id].status


@pytest.mark.parametrize("deferrable", [False, True], ids=["plain", "within-the-grace"])
def test_a_kill_during_the_wait_cancels_the_chat(coze: Coze, deferrable: bool) -> None:
    task = chat(coze, deferrable=deferrable)
    coze.time.after(3, task.on_kill)
    with pytest.raises(e.CozeChatCanceledError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert coze.times(CANCEL) == [3.0]
    assert status(coze) == "canceled"


def test_a_chat_that_may_not_be_cancelled_is_left_and_the_log_says_which(
    coze: Coze, caplog: pytest.LogCaptureFixture
) -> None:
    task = chat(coze, cancel_on_kill=False)
    coze.time.after(3, task.on_kill)
    with pytest.raises(e.CozeChatTimeoutError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert coze.times(CANCEL) == [300.0]  # that of the timeout
    assert f"Chat {coze.ledger[0].id} is left running" in caplog.text


@pytest.mark.parametrize(
    "fault",
    [scenarios.error(4104), scenarios.error(4101), scenarios.bad_gateway(), scenarios.reset(), scenarios.closed()],
    ids=["4104", "4101", "502", "reset", "closed"],
)
def test_a_kill_never_raises_and_asks_once(
    coze: Coze, fault: scenarios.Fault, caplog: pytest.LogCaptureFixture
) -> None:
    task = chat(coze)
    coze.script(fault, on=CANCEL, times=None)
    coze.time.after(3, task.on_kill)
    with pytest.raises(e.CozeChatTimeoutError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert coze.times(CANCEL).count(3.0) == 1
    assert coze.ledger[0].id in caplog.text


@pytest.mark.parametrize("wanted", [True, None], ids=["a worker is stopped", "nobody knows"])
def test_a_kill_that_no_person_asked_for_leaves_the_chat_to_the_retry(
    coze: Coze, airflow: Airflow, caplog: pytest.LogCaptureFixture, wanted: bool | None
) -> None:
    airflow.wanted = wanted
    task = chat(coze, message="sleep 20: rested")
    coze.time.after(3, task.on_kill)
    assert task.execute({"ti": TaskInstance()}) == "rested"
    assert coze.asked(CANCEL) == 0
    assert (
        f"Chat {coze.ledger[0].id} is left running: a person did not end this task, and a retry goes on" in caplog.text
    )


def test_a_chat_that_no_retry_goes_on_with_is_cancelled_whoever_ends_the_task(coze: Coze, airflow: Airflow) -> None:
    airflow.wanted = True
    task = chat(coze, durable=False)
    coze.time.after(3, task.on_kill)
    with pytest.raises(e.CozeChatCanceledError):
        task.execute({"ti": TaskInstance()})
    assert coze.times(CANCEL) == [3.0]


def test_an_airflow_that_does_not_answer_is_not_waited_for(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_coze.operators import base

    over = threading.Event()
    monkeypatch.setattr(base, "is_wanted", lambda ti: over.wait(30))
    monkeypatch.setattr(base, "_QUESTION_SECONDS", 0.05)
    task = chat(coze, message="sleep 20: rested")
    coze.time.after(3, task.on_kill)
    begun = time.monotonic()
    assert task.execute({"ti": TaskInstance()}) == "rested"
    over.set()
    assert time.monotonic() - begun < 10
    assert coze.asked(CANCEL) == 0


def test_a_kill_that_cannot_reach_coze_says_that_the_chat_may_go_on(
    coze: Coze, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = chat(coze)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def killed() -> None:
        away = coze.prepared(chat(coze))
        away._running, away._ti = task._running, task._ti
        monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(host=nobody))
        away.on_kill()

    coze.time.after(3, killed)
    with pytest.raises(e.CozeChatTimeoutError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert f"Chat {coze.ledger[0].id} could not be cancelled and may go on" in caplog.text


def test_a_kill_has_no_time_to_wait_for_the_connections_budget(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(chat_qps=0.05))
    task = chat(coze)
    coze.time.after(22, task.on_kill)  # after a look that has used the budget up
    with pytest.raises(e.CozeChatCanceledError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert coze.times(CANCEL) == [22.0]


def test_a_kill_gives_each_request_little_time(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_coze.transports import sync

    limits: list[tuple[float, float]] = []
    request = sync.requests.Session.request

    def noted(self: Any, *args: Any, timeout: tuple[float, float], **kwargs: Any) -> Any:
        limits.append(timeout)
        return request(self, *args, timeout=timeout, **kwargs)

    task = chat(coze)
    coze.time.after(3, lambda: (limits.clear(), task.on_kill(), limits.append((0, 0))))
    monkeypatch.setattr(sync.requests.Session, "request", noted)
    with pytest.raises(e.CozeChatCanceledError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    of_the_kill = limits[: limits.index((0, 0))]
    assert len(of_the_kill) == 1
    assert sum(sum(limit) for limit in of_the_kill) <= 4


def test_a_kill_before_the_start_and_after_the_end_does_nothing(coze: Coze) -> None:
    task = chat(coze, message="sleep 1: x")
    task.on_kill()
    task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    task.on_kill()
    assert coze.asked(CANCEL) == 0


def test_a_kill_after_the_chat_was_handed_to_the_triggerer_is_the_triggerers(coze: Coze) -> None:
    from airflow.providers.common.compat.sdk import TaskDeferred

    task = chat(coze, deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    task.on_kill()
    assert coze.asked(CANCEL) == 0
    assert status(coze) == "in_progress"


def test_two_signals_cancel_once(coze: Coze) -> None:
    task = chat(coze)
    coze.time.after(3, lambda: (task.on_kill(), task.on_kill()))
    with pytest.raises(e.CozeChatCanceledError):
        task.execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert coze.asked(CANCEL) == 1


def test_a_run_cannot_be_cancelled_and_the_log_says_so_with_its_ids(
    coze: Coze, caplog: pytest.LogCaptureFixture
) -> None:
    task = coze.prepared(
        CozeWorkflowOperator(
            task_id="run", workflow_id=SLEEPER, parameters={"seconds": 60, "value": 1}, deferrable=False
        )
    )
    coze.time.after(3, task.on_kill)
    assert task.execute({"ti": TaskInstance()}) == {"output": 1}
    [said] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "cannot cancel" in r.getMessage()]
    assert coze.ledger[0].id in said
    assert SLEEPER in said
    assert "debug_url" not in said
    assert "work_flow?execute_id=" in said
    caplog.clear()
    task.on_kill()
    assert "cannot cancel" not in caplog.text


def test_a_kill_during_a_sync_run_says_that_it_goes_on_though_its_id_is_not_known(
    coze: Coze, caplog: pytest.LogCaptureFixture
) -> None:
    task = coze.prepared(CozeWorkflowOperator(task_id="run", workflow_id=ECHO, execution_mode="sync"))
    coze.before("POST /v1/workflow/run", task.on_kill)
    task.execute({"ti": TaskInstance()})
    assert f"id not known yet) of workflow {ECHO} goes on and is billed" in caplog.text
    caplog.clear()
    task.on_kill()
    assert caplog.text == ""
