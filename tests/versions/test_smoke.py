"""A look at one Airflow: everything can be imported, Airflow lists it, every example is a DAG, and a chat and a run are answered."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_coze
from airflow_provider_coze.compat import AirflowOptionalProviderFeatureException
from airflow_provider_coze.emulator.default_world import ECHO, ECHO_BOT
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests import needs, tasks
from tests.env.bootstrap import ROOT
from tests.tasks import Run

pytestmark = pytest.mark.matrix

coze_site, coze, run = tasks.coze_site, tasks.coze, tasks.run
EXAMPLES = ROOT / "example_dags"


def test_everything_can_be_imported_but_what_says_which_airflow_it_needs() -> None:
    refused = set()
    for module in pkgutil.walk_packages(airflow_provider_coze.__path__, "airflow_provider_coze."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except AirflowOptionalProviderFeatureException:
            refused.add(module.name.removeprefix("airflow_provider_coze."))
    agents = {name for name in refused if name.partition(".")[0] == "agents"}  # with common.ai: tests/agents
    assert refused - agents == (set() if needs.RETRY_POLICIES.has() else {"retry_policy"})


def test_airflow_lists_the_provider_and_its_connection_type() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-coze" in manager.providers
    hook = manager.hooks["coze"]
    assert hook is not None
    assert (hook.connection_type, hook.hook_name) == ("coze", "Coze")
    assert {"coze_chat", "coze_workflow", "coze_batch"} <= {name for name, _ in manager.taskflow_decorators.items()}


def _dags(folder: Path) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag
    return DagBag(str(folder), safe_mode=False)


def test_every_example_is_a_dag_without_errors_and_can_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:  # before Airflow 3.2
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized
    monkeypatch.syspath_prepend(str(EXAMPLES))
    bag = _dags(EXAMPLES)
    assert bag.import_errors == {}
    ours = {path.stem for path in EXAMPLES.glob("*.py")} - {"example_coze_agent"}  # with common.ai: tests/agents
    assert ours <= set(bag.dags)
    for dag in bag.dags.values():
        assert Serialized.to_dict(dag)["dag"], dag.dag_id


@pytest.mark.airflow
def test_airflow_dags_list_import_errors_lists_none_of_the_examples(tmp_path: Path) -> None:
    """By the command of that name, which reads the folder itself on Airflow 2, and with ``--local`` later."""
    env = {
        "AIRFLOW_HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], capture_output=True, env=env, check=True, timeout=110)
    local = ["--local"] if needs.TASK_SDK.has() else []
    done = subprocess.run(
        [*airflow, "dags", "list-import-errors", *local, "-o", "plain"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "example_coze" not in done.stdout


def test_a_chat_and_a_run_are_answered(run: Run) -> None:
    assert run(CozeChatOperator, bot_id=ECHO_BOT, message="hello") == "You said: hello"
    assert run(CozeWorkflowOperator, workflow_id=ECHO, parameters={"a": [1]}) == {"output": {"a": [1]}}
