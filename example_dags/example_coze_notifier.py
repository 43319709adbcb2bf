"""Tell a bot when a task fails: what has happened goes to Coze, the bot's answer into the log, and the DAG goes on as it would have."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.notifications.coze import CozeNotifier

with DAG(
    dag_id="example_coze_notifier",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000002", "rows": 0},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_notifier]
    tell_bot = CozeNotifier(
        bot_id="{{ params.bot_id }}",
        message="{{ what_happened }}\nWhat should the person on duty look at first? Two sentences.",
        log_answer=True,
        timeout=15,  # seconds, for all of it
    )

    @task(on_failure_callback=tell_bot)
    def check_table(params: dict[str, Any]) -> None:
        if params["rows"] == 0:
            raise ValueError("the table is empty")

    # [END howto_coze_notifier]

    @task(trigger_rule="all_done")
    def tidy_up() -> str:
        return "tidied up"

    check_table() >> tidy_up()
