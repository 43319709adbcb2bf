"""Hundreds of deferred chats beside two batches: a plain one of chats, a deferred one of runs."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator

TASKS, ROWS = int(os.environ["SCALE_TASKS"]), int(os.environ["SCALE_ROWS"])
#: The emulator's "sleepers": they answer what they are told, after so many seconds.
SLEEPER_BOT, SLEEPER = "7511000000000000006", "7511500000000000007"
#: Of a mapped chat, the last and the first: the first wait longest, so that many wait at the same time.
SHORTEST_SECONDS, LONGEST_SECONDS = 40, 240
RESULTS = str(Path(os.environ["AIRFLOW_HOME"], "batches"))


def _seconds(n: int) -> int:
    return LONGEST_SECONDS - n * (LONGEST_SECONDS - SHORTEST_SECONDS) // max(1, TASKS - 1)


# [START scale_dag]
with DAG(
    dag_id="scale",
    schedule=None,
    max_active_tasks=100,  # those that hold a worker; how many wait is what the pool says
    default_args={"retries": 5, "retry_delay": timedelta(seconds=5)},
) as dag:
    chats = CozeChatBatchOperator(
        task_id="chats",
        bot_id=SLEEPER_BOT,
        message="sleep 10: row {{ row.n }}",
        inputs=[{"n": n} for n in range(ROWS)],
        result_path=RESULTS,  # a bucket, or a disk that all workers share
        max_in_flight=15,
        meta_data={"task": "chats"},
        priority_weight=10,  # it takes longest, so it begins first, and again first after a kill
    )
    runs = CozeWorkflowBatchOperator(
        task_id="runs",
        workflow_id=SLEEPER,
        parameters={"seconds": 40, "value": "{{ row.n }}"},
        inputs=[{"n": n} for n in range(ROWS)],
        result_path=RESULTS,
        max_in_flight=60,
        deferrable=True,
        priority_weight=10,
    )
    ask = CozeChatOperator.partial(
        task_id="ask",
        bot_id=SLEEPER_BOT,
        deferrable=True,
        deferral_grace=0,
        pool="coze_chats",
    ).expand_kwargs(
        [{"message": f"sleep {_seconds(n)}: answer {n}", "meta_data": {"task": f"ask {n}"}} for n in range(TASKS)]
    )
    # [END scale_dag]

    @task
    def gather(answers: list[str]) -> list[str]:
        return list(answers)

    gather(ask.output)
