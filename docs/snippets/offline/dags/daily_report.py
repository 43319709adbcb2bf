"""The DAG under test in docs/howto/test-offline.md."""

# [START dag]
from airflow.sdk import DAG  # on Airflow 2.11: from airflow import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

with DAG("daily_report", schedule=None) as dag:
    summary = CozeChatOperator(
        task_id="summarise",
        bot_id="7512000000000000001",
        message="Summarise the orders of {{ ds }}.",
        deferrable=True,
    )
    CozeWorkflowOperator(
        task_id="file_report",
        workflow_id="7512500000000000001",
        parameters={"text": summary.output},
        deferrable=True,
    )
# [END dag]
