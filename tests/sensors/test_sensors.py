"""``CozeChatSensor`` and ``CozeWorkflowSensor``: wait for what somebody else started, in each of their modes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import (
    ASKING,
    BROKE_BOT,
    BROKEN,
    ECHO_BOT,
    PLAIN,
    SLEEPER,
    SLEEPER_BOT,
    TOOL_BOT,
)
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor
from tests import needs
from tests.sensors.conftest import WORKER_FIRST, Watch
from tests.tasks import NOON, TOKEN, Coze, TaskInstance

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

#: With a retry policy, where Airflow has them, and without.
POLICIES: list[dict[str, Any]] = [{}, {"retry_policy": object()}] if needs.RETRY_POLICIES.has() else [{}]


def chat(coze: Coze, bot_id: str = SLEEPER_BOT, message: str = "sleep 40: rested") -> dict[str, Any]:
    """Start a chat as somebody else would; return its ids."""
    question = {"role": "user", "content": message, "content_type": "text"}
    made = coze.hook().create_chat(bot_id=bot_id, user_id="u", additional_messages=[question])
    coze.seen.clear()
    return {"conversation_id": made.conversation_id, "chat_id": made.id}


def run(coze: Coze, workflow_id: str = SLEEPER, seconds: float = 40, value: Any = "rested") -> dict[str, Any]:
    """Start a run as somebody else would; return its ids."""
    parameters = {"seconds": seconds, "value": value} if workflow_id == SLEEPER else {}
    made = coze.hook().run_workflow(workflow_id=workflow_id, parameters=parameters, is_async=True)
    coze.seen.clear()
    return {"workflow_id": workflow_id, "execute_id": made.execute_id}


# --- chats


def test_the_answer_of_a_chat_is_waited_for_and_returned(coze: Coze, watch: Watch) -> None:
    assert watch(CozeChatSensor, **chat(coze)) == "rested"
    assert NOON + 40 <= coze.time.now <= NOON + 55
    assert len(coze.ledger) == 1


def test_a_chat_leaves_usage_follow_ups_and_logid(coze: Coze, watch: Watch) -> None:
    watch(CozeChatSensor, **chat(coze, ECHO_BOT, "hello"))
    assert watch.xcoms.keys() == {"usage", "follow_ups", "logid"}
    assert watch.xcoms["follow_ups"] == ["Would you like to say something else?"]
    assert watch.xcoms["usage"]["token_count"] > 0


@WORKER_FIRST
def test_a_chat_that_is_over_is_answered_at_once_without_giving_the_worker_back(coze: Coze, watch: Watch) -> None:
    assert watch(CozeChatSensor, **chat(coze, ECHO_BOT, "hello")) == "You said: hello"
    assert coze.time.now == NOON
    assert watch.rounds == 0


@pytest.mark.parametrize(
    ("bot", "expected"), [(BROKE_BOT, e.CozeChatFailedError), (TOOL_BOT, e.CozeChatRequiresActionError)]
)
def test_a_chat_that_ends_without_an_answer_raises_its_own_error(
    coze: Coze, watch: Watch, bot: str, expected: type[e.CozeError]
) -> None:
    ids = chat(coze, bot)
    with pytest.raises(expected) as caught:
        watch(CozeChatSensor, **ids)
    assert caught.value.chat_id == ids["chat_id"]
    if expected is e.CozeChatFailedError:
        assert caught.value.code == 4028
    else:
        assert caught.value.tool_calls


def test_a_chat_that_was_cancelled_raises(coze: Coze, watch: Watch) -> None:
    ids = chat(coze)
    coze.time.after(15, lambda: [one.cancel() for one in coze.emulator.store.chats.values()])
    with pytest.raises(e.CozeChatCanceledError):
        watch(CozeChatSensor, **ids)


def test_a_chat_is_looked_at_every_ten_seconds_at_most(coze: Coze, watch: Watch) -> None:
    watch(CozeChatSensor, **chat(coze, message="sleep 100: x"))
    looks = coze.times("GET /v3/chat/retrieve")
    assert looks[0] <= 1
    assert len(looks) >= 10
    assert max(b - a for a, b in itertools.pairwise(looks)) <= 10


def test_an_unknown_chat_is_an_error(coze: Coze, watch: Watch) -> None:
    with pytest.raises(e.CozeNotFoundError) as caught:
        watch(CozeChatSensor, **{**chat(coze), "chat_id": "75"})
    assert caught.value.code == 4001


# --- runs


def test_the_output_of_a_run_is_waited_for_and_returned(coze: Coze, watch: Watch) -> None:
    assert watch(CozeWorkflowSensor, **run(coze, value={"a": [1]})) == {"output": {"a": [1]}}
    assert NOON + 40 <= coze.time.now <= NOON + 75
    assert len(coze.ledger) == 1


def test_a_run_leaves_debug_url_usage_and_logid(coze: Coze, watch: Watch) -> None:
    ids = run(coze, PLAIN)
    assert watch(CozeWorkflowSensor, **ids) == "All 42 rows are fine."
    assert watch.xcoms.keys() == {"debug_url", "usage", "logid"}
    assert ids["execute_id"] in watch.xcoms["debug_url"]


@WORKER_FIRST
def test_a_run_that_is_over_is_read_once(coze: Coze, watch: Watch) -> None:
    watch(CozeWorkflowSensor, **run(coze, PLAIN))
    assert (len(coze.seen), watch.rounds, coze.time.now) == (1, 0, NOON)


def test_a_failed_run_raises_its_own_error(coze: Coze, watch: Watch) -> None:
    ids = run(coze, BROKEN)
    with pytest.raises(e.CozeRunFailedError, match="division by zero") as caught:
        watch(CozeWorkflowSensor, **ids)
    assert (caught.value.code, caught.value.execute_id) == (720701002, ids["execute_id"])


def test_a_run_that_asks_raises_with_the_question(coze: Coze, watch: Watch) -> None:
    with pytest.raises(e.CozeRunInterruptedError) as caught:
        watch(CozeWorkflowSensor, **run(coze, ASKING))
    assert "Which city?" in (caught.value.interrupt or {})["data"]


def test_a_run_that_was_started_a_moment_ago_may_not_be_visible_yet(coze: Coze, watch: Watch) -> None:
    coze.world.history_delay_seconds = 15
    assert watch(CozeWorkflowSensor, **run(coze, PLAIN)) == "All 42 rows are fine."


def test_a_run_that_does_not_exist_is_an_error_after_half_a_minute(coze: Coze, watch: Watch) -> None:
    with pytest.raises(e.CozeNotFoundError) as caught:
        watch(CozeWorkflowSensor, **{**run(coze), "execute_id": "75"})
    assert caught.value.code == 4314
    assert NOON + 30 <= coze.time.now <= NOON + 45


# --- both

KINDS = pytest.mark.parametrize(
    ("kind", "begin"), [(CozeChatSensor, chat), (CozeWorkflowSensor, run)], ids=["chat", "run"]
)


@KINDS
def test_a_sensors_timeout_is_airflows_and_cancels_nothing(coze: Coze, watch: Watch, kind: type, begin: Any) -> None:
    ids = begin(coze)
    with pytest.raises(AirflowSensorTimeout):
        watch(kind, **ids, timeout=25)
    assert 25 <= coze.time.now - NOON <= 60
    assert {name.partition(" ")[0] for name, _, _ in coze.seen} == {"GET"}


@KINDS
def test_a_timeout_skips_where_failing_softly_is_on(coze: Coze, watch: Watch, kind: type, begin: Any) -> None:
    with pytest.raises(AirflowSkipException):
        watch(kind, **begin(coze), timeout=25, soft_fail=True)


@pytest.mark.parametrize(
    ("kind", "ids"), [(CozeChatSensor, lambda coze: chat(coze, BROKE_BOT)), (CozeWorkflowSensor, lambda coze: run(coze, BROKEN))]
)  # fmt: skip
def test_a_failure_skips_where_the_task_is_never_to_fail(coze: Coze, watch: Watch, kind: type, ids: Any) -> None:
    with pytest.raises(AirflowSkipException):
        watch(kind, **ids(coze), never_fail=True)


# --- what no other look can change


ENDED = pytest.mark.parametrize(
    ("kind", "begin", "error"),
    [
        (CozeChatSensor, lambda coze: chat(coze, BROKE_BOT), e.CozeChatFailedError),
        (CozeWorkflowSensor, lambda coze: run(coze, BROKEN), e.CozeRunFailedError),
    ],
    ids=["chat", "run"],
)


@ENDED
def test_an_end_without_an_answer_is_not_looked_at_again_by_a_retry(
    coze: Coze, watch: Watch, kind: type, begin: Any, error: type[e.CozeError]
) -> None:
    with pytest.raises(error) as caught:
        watch(kind, **begin(coze))
    assert isinstance(caught.value, AirflowFailException)


@ENDED
def test_an_end_without_an_answer_skips_where_failing_softly_is_on(
    coze: Coze, watch: Watch, kind: type, begin: Any, error: type[e.CozeError]
) -> None:
    for policy in POLICIES:
        with pytest.raises(AirflowSkipException):
            watch(kind, **begin(coze), soft_fail=True, **policy)


@ENDED
def test_an_end_without_an_answer_is_no_silent_failure_to_be_looked_at_until_the_timeout(
    coze: Coze, watch: Watch, kind: type, begin: Any, error: type[e.CozeError]
) -> None:
    for policy in POLICIES:
        with pytest.raises(error):
            watch(kind, **begin(coze), silent_fail=True, **policy)
        assert coze.time.now < NOON + 200


@needs.RETRY_POLICIES.mark
@ENDED
def test_a_policy_is_asked_where_a_sensor_has_one(
    coze: Coze, watch: Watch, kind: type, begin: Any, error: type[e.CozeError]
) -> None:
    with pytest.raises(error) as caught:
        watch(kind, **begin(coze), retry_policy=object())
    assert not isinstance(caught.value, AirflowFailException)


@KINDS
def test_a_look_that_can_succeed_later_is_left_to_the_retries_of_the_task(
    coze: Coze, watch: Watch, kind: type, begin: Any
) -> None:
    ids = begin(coze)
    coze.script(scenarios.bad_gateway(), on="GET /v*", times=None)
    for soft in (False, True):
        with pytest.raises(e.CozeUnavailableError) as caught:
            watch(kind, **ids, soft_fail=soft)
        assert not isinstance(caught.value, AirflowFailException)


@KINDS
def test_a_silent_sensor_goes_on_after_a_look_that_can_succeed_later(
    coze: Coze, kind: type, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", coze.time.sleep)
    ids = begin(coze)
    coze.script(scenarios.bad_gateway(), on="GET /v*", times=5)
    assert "rested" in str(Watch(coze, "poke")(kind, **ids, silent_fail=True))


@KINDS
def test_missing_ids_are_not_retried(coze: Coze, watch: Watch, kind: type, begin: Any) -> None:
    with pytest.raises(e.CozeInputError) as caught:
        watch(kind, **dict.fromkeys(begin(coze), ""))
    assert isinstance(caught.value, AirflowFailException)


@KINDS
def test_a_word_that_nobody_knows_is_waited_on(
    coze: Coze, watch: Watch, kind: type, begin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = begin(coze)
    data: Any = {"status": "pondering"} if kind is CozeChatSensor else [{"execute_status": "pondering"}]
    coze.script(scenarios.answer(200, {"code": 0, "data": data}), on="GET /v*", times=2)
    assert "rested" in str(watch(kind, **ids))
    assert "pondering" in caplog.text


@KINDS
@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_a_word_that_nobody_knows_is_logged_once(
    coze: Coze,
    kind: type,
    begin: Any,
    mode: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not so by rescheduling: each look is a process of its own there."""
    monkeypatch.setattr("time.sleep", coze.time.sleep)
    ids = begin(coze)
    data: Any = {"status": "pondering"} if kind is CozeChatSensor else [{"execute_status": "pondering"}]
    coze.script(scenarios.answer(200, {"code": 0, "data": data}), on="GET /v*", times=3)
    Watch(coze, mode)(kind, **ids)
    assert [r.levelname for r in caplog.records if "pondering" in r.getMessage()] == ["WARNING"]


