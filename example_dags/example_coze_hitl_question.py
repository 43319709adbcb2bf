"""Let a person answer what a workflow asks, in Airflow, while no worker waits; the answer is used by the next task.

Needs Airflow 3.1 or later. Trigger it, and answer under **Required Actions**: on the home page, or at the task ``plan_trip``. With
``airflow dags test`` nobody is asked, and it waits for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

with DAG(
    dag_id="example_coze_hitl_question",
    doc_md=__doc__,
    schedule=None,
    params={"workflow_id": "7511500000000000005"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_hitl_question]
    plan_trip = CozeWorkflowOperator(
        task_id="plan_trip",
        workflow_id="{{ params.workflow_id }}",
        on_interrupt="hitl",
        hitl_timeout=timedelta(hours=8),  # then the task fails; cleared, it asks once more
    )
    # [END howto_coze_hitl_question]

    @task
    def book(trip: dict[str, Any]) -> str:
        return f"A table for two in {trip['output']}"

    book(plan_trip.output)
