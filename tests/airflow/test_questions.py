"""Workflows that ask people, on a real Airflow that has forms: nobody waits with a worker, and an answer is paid for once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator.default_world import ASKING
from airflow_provider_coze.emulator.definitions import Inputs, Interrupt
from airflow_provider_coze.emulator.server import Server
from airflow_provider_coze.emulator.store import LedgerEntry
from tests.airflow.runs import stored, written
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(400)]

DAG, TASK = "example_coze_hitl_question", "plan_trip"
#: An answer that comes sooner can make the scheduler fail the try: https://github.com/apache/airflow/issues/66374
SETTLED_SECONDS = 9


@dataclass
class Asked:
    """A run of the example, and what was seen at each of its questions."""

    airflow: Stack
    run_id: str
    questions: list[dict[str, Any]] = field(default_factory=list)
    forms: list[dict[str, Any]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    parked_at: float = 0.0
    state: str = ""

    @property
    def task(self) -> dict[str, Any]:
        """The asking task as Airflow reports it."""
        row: dict[str, Any] = self.airflow.rest.get(f"/dags/{DAG}/dagRuns/{self.run_id}/taskInstances/{TASK}")
        return row

    def wait_parked(self, number: int, *, problem: str = "", tries: int = 1, seconds: float = 90) -> None:
        """Wait until a question is with people."""
        deadline = time.monotonic() + seconds
        while True:
            task = self.task
            state = task["state"]
            if (state, task["try_number"]) == ("awaiting_input", tries):
                found = self.airflow.rest.xcom(DAG, self.run_id, TASK, "question")
                if found["question_number"] == number and problem in "".join(found["problems"]):
                    break
            assert state not in ("failed", "up_for_retry", "success"), self.log
            assert time.monotonic() < deadline, f"question {number} is not with people: {state}\n{self.log}"
            time.sleep(0.25)
        self.parked_at = time.monotonic()
        self.questions.append(found)
        self.forms.append(
            self.airflow.rest.get(f"/dags/{DAG}/dagRuns/{self.run_id}/taskInstances/{TASK}/-1/hitlDetails")
        )
        self.pids.append(task["pid"])

    def answer(self, **fields: Any) -> None:
        """Answer as a person does, who is not that quick."""
        time.sleep(max(0.0, self.parked_at + SETTLED_SECONDS - time.monotonic()))
        self.airflow.rest.answer(DAG, self.run_id, TASK, **fields)

    @property
    def log(self) -> str:
        """What the task's log says."""
        files = sorted(self.airflow.logs.glob(f"dag_id={DAG}/run_id={self.run_id}/task_id={TASK}/*.log*"))
        return "\n".join(file.read_text(errors="replace") for file in files)


@dataclass
class Seen:
    """Runs of the example: a workflow that asks once, answered wrongly first; one that asks twice; and one whose task is cleared."""

    once: Asked
    twice: Asked
    cleared: Asked
    running_slots: int
    stored_while_waiting: str
    alive_while_waiting: list[int]
    billed: list[LedgerEntry]

    @property
    def all(self) -> list[Asked]:
        """The three."""
        return [self.once, self.twice, self.cleared]


@pytest.fixture(scope="module")
def twice_id(coze: Server) -> Iterator[str]:
    def trip(inputs: Inputs) -> dict[str, str]:
        city, day = inputs.answers
        return {"output": f"{city} on {json.loads(day)['day']}"}

    made = coze.add_workflow(
        name="asking twice",
        interrupt=[
            Interrupt("Which city?"),
            Interrupt("Which day?", type=5, node_title="Input", parameters={"day": "string"}),
        ],
        output=trip,
    )
    yield made.id
    coze.world.workflows.remove(made)


