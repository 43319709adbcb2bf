"""What a DAG file pays for our operators: Airflow parses it every few seconds, in processes that seldom run a task of it.

Counted, not timed, in an interpreter of its own; the milliseconds are ``tests/benchmarks/importing.py``'s.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_coze.get_provider_info import get_provider_info
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.base import DEFAULT_CONN_ID

OURS = "airflow_provider_coze"
INFO = get_provider_info()
#: What has a module of its own for DAG authors.
WRITTEN = [
    *(module for kind in ("operators", "sensors") for each in INFO[kind] for module in each["python-modules"]),
    *(each["class-name"].rpartition(".")[0] for each in INFO["task-decorators"]),
    *(path.rpartition(".")[0] for path in INFO["notifications"]),
]
#: Rooms of the package that are for a run. Of ``protocol`` only what checks arguments may come along.
FOR_A_RUN = ("agents", "hooks", "transports", "triggers", "state", "settings", "batch", "emulator", "cli")
LIGHT_PROTOCOL = {"protocol", "protocol.file_limits", "protocol.inputs", "protocol.statuses", "protocol.wording"}
#: 35 at the time of writing, of 230; 8 of them are for decorators and the notifier.
MOST_MODULES = 38

PARSING = f"""
import json, sys
from types import SimpleNamespace

try:
    from airflow.sdk import DAG, BaseOperator
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models.baseoperator import BaseOperator
    from airflow.decorators import task  # of Airflow 2 itself, and every DAG that is written with functions has it
    from airflow.sensors.base import BaseSensorOperator

with DAG("any", schedule=None):
    BaseOperator(task_id="any")
seen = set(sys.modules)

def new():
    found = sorted(set(sys.modules) - seen)
    seen.update(found)
    return found

for module in {WRITTEN!r}:
    __import__(module)
told = {{"imported": new()}}

from airflow_provider_coze.decorators import coze_batch_task, coze_chat_task, coze_workflow_task
from airflow_provider_coze.notifications.coze import CozeNotifier
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.operators.file import CozeFileUploadOperator, coze_file
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor

with DAG("d", schedule=None) as dag:
    file = CozeFileUploadOperator(task_id="file", source="/data/a.pdf")
    chat = CozeChatOperator(task_id="chat", bot_id="1", message="{{{{ params.text }}}}", output_type=dict[str, int], on_interrupt="hitl")
    flow = CozeChatflowOperator(task_id="flow", workflow_id="1", message="m", app_id="2")
    run = CozeWorkflowOperator.partial(task_id="run", workflow_id="1").expand(parameters=[{{"f": coze_file("/data/a.pdf")}}])
    sensor = CozeChatSensor(task_id="sensor", conversation_id="1", chat_id=chat.output["chat_id"])
    CozeWorkflowSensor(task_id="run_sensor", workflow_id="1", execute_id="2", deferrable=True) << [run, flow]
    file >> chat
    coze_chat_task(bot_id="1", on_failure_callback=CozeNotifier(bot_id="1"))(lambda: "m").override(task_id="said")()
    coze_workflow_task(workflow_id="1")(lambda x: {{}}).override(task_id="given").expand(x=[1])
    coze_batch_task(bot_id="1", result_path="/r")(lambda: []).override(task_id="rows")()
told["parsed"] = new()
told["upstream"] = {{task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}}

ti = SimpleNamespace(dag_id="d", task_id="chat", run_id="r", map_index=-1, try_number=1, max_tries=1)
chat._begin({{"ti": ti}}, resumed=False)
told["begun"] = new()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What a fresh interpreter says of its modules: after the imports, after a DAG with each operator, at the start of a task."""
    done = subprocess.run([sys.executable, "-c", PARSING], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_operators_bring_no_library_that_airflow_has_not_loaded_itself(told: dict[str, Any]) -> None:
    brought = {name.partition(".")[0] for name in told["imported"] + told["parsed"]}
    assert brought - sys.stdlib_module_names - {"airflow", OURS} == set()


def test_operators_bring_few_modules_of_ours_and_none_that_only_a_run_needs(told: dict[str, Any]) -> None:
    ours = {name.removeprefix(f"{OURS}.") for name in told["imported"] if name.startswith(f"{OURS}.")}
    assert {name for name in ours if name.split(".")[0] in FOR_A_RUN} == set()
    assert {name for name in ours if name.split(".")[0] == "protocol"} <= LIGHT_PROTOCOL
    assert len(ours) <= MOST_MODULES


def test_a_dag_with_all_of_them_is_made_of_what_was_imported(told: dict[str, Any]) -> None:
    assert [name for name in told["parsed"] if name.startswith(OURS)] == []
    assert told["upstream"] == {
        "file": [],
        "chat": ["file"],
        "flow": [],
        "run": [],
        "sensor": ["chat"],
        "run_sensor": ["flow", "run"],
        "said": [],
        "given": [],
        "rows": [],
    }


def test_what_a_kill_needs_is_there_when_a_chat_begins(told: dict[str, Any]) -> None:
    assert f"{OURS}.operators.chat_end" in told["begun"]


def test_the_default_connection_of_operators_is_the_hooks() -> None:
    assert CozeHook.default_conn_name == DEFAULT_CONN_ID