@KINDS
@pytest.mark.parametrize("wrong", [75, "", "None", None, "7 5"])
def test_a_missing_id_is_named_and_nothing_is_sent(
    coze: Coze, watch: Watch, kind: type, begin: Any, wrong: Any
) -> None:
    for name in begin(coze):
        with pytest.raises(e.CozeInputError, match=name):
            watch(kind, **{**dict.fromkeys(begin(coze), "1"), name: wrong})
    assert coze.seen == []


@KINDS
def test_all_missing_ids_are_named_together(watch: Watch, kind: type, begin: Any) -> None:
    names = [name for name in kind.template_fields if name != "coze_conn_id"]  # type: ignore[attr-defined]
    with pytest.raises(e.CozeInputError) as caught:
        watch(kind, **dict.fromkeys(names, ""))
    assert all(name in str(caught.value) for name in names)


@KINDS
def test_nothing_is_pushed_where_pushing_is_off(coze: Coze, watch: Watch, kind: type, begin: Any) -> None:
    watch(kind, **begin(coze), do_xcom_push=False)
    assert watch.xcoms == {}


@KINDS
def test_the_log_holds_neither_token_nor_answer(
    coze: Coze, watch: Watch, kind: type, begin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    watch(kind, **begin(coze))
    assert coze.ledger[0].id in caplog.text
    assert TOKEN not in caplog.text
    assert "rested" not in caplog.text


@KINDS
def test_a_deferred_sensor_is_not_resumed_too_early_and_never_cancels(coze: Coze, kind: type, begin: Any) -> None:
    sensor = coze.prepared(kind(task_id="wait", **begin(coze), deferrable=True, timeout=60, poke_interval=7))
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute({"ti": TaskInstance()})
    arguments = deferral.value.trigger.serialize()[1]
    assert arguments["not_before"] == NOON + 8
    assert arguments["deadline"] == NOON + 60
    assert arguments["poll_interval"] == 7
    assert arguments.get("cancel_on_kill", False) is False


@KINDS
@pytest.mark.parametrize("event", [None, {}, "x", {"status": "completed"}])
def test_a_sensor_that_is_resumed_with_something_else_says_where_to_look(
    coze: Coze, kind: type, begin: Any, event: Any
) -> None:
    sensor = coze.prepared(kind(task_id="wait", **begin(coze), deferrable=True))
    with pytest.raises(e.CozeTriggerEventError, match="XComs"):
        sensor.execute_complete({"ti": TaskInstance()}, event)


@KINDS
def test_a_token_that_is_revoked_during_the_wait_is_the_error_of_the_sensor(
    coze: Coze, watch: Watch, kind: type, begin: Any
) -> None:
    ids = begin(coze)
    coze.script(scenarios.error(4100, status=401), on="GET /v*", skip=1, times=None)
    with pytest.raises(e.CozeAuthError) as caught:
        watch(kind, **ids)
    assert TOKEN not in str(caught.value)


def test_sensors_work_with_a_studio_server(studio: Coze) -> None:
    made = Watch(studio, "deferred")
    assert made(CozeChatSensor, **chat(studio)) == "rested"
    assert made(CozeWorkflowSensor, **run(studio)) == {"output": "rested"}
