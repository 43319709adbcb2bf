"""A chat with a bot that has a page: an emulated Coze Studio serves pages where its API is, an emulated coze.cn has none."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator

with DAG("ask_studio", schedule=None):
    CozeChatOperator(
        task_id="ask_bot", bot_id="7511000000000000002", message="Good morning", coze_conn_id="coze_studio"
    )
