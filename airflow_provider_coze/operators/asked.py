"""A question that is with people: what all tries of a task know of it, and where it can be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote

from airflow_provider_coze.compat import conf
from airflow_provider_coze.operators.question_form import NUMBER
from airflow_provider_coze.protocol.models import mapping
from airflow_provider_coze.protocol.questions import Question

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["QUESTION_XCOM", "Answered", "Asked", "Asker", "Notes", "seconds"]

#: The XCom that holds the question that waits.
QUESTION_XCOM = "question"


class Notes(Protocol):
    """Short texts that all tries of a task instance share."""

    def noted(self) -> Mapping[str, str]:
        """Return what was noted."""

    def note(self, **texts: str) -> None:
        """Note something more, over what had the same name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is with people.

    :ivar number: 1 for the first question of a run.
    :ivar asked_at: Unix seconds.
    :ivar shown: whether the form shows it; else it shows an earlier one.
    """

    question: Question
    number: int
    asked_at: float
    shown: bool = False

    def to_payload(self) -> dict[str, Any]:
        """Return JSON types, for the XCom and for the way back from a deferral."""
        how = {NUMBER: self.number, "asked_at": self.asked_at, "shown": self.shown}
        return {**self.question.to_payload(), **how}

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """Read what :meth:`to_payload` made.

        :raises CozeTriggerEventError: it is something else.
        """
        question, found = Question.from_payload(payload), mapping(payload)
        number = found.get(NUMBER)
        return cls(
            question,
            number if isinstance(number, int) and number is not True and number > 0 else 1,
            seconds(found.get("asked_at")) or 0.0,
            found.get("shown") is True,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that fits its question; ``data`` is what Coze gets."""

    question: Question
    data: str


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and where Airflow goes on when there is an answer.

    :ivar operator: the running task.
    :ivar resume_method: its method that is called then, as ``method(context, event=…, asked=…, **kwargs)``. It passes *event* and
        *asked* to :meth:`Answering.answer_of`; *asked* can be missing.
    :ivar workflow_id: whose question it is; "" where a bot asks.
    :ivar bot_id: the bot that asks; "" where a workflow does.
    :ivar notes: the record; None: none is kept, so a later try starts a new run anyway.
    """

    context: Context
    operator: Any
    workflow_id: str
    resume_method: str
    notes: Notes | None = None
    kwargs: Mapping[str, Any] | None = None
    bot_id: str = ""

    @property
    def who(self) -> str:
        """Who asks, in words."""
        return f"bot {self.bot_id}" if self.bot_id else f"workflow {self.workflow_id}"

    def work(self, question: Question) -> str:
        """Return what waits for the answer, in words."""
        return f"{'chat' if self.bot_id else 'run'} {question.execute_id!r} of {self.who}"

    @property
    def now(self) -> float:
        """Unix seconds."""
        return float(self.operator.hook.clock())

    def noted(self) -> Mapping[str, str]:
        """Return which question was asked last: from the record, or from this try's XCom where no record is kept."""
        if self.notes is not None:
            return self.notes.noted()
        found = mapping(self.pulled())
        texts = {name: str(found.get(name) or "") for name in ("event_id", NUMBER, "asked_at")}
        return {**texts, "shown": "yes" if found.get("shown") is True else ""}

    def pulled(self) -> Any:
        """Return the XCom of the question, which this try, or the deferral before it, has pushed."""
        ti = self.context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=QUESTION_XCOM, map_indexes=getattr(ti, "map_index", None))

    def page(self, tab: str) -> str:
        """Return the address of a tab of the task instance; without ``[api] base_url`` it begins at the site's root."""
        ti = self.context["ti"]
        index = getattr(ti, "map_index", None)
        mapped = f"/mapped/{index}" if index is not None and index >= 0 else ""
        base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
        return (
            f"{base}/dags/{quote(ti.dag_id)}/runs/{quote(ti.run_id, safe='')}/tasks/{quote(ti.task_id)}{mapped}/{tab}"
        )


def seconds(value: object) -> float | None:
    """Return a number of seconds; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
