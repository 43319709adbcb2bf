"""DAGs of the pages about bots and workflows: answers that are read as they grow. Their ids are those of the emulator's default world."""

from airflow.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

with DAG("coze_streaming", schedule=None) as dag:
    # [START chat]
    CozeChatOperator(
        task_id="ask_and_watch",
        bot_id="7511000000000000002",
        message="Write a report about {{ ds }}.",
        stream=True,
    )
    # [END chat]

    # [START workflow]
    CozeWorkflowOperator(
        task_id="run_and_watch",
        workflow_id="7511500000000000002",
        parameters={"day": "{{ ds }}"},
        execution_mode="stream",
    )
    # [END workflow]

    # [START output_path]
    CozeWorkflowOperator(
        task_id="long_report",
        workflow_id="7511500000000000002",
        parameters={"day": "{{ ds }}"},
        output_path="s3://my_connection@reports/{{ dag.dag_id }}/{{ run_id }}.json",
    )
    # [END output_path]
