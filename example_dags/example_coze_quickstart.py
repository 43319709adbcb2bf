"""Ask a Coze bot about a table and let a Coze workflow summarise it, both without holding a worker while Coze works.

The ids are those of the emulator's default world. With a connection to your own Coze, run it with your ids:
``airflow dags trigger example_coze_quickstart --conf '{"bot_id": "…", "workflow_id": "…"}'``.
"""

from __future__ import annotations

from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_quickstart",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000001", "workflow_id": "7511500000000000001"},
    tags=["example", "coze"],
) as dag:

    @task
    def read_table() -> str:
        return CENSUS.read_text(encoding="utf-8")

    table = read_table()

    # [START howto_coze_chat]
    ask_bot = CozeChatOperator(
        task_id="ask_bot",
        bot_id="{{ params.bot_id }}",
        message="Which division has the most people and which the fewest?\n\n{{ ti.xcom_pull(task_ids='read_table') }}",
        deferrable=True,
    )
    # [END howto_coze_chat]

    # [START howto_coze_workflow]
    run_workflow = CozeWorkflowOperator(
        task_id="run_workflow",
        workflow_id="{{ params.workflow_id }}",
        parameters={"table": table, "top": 3},
        deferrable=True,
    )
    # [END howto_coze_workflow]

    table >> [ask_bot, run_workflow]
