"""Chats that a person ends while their tasks are deferred."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator

#: The emulator's "sleeper": it answers what stands behind the colon, after the seconds before it.
SLEEPER = "7511000000000000006"

with DAG(dag_id="long_chat", schedule=None, default_args={"retries": 0}, tags=["test"]) as dag:
    for name in ("failed", "cleared", "kept"):
        CozeChatOperator(
            task_id=name,
            bot_id=SLEEPER,
            message=f"sleep {45 if name == 'cleared' else 600}: {name}",
            meta_data={"task": name},
            deferrable=True,
            deferral_grace=0,
            timeout=900,
            cancel_on_kill=name != "kept",
        )
