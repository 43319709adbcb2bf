"""One task for each cell of the kill matrix; its process kills itself at the cell's point, in its first try only."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from airflow.providers.common.compat.sdk import DAG
from chaos_cells import OUTAGES, Cell, read

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.conversation_store import ConversationStore
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.state.record import Submitted
from airflow_provider_coze.state.stores import TaskStateStore
from airflow_provider_coze.transports.sync import SyncTransport

HERE = Path(__file__).parent
CELLS = {cell.id: cell for cell in read(HERE / "cells.json")}
SLEEPER_BOT, SLEEPER = "7511000000000000006", "7511500000000000007"
PAID = ("POST /v3/chat", "POST /v1/workflow/run")


def die(cell: Cell) -> None:
    """End this process as hard as can be, once for each cell: a retry has to survive."""
    try:
        os.close(os.open(HERE / f"{cell.id}.died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal is on its way


def after(owner: Any, name: str, cell: Cell, when: Callable[..., bool]) -> None:
    """Die when a call of *owner.name* that *when* is true of has done its work."""
    original = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when(*args, **kwargs):
            die(cell)
        return result

    setattr(owner, name, dying)


def arm(cell: Cell) -> None:
    """Patch this process, which runs one task, so that it dies at the cell's point."""

    def is_sent(transport: Any, request: Any, name: str) -> bool:
        return f"{request.method} {request.path}" == name

    match cell.point:
        case "after intent":
            after(TaskStateStore, "write", cell, lambda _, record: not isinstance(record, Submitted))
        case "conversation made":
            after(SyncTransport, "send", cell, lambda _, request: request.path == "/v1/conversation/create")
        case "sent":
            _die_before_the_reply(cell)
        case "replied":
            after(SyncTransport, "send", cell, lambda _, request: f"{request.method} {request.path}" in PAID)
        case "saved":
            for store in (TaskStateStore, ConversationStore):
                after(store, "write", cell, lambda _, record: isinstance(record, Submitted))


def _die_before_the_reply(cell: Cell) -> None:
    """Die as soon as Coze has begun, whatever it may answer."""
    original = SyncTransport.send

    def send(self: Any, request: Any) -> Any:
        if f"{request.method} {request.path}" not in PAID or (HERE / f"{cell.id}.died").exists():
            return original(self, request)
        url, before = self._settings.base_url, _billed(self._settings.base_url, cell)
        threading.Thread(target=original, args=(self, request), daemon=True).start()
        while _billed(url, cell) == before:
            time.sleep(0.005)
        die(cell)
        raise AssertionError("alive")

    SyncTransport.send = send  # type: ignore[method-assign]


def _billed(url: str, cell: Cell) -> int:
    ledger = requests.get(f"{url}/_emulator/ledger", timeout=10).json()["ledger"]
    return sum(cell.id in str(entry["marker"]) for entry in ledger)


class Dying:
    """What both operators of the matrix have in common."""

    task_id: str

    def pre_execute(self, context: Any) -> None:
        """Called before execute, and before a task is resumed."""
        cell = CELLS[self.task_id]
        if cell.point == "before intent":
            die(cell)
        arm(cell)

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        cell = CELLS[self.task_id]
        if cell.point == "resumed":
            die(cell)
        return super().execute_complete(context, event)  # type: ignore[misc]

    def defer(self, **kwargs: Any) -> Any:
        cell = CELLS[self.task_id]
        if cell.point == "deferred":
            die(cell)
        return super().defer(**kwargs)  # type: ignore[misc]

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Called after execute has returned, before Airflow stores what it returned."""
        cell = CELLS[self.task_id]
        if cell.point == "before XCom":
            die(cell)


class DyingChat(Dying, CozeChatOperator):
    """A chat whose process dies."""


class DyingRun(Dying, CozeWorkflowOperator):
    """A run whose process dies."""


def tasks(cell: Cell) -> None:
    """Make the task of a cell."""
    options: dict[str, Any] = {
        "task_id": cell.id,
        "deferrable": cell.deferrable,
        "deferral_grace": 0,
        "on_unknown": cell.on_unknown,
    }
    if cell.kind == "chat":
        options |= {"bot_id": SLEEPER_BOT, "meta_data": {"cell": cell.id}}
        message = f"sleep {cell.seconds}: {cell.id}"
        if cell.mapped:
            DyingChat.partial(**options).expand(message=[message])
        else:
            DyingChat(message=message, **options)
        return
    options |= {"workflow_id": SLEEPER}
    parameters = {"seconds": cell.seconds, "value": cell.id}
    if cell.mapped:
        DyingRun.partial(**options).expand(parameters=[parameters])
    else:
        DyingRun(parameters=parameters, **options)


for name in ("deaths", *OUTAGES):
    with DAG(
        dag_id=f"chaos_{name}",
        schedule=None,
        max_active_tasks=200,
        default_args={"retries": 4, "retry_delay": timedelta(seconds=1)},
        tags=["test"],
    ):
        for one in CELLS.values():
            if (one.point == name) or (name == "deaths" and one.point not in OUTAGES):
                tasks(one)
