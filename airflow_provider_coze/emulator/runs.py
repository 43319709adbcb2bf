"""The life of a workflow run: Running, interrupted, Success, Fail. No HTTP.

As with chats, the outcome is worked out when the run starts and becomes visible when it is over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_coze.emulator.chats import estimated
from airflow_provider_coze.emulator.definitions import Failure, Inputs, Interrupt, Tokens, Workflow
from airflow_provider_coze.emulator.progress import Progress
from airflow_provider_coze.emulator.store import LedgerEntry, Store

__all__ = ["ASYNC", "STREAM", "SYNC", "NodeOutput", "Question", "Run", "compact", "start_run"]

#: ``run_mode`` of a history.
SYNC, STREAM, ASYNC = 0, 1, 2

#: Seconds Coze keeps a history (7 days) and the outputs of its output nodes (24 hours).
#: Source: docs.coze.cn/developer_guides/workflow_history.
HISTORY_SECONDS = 7 * 86_400
NODE_SECONDS = 86_400

#: How often one question can be answered. Source: docs.coze.cn/developer_guides/workflow_resume, "at most 3 times".
MAX_ANSWERS = 3


@dataclass(frozen=True, slots=True)
class Question:
    """An interrupt somebody has to answer."""

    event_id: str
    interrupt: Interrupt


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """What an output node said, and the ids under which Coze keeps it."""

    title: str
    node_id: str
    uuid: str
    pieces: list[str]

    @property
    def content(self) -> str:
        """All of it."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Run:
    """One execution of a workflow."""

    execute_id: str
    store: Store
    workflow: Workflow
    inputs: Inputs
    owner: str
    mode: int
    created_at: float
    progress: Progress
    limit_seconds: float
    entry: LedgerEntry
    logid: str
    connector_id: str
    connector_uid: str
    nodes: list[NodeOutput]
    status: str = "Running"
    updated_at: float = 0.0
    question: Question | None = None
    refused_answers: int = 0  # of the present question
    data: str = ""
    error: Failure | None = None
    planned_data: str = ""
    planned_error: Failure | None = None
    planned_question: Question | None = None
    tokens: Tokens = field(default_factory=Tokens)

    def settle(self) -> None:
        """Bring the status up to date with the clock and the reads so far."""
        now = self.store.now()
        if self.status != "Running" or self.question is not None:
            return
        if self.timed_out:
            if now < self.progress.started_at + self.limit_seconds:
                return
            self.updated_at = self.progress.started_at + self.limit_seconds
        elif self.progress.over(now):
            self.updated_at = self.progress.ended_at(now)
        else:
            return
        self.error, self.question = self.coming_error, self.coming_question
        if self.error is not None:
            self.status = "Fail"
        elif self.question is None:
            self.status, self.data = "Success", self.planned_data

    @property
    def timed_out(self) -> bool:
        """Whether Coze will end the run for taking too long."""
        return self.progress.seconds > self.limit_seconds

    @property
    def coming_error(self) -> Failure | None:
        """What the present leg will fail with, if it will."""
        if self.timed_out:
            return Failure(5000, f"The run exceeded {self.limit_seconds:g} seconds and was ended.")
        return self.planned_error

    @property
    def coming_question(self) -> Question | None:
        """What the present leg will ask, if it will."""
        return None if self.coming_error else self.planned_question

    @property
    def seconds_left(self) -> float:
        """Seconds until the present leg of the run is over, by the clock alone."""
        ends = self.progress.started_at + min(self.progress.seconds, self.limit_seconds)
        return max(0.0, ends - self.store.now())

    def resume(self, answer: str, *, polled: bool) -> None:
        """Answer the pending question. A wrong answer brings the question back, until there were three."""
        if self.question is None:
            raise ValueError(f"run {self.execute_id} is not waiting for an answer")
        interrupt, self.question = self.question.interrupt, None
        self.planned_question = None
        self.entry.continued += 1
        now = self.store.now()
        self.progress = Progress(self.workflow.duration_of(self.inputs), now, polled=polled)
        if interrupt.accepts_answer(answer):
            self.inputs.answers.append(answer)
            self.refused_answers = 0
            self.plan()
            self.entry.tokens += self.tokens.total
            return
        self.refused_answers += 1
        if self.refused_answers >= MAX_ANSWERS:
            self.planned_error = Failure(720701002, f"{MAX_ANSWERS} answers were not accepted; the workflow failed.")
        else:
            self.plan()

    def plan(self) -> None:
        """Work out how the present leg of the run will end."""
        try:
            asked = self.workflow.question_for(self.inputs)
            if asked is not None:
                self.planned_question = Question(f"{self.execute_id}/{self.store.new_id()}", asked)
                self.tokens = self.workflow.tokens or estimated([compact(self.inputs)], asked.question)
                return
            output = self.workflow.output_of(self.inputs)
            self.planned_data = output if isinstance(output, str) else compact(output)
        except Failure as failure:
            self.planned_error = failure.again()
        if self.workflow.tokens is not None:
            self.tokens = self.workflow.tokens
        elif self.planned_error is None:
            self.tokens = estimated([compact(self.inputs)], self.planned_data)

    def history_output(self) -> str:
        """Return the history's ``output``: JSON whose ``Output`` is the end node's text, other keys the output nodes'."""
        if self.status != "Success":
            return ""
        nodes = {} if self.nodes_expired() else {node.title: node.content for node in self.nodes}
        return compact({"Output": self.data, **nodes})

    def nodes_expired(self) -> bool:
        """Whether Coze would have dropped the outputs of the output nodes."""
        return self.status != "Running" and self.store.now() > self.updated_at + NODE_SECONDS

    def expired(self) -> bool:
        """Whether Coze would have dropped the history."""
        return self.status != "Running" and self.store.now() > self.updated_at + HISTORY_SECONDS


def start_run(
    store: Store,
    *,
    workflow: Workflow,
    parameters: Mapping[str, Any],
    owner: str,
    mode: int,
    limit_seconds: float,
    logid: str,
    connector_id: str,
    connector_uid: str,
    bot_id: str,
    user_id: str = "",
) -> Run:
    """Start a run, which from now on is billed."""
    now = store.now()
    inputs = Inputs(parameters, user_id=user_id, bot_id=bot_id, uploads=lambda file_id: store.uploaded(file_id, owner))
    execute_id = store.new_id()
    entry = LedgerEntry(
        kind="workflow",
        id=execute_id,
        conversation_id=None,
        bot_id=bot_id or None,
        workflow_id=workflow.id,
        marker={"parameters": dict(parameters)},
        tokens=0,
        started_at=now,
    )
    run = Run(
        execute_id=execute_id,
        store=store,
        workflow=workflow,
        inputs=inputs,
        owner=owner,
        mode=mode,
        created_at=now,
        progress=Progress(workflow.duration_of(inputs), now, polled=mode == ASYNC),
        limit_seconds=limit_seconds,
        entry=entry,
        logid=logid,
        connector_id=connector_id,
        connector_uid=connector_uid,
        nodes=[NodeOutput(node.title, store.new_id(), store.new_id(), node.pieces) for node in workflow.nodes],
        updated_at=now,
    )
    run.plan()
    entry.tokens = run.tokens.total
    store.ledger.append(entry)
    store.runs[execute_id] = run
    return run


def compact(value: Any) -> str:
    """Print JSON as Coze does: no spaces, text as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
