"""The DAG of the page about mapped tasks. Its ids are those of the emulator's default world."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

with DAG("coze_mapped", schedule=None) as dag:
    # [START pool]
    CozeWorkflowOperator.partial(
        task_id="write_report",
        workflow_id="7511500000000000002",
        deferrable=True,
        pool="coze_reports",
        retries=3,
        retry_delay=timedelta(minutes=2),
    ).expand(parameters=[{"region": region} for region in ("East", "Central", "West", "Northeast")])
    # [END pool]
