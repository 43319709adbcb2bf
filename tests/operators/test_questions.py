"""People answer a workflow through a form of Airflow: the right question, every answer once, and no worker waits."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.operators import questions as module
from airflow_provider_coze.operators.asked import Asked, Asker
from airflow_provider_coze.operators.question_form import ANSWER, CHOICE, NUMBER, SEND, answer_in, body_of, form_of
from airflow_provider_coze.operators.questions import Answering
from airflow_provider_coze.protocol.questions import Question, QuestionField
from airflow_provider_coze.triggers.question import CozeQuestionTrigger
from tests import needs
from tests.driving import NOON, VirtualTime
from tests.pages import SNIPPETS, run_page
from tests.tasks import LOGGER, TaskInstance

RUN = "7513000000000000003"
WORKFLOW = "7511500000000000001"


def question(number: int = 1, **more: Any) -> Question:
    return Question(
        **{"event_id": f"{RUN}/{number}", "interrupt_type": 2, "execute_id": RUN, "text": f"Ask {number}?", **more}
    )


CITY = question(1, text="Which city?")
DAY = question(2, interrupt_type=5, text="When?", fields=(QuestionField("days", "integer", required=True),))


class Forms:
    """The forms of one Airflow, as its API server keeps them (measured on 3.1.8 and 3.3.2): one, and it shows the first question."""

    def __init__(self) -> None:
        self.keeps_first = True
        self.form: Any = None
        self.answer: dict[str, Any] | None = None
        self.asked = 0
        self.down = 0

    def send(self, message: Any) -> Any:
        if type(message).__name__ != "CreateHITLDetailPayload":
            return None  # secrets to be masked, and what else tasks tell Airflow
        self.asked += 1
        self.answer = None
        if self.form is None or not self.keeps_first:
            self.form = message
        return SimpleNamespace(subject=self.form.subject, body=self.form.body, params=self.form.params)

    async def asend(self, message: Any) -> Any:
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        status = 503 if self.down else 404 if self.form is None else 200
        self.down = max(0, self.down - 1)
        if status != 200:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status}))
        given = self.answer or {"chosen_options": None, "params_input": None}
        return SimpleNamespace(response_received=self.answer is not None, **given)

    def people_say(self, **params: Any) -> dict[str, Any]:
        """Answer with what the page would send: every field of the form, and those that somebody has changed."""
        assert self.form is not None
        untouched = {name: param["value"] for name, param in self.form.params.items()}
        self.answer = {"chosen_options": [SEND], "params_input": {**untouched, **params}}
        return self.answer


class Notes:
    """A record that outlives tries."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def noted(self) -> dict[str, str]:
        return self.texts

    def note(self, **texts: str) -> None:
        self.texts |= texts


