"""The decorators as functions, with types."""

# [START typed_tasks]
from airflow_provider_coze.decorators import coze_chat_task


@coze_chat_task(bot_id="7511000000000000002", max_repairs=2)
def summarise(text: str) -> str:
    return f"Summarise in one sentence: {text}"


# [END typed_tasks]
