"""When a task's links are there: from the start on, while it waits, and when it fails; on the worker and over the triggerer."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import BROKEN, CHATFLOW, ECHO, ECHO_BOT, PLAIN
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.protocol import pages
from tests.tasks import Coze, Run, TaskInstance

SPACE = "7510000000000000001"


def workflow_page(workflow_id: str) -> str:
    return f"https://www.coze.cn/work_flow?space_id={SPACE}&workflow_id={workflow_id}"


@pytest.fixture
def cloud(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the emulator taken for api.coze.cn, with a workspace that its runs are not in."""
    monkeypatch.setitem(pages._SITES, coze.base_url, "https://www.coze.cn")
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(workspace_id="42"))
    return "42"


def test_a_run_is_linked_and_its_workflow_where_the_run_says_it_is(run: Run) -> None:
    run(CozeWorkflowOperator, workflow_id=PLAIN)
    assert run.links == {"CozeRunLink": run.xcoms["debug_url"], "CozeWorkflowLink": workflow_page(PLAIN)}


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_failed_run_is_linked_like_one_that_succeeded(run: Run, mode: str) -> None:
    with pytest.raises(e.CozeError) as caught:
        run(CozeWorkflowOperator, workflow_id=BROKEN, execution_mode=mode)
    assert run.links == {"CozeRunLink": caught.value.debug_url, "CozeWorkflowLink": workflow_page(BROKEN)}


def test_a_run_is_linked_before_it_is_waited_for(coze: Coze, run: Run) -> None:
    seen: list[dict[str, str]] = []
    coze.time.moved = lambda: seen.append(dict(run.links))
    run(CozeWorkflowOperator, workflow_id=ECHO, parameters={"text": "x"})
    assert seen[0].keys() == {"CozeRunLink", "CozeWorkflowLink"}


def test_a_chatflow_is_linked_to_its_run(run: Run) -> None:
    run(CozeChatflowOperator, workflow_id=CHATFLOW, bot_id=ECHO_BOT, message="hi")
    assert run.links == {"CozeRunLink": run.xcoms["debug_url"], "CozeWorkflowLink": workflow_page(CHATFLOW)}


def test_a_chat_is_linked_to_its_bot_where_the_connection_names_the_workspace(cloud: str, run: Run) -> None:
    run(CozeChatOperator, bot_id=ECHO_BOT, message="hi")
    assert run.links == {"CozeBotLink": f"https://www.coze.cn/space/{cloud}/bot/{ECHO_BOT}"}


def test_a_bot_that_coze_refuses_is_linked_all_the_same(coze: Coze, cloud: str, run: Run) -> None:
    coze.script(scenarios.error(4015), on="POST /v3/chat")
    with pytest.raises(e.CozeAPIError):
        run(CozeChatOperator, bot_id=ECHO_BOT, message="hi")
    assert run.links.keys() == {"CozeBotLink"}


def test_a_workflow_that_coze_refuses_is_linked_in_the_workspace_of_the_connection(
    coze: Coze, cloud: str, run: Run
) -> None:
    coze.script(scenarios.error(4200), on="POST /v1/workflow/run")
    with pytest.raises(e.CozeAPIError):
        run(CozeWorkflowOperator, workflow_id=PLAIN)
    assert run.links == {"CozeWorkflowLink": f"https://www.coze.cn/work_flow?space_id={cloud}&workflow_id={PLAIN}"}


def test_a_workflow_of_an_app_is_linked_by_its_run_alone(cloud: str, run: Run) -> None:
    run(CozeWorkflowOperator, workflow_id=PLAIN, app_id="7")
    assert run.links.keys() == {"CozeRunLink"}


def test_a_chat_without_a_known_workspace_has_no_link(run: Run) -> None:
    run(CozeChatOperator, bot_id=ECHO_BOT, message="hi")
    assert run.links == {}


def test_where_pushing_is_off_nothing_is_linked(run: Run) -> None:
    run(CozeWorkflowOperator, workflow_id=PLAIN, do_xcom_push=False)
    assert run.links == {}


def test_a_link_that_cannot_be_stored_fails_no_task(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = TaskInstance.xcom_push

    def push(self: TaskInstance, key: str, value: Any) -> None:
        if key.startswith("_link_"):
            raise RuntimeError("Airflow's API does not answer")
        pushed(self, key, value)

    monkeypatch.setattr(TaskInstance, "xcom_push", push)
    assert run(CozeWorkflowOperator, workflow_id=PLAIN) == "All 42 rows are fine."


def test_airflow_hands_the_context_over_by_name(run: Run) -> None:
    task = run.task(CozeWorkflowOperator, workflow_id=PLAIN)
    task.deferrable = False
    assert task.execute(context={"ti": run.ti, "task": task}) == "All 42 rows are fine."
    assert run.links.keys() == {"CozeRunLink", "CozeWorkflowLink"}
    assert task._span is not None
