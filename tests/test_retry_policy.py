"""``CozeRetryPolicy``: what Airflow 3.3 is told when a task fails, and that a DAG with it can be stored and run."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException

from airflow_provider_coze import compat
from airflow_provider_coze import errors as e
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor
from tests import needs

pytestmark = needs.RETRY_POLICIES.mark
if needs.RETRY_POLICIES.has():
    from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_coze.retry_policy import CozeRetryPolicy

TASK = CozeChatOperator(task_id="ask", bot_id="1", message="hello")
SENSOR = CozeChatSensor(task_id="wait", conversation_id="1", chat_id="2")


def decided(error: BaseException, task: Any = TASK) -> RetryDecision:
    return CozeRetryPolicy().evaluate(error, 1, 3, None if task is None else {"task": task})


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (e.CozeQuotaError("x", code=4008, status=200, origin="https://api.coze.com"), timedelta(days=1)),
        (e.CozeRateLimitedError("x", code=4020, status=200), timedelta(seconds=60)),
        (e.CozeRiskControlError("x", code=4102, status=200), timedelta(minutes=5)),
        (e.CozeUnavailableError("x", status=502), None),
        (e.CozeTransportError("x", never_sent=False), None),
        (e.CozeChatFailedError("x", code=5000, chat_id="1"), None),
        (e.CozeChatTimeoutError("x", chat_id="1"), None),
        (e.CozeConnectionUnreadableError("x"), None),
    ],
)
def test_what_can_pass_is_retried_when_it_can_have_passed(error: e.CozeError, delay: timedelta | None) -> None:
    found = decided(error)
    assert (found.action, found.retry_delay) == (RetryAction.RETRY, delay)
    assert type(error).__name__ in (found.reason or "")


def test_a_daily_limit_of_coze_cn_is_not_retried_before_tomorrow_in_china() -> None:
    found = decided(e.CozeQuotaError("x", code=4008, status=200, origin="https://api.coze.cn"))
    assert found.retry_delay is not None
    china = datetime.now(UTC) + timedelta(hours=8)
    assert (china + found.retry_delay).date() == china.date() + timedelta(days=1)


@pytest.mark.parametrize(
    "error",
    [
        e.CozeQuotaError("x", code=4019, status=200),
        e.CozeQuotaError("x", code=4028, status=200),
        e.CozeChatFailedError("x", code=4028, chat_id="1"),
        e.CozeAuthError("x", code=4100, status=401),
        e.CozePermissionError("x", code=4101, status=200),
        e.CozeInputError("x"),
        e.CozeConnectionConfigError("x"),
        e.CozeChatRequiresActionError("x", chat_id="1"),
    ],
)
def test_what_no_retry_can_change_is_not_retried(error: e.CozeError) -> None:
    found = decided(error)
    assert found.action is RetryAction.FAIL
    assert "A retry would fail the same way." in (found.reason or "")


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError(), KeyboardInterrupt()])
def test_what_does_not_come_from_coze_is_left_to_the_task(error: BaseException) -> None:
    assert decided(error) == RetryDecision.default()


def test_a_sensor_does_not_look_again_at_a_chat_that_failed_and_an_operator_asks_again() -> None:
    failed = e.CozeChatFailedError("x", code=5000, chat_id="1")
    assert decided(failed, SENSOR).action is RetryAction.FAIL
    assert decided(failed, TASK).action is RetryAction.RETRY


def test_it_decides_without_a_context_too() -> None:
    assert decided(e.CozeInputError("x"), None).action is RetryAction.FAIL


def test_it_is_the_same_after_being_stored() -> None:
    policy = CozeRetryPolicy()
    stored = json.loads(json.dumps(policy.serialize()))
    assert isinstance(CozeRetryPolicy.deserialize(stored), CozeRetryPolicy)
    assert isinstance(policy, RetryPolicy)


def _dag(**default_args: Any) -> DAG:
    with DAG("d", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), default_args=default_args) as dag:
        CozeChatOperator(task_id="one", bot_id="1", message="hello", retry_policy=CozeRetryPolicy(), retries=2)
        CozeChatOperator.partial(task_id="many", bot_id="1", retry_policy=CozeRetryPolicy()).expand(message=["a", "b"])
        CozeChatOperator(task_id="without", bot_id="1", message="hello", retry_policy=None)
    return dag


def test_a_dag_with_it_is_stored_the_same_every_time_and_says_who_has_one() -> None:
    first, second = (DagSerialization.to_dict(_dag(retry_policy=CozeRetryPolicy())) for _ in range(2))
    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)  # else a new version per parse
    back = DagSerialization.from_dict(json.loads(json.dumps(first)))
    assert {task_id: bool(task.has_retry_policy) for task_id, task in back.task_dict.items()} == {
        "one": True,
        "many": True,
        "without": False,
    }


def test_the_dags_of_the_page_about_retries_retry_as_it_says() -> None:
    made = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "snippets" / "retries.py"))
    dag = made["dag"]
    assert isinstance(dag.get_task("ask").retry_policy, CozeRetryPolicy)
    assert dag.get_task("ask").retries == 3


@pytest.fixture
def _airflow_without_policies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    name = "airflow_provider_coze.retry_policy"
    known = sys.modules.pop(name)
    monkeypatch.setattr(compat, "RetryPolicy", None)
    yield
    sys.modules[name] = known


@pytest.mark.usefixtures("_airflow_without_policies")
def test_an_older_airflow_is_told_what_it_lacks_and_what_to_do_instead() -> None:
    with pytest.raises(AirflowOptionalProviderFeatureException, match=r"Airflow 3\.3 or later.*retry_delay"):
        importlib.import_module("airflow_provider_coze.retry_policy")
