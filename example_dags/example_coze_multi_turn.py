"""Talk with a bot in several tasks of one DAG run: it remembers what the tasks before have said."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.conversations import coze_conversation

BOT = "7511000000000000007"

with DAG(
    dag_id="example_coze_multi_turn",
    doc_md=__doc__,
    schedule=None,
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_multi_turn]
    introduce = CozeChatOperator(
        task_id="introduce",
        bot_id=BOT,
        message="We sell tea in Chengdu. Today is {{ ds }}.",
        conversation="dag_run",
    )
    ask = CozeChatOperator(
        task_id="ask",
        bot_id=BOT,
        message="What did I say we sell?",
        conversation="dag_run",
    )
    # [END howto_coze_multi_turn]

    # [START howto_coze_conversation_of]
    @task
    def minutes(**context: Any) -> list[str]:
        conversation_id = coze_conversation(context, bot_id=BOT)
        page = CozeHook().conversation_messages(conversation_id=conversation_id, order="asc")
        return [f"{message.role}: {message.content}" for message in page.messages]

    # [END howto_coze_conversation_of]

    introduce >> ask >> minutes()
