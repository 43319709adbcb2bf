"""DAGs of the page about retries. Their ids are those of the emulator's default world."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator

with DAG("coze_retries", schedule=None) as plain:
    # [START plain_retries]
    CozeChatOperator(
        task_id="ask",
        bot_id="7511000000000000002",
        message="What should we look at on {{ ds }}?",
        retries=3,
        retry_delay=timedelta(minutes=2),
        retry_exponential_backoff=2,  # waits of 2, 4 and 8 minutes, up to twice as long; before Airflow 3.2: True
        max_retry_delay=timedelta(minutes=30),
    )
    # [END plain_retries]

# [START retry_policy]
# Airflow 3.3 and later
from airflow_provider_coze.retry_policy import CozeRetryPolicy

with DAG("coze_retry_policy", schedule=None, default_args={"retries": 3, "retry_policy": CozeRetryPolicy()}) as dag:
    CozeChatOperator(
        task_id="ask",
        bot_id="7511000000000000002",
        message="What should we look at on {{ ds }}?",
        deferrable=True,
    )
# [END retry_policy]
