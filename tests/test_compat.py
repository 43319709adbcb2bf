"""``compat``: one name for what every Airflow calls differently, and secrets that are masked wherever they turn up."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze import compat
from tests import needs

#: Names that are for type checkers only.
TYPES = ("Connection", "Context")
#: None on an Airflow that does not have them.
LATER = {
    "RetryDecision": needs.RETRY_POLICIES,
    "RetryPolicy": needs.RETRY_POLICIES,
    "TaskAwaitingInput": needs.AWAITING_INPUT,
}


@pytest.mark.parametrize("name", [name for name in compat.__all__ if name not in TYPES])
def test_every_name_is_there_on_the_installed_airflow(name: str) -> None:
    expected = name not in LATER or LATER[name].expected
    assert (getattr(compat, name) is not None) == expected


@pytest.mark.parametrize("need", needs.ALL.values(), ids=needs.ALL)
def test_this_airflow_has_what_its_version_has_so_that_no_test_is_skipped_that_ought_to_pass(need: needs.Need) -> None:
    assert need.has() == need.expected


@pytest.mark.skipif(needs.RETRY_POLICIES.expected, reason="tests/test_retry_policy.py uses it")
def test_where_there_are_no_retry_policies_importing_ours_says_which_airflow_has_them() -> None:
    with pytest.raises(compat.AirflowOptionalProviderFeatureException, match=r"needs Airflow 3\.3 or later"):
        importlib.import_module("airflow_provider_coze.retry_policy")


def test_a_secret_is_masked_at_once_on_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr(compat, "_mask_secret", masked.append)
    compat.mask_secret("s3cret")
    assert masked == ["s3cret"]


def test_threads_tell_airflow_of_secrets_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    monkeypatch.setattr(compat, "_mask_secret", lambda secret: taken.append(others_have_to_wait()))
    compat.mask_secret("s3cret")
    assert taken == [True]
    assert not others_have_to_wait()


async def test_a_secret_is_masked_without_blocking_on_an_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []

    async def amask(secret: str) -> None:
        await asyncio.sleep(0)
        masked.append(secret)

    def blocking(secret: str) -> None:
        raise AssertionError("talks to the supervisor from the event loop")

    masks_on_loops(monkeypatch, amask)
    monkeypatch.setattr(compat, "_mask_secret", blocking)
    compat.mask_secret("s3cret")
    await settled()
    assert masked == ["s3cret"]


async def test_where_airflow_has_no_coroutine_for_it_a_thread_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[tuple[str, bool]] = []
    if needs.MASKS_ON_LOOPS.has():
        monkeypatch.delattr("airflow.sdk.log.amask_secret")
    monkeypatch.setattr(
        compat,
        "_mask_secret",
        lambda secret: masked.append((secret, threading.current_thread() is threading.main_thread())),
    )
    compat.mask_secret("s3cret")
    await settled()
    assert masked == [("s3cret", False)]


def others_have_to_wait() -> bool:
    """Tell whether no thread but this may talk to Airflow now."""

    def has_to_wait() -> bool:
        talking = compat.talking()
        is_free = talking.acquire(blocking=False)
        if is_free:
            talking.release()
        return not is_free

    with ThreadPoolExecutor(1) as other:
        return other.submit(has_to_wait).result()


def test_masking_never_fails_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(secret: str) -> None:
        raise RuntimeError("no supervisor here")

    monkeypatch.setattr(compat, "_mask_secret", broken)
    compat.mask_secret("s3cret")


async def test_masking_never_fails_a_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(secret: str) -> None:
        raise RuntimeError("no supervisor here")

    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    masks_on_loops(monkeypatch, broken)
    compat.mask_secret("s3cret")
    await settled()
    assert complaints == []


def masks_on_loops(monkeypatch: pytest.MonkeyPatch, amask: Any) -> None:
    """Make it an Airflow 3.3.2, which masks by a coroutine."""
    if needs.TASK_SDK.has():
        monkeypatch.setattr("airflow.sdk.log.amask_secret", amask, raising=False)
    else:
        for name, module in {"airflow.sdk": {}, "airflow.sdk.log": {"amask_secret": amask}}.items():
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(**module))


async def settled() -> None:
    """Let the masking of this loop come to its end."""
    assert compat._MASKING, "it is kept alive until it is done"
    await asyncio.wait_for(asyncio.gather(*compat._MASKING), 5)
    await asyncio.sleep(0)
    assert not compat._MASKING


@pytest.mark.parametrize("of_the_dag", [True, False])
def test_how_templates_render_is_the_dags_unless_the_task_says(of_the_dag: bool) -> None:
    with DAG(
        "d",
        schedule=None,
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        render_template_as_native_obj=of_the_dag,
    ):
        task = compat.BaseOperator(task_id="t")
    assert compat.renders_natively(task) is of_the_dag
    assert compat.renders_natively(compat.BaseOperator(task_id="alone")) is False
    assert compat.renders_natively(SimpleNamespace(render_template_as_native_obj=not of_the_dag)) is not of_the_dag