@pytest.fixture(scope="module")
def seen(airflow_of: Callable[[str], Stack], coze: Server, twice_id: str) -> Seen:
    """Ask and answer all, beside each other: what takes long is the waiting for Airflow."""
    airflow = airflow_of("3.3.2-postgres")
    airflow.wait_dag(DAG)
    before = len(coze.ledger)
    runs = [
        Asked(airflow, airflow.rest.trigger(DAG, {"workflow_id": workflow_id}))
        for workflow_id in (ASKING, twice_id, ASKING)
    ]
    once, twice, cleared = runs
    for asked in runs:
        asked.wait_parked(1)
    running_slots = airflow.rest.get("/pools/default_pool")["running_slots"]
    alive = _alive_after(SETTLED_SECONDS, [pid for asked in runs for pid in asked.pids])
    waiting = stored(airflow.database)

    airflow.rest.clear(DAG, cleared.run_id, TASK)
    once.answer(question_number=2, answer="Chengdu")
    twice.answer(question_number=1, answer="Hangzhou")
    once.wait_parked(1, problem="the answer is to question 2")
    twice.wait_parked(2)
    once.answer(question_number=1, answer="Suzhou")
    twice.answer(question_number=2, answer='{"day": "Monday"}')
    cleared.wait_parked(1, tries=2)
    cleared.answer(question_number=1, answer="Wuxi")
    for asked in runs:
        asked.state = airflow.rest.wait_run(DAG, asked.run_id, 90, check=airflow.processes.check)
    return Seen(once, twice, cleared, running_slots, waiting, alive, coze.ledger[before:])


def _alive_after(seconds: float, pids: list[int]) -> list[int]:
    """Return which processes have not ended in time: one that has parked its task still has to."""
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.25)
    return alive


def test_no_worker_waits_for_people(seen: Seen) -> None:
    assert all(pid for asked in seen.all for pid in asked.pids)
    assert seen.alive_while_waiting == []
    assert seen.running_slots == 0


def test_the_form_and_the_xcom_say_what_is_asked(seen: Seen) -> None:
    form, question = seen.twice.forms[0], seen.twice.questions[0]
    assert "Which city?" in form["body"]
    assert form["options"] == ["Send"]
    assert set(form["params"]) == {"answer", "question_number"}
    assert (question["question_number"], question["text"]) == (1, "Which city?")
    assert question["answer_at"] == (
        f"{seen.twice.airflow.url}/dags/{DAG}/runs/{seen.twice.run_id.replace(':', '%3A').replace('+', '%2B')}"
        f"/tasks/{TASK}/required_actions"
    )
    second = seen.twice.questions[1]
    assert (second["question_number"], [each["name"] for each in second["fields"]]) == (2, ["day"])


def test_the_answers_are_in_the_output_and_the_next_task_uses_it(seen: Seen) -> None:
    assert [asked.state for asked in seen.all] == ["success"] * 3
    rest = seen.once.airflow.rest
    assert rest.xcom(DAG, seen.once.run_id, TASK) == {"output": "Suzhou"}
    assert rest.xcom(DAG, seen.twice.run_id, TASK) == {"output": "Hangzhou on Monday"}
    assert rest.xcom(DAG, seen.twice.run_id, "book") == "A table for two in Hangzhou on Monday"
    assert [asked.task["try_number"] for asked in seen.all] == [1, 1, 2]


def test_each_run_and_each_answer_is_paid_for_once_and_a_wrong_answer_is_not_sent(seen: Seen, twice_id: str) -> None:
    billed = Counter((entry.kind, entry.workflow_id, entry.continued) for entry in seen.billed)
    assert billed == {("workflow", ASKING, 1): 2, ("workflow", twice_id, 2): 1}
    assert "Not sent, and asked again: the answer is to question 2, and question 1 waits" in seen.once.log


def test_a_cleared_task_goes_on_with_the_question_of_its_run(seen: Seen) -> None:
    first, again = seen.cleared.questions
    assert (again["event_id"], again["question_number"]) == (first["event_id"], 1)
    assert seen.cleared.airflow.rest.xcom(DAG, seen.cleared.run_id, TASK) == {"output": "Wuxi"}


def test_the_token_is_written_nowhere(seen: Seen, coze: Server) -> None:
    airflow = seen.once.airflow
    assert "Which city?" in seen.stored_while_waiting  # so the forms are in it
    after = stored(airflow.database)
    assert "Hangzhou on Monday" in after  # so the XComs are in it
    files = dict(written(airflow.home))
    assert any("is with people, and no worker waits" in text for text in files.values())  # so the task logs are in it
    texts = {"while waiting": seen.stored_while_waiting, "afterwards": after}
    texts |= {str(path): text for path, text in files.items()}
    assert [where for where, text in texts.items() if coze.token in text] == []
