"""The Coze of the run: it keeps to a plan's limits, and notes what it was asked in which second, and what it refused."""

from __future__ import annotations

from collections import Counter

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.store import LedgerEntry
from airflow_provider_coze.emulator.wire import Reply
from airflow_provider_coze.protocol.messages import Request

#: 100 chats started, and 100 requests about workflows, in a second.
PLAN = "personal_advanced"
#: Of the connection. Chats: half of the plan is for the two triggerers, the rest for the tasks' own starts and the batch on
#: a worker. Workflows: one batch, which is on a worker or in a triggerer, and once in a while, after a kill, in both.
CHAT_QPS, WORKFLOW_QPS = 25, 45


class Watched(Emulator):
    """An emulator that counts."""

    def __init__(self) -> None:
        world = default_world()
        world.plan = PLAN
        super().__init__(world)
        self.refused: Counter[str] = Counter()
        self.asked: dict[str, Counter[int]] = {"chat": Counter(), "workflow": Counter()}

    def handle(self, request: Request) -> Reply:
        """Answer, and note it."""
        reply = super().handle(request)
        if (kind := _class_of(request.path)) is not None:
            self.asked[kind][int(self.now())] += 1
            if b'"code":4013' in reply.body.replace(b" ", b""):
                self.refused[kind] += 1
        return reply


def _class_of(path: str) -> str | None:
    if path.startswith("/v3/chat"):
        return "chat"
    return "workflow" if path.startswith("/v1/workflow") else None


def name_of(entry: LedgerEntry) -> str:
    """Return whose a billed chat or run is: ``ask 17``, ``chats 3``, ``runs 250``."""
    if entry.kind == "workflow":
        return f"runs {entry.marker['parameters']['value']}"
    meta = entry.marker["meta_data"]
    # A row of a batch is marked with its number by the batch itself.
    return str(meta["task"]) if " " in meta["task"] else f"{meta['task']} {meta['airflow'].split('.')[1]}"
