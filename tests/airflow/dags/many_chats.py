"""Two hundred chats, all deferred: the run that shows short deferrals are safe and the triggerer keeps up."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator

CHATS, LONGEST_SECONDS = 200, 60
#: The emulator's "sleeper": it answers what stands behind the colon, after the seconds before it.
SLEEPER = "7511000000000000006"

with DAG(dag_id="many_chats", schedule=None, max_active_tasks=CHATS, default_args={"retries": 0}, tags=["test"]) as dag:
    ask = CozeChatOperator.partial(
        task_id="ask",
        bot_id=SLEEPER,
        deferrable=True,
        # Everything defers, also what is over at once: those deferrals are the dangerous ones.
        deferral_grace=0,
    ).expand(
        message=[f"sleep {LONGEST_SECONDS - n * LONGEST_SECONDS // (CHATS - 1)}: answer {n}" for n in range(CHATS)]
    )

    @task
    def gather(answers: list[str]) -> list[str]:
        return list(answers)

    gather(ask.output)
