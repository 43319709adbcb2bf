"""Batches whose workers are killed in the middle: plain and deferred, chats and runs."""

from __future__ import annotations

import os
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator

ROWS = 150
#: The emulator's "sleepers": they answer what they are told, after so many seconds.
SLEEPER_BOT, SLEEPER = "7511000000000000006", "7511500000000000007"
RESULTS = str(Path(os.environ["AIRFLOW_HOME"], "batches"))
#: The process of a first try dies when this has passed of its first leg: rows have been read by then, and others are in flight.
DIES_AFTER_SECONDS = 3.0


class _Dying:
    """The first leg of the first try is killed, as the machine's memory running out would do it."""

    def execute(self, context: Any) -> Any:
        if context["ti"].try_number == 1:
            killing = threading.Timer(DIES_AFTER_SECONDS, os.kill, (os.getpid(), signal.SIGKILL))
            killing.daemon = True
            killing.start()
        return super().execute(context)  # type: ignore[misc]


class DyingChats(_Dying, CozeChatBatchOperator): ...


class DyingRuns(_Dying, CozeWorkflowBatchOperator): ...


with DAG(
    dag_id="batches",
    schedule=None,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=1),
        "result_path": RESULTS,
        "max_in_flight": 25,
        "commit_seconds": 0.5,
    },
    tags=["test"],
):
    DyingChats(
        task_id="chats",
        bot_id=SLEEPER_BOT,
        message="sleep 1: answer {{ row.n }} of {{ dag.dag_id }}",
        inputs=[{"n": n} for n in range(ROWS)],
        meta_data={"task": "chats"},
    )
    DyingRuns(
        task_id="runs",
        workflow_id=SLEEPER,
        parameters={"seconds": 4, "value": "{{ row.n }}"},
        inputs=[{"n": n} for n in range(ROWS)],
        max_in_flight=ROWS,  # all are in flight, and known, when the process dies
    )
    CozeChatBatchOperator(
        task_id="deferred_chats",
        bot_id=SLEEPER_BOT,
        message="sleep 2: answer {{ row.n }} of {{ dag.dag_id }}",
        inputs=[{"n": n} for n in range(ROWS)],
        deferrable=True,
        max_in_flight=75,
        meta_data={"task": "deferred_chats"},
    )
