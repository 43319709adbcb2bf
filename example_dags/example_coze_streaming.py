"""Read a bot's answer and a workflow's output in the task's log while they grow.

A stream holds its worker. What the tasks return is the same as without it.
"""

from __future__ import annotations

from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_streaming",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000001", "workflow_id": "7511500000000000001"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_chat_stream]
    ask_and_watch = CozeChatOperator(
        task_id="ask_and_watch",
        bot_id="{{ params.bot_id }}",
        message=CENSUS.read_text(encoding="utf-8"),
        stream=True,
    )
    # [END howto_coze_chat_stream]

    # [START howto_coze_workflow_stream]
    run_and_watch = CozeWorkflowOperator(
        task_id="run_and_watch",
        workflow_id="{{ params.workflow_id }}",
        parameters={"table": CENSUS.read_text(encoding="utf-8")},
        execution_mode="stream",
    )
    # [END howto_coze_workflow_stream]
