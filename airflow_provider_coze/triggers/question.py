"""Look for a person's answer from the triggerer, which imports this module on its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from airflow_provider_coze.compat import BaseTrigger, TriggerEvent, aform_answer

__all__ = ["CozeQuestionTrigger"]

#: Between two looks. They are asked of Airflow, not of Coze; Airflow's own trigger for this takes as long.
_LOOK_SECONDS = 5.0


def _now() -> float:
    return datetime.now(UTC).timestamp()


class CozeQuestionTrigger(BaseTrigger):
    """Wait until the form of a task instance has an answer; then yield one event, as Airflow 3.3 resumes a task with by itself.

    ``{"chosen_options": […], "params_input": {…}}`` is an answer, ``{"unanswered": True}`` is none at the deadline or after the one
    look, and ``{"missing": True}`` says that the form is gone. Airflow keeps and logs events, and so answers, in clear text.

    :param ti_id: the task instance whose form it is.
    :param not_before: Unix seconds before which nothing is reported: with LocalExecutor, Airflow's scheduler can fail a task whose
        deferral is very short (https://github.com/apache/airflow/issues/66374).
    :param deadline: Unix seconds of the last look. None: there is none.
    :param once: look once, at *not_before*: for an Airflow that needs no triggerer to wait for a person, and only here can say whether
        there is an answer already.
    """

    #: Replaced by tests, which do not wait.
    clock: Callable[[], float] = staticmethod(_now)
    asleep: Callable[[float], Awaitable[Any]] = staticmethod(asyncio.sleep)

    def __init__(
        self, *, ti_id: str, not_before: float = 0.0, deadline: float | None = None, once: bool = False
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.ti_id = ti_id
        self.not_before = not_before
        self.deadline = deadline
        self.once = once

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments; Airflow stores them in clear text."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"ti_id": self.ti_id, "not_before": self.not_before, "deadline": self.deadline, "once": self.once},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, then report once."""
        await self.asleep(max(0.0, self.not_before - self.clock()))
        while True:
            late = self.deadline is not None and self.clock() >= self.deadline
            try:
                answer = await aform_answer(self.ti_id)
            except LookupError:
                yield TriggerEvent({"missing": True})
                return
            except Exception as error:
                # Airflow's API server may be restarting: neither an answer nor its absence.
                self.log.warning("The form of task instance %s cannot be read: %s", self.ti_id, type(error).__name__)
            else:
                if answer is not None or late or self.once:
                    yield TriggerEvent(answer or {"unanswered": True})
                    return
            await self.asleep(_LOOK_SECONDS)
