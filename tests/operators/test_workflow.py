"""``CozeWorkflowOperator``, the same whether it waits on the worker or in the triggerer."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ASKING, BROKEN, ECHO, ECHO_BOT, PLAIN, SLEEPER
from airflow_provider_coze.emulator.definitions import OutputNode, Seconds, Tokens, Workflow
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests.tasks import NOON, TOKEN, Coze, Run

POST = "POST /v1/workflow/run"


def slow_workflow(coze: Coze, seconds: float, **fields: Any) -> str:
    return coze.emulator.add_workflow(Workflow(duration=Seconds(seconds), **{"output": {"x": 1}, **fields})).id


def start(run: Run, workflow_id: str = ECHO, **arguments: Any) -> Any:
    return run(CozeWorkflowOperator, workflow_id=workflow_id, **arguments)


def looks(coze: Coze) -> list[float]:
    """Return when the record was read; a second look in the same moment is the worker fetching what a trigger saw."""
    return sorted({at - NOON for name, _, at in coze.seen if "/run_histories/" in name})


# --- what comes back


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"rows": 42, "top": [{"a": 1.5}], "none": None, "中文": True}, None),
        ([1, "two", {"three": 3}], None),
        ("All 42 rows are fine.", None),
        ("42", None),
        ("", None),
        ('{"a": "{\\"b\\": 1}"}', {"a": '{"b": 1}'}),
        ({"content_type": 1, "data": "plain text", "original_result": None, "type_for_model": 2}, "plain text"),
    ],
    ids=["object", "list", "text", "digits", "empty", "json-text-inside", "text-end-node"],
)
@pytest.mark.parametrize("mode", ["async", "sync"])
def test_the_output_comes_out_of_its_wrappings(coze: Coze, run: Run, mode: str, output: Any, expected: Any) -> None:
    workflow = slow_workflow(coze, 0, output=output)
    assert start(run, workflow, execution_mode=mode) == (output if expected is None else expected)


def test_the_output_of_a_workflow_with_output_nodes_is_its_end_nodes(coze: Coze, run: Run) -> None:
    assert start(run, slow_workflow(coze, 20, nodes=(OutputNode("Note", "half way"),))) == {"x": 1}


def test_the_xcoms_hold_id_debug_url_usage_of_this_try_and_logid(coze: Coze, run: Run) -> None:
    start(run, slow_workflow(coze, 12, tokens=Tokens(50, 7)), try_number=2)
    [billed] = coze.ledger
    assert len(run.xcoms.pop("logid")) == 32
    assert f"execute_id={billed.id}" in run.xcoms.pop("debug_url")
    assert run.xcoms["execute_id"] == billed.id
    usage = run.xcoms["usage"]
    assert (usage["token_count"], usage["input_count"], usage["output_count"], usage["try_number"]) == (57, 50, 7, 2)


def test_a_sync_run_leaves_the_same_xcoms(coze: Coze, run: Run) -> None:
    start(run, slow_workflow(coze, 0, tokens=Tokens(50, 7)), execution_mode="sync")
    assert run.xcoms.keys() == {"execute_id", "debug_url", "usage", "logid"}
    assert run.xcoms["execute_id"] == coze.ledger[0].id
    assert run.xcoms["usage"]["token_count"] == 57


def test_nothing_is_pushed_where_pushing_is_off(run: Run) -> None:
    assert start(run, PLAIN, do_xcom_push=False) == "All 42 rows are fine."
    assert run.xcoms == {}


def test_without_waiting_the_ids_are_the_return_value_and_nothing_is_polled(coze: Coze, run: Run) -> None:
    returned = start(run, slow_workflow(coze, 60), wait_for_completion=False, check_parameters=False)
    assert returned["execute_id"] == coze.ledger[0].id
    assert returned["workflow_id"] == coze.ledger[0].workflow_id
    assert returned["debug_url"] == run.xcoms["debug_url"]
    assert [name for name, _, _ in coze.seen] == [POST]


def test_an_output_that_coze_trimmed_is_returned_with_a_warning(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    coze.world.trim_output_bytes = 40
    assert start(run, slow_workflow(coze, 20, output="x" * 100)) == '{"Output":"' + "x" * 29
    assert "over 1 MB and was trimmed" in caplog.text


# --- what Coze gets


def test_every_argument_reaches_coze_under_its_own_name(coze: Coze, run: Run) -> None:
    given: dict[str, Any] = {
        "parameters": {"table": "a,b", "rows": [1, {"x": None}], "deep": {"y": 2.5}},
        "bot_id": ECHO_BOT,
        "ext": {"latitude": "59.9", "user_id": "u1"},
        "workflow_version": "v0.0.5",
        "connector_id": "1024",
    }
    start(run, **given)
    assert coze.bodies(POST) == [{**given, "workflow_id": ECHO, "is_async": True}]
    start(run, app_id="7", execution_mode="sync")
    assert coze.bodies(POST)[1] == {"workflow_id": ECHO, "parameters": {}, "app_id": "7", "is_async": False}


def test_parameters_reach_the_workflow_as_they_are(coze: Coze, run: Run) -> None:
    parameters = {"n": 1, "f": 0.5, "l": [1, [2]], "o": {"k": None}, "t": "文字", "b": False}
    assert start(run, parameters=parameters) == {"output": parameters}
    assert coze.ledger[0].marker == {"parameters": parameters}


def test_the_connection_can_name_another_path(coze: Coze, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    coze.world.legacy_workflow_path = True
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(workflow_run_path="/v3/workflows/run"))
    assert start(run, PLAIN) == "All 42 rows are fine."
    assert (coze.asked("POST /v3/workflows/run"), coze.asked(POST)) == (1, 0)


# --- ends that are no outputs


def test_a_failed_run_raises_the_runs_own_error(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeRunFailedError) as caught:
        start(run, BROKEN)
    error, [billed] = caught.value, coze.ledger
    assert (error.code, error.msg) == (720701002, "Node 'Code' failed: division by zero")
    assert (error.execute_id, error.workflow_id) == (billed.id, BROKEN)
    assert billed.id in (error.debug_url or "")
    assert error.logid
    for words in (billed.id, BROKEN, "division by zero", "billed", "new run", error.debug_url or "?", error.logid):
        assert words in str(error)


def test_a_failed_sync_run_is_said_to_have_been_started(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeAPIError, match=r"division by zero.*was started, and is billed") as caught:
        start(run, BROKEN, execution_mode="sync")
    assert caught.value.code == 720701002
    assert coze.ledger[0].id in (caught.value.debug_url or "")


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_run_that_asks_raises_with_the_question(coze: Coze, run: Run, mode: str) -> None:
    with pytest.raises(e.CozeRunInterruptedError, match="asks a question") as caught:
        start(run, ASKING, execution_mode=mode)
    interrupt = caught.value.interrupt or {}
    assert json.loads(interrupt["data"])["content"] == "Which city?"
    assert interrupt["type"] == 2
    assert interrupt["event_id"].startswith(coze.ledger[0].id)
    assert caught.value.execute_id == coze.ledger[0].id


def test_a_run_that_was_cancelled_raises(coze: Coze, run: Run) -> None:
    record = {"execute_id": "1", "execute_status": "Cancel"}  # Coze Studio's
    coze.script(
        scenarios.answer(200, {"code": 0, "data": [record]}), on="GET /v1/workflows/*/run_histories/*", times=None
    )
    with pytest.raises(e.CozeRunCanceledError):
        start(run)


def test_a_status_that_nobody_knows_is_said_once_and_waited_on(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    record = {"execute_status": "Pondering"}
    coze.script(scenarios.answer(200, {"code": 0, "data": [record]}), on="GET /v1/workflows/*/run_histories/*", times=3)
    assert start(run, PLAIN) == "All 42 rows are fine."
    said = [r for r in caplog.records if "Pondering" in r.getMessage() and r.levelname == "WARNING"]
    assert len(said) == 1


# --- time


def test_a_run_that_takes_too_long_goes_on_and_the_error_says_so(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeRunTimeoutError) as caught:
        start(run, SLEEPER, parameters={"seconds": 600}, timeout=45)
    error, [billed] = caught.value, coze.ledger
    assert coze.time.now == NOON + 45
    assert (error.execute_id, error.workflow_id) == (billed.id, SLEEPER)
    assert str(error) == (
        f"Run {billed.id!r} of workflow {SLEEPER!r} was still 'Running' after 45 s (logid {error.logid}, see {error.debug_url}). "
        "Coze goes on with it and charges for it, because a run cannot be cancelled. A retry of this task waits for it "
        "again, unless durable is False. To wait longer, raise timeout."
    )
    assert [name for name, _, _ in coze.seen if not name.startswith("GET ")] == [POST]


def test_the_timeout_is_an_hour_by_default(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeRunTimeoutError, match="3600 s"):
        start(run, SLEEPER, parameters={"seconds": 7200})


def test_without_a_timeout_there_is_no_end_to_waiting(coze: Coze, run: Run) -> None:
    assert start(run, SLEEPER, parameters={"seconds": 4000, "value": "done"}, timeout=None) == {"output": "done"}


def test_looks_begin_fast_and_slow_down_to_one_in_thirty_seconds(coze: Coze, run: Run) -> None:
    start(run, SLEEPER, parameters={"seconds": 900})
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks(coze))]
    assert min(gaps) >= 1
    assert max(gaps) <= 30
    assert all(24 <= gap <= 30 for gap in gaps[-5:-1])
    assert looks(coze)[0] <= 8


def test_poll_interval_sets_the_ceiling(coze: Coze, run: Run) -> None:
    start(run, SLEEPER, parameters={"seconds": 100}, poll_interval=5)
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks(coze))]
    assert 4 <= max(gaps[:-1]) <= 5


def test_a_record_that_is_not_there_yet_is_waited_for(coze: Coze, run: Run) -> None:
    coze.world.history_delay_seconds = 20
    assert start(run, PLAIN) == "All 42 rows are fine."


def test_a_record_that_never_comes_is_an_error_after_half_a_minute(coze: Coze, run: Run) -> None:
    coze.world.history_delay_seconds = 3000
    with pytest.raises(e.CozeNotFoundError) as caught:
        start(run, PLAIN)
    assert caught.value.code == 4314
    assert caught.value.execute_id == coze.ledger[0].id
    assert NOON + 30 <= coze.time.now <= NOON + 50


def test_a_sync_run_that_coze_hangs_up_on_is_not_started_again(coze: Coze, run: Run) -> None:
    coze.world.sync_wait_seconds = 0.02
    with pytest.raises(e.CozeOutcomeUnknownError, match="carrying it out, and billing it") as caught:
        start(run, slow_workflow(coze, 100), execution_mode="sync")
    assert isinstance(caught.value.__cause__, e.CozeTransportError)
    assert caught.value.__cause__.never_sent is False
    assert coze.asked(POST) == 1
    assert len(coze.ledger) == 1


def test_a_short_outage_fails_no_run_that_is_paid_for(coze: Coze, run: Run) -> None:
    coze.script(scenarios.server_trouble(), on="GET /v1/workflows/*/run_histories/*", times=3)
    assert start(run, slow_workflow(coze, 2), deferral_grace=5) == {"x": 1}
    assert coze.asked(POST) == 1


def test_the_free_plan_has_no_async_runs_and_the_error_names_the_other_modes(coze: Coze, run: Run) -> None:
    coze.world.plan = "personal_free"
    with pytest.raises(e.CozePlanError, match=r"execution_mode=\"stream\"") as caught:
        start(run, execution_mode="async")
    assert caught.value.code == 6003
    assert coze.ledger == []
    assert start(run, PLAIN, execution_mode="sync") == "All 42 rows are fine."


def test_the_log_has_the_ids_and_neither_token_nor_inputs_nor_output(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    start(run, slow_workflow(coze, 30, output="the secret recipe"), parameters={"q": "confidential question"})
    assert coze.ledger[0].id in caplog.text
    for secret in (TOKEN, "confidential question", "the secret recipe"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("workflow", "arguments", "expected"),
    [
        (SLEEPER, {"parameters": {"seconds": 20, "value": "done"}, "workflow_version": "v0.0.1"}, {"output": "done"}),
        (PLAIN, {"execution_mode": "sync"}, "All 42 rows are fine."),
    ],
    ids=["async", "sync"],
)
@pytest.mark.parametrize("defers", [False, True], ids=["plain", "deferred"])
def test_a_studio_server_is_spoken_to_in_its_own_words(
    studio: Coze, defers: bool, workflow: str, arguments: dict[str, Any], expected: Any
) -> None:
    run = Run(studio, defers=defers)
    assert start(run, workflow, **arguments) == expected
    assert run.xcoms["execute_id"] == studio.ledger[0].id
