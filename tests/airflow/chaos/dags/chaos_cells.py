"""The cells of the kill matrix: who is killed where, and what is right then. Imported by the DAGs and by the harness; imports nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


class At(enum.StrEnum):
    """Where a task's process is killed, in the order in which a try comes by; or which component of Airflow is."""

    BEFORE_INTENT = "before intent"
    AFTER_INTENT = "after intent"
    CONVERSATION_MADE = "conversation made"
    CONVERSATION_SAVED = "conversation saved"
    POST_SENT = "POST sent"  # Coze has carried it out, and nobody has read the reply
    REPLIED = "replied"
    SAVED = "saved"
    WAITING = "waiting"  # the worker polls
    DEFERRING = "deferring"  # Airflow does not know it yet
    DEFERRED = "deferred"  # Airflow knows it, and the process is still there
    RESUMED = "resumed"
    BEFORE_XCOM = "before XCom"
    AFTER_XCOM = "after XCom"  # the answer is stored, and Airflow does not know that the task is done

    TRIGGERER = "triggerer"
    SCHEDULER = "scheduler"  # its workers live on as orphans
    MACHINE = "scheduler and its tasks"
    API_SERVER = "API server, 20 s"


#: The components of Airflow.
COMPONENTS = (At.TRIGGERER, At.SCHEDULER, At.MACHINE, At.API_SERVER)
#: Between the stored intent and the stored id of a run: nobody can tell whether it was started, except the ledger.
UNKNOWABLE = (At.AFTER_INTENT, At.POST_SENT, At.REPLIED)


@dataclass(frozen=True)
class Cell:
    """One task, or one mapped task of two."""

    what: str  # chat, workflow, or a chat in a conversation that the DAG's author gives it
    waits: str  # plain, deferrable
    mapped: bool
    at: At
    on_unknown: str = "fail"

    @property
    def task_id(self) -> str:
        """A name that Airflow allows."""
        kind = f"{self.what}_{self.waits}_{'mapped' if self.mapped else 'single'}"
        place = str(self.at).replace(",", "").replace(" ", "_")
        return f"{kind}.{place}" + (f".{self.on_unknown}" if self.is_unknowable else "")

    @property
    def dag_id(self) -> str:
        """Of the run in which it is: one for all kills of task processes, and one for each component."""
        return f"chaos_{self.at.name.lower()}" if self.at in COMPONENTS else "chaos_tasks"

    @property
    def items(self) -> tuple[int, ...]:
        """The map indexes of its task instances."""
        return (0, 1) if self.mapped else (-1,)

    @property
    def is_chat(self) -> bool:
        """Whether it asks a bot."""
        return self.what != "workflow"

    @property
    def is_unknowable(self) -> bool:
        """Whether *on_unknown* decides."""
        return not self.is_chat and self.at in UNKNOWABLE

    @property
    def dies(self) -> bool:
        """Whether the task's own process is killed."""
        return self.at not in COMPONENTS

    @property
    def state(self) -> str:
        """How the task ends."""
        return "failed" if self.is_unknowable and self.on_unknown == "fail" else "success"

    @property
    def billed(self) -> int:
        """How many executions Coze bills for each of its task instances."""
        if not self.is_unknowable:
            return 1
        first = 0 if self.at == At.AFTER_INTENT else 1  # of the try that was killed
        return first + (1 if self.on_unknown == "resend" else 0)

    def seconds(self, item: int) -> float:
        """How long Coze takes. Components are killed some 5 s after the start."""
        if self.at == At.API_SERVER and self.waits == "deferrable" and item < 1:
            return 15.0  # is over while the server is away
        if self.at == At.SCHEDULER and self.waits == "plain" and item < 1:
            return 12.0  # is over while there is no scheduler, or a new one that has not reset the task yet
        if not self.dies:
            return 40.0
        return 9.0 if self.waits == "deferrable" else 3.0

    def answer(self, item: int) -> str:
        """What is right."""
        return f"{self.task_id} {item}"


_CHAT = (
    At.BEFORE_INTENT,
    At.AFTER_INTENT,
    At.CONVERSATION_MADE,
    At.CONVERSATION_SAVED,
    At.POST_SENT,
    At.REPLIED,
    At.SAVED,
)
_OWN = (At.AFTER_INTENT, At.POST_SENT, At.REPLIED, At.SAVED)
_WORKFLOW = (At.BEFORE_INTENT, At.AFTER_INTENT, At.POST_SENT, At.REPLIED, At.SAVED)
_PLAIN = (At.WAITING, At.BEFORE_XCOM, At.AFTER_XCOM)
_DEFERRABLE = (At.DEFERRING, At.DEFERRED, At.RESUMED, At.BEFORE_XCOM, At.AFTER_XCOM)


def full() -> Iterator[Cell]:
    """Yield the whole matrix, for an Airflow with a task state store."""
    for waits, mapped in product(("plain", "deferrable"), (False, True)):
        waiting = _PLAIN if waits == "plain" else _DEFERRABLE
        for at in (*_CHAT, *waiting):
            yield Cell("chat", waits, mapped, at)
        for at in (*_WORKFLOW, *waiting):
            yield Cell("workflow", waits, mapped, at)
            if at in UNKNOWABLE:
                yield Cell("workflow", waits, mapped, at, "resend")
        if not mapped:  # two chats at a time in one conversation are refused by Coze
            for at in _OWN:
                yield Cell("own", waits, mapped, at)
    for at, what, waits, mapped in product(COMPONENTS, ("chat", "workflow"), ("plain", "deferrable"), (False, True)):
        if at != At.TRIGGERER or waits == "deferrable":
            yield Cell(what, waits, mapped, at)


def ci() -> Iterator[Cell]:
    """Yield a dozen that stand for the whole."""
    yield Cell("chat", "plain", False, At.AFTER_INTENT)
    yield Cell("chat", "plain", True, At.POST_SENT)
    yield Cell("chat", "plain", False, At.WAITING)
    yield Cell("chat", "deferrable", False, At.POST_SENT)
    yield Cell("chat", "deferrable", False, At.RESUMED)
    yield Cell("chat", "deferrable", False, At.AFTER_XCOM)
    yield Cell("own", "deferrable", False, At.POST_SENT)
    yield Cell("workflow", "deferrable", False, At.SAVED)
    yield Cell("workflow", "deferrable", False, At.POST_SENT)
    yield Cell("workflow", "plain", False, At.POST_SENT, "resend")
    for at in (At.TRIGGERER, At.API_SERVER):
        yield Cell("chat", "deferrable", True, at)
        yield Cell("workflow", "deferrable", False, at)
    yield Cell("chat", "plain", False, At.API_SERVER)


def chats() -> Iterator[Cell]:
    """Yield what an Airflow without a task state store is asked: there Coze's own conversation is the record of a chat."""
    yield Cell("chat", "plain", False, At.CONVERSATION_MADE)
    yield Cell("chat", "plain", True, At.POST_SENT)
    yield Cell("chat", "plain", False, At.WAITING)
    yield Cell("chat", "plain", False, At.BEFORE_XCOM)
    yield Cell("own", "plain", False, At.POST_SENT)
    yield Cell("own", "plain", False, At.SAVED)
    for at in (At.BEFORE_INTENT, At.POST_SENT, At.REPLIED, At.SAVED, At.DEFERRING, At.RESUMED, At.BEFORE_XCOM):
        yield Cell("chat", "deferrable", False, at)


#: By the name that a stack is given in its environment.
MATRICES = {"full": full, "ci": ci, "chats": chats}
