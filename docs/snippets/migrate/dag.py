"""What the scripts of the page about migrating become. The ids are those of the emulator's default world."""

from typing import Literal

from airflow.sdk import DAG  # on Airflow 2.11: from airflow import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

TABLE = "name,population\nEast,563717119\nWest,382852295\n"

with DAG("migrated", schedule="@daily", catchup=False) as dag:
    # [START ask]
    answer = CozeChatOperator(
        task_id="ask",
        bot_id="7511000000000000002",
        message="What should we look at on {{ ds }}?",
        deferrable=True,
        retries=3,
    )
    # [END ask]

    # [START run]
    summary = CozeWorkflowOperator(
        task_id="summarise",
        workflow_id="7511500000000000001",
        parameters={"table": TABLE, "top": 1},
        deferrable=True,
        retries=3,
    )
    # [END run]

    # [START moods]
    moods = CozeChatBatchOperator(
        task_id="moods",
        bot_id="7511000000000000008",
        inputs="s3://my_connection@reviews/{{ ds }}.csv",
        message="Is this review good, mixed, bad or unclear? Answer with that word. {{ row.review }}",
        output_type=Literal["good", "mixed", "bad", "unclear"],
        result_path="s3://my_connection@reviews/moods",
        max_in_flight=50,
        retries=3,
    )
    # [END moods]
