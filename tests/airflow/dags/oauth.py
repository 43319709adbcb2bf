"""A chat and a run over a connection that logs in with a signed JWT."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

with DAG(dag_id="oauth", schedule=None, default_args={"coze_conn_id": "coze_oauth"}, tags=["test"]) as dag:
    CozeChatOperator(
        task_id="ask", bot_id="7511000000000000006", message="sleep 7: awake", deferrable=True, deferral_grace=1
    )
    CozeWorkflowOperator(
        task_id="run",
        workflow_id="7511500000000000007",
        parameters={"seconds": 7, "value": "done"},
        deferrable=True,
        deferral_grace=1,
    )
