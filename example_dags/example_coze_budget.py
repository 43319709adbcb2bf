"""Sort a review into fields, with a limit on what the answer may cost, and report what it did cost.

The bot is the emulator's echo, which says the question again: that is how an answer with JSON in it comes out of it.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator


class Review(TypedDict):
    """What a review is sorted into."""

    mood: Literal["good", "mixed", "bad"]
    stars: int


with DAG(
    dag_id="example_coze_budget",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000002", "review": "The noodles were fine, the wait was not. 等了很久。"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_budget]
    sort_review = CozeChatOperator(
        task_id="sort_review",
        bot_id="{{ params.bot_id }}",
        message='{{ params.review }} -- Sort this review. Answer with JSON only, such as {"mood": "mixed", "stars": 3}',
        output_type=Review,
        max_repairs=2,  # each is one more chat, and is billed
        token_budget=4_000,  # before each of them: is this much used already?
    )
    # [END howto_coze_budget]

    # [START howto_coze_usage]
    @task
    def report(usage: dict[str, Any]) -> str:
        pieces = ", ".join(f"{piece['what']}: {piece['token_count']}" for piece in usage["attempts"])
        known = "" if usage["complete"] else " or more"
        return f"{usage['total']['token_count']}{known} tokens ({pieces})"

    report(sort_review.output["usage"])
    # [END howto_coze_usage]
