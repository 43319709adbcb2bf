"""Tasks that fail in a way that no retry can change, and one that can go well a minute later. No delay is waited out."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor

ECHO_BOT, BROKE_BOT, NO_BOT = "7511000000000000002", "7511000000000000004", "7500000000000000000"
BROKEN = "7511500000000000004"
RETRIES = {"retries": 3, "retry_delay": timedelta(hours=1)}

with DAG(dag_id="retries", schedule=None, default_args=RETRIES, tags=["test"]) as dag:
    CozeChatOperator(task_id="unknown_bot", bot_id=NO_BOT, message="hello")
    CozeChatOperator(task_id="used_up", bot_id=BROKE_BOT, message="hello")
    CozeChatOperator(task_id="used_up_deferred", bot_id=BROKE_BOT, message="hello", deferrable=True, deferral_grace=0)
    CozeChatSensor(task_id="unknown_chat", conversation_id="1", chat_id="2", mode="reschedule")
    CozeWorkflowOperator.partial(task_id="broken_run", workflow_id=BROKEN, retries=0).expand(
        execution_mode=["async", "sync"]
    )

try:
    from airflow_provider_coze.retry_policy import CozeRetryPolicy
except AirflowOptionalProviderFeatureException:  # Airflow < 3.3
    pass
else:
    with DAG(
        dag_id="retry_policy",
        schedule=None,
        default_args={**RETRIES, "retry_policy": CozeRetryPolicy()},
        tags=["test"],
    ):
        per_minute = CozeChatOperator.partial(task_id="per_minute", bot_id=ECHO_BOT).expand(message=["one", "two"])
        per_minute >> CozeChatOperator(task_id="unknown_bot", bot_id=NO_BOT, message="hello")
