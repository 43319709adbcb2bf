"""Run batch operators as ``tests.tasks`` runs others, on time that passes when all rows sleep."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator
from airflow_provider_coze.transports.aio import AioTransport
from tests.loop_time import LoopTime
from tests.tasks import Coze, Run, TaskInstance, fire

__all__ = ["ECHO", "ECHO_BOT", "Batches"]

ECHO_BOT, ECHO = "7511000000000000002", "7511500000000000002"


class Batches(Run):
    """One batch task of a test: its tries, and what they leave behind.

    :ivar kind: the operator.
    """

    def __init__(self, coze: Coze, folder: Path, monkeypatch: pytest.MonkeyPatch, *, defers: bool) -> None:
        super().__init__(coze, defers=defers)
        self.folder = folder
        self.max_tries = 2  # of a task that nobody has cleared by hand
        self.legs = 0  # of the last try
        self.clock = LoopTime(coze.time)
        coze.time.asleep = self.clock.sleep  # type: ignore[method-assign]
        monkeypatch.setattr(asyncio, "to_thread", self.clock.counted(asyncio.to_thread))
        monkeypatch.setattr(AioTransport, "send", _counted(self.clock, AioTransport.send))

    def chats(self, inputs: Any, *, try_number: int = 1, **arguments: Any) -> Any:
        """Do a try, and return the manifest."""
        return self(CozeChatBatchOperator, inputs=inputs, try_number=try_number, **{"bot_id": ECHO_BOT, **arguments})

    def runs(self, inputs: Any, *, try_number: int = 1, **arguments: Any) -> Any:
        given = {"workflow_id": ECHO, **arguments}
        return self(CozeWorkflowBatchOperator, inputs=inputs, try_number=try_number, **given)

    def task(self, kind: type, **arguments: Any) -> Any:
        mode = {"deferrable": self.defers, "result_path": str(self.folder), "commit_seconds": 20.0}
        return self.coze.prepared(kind(**{"task_id": "ask", **mode, **arguments}))

    def __call__(self, kind: type, *, try_number: int = 1, **arguments: Any) -> Any:
        self.ti = TaskInstance(try_number, self.max_tries)
        self.legs = 0
        method, event = "execute", None
        while True:
            task, self.legs = self.task(kind, **arguments), self.legs + 1
            try:
                return getattr(task, method)({"ti": self.ti, "task": task}, **({"event": event} if event else {}))
            except TaskDeferred as deferral:
                method, event = deferral.method_name, fire(self.coze, deferral.trigger)

    # --- what it left

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(self.xcoms["manifest"])

    def lines(self, uri: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of the results, or of another file."""
        text = Path(uri or self.manifest["result_uri"]).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def outputs(self) -> dict[int, Any]:
        return {line["index"]: line["output"] for line in self.lines() if line["error"] is None}

    @property
    def errors(self) -> dict[int, Any]:
        return {line["index"]: line["error"]["code"] for line in self.lines() if line["error"] is not None}

    def everything_written(self) -> str:
        """Return all that is below the folder, as one text."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.rglob("*")) if path.is_file())


def _counted(clock: LoopTime, send: Any) -> Any:
    async def counted(self: AioTransport, request: Any) -> Any:
        with clock.busy():
            return await send(self, request)

    return counted
