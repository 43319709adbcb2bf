"""The quickstart DAG, the same file, on a real Airflow of every locked version: what it answers, pays and leaves behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.runs import Run, run_dag, stored, written
from tests.airflow.stack import Stack
from tests.env.bootstrap import ROOT

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(600)]

#: The first is what the test before this module leaves running.
STACKS = [
    *("3.3.2-postgres", "3.3.2-sqlite", "3.1.8-sqlite", "2.11.2-postgres"),
    *(pytest.param(name, marks=pytest.mark.compat) for name in ("3.0.6-sqlite", "3.2.2-sqlite")),
]
PAID = ["ask_bot", "run_workflow"]


@pytest.fixture(scope="module", params=STACKS)
def airflow(request: pytest.FixtureRequest, airflow_of: Callable[[str], Stack]) -> Stack:
    return airflow_of(request.param)


@pytest.fixture(scope="module")
def run(airflow: Stack, coze: Server) -> Run:
    return run_dag(airflow, "example_coze_quickstart", coze)


def test_every_example_loads(airflow: Stack) -> None:
    examples = {path.stem for path in (ROOT / "example_dags").glob("*.py")}
    for dag_id in examples - {"example_coze_agent"}:  # which needs common.ai
        airflow.wait_dag(dag_id)
    assert airflow.rest.import_errors() == []


def test_both_answers_are_right(run: Run) -> None:
    assert run.state == "success"
    assert run.xcom("ask_bot") == (
        "The table has 31 rows and population adds up to 1409778724. "
        "The largest is Guangdong, 广东, East with 126012510, the smallest Tibet, 西藏, West with 3648100."
    )
    summary = run.xcom("run_workflow")
    assert (summary["rows"], summary["total"]) == (31, 1_409_778_724)
    assert [row["division"] for row in summary["top"]] == ["Guangdong", "Shandong", "Henan"]


def test_both_tasks_deferred_once_and_succeeded_at_the_first_try(run: Run) -> None:
    tasks = {task.task_id: task for task in run.tasks}
    for task_id in PAID:
        assert "deferred" in run.states_seen[task_id]
        assert run.deferrals(task_id) == 1
        assert (tasks[task_id].state, tasks[task_id].try_number) == ("success", 1)


def test_coze_billed_one_chat_and_one_run(run: Run) -> None:
    assert run.billed == Counter(chat=1, workflow=1)


def test_the_run_is_one_click_away_and_so_is_its_workflow(run: Run) -> None:
    links = run.airflow.rest.links(run.dag_id, run.run_id, "run_workflow")
    assert links["Coze run"] == run.airflow.rest.xcom(run.dag_id, run.run_id, "run_workflow", key="debug_url")
    assert (links["Coze workflow"] or "").endswith("&workflow_id=7511500000000000001")


def test_a_bot_whose_workspace_nobody_names_has_a_button_that_stays_away(run: Run) -> None:
    assert run.airflow.rest.links(run.dag_id, run.run_id, "ask_bot") == {"Coze bot": None}


def test_the_token_is_written_nowhere(run: Run, airflow: Stack, coze: Server) -> None:
    assert "airflow_provider_coze.triggers." in run.stored_while_deferred  # the look was at the right moment
    assert coze.token not in run.stored_while_deferred
    after = stored(airflow.database)
    assert "Which division has the most people" in after  # so the rendered templates are in it
    assert coze.token not in after
    files = dict(written(airflow.home))
    assert any("waiting for it in the triggerer" in text for text in files.values())  # so the task logs are in it
    assert [path for path, text in files.items() if coze.token in text] == []
