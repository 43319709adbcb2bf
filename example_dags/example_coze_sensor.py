"""Start a chat and a run in one place and wait for them in another: nothing is held while Coze works."""

from __future__ import annotations

from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_sensor",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000001", "workflow_id": "7511500000000000001"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_chat_sensor]
    start_chat = CozeChatOperator(
        task_id="start_chat",
        bot_id="{{ params.bot_id }}",
        message=CENSUS.read_text(encoding="utf-8"),
        wait_for_completion=False,
    )
    wait_for_chat = CozeChatSensor(
        task_id="wait_for_chat",
        conversation_id=start_chat.output["conversation_id"],
        chat_id=start_chat.output["chat_id"],
        deferrable=True,
    )
    # [END howto_coze_chat_sensor]

    # [START howto_coze_workflow_sensor]
    start_run = CozeWorkflowOperator(
        task_id="start_run",
        workflow_id="{{ params.workflow_id }}",
        parameters={"table": CENSUS.read_text(encoding="utf-8")},
        wait_for_completion=False,
    )
    wait_for_run = CozeWorkflowSensor(
        task_id="wait_for_run",
        workflow_id="{{ params.workflow_id }}",
        execute_id=start_run.output["execute_id"],
        poke_interval=5,
        mode="reschedule",
    )
    # [END howto_coze_workflow_sensor]
