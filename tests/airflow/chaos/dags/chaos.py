"""The tasks of the kill matrix: one for each cell of the matrix that the environment names, in one DAG for each kind of victim."""

from __future__ import annotations

import os
import re
from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import DAG
from chaos_cells import MATRICES, At, Cell
from chaos_kills import Death, arm

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

#: The emulator's sleepers: they answer what they are told to, after so many seconds.
BOT, WORKFLOW = "7511000000000000006", "7511500000000000007"
#: A kill, and what Airflow's own race (https://github.com/apache/airflow/issues/66374) may add to it.
RETRIES = 4

ONLY = re.compile(os.environ.get("COZE_CHAOS_ONLY", ""))
CELLS = {cell.task_id: cell for cell in MATRICES[os.environ.get("COZE_CHAOS", "full")]() if ONLY.search(cell.task_id)}


class KilledOnce:
    """An operator whose process dies where its cell says."""

    task_id: str
    _death: Death

    def execute(self, context: Any) -> Any:
        self._arm(context)
        return super().execute(context)  # type: ignore[misc]

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        self._arm(context).comes(At.RESUMED)
        return super().execute_complete(context, event)  # type: ignore[misc]

    def defer(self, **arguments: Any) -> NoReturn:
        self._death.comes(At.DEFERRING)
        super().defer(**arguments)  # type: ignore[misc]

    def post_execute(self, context: Any, result: Any = None) -> None:
        self._death.comes(At.BEFORE_XCOM)

    def _arm(self, context: Any) -> Death:
        self._death = Death(self.task_id, context["ti"].map_index, CELLS[self.task_id].at)
        arm(self._death)
        return self._death


class Chat(KilledOnce, CozeChatOperator):
    """Ask the sleeper."""


class Run(KilledOnce, CozeWorkflowOperator):
    """Run the sleeper."""


def add_task(cell: Cell) -> None:
    common: dict[str, Any] = {
        "task_id": cell.task_id,
        "deferrable": cell.waits == "deferrable",
        "deferral_grace": 0,  # to be deferred early
        "on_unknown": cell.on_unknown,
    }
    if cell.is_chat:
        common |= {"bot_id": BOT, "meta_data": {"cell": cell.task_id, "item": "{{ ti.map_index }}"}}
        if cell.what == "own":
            common["conversation_id"] = f"{{{{ dag_run.conf['conversations']['{cell.task_id}'] }}}}"
        messages = [f"sleep {cell.seconds(item):g}: {cell.answer(item)}" for item in cell.items]
        if cell.mapped:
            Chat.partial(**common).expand(message=messages)
        else:
            Chat(**common, message=messages[0])
    else:
        common |= {"workflow_id": WORKFLOW, "marker_parameter": "marker"}
        parameters = [
            {
                "seconds": cell.seconds(item),
                "value": {"cell": cell.task_id, "item": item, "answer": cell.answer(item)},
            }
            for item in cell.items
        ]
        if cell.mapped:
            Run.partial(**common).expand(parameters=parameters)
        else:
            Run(**common, parameters=parameters[0])


for dag_id in sorted({cell.dag_id for cell in CELLS.values()}):
    with DAG(
        dag_id=dag_id,
        schedule=None,
        max_active_tasks=256,
        default_args={"retries": RETRIES, "retry_delay": 1},
        tags=["test"],
    ) as dag:
        for of_this in CELLS.values():
            if of_this.dag_id == dag_id:
                add_task(of_this)
    globals()[dag_id] = dag