class Task:
    """One task instance that asks, through all its tries."""

    def __init__(self, time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time, self.forms, self.notes = time, Forms(), Notes()
        self.told: list[Any] = []
        self.answering = Answering("hitl")
        if needs.TASK_SDK.has():
            monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", self.forms, raising=False)
        self.try_again()

    def try_again(self) -> None:
        """Begin another try: another id, and no XComs."""
        self.ti = TaskInstance()
        self.ti.id = uuid.uuid4()  # type: ignore[attr-defined]
        operator: Any = BaseOperator(task_id="ask")
        self.operator = operator
        self.operator.hook = SimpleNamespace(clock=self.time)
        self.operator._log = self.operator._cached_logger = logging.getLogger(LOGGER)
        context: Any = {"ti": self.ti, "task": self.operator}
        self.asker = Asker(context, self.operator, WORKFLOW, "answered", self.notes, {"more": 1})

    def ask(self, asked: Question) -> Any:
        """Ask, and return what Airflow is told to do in the meantime."""
        return self.parked(lambda: self.answering.ask(self.asker, asked))

    def parked(self, doing: Any) -> Any:
        with pytest.raises(needs.parked()) as wait:
            doing()
        parked: Any = wait.value
        assert parked.method_name == "answered"
        assert parked.kwargs["more"] == 1
        return parked

    def resume(self, wait: Any, event: Any) -> str:
        """Go on with an event, as Airflow does: on another worker, with what it has kept."""
        asked = json.loads(json.dumps(wait.kwargs["asked"]))
        return self.answering.answer_of(self.asker, event, asked).data

    def refused(self, wait: Any, event: Any) -> Any:
        return self.parked(lambda: self.resume(wait, event))

    def fire(self, wait: Any) -> dict[str, Any]:
        """Run the trigger in another process."""
        path, arguments = wait.trigger.serialize()
        assert path == "airflow_provider_coze.triggers.question.CozeQuestionTrigger"
        trigger = CozeQuestionTrigger(**json.loads(json.dumps(arguments)))
        trigger.clock, trigger.asleep = self.time, self.time.asleep

        async def events() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(events())
        assert isinstance(event, dict)
        return event

    @property
    def shown(self) -> dict[str, Any]:
        """What the XCom shows."""
        shown: dict[str, Any] = self.ti.xcoms["question"]
        return shown


@pytest.fixture
def any_task(virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Task:
    """Give a task that need not ask people."""
    caplog.set_level(logging.DEBUG, logger=LOGGER)
    return Task(virtual_time, monkeypatch)


@pytest.fixture
def task(any_task: Task) -> Task:
    """Give a task that asks people."""
    needs.FORMS.or_skip()
    return any_task


@pytest.fixture
def old_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it an Airflow 3.1 or 3.2, where the triggerer waits for people."""
    monkeypatch.setattr(module, "TaskAwaitingInput", None)


# --- a function answers


def test_a_function_answers_on_the_worker(any_task: Task) -> None:
    task = any_task
    task.answering = Answering(lambda asked: f"{asked.text} Hangzhou.")
    assert task.answering.ask(task.asker, CITY).data == "Which city? Hangzhou."
    assert task.forms.form is None


def test_a_functions_answer_has_to_fit(any_task: Task) -> None:
    task = any_task
    task.answering = Answering(lambda asked: {"days": "many"})
    with pytest.raises(e.CozeInputError, match="days must be of type integer"):
        task.answering.ask(task.asker, DAY)


# --- one question


def test_people_get_a_form_and_no_worker_waits(task: Task) -> None:
    wait = task.ask(CITY)
    assert type(wait) is needs.parked()[-1], "where Airflow can, no triggerer waits either"
    assert wait.timeout is None
    form = task.forms.form
    assert form.subject == f"Question 1 of Coze workflow {WORKFLOW}"
    assert "> Which city?" in form.body
    assert form.options == [SEND]
    assert form.ti_id == task.ti.id  # type: ignore[attr-defined]
    assert task.shown["text"] == "Which city?"
    assert task.shown[NUMBER] == 1
    assert task.resume(wait, task.forms.people_say(answer="Hangzhou")) == "Hangzhou"


def test_an_answer_through_the_api_needs_no_more_than_the_answer(task: Task) -> None:
    wait = task.ask(CITY)
    event = {
        "chosen_options": [SEND],
        "params_input": {"answer": "杭州🏯"},
        "responded_by_user": {"id": "1", "name": "me"},
    }
    assert task.resume(wait, event) == "杭州🏯"


def test_fields_are_shown_with_their_types_and_come_back_as_json(task: Task) -> None:
    fields = (
        QuestionField(
            "city", "string", required=True, description="Where to?", options=("Hangzhou", "Beijing"), default="Beijing"
        ),
        QuestionField("days", "integer", default=3),
        QuestionField("plan", "object"),
        QuestionField("map", "file", required=True),
        QuestionField(ANSWER, "boolean"),
    )
    wait = task.ask(question(fields=fields))
    params = task.forms.form.params
    assert params["city"] == {
        "value": "Beijing",
        "description": "Where to? Required.",
        "schema": {"type": ["string", "null"], "enum": ["Hangzhou", "Beijing"]},
    }
    assert params["days"] == {"value": 3, "description": "", "schema": {"type": ["integer", "null"]}}
    assert params["map"]["description"] == "(file) Required."
    said = task.forms.people_say(map='{"file_id":"1"}', plan='{"a": [1]}', answer_="true")
    answer = json.loads(task.resume(wait, said))
    assert answer == {"city": "Beijing", "days": 3, "plan": {"a": [1]}, "map": '{"file_id":"1"}', "answer": True}


def test_a_choice_is_offered_and_own_words_win(task: Task) -> None:
    wait = task.ask(question(options=("Red", "Blue")))
    assert task.forms.form.params[CHOICE]["schema"]["enum"] == ["Red", "Blue"]
    assert task.resume(wait, task.forms.people_say(choice="Blue")) == "Blue"
    assert task.resume(wait, task.forms.people_say(choice="Blue", answer="Green")) == "Green"


def test_assigned_users_are_named_to_airflow(task: Task) -> None:
    task.answering = Answering("hitl", users=["ann", {"id": "7", "name": "Bob"}])
    task.ask(CITY)
    assert [(user.id, user.name) for user in task.forms.form.assigned_users] == [("ann", "ann"), ("7", "Bob")]


def test_notifiers_are_told_once_and_cannot_lose_the_question(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    def failing(context: Any) -> None:
        raise RuntimeError("a secret")

    task.answering = Answering("hitl", notifiers=[failing, task.told.append])
    task.ask(CITY)
    task.try_again()
    task.ask(CITY)
    (told,) = task.told
    assert told["coze_question"]["text"] == "Which city?"
    assert told["coze_question"]["answer_at"].endswith("/tasks/ask/required_actions")
    assert "A notifier failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_neither_question_nor_answer_is_logged(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    wait = task.ask(CITY)
    task.refused(wait, task.forms.people_say(answer=" "))
    task.resume(wait, task.forms.people_say(answer="Hangzhou"))
    assert "Question 1 (event" in caplog.text
    assert "Which city" not in caplog.text
    assert "Hangzhou" not in caplog.text


def test_what_a_model_says_is_shown_as_text() -> None:
    body = body_of(question(text="![x](https://evil/?s=1) <img src=x>\n# Big `code`"), 1, "/xcom")
    assert r"> \!\[x\](https://evil/?s=1) \<img src=x\>" in body
    assert "\n> \\# Big \\`code\\`\n" in body


def test_the_form_points_to_the_task_instance_it_is_of(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://air.example.com/flow/")
    monkeypatch.setattr(task.ti, "map_index", 3)
    monkeypatch.setattr(task.ti, "run_id", "manual__2025-12-04T00:00:00+00:00")
    task.ask(CITY)
    run = "https://air.example.com/flow/dags/tests/runs/manual__2025-12-04T00%3A00%3A00%2B00%3A00"
    assert f"({run}/tasks/ask/mapped/3/xcom)" in task.forms.form.body


# --- several questions in one form


def test_a_second_question_is_answered_by_its_number_in_the_form_of_the_first(task: Task) -> None:
    wait = task.ask(CITY)
    task.resume(wait, task.forms.people_say(answer="Hangzhou"))
    wait = task.ask(DAY)
    assert "Which city?" in task.forms.form.body, "Airflow goes on showing it"
    assert (task.shown[NUMBER], task.shown["text"], task.shown["fields"][0]["name"]) == (2, "When?", "days")
    again = task.refused(wait, task.forms.people_say(answer="Hangzhou"))
    assert task.shown["problems"] == [f"the answer is to question 1, and question 2 waits: set {NUMBER}"]
    assert json.loads(task.resume(again, task.forms.people_say(answer='{"days": 2}', question_number=2))) == {"days": 2}


@pytest.mark.parametrize("number", [2, 2.0, "2", " 2 "])
def test_the_number_is_read_as_people_and_programs_write_it(task: Task, number: Any) -> None:
    task.ask(CITY)
    wait = task.ask(question(2))
    assert task.resume(wait, task.forms.people_say(answer="x", question_number=number)) == "x"


@pytest.mark.parametrize("number", [None, "two", True, 1, 3, 2.5, float("nan"), float("inf"), "9" * 5000, []])
def test_an_answer_that_is_not_to_this_question_is_never_sent(task: Task, number: Any) -> None:
    task.ask(CITY)
    wait = task.ask(question(2))
    task.refused(wait, task.forms.people_say(answer="x", question_number=number))


def test_an_airflow_that_shows_every_question_needs_no_number(task: Task) -> None:
    task.forms.keeps_first = False
    task.ask(CITY)
    wait = task.ask(DAY)
    assert "> When?" in task.forms.form.body
    assert json.loads(task.resume(wait, task.forms.people_say(days=2))) == {"days": 2}


def test_a_new_run_that_asks_something_else_is_not_answered_by_the_old_form(task: Task) -> None:
    task.ask(CITY)
    task.try_again()
    other = question(1, event_id="7513000000000000099/1", text="Which country?")
    wait = task.ask(other)
    assert task.shown[NUMBER] == 2
    task.refused(wait, task.forms.people_say(answer="Hangzhou"))
    assert task.resume(wait, task.forms.people_say(answer="China", question_number=2)) == "China"


def test_a_new_run_that_asks_the_same_is_answered_as_before(task: Task) -> None:
    task.ask(CITY)
    task.try_again()
    wait = task.ask(question(1, event_id="7513000000000000099/1", text="Which city?"))
    assert task.resume(wait, task.forms.people_say(answer="Hangzhou")) == "Hangzhou"


@pytest.mark.parametrize("params", [{}, {"days": "many"}, {"answer": "many"}, {"answer": '{"days": 1, "x": 2}'}])
def test_an_answer_that_does_not_fit_is_asked_for_again(task: Task, params: Any) -> None:
    wait = task.ask(DAY)
    again = task.refused(wait, task.forms.people_say(**params))
    assert task.forms.answer is None, "the form takes another one"
    assert task.shown["problems"]
    assert json.loads(task.resume(again, task.forms.people_say(days=2))) == {"days": 2}


# --- killed in between


@pytest.mark.parametrize("answered_before", [True, False])
def test_a_killed_worker_finds_the_question_and_does_not_lose_the_answer(task: Task, answered_before: bool) -> None:
    task.ask(CITY)
    if answered_before:
        task.forms.people_say(answer="Hangzhou")
    task.try_again()
    look = task.ask(CITY)
    assert task.forms.asked == 1, "asking a second time would remove the answer"
    assert task.shown["text"] == "Which city?", "people find the question in this try, too"
    if not answered_before and not needs.AWAITING_INPUT.has():
        task.forms.people_say(answer="Hangzhou")  # before, the triggerer looks until there is an answer
        answered_before = True
    event = task.fire(look)
    assert task.time.now - NOON >= 8, "or Airflow may take it for a failure"
    if not answered_before:
        wait = task.refused(look, event)
        assert type(wait) is needs.parked()[-1]
        event = task.forms.people_say(answer="Hangzhou")
        look = wait
    assert task.resume(look, event) == "Hangzhou"
    assert task.forms.asked == 1


def test_a_question_whose_form_is_gone_is_asked_again(task: Task) -> None:
    task.ask(CITY)
    task.forms.form = None
    task.try_again()
    look = task.ask(CITY)
    wait = task.refused(look, task.fire(look))
    assert task.resume(wait, task.forms.people_say(answer="Hangzhou")) == "Hangzhou"


def test_a_form_that_cannot_be_read_is_neither_gone_nor_empty(task: Task) -> None:
    task.ask(CITY)
    task.forms.people_say(answer="Hangzhou")
    task.forms.down = 3
    task.try_again()
    look = task.ask(CITY)
    assert task.resume(look, task.fire(look)) == "Hangzhou"


def test_the_way_back_needs_no_arguments_of_the_deferral(task: Task) -> None:
    task.ask(CITY)
    assert task.answering.answer_of(task.asker, task.forms.people_say(answer="Hangzhou")).data == "Hangzhou"


def test_without_a_record_the_question_is_found_in_the_same_try(task: Task) -> None:
    task.asker = Asker(task.asker.context, task.operator, WORKFLOW, "answered", None, {"more": 1})
    task.ask(CITY)
    task.forms.people_say(answer="Hangzhou")
    look = task.ask(CITY)
    assert task.resume(look, task.fire(look)) == "Hangzhou"


@pytest.mark.parametrize(
    "event",
    [
        None,
        "yes",
        [],
        {},
        {"chosen_options": [SEND]},
        {"error": "secret", "error_type": "unknown"},
        {"params_input": 7},
    ],
)
def test_an_event_that_is_none_of_airflows_is_refused(task: Task, event: Any) -> None:
    wait = task.ask(CITY)
    with pytest.raises(e.CozeTriggerEventError, match="waits in Coze") as caught:
        task.resume(wait, event)
    assert "secret" not in str(caught.value)


def test_a_resumption_without_any_question_is_refused(task: Task) -> None:
    with pytest.raises(e.CozeTriggerEventError, match="without the question"):
        task.answering.answer_of(task.asker, {"params_input": {"answer": "x"}})


def test_what_was_asked_comes_back_as_it_was() -> None:
    asked = Asked(DAY, 2, NOON, shown=True)
    assert Asked.from_payload(json.loads(json.dumps(asked.to_payload()))) == asked
    assert Asked.from_payload({**CITY.to_payload(), NUMBER: True, "asked_at": "nan"}) == Asked(CITY, 1, 0.0)


# --- nobody answers

TIMED_OUT = {"error": "The Human-in-the-loop response timeout has passed without a response.", "error_type": "timeout"}


@pytest.mark.parametrize("default", ["Hangzhou", lambda asked: "Hangzhou"])
def test_the_default_answers_when_nobody_does(task: Task, default: Any) -> None:
    task.answering = Answering("hitl", timeout=timedelta(hours=1), default=default)
    wait = task.ask(CITY)
    assert wait.timeout == (timedelta(hours=1) if needs.AWAITING_INPUT.has() else None), (
        "before, the triggerer knows it"
    )
    task.time.sleep(3601)
    assert task.resume(wait, TIMED_OUT) == "Hangzhou"


@pytest.mark.parametrize("default", [None, {"days": "many"}])
def test_without_a_default_that_fits_the_task_fails_and_another_gets_its_time_anew(task: Task, default: Any) -> None:
    task.answering = Answering("hitl", timeout=60, default=default, notifiers=task.told.append)
    wait = task.ask(DAY)
    task.time.sleep(61)
    with pytest.raises(e.CozeRunInterruptedError, match="within 60 s") as caught:
        task.resume(wait, TIMED_OUT)
    assert caught.value.interrupt == {"event_id": DAY.event_id, "type": 5}
    task.try_again()
    look = task.ask(DAY)
    assert len(task.told) == 2
    again = task.time.now
    if needs.AWAITING_INPUT.has():
        wait = task.refused(look, task.fire(look))
        assert timedelta(seconds=45) < wait.timeout <= timedelta(seconds=60)
    else:  # the triggerer waits for them
        assert task.fire(look) == {"unanswered": True}
        assert task.time.now - again >= 60


def test_the_time_for_an_answer_goes_on_while_a_worker_is_lost(task: Task) -> None:
    task.answering = Answering("hitl", timeout=60, default="Hangzhou")
    task.ask(CITY)
    task.time.sleep(100)
    task.try_again()
    look = task.ask(CITY)
    assert task.resume(look, task.fire(look)) == "Hangzhou"


def test_an_answer_in_the_last_moment_counts_more_than_the_default(task: Task) -> None:
    task.answering = Answering("hitl", timeout=60, default="Beijing")
    task.ask(CITY)
    task.forms.people_say(answer="Hangzhou")
    task.time.sleep(100)
    task.try_again()
    look = task.ask(CITY)
    assert task.resume(look, task.fire(look)) == "Hangzhou"


# --- Airflow 3.1 and 3.2, and before


@pytest.mark.usefixtures("old_airflow")
def test_the_triggerer_waits_where_airflow_cannot_without(task: Task) -> None:
    task.answering = Answering("hitl", timeout=3600, default="Beijing")
    wait = task.ask(CITY)
    assert isinstance(wait, TaskDeferred)
    assert wait.trigger.serialize()[1]["once"] is False
    task.forms.people_say(answer="Hangzhou")
    assert task.resume(wait, task.fire(wait)) == "Hangzhou"
    wait = task.ask(DAY)
    assert task.fire(wait) == {"unanswered": True}
    assert task.time.now - NOON >= 3600
    task.answering = Answering("hitl", timeout=3600, default={"days": 1})
    assert task.resume(wait, {"unanswered": True}) == '{"days": 1}'


def test_what_is_wrong_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_forms", lambda: True)
    assert Answering().problems() == []
    assert Answering().fails
    assert Answering(str).problems() == []
    good = Answering(
        "hitl", users=["ann", {"id": "1"}], timeout=timedelta(minutes=1), default={"a": 1}, notifiers=[print]
    )
    assert good.problems() == []
    assert not good.fails
    wrong: Any = {"users": "ann", "timeout": 0, "default": 7}
    assert [problem.split()[0] for problem in Answering("ask", **wrong).problems()] == [
        "on_interrupt",
        "hitl_timeout",
        "hitl_users",
        "hitl_default",
    ]
    for users in ([7], [{"name": "x"}], [""], {"id": "x"}):
        assert Answering("hitl", users=users).problems()  # type: ignore[arg-type]
    for seconds in (True, "soon", "60", float("nan"), -1):
        assert Answering("hitl", timeout=seconds).problems()  # type: ignore[arg-type]
    monkeypatch.setattr(module, "has_forms", lambda: False)
    assert "needs Airflow 3.1 or later" in Answering("hitl").problems()[0]


def test_a_form_of_many_fields_has_a_name_for_each() -> None:
    names = [NUMBER, CHOICE, ANSWER, "answer_", "chosen_options", "_options", "city"]
    asked = question(fields=tuple(QuestionField(name, "string") for name in names))
    form = form_of(asked, 1)
    assert len(form) == len(names) + 2
    assert "chosen_options" not in form
    assert "_options" not in form
    sent = {name: name.upper() for name in form if name not in (NUMBER, ANSWER)}
    assert set(answer_in(asked, sent) or {}) == set(names)


def test_the_page_about_questions_has_operators_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_forms", lambda: True)
    made = run_page(SNIPPETS / "questions.py")
    answer = Answering(made["answer"])
    asker: Any = None
    assert answer.ask(asker, CITY).data == "Hangzhou"
    assert answer.ask(asker, DAY).data == '{"days": 3}'
    tasks = [*made["dag"].tasks, *made["answered"].tasks]
    assert [task.on_interrupt for task in tasks] == ["hitl", "hitl", made["answer"]]
    assert [problem for task in tasks for problem in task._answering.problems()] == []
