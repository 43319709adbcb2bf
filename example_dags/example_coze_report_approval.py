"""Have a workflow make the figures of a report, a person approve it, and only then publish it.

Needs Airflow 3.1 or later, where people answer under **Required Actions**; before that the approval fails. With ``airflow dags test``
nobody is asked, and it waits for ever.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, task

from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowException):  # no such provider, or it says that this Airflow has no approvals
    ApprovalOperator = None

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_report_approval",
    doc_md=__doc__,
    schedule=None,
    params={"workflow_id": "7511500000000000001"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_approval]
    report = CozeWorkflowOperator(
        task_id="report",
        workflow_id="{{ params.workflow_id }}",
        parameters={"table": CENSUS.read_text(encoding="utf-8"), "top": 3},
        deferrable=True,
    )
    # [END howto_coze_approval]

    if ApprovalOperator:
        # [START howto_coze_approve]
        approve = ApprovalOperator(
            task_id="approve",
            subject="Publish the report of {{ ds }}?",
            body="{{ ti.xcom_pull(task_ids='report')['rows'] }} divisions, "
            "{{ ti.xcom_pull(task_ids='report')['total'] }} people",
            defaults="Reject",  # when nobody has answered in time
            response_timeout=timedelta(hours=8),
        )
        # [END howto_coze_approve]
    else:

        @task(task_id="approve")
        def no_approvals() -> None:
            raise AirflowFailException("Approvals need Airflow 3.1 or later.")

        approve = no_approvals()

    @task
    def publish(report: dict[str, Any]) -> str:
        return (
            f"{report['rows']} divisions, {report['total']:,} people, most of them in {report['largest']['division']}"
        )

    report >> approve >> publish(report.output)
