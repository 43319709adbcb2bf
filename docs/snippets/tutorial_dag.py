"""The DAG that docs/tutorial.md lets you write."""

# [START tutorial_dag]
from airflow.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator

with DAG("my_first_chat", schedule=None, params={"bot_id": "7511000000000000002"}):
    answer = CozeChatOperator(
        task_id="ask",
        bot_id="{{ params.bot_id }}",
        message="What should we look at on {{ ds }}?",
    )

    @task
    def show(text):
        print("The bot says:", text)

    show(answer.output)
# [END tutorial_dag]
