"""A sensor that takes a worker only when there is something to fetch."""

from airflow.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor

with DAG(dag_id="wait_without_a_worker", schedule=None) as dag:
    asked = CozeChatOperator(
        task_id="ask", bot_id="7511000000000000002", message="Good morning", wait_for_completion=False
    )
    # [START starting]
    CozeChatSensor(
        task_id="wait",
        conversation_id=asked.output["conversation_id"],
        chat_id=asked.output["chat_id"],
        deferrable=True,
        start_from_trigger=True,
    )
    # [END starting]
