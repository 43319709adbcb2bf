"""A workflow that asks twice is billed once plus its answers, however it was started and whenever its worker dies."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.definitions import Interrupt
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.protocol.questions import Question
from airflow_provider_coze.triggers.question import CozeQuestionTrigger
from tests import needs
from tests.operators.test_questions import Forms
from tests.tasks import Coze, TaskInstance

MODES = ["async", "sync", "stream"]
CITY, DAY = Interrupt("Which city?"), Interrupt("?", type=5, parameters={"day": "string"})


class Killed(BaseException):
    """A worker that is gone from one moment to the next."""


class States(dict[str, Any]):
    """Airflow's store of a task instance's states."""

    def set(self, key: str, value: Any, retention: Any = None) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Tries:
    """One task instance whose workflow asks for a city and a day."""

    def __init__(self, coze: Coze, forms: Forms, **arguments: Any) -> None:
        workflow = coze.emulator.add_workflow(interrupt=[CITY, DAY], output="sunny")
        self.coze, self.forms, self.states = coze, forms, States()
        self.arguments = {"on_interrupt": "hitl", **arguments, "workflow_id": workflow.id, "deferrable": False}
        self.number = 0
        self.wait: Any = None
        self.ti: Any = None

    def begin(self) -> Any:
        """Run the first half of another try."""
        self.number += 1
        self.ti = TaskInstance(self.number)
        self.ti.id = uuid.uuid4()
        return self._run(lambda task, context: task.execute(context))

    def resume(self, event: Any) -> Any:
        """Run what an event resumes, on another worker."""
        wait = self.wait
        return self._run(lambda task, context: getattr(task, wait.method_name)(context, event=event, **wait.kwargs))

    def look(self) -> Any:
        """Run the trigger that looks for an answer."""
        trigger = CozeQuestionTrigger(**self.wait.trigger.serialize()[1])
        trigger.clock, trigger.asleep = self.coze.time, self.coze.time.asleep

        async def events() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(events())
        return event

    def _run(self, method: Callable[[Any, Any], Any]) -> Any:
        task = self.coze.prepared(CozeWorkflowOperator(task_id="ask", retries=2, **self.arguments))
        try:
            return method(task, {"ti": self.ti, "task": task, "task_state_store": self.states})
        except needs.parked() as wait:
            self.wait = wait
            return "waits"

    @property
    def paid(self) -> tuple[int, int]:
        """Runs, and answers on top."""
        return len(self.coze.ledger), sum(entry.continued for entry in self.coze.ledger)


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Forms:
    needs.FORMS.or_skip()
    found = Forms()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", found, raising=False)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_people_answer_twice(coze: Coze, forms: Forms, mode: str) -> None:
    tries = Tries(coze, forms, execution_mode=mode)
    assert tries.begin() == "waits"
    assert tries.resume(forms.people_say(answer="Hangzhou")) == "waits"
    assert tries.resume(forms.people_say(answer='{"day": "Monday"}', question_number=2)) == "sunny"
    assert tries.paid == (1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_worker_killed_between_question_and_answer_asks_nothing_and_pays_nothing_again(
    coze: Coze, forms: Forms, mode: str
) -> None:
    tries = Tries(coze, forms, execution_mode=mode)
    tries.begin()
    forms.people_say(answer="Hangzhou")
    assert tries.begin() == "waits"
    assert tries.resume(tries.look()) == "waits"
    assert (forms.asked, tries.paid) == (2, (1, 1)), "once for the city, and by now for the day"
    assert tries.resume(forms.people_say(answer='{"day": "Monday"}', question_number=2)) == "sunny"
    assert tries.paid == (1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_worker_killed_after_the_answer_was_sent_does_not_pay_for_it_again(
    coze: Coze, forms: Forms, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    tries = Tries(coze, forms, execution_mode=mode)
    tries.begin()

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CozeWorkflowOperator, "_go_on", killed)
        with pytest.raises(Killed):
            tries.resume(forms.people_say(answer="Hangzhou"))
    assert tries.paid == (1, 1)
    assert tries.begin() == "waits"
    assert tries.ti.xcoms["question"]["question_number"] == 2
    assert tries.resume(forms.people_say(answer='{"day": "Monday"}', question_number=2)) == "sunny"
    assert tries.paid == (1, 2)


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_lost_reply_to_an_answer_is_paid_for_once(coze: Coze, forms: Forms, mode: str, after_commit: bool) -> None:
    tries = Tries(coze, forms, execution_mode=mode)
    tries.begin()
    path = "/v1/workflow/stream_resume" if mode == "stream" else "/v1/workflows/resume"
    coze.script(scenarios.reset(after_commit=after_commit), on=f"POST {path}", times=1)
    assert tries.resume(forms.people_say(answer="Hangzhou")) == "waits"
    assert tries.paid == (1, 1)
    assert tries.resume(forms.people_say(answer='{"day": "Monday"}', question_number=2)) == "sunny"
    assert tries.paid == (1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_function_answers_twice(coze: Coze, mode: str) -> None:
    forms = Forms()

    def answer(asked: Question) -> str | dict[str, str]:
        return {field.name: "Monday" for field in asked.fields} or f"{asked.text} Hangzhou."

    tries = Tries(coze, forms, execution_mode=mode, on_interrupt=answer)
    assert tries.begin() == "sunny"
    assert (forms.asked, tries.paid) == (0, (1, 2))
