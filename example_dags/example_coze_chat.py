"""Ask a bot one question per day, with the prompt's variables filled in, and use what it suggests to ask next."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator

with DAG(
    dag_id="example_coze_chat",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000002", "city": "Chengdu"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_chat_templates]
    ask = CozeChatOperator(
        task_id="ask",
        bot_id="{{ params.bot_id }}",
        message="What is on in {{ params.city }} on {{ ds }}?",
        custom_variables={"city": "{{ params.city }}", "date": "{{ ds }}"},
    )
    # [END howto_coze_chat_templates]

    # [START howto_coze_chat_follow_ups]
    @task
    def next_question(answer: str, follow_ups: list[str]) -> str:
        return follow_ups[0] if follow_ups else f"Tell me more about: {answer}"

    next_question(ask.output, ask.output["follow_ups"])
    # [END howto_coze_chat_follow_ups]
