"""Sensors that take no worker before the wait, with ids from a task and from a template, and one that takes one: it is mapped."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor

SLEEPER_BOT, SLEEPER = "7511000000000000006", "7511500000000000007"

with DAG(dag_id="from_trigger", schedule=None, tags=["test"], params={"workflow": SLEEPER}) as dag:
    chat = CozeChatOperator(
        task_id="start_chat", bot_id=SLEEPER_BOT, message="sleep 20: rested", wait_for_completion=False
    )
    run = CozeWorkflowOperator(
        task_id="start_run",
        workflow_id=SLEEPER,
        parameters={"seconds": 20, "value": "rested"},
        wait_for_completion=False,
    )
    first = {"deferrable": True, "start_from_trigger": True, "poke_interval": 2}
    ids = {"conversation_id": chat.output["conversation_id"], "chat_id": chat.output["chat_id"]}
    CozeChatSensor(task_id="wait_for_chat", **ids, **first)
    CozeWorkflowSensor(
        task_id="wait_for_run", workflow_id="{{ params.workflow }}", execute_id=run.output["execute_id"], **first
    )
    CozeChatSensor(task_id="wait_in_vain", conversation_id=ids["conversation_id"], chat_id="7", **first)
    CozeChatSensor(task_id="wait_a_second", **ids, **{**first, "timeout": 1})
    CozeChatSensor.partial(task_id="wait_mapped", conversation_id=ids["conversation_id"], **first).expand(
        chat_id=["{{ ti.xcom_pull(task_ids='start_chat', key='chat_id') }}"]
    )
