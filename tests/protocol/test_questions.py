"""Questions of workflows: read out of whatever Coze packs them in, and answered once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Interrupt
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.answers import answer_problems, resume_data
from airflow_provider_coze.protocol.endpoints.workflow import run_history, run_workflow
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.questions import Question, QuestionField
from airflow_provider_coze.protocol.resuming import Resumed, is_still_asked, resume_once
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import Perform, over_memory

EVENT = "7513000000000000003/2700000000000000001"
RETRY = RetryPolicy(base_seconds=0.0)
POST = "POST /v1/workflows/resume"
#: The documents' one example: www.coze.cn/open/docs/developer_guides/workflow_run.
DOCUMENTED = {
    "event_id": EVENT,
    "type": 5,
    "data": '{"content_type":"text","content":"[{\\"type\\":\\"string\\",\\"name\\":\\"city\\",\\"required\\":true}]"}',
    "required_parameters": {"city": {"type": "string", "required": True}},
}


def asked(data: Any = "", **more: Any) -> Question:
    return Question.from_interrupt({"event_id": EVENT, "type": 2, "data": data, **more})


def packed(content_type: str, content: Any) -> str:
    return json.dumps({"content_type": content_type, "content": content})


# --- what is asked


def test_the_documented_interrupt_asks_for_one_field() -> None:
    question = Question.from_interrupt(DOCUMENTED)
    assert (question.event_id, question.interrupt_type, question.execute_id) == (EVENT, 5, "7513000000000000003")
    assert question.fields == (QuestionField("city", "string", required=True),)
    assert question.text == "The workflow asks for city."


@pytest.mark.parametrize(
    "data",
    [
        packed("text", "Which city?"),
        "Which city?",
        {"content_type": "text", "content": "Which city?"},
        {"messages": [{"type": "question", "content_type": "text", "content": "Which city?"}]},
        json.dumps(
            {
                "messages": [
                    {"type": "question", "content_type": "text", "content": "Which country?"},
                    {"type": "answer", "content_type": "text", "content": "China"},
                    {"type": "question", "content_type": "text", "content": "Which city?"},
                ]
            }
        ),
    ],
)
def test_a_question_node_asks_in_words(data: Any) -> None:
    question = asked(data)
    assert (question.text, question.fields, question.options) == ("Which city?", (), ())


@pytest.mark.parametrize(
    "content",
    [
        {"question": "Which?", "options": [{"name": "Red"}, {"name": "Blue"}]},
        json.dumps({"question": "Which?", "options": ["Red", "Blue", "Red", " "]}),
        {"question": "Which?", "options": [{"label": "Red"}, {"value": "Blue"}, {"odd": 1}, None]},
    ],
)
def test_a_question_node_offers_options(content: Any) -> None:
    question = asked(packed("option", content))
    assert (question.text, question.options) == ("Which?", ("Red", "Blue"))
    assert answer_problems(question, "Green, if there is any") == [], "its own words are an answer too"


def test_a_form_says_more_about_the_fields_than_required_parameters() -> None:
    form = [
        {"type": "integer", "name": "days", "required": False, "description": "How many?", "default_value": 3},
        {"type": "list", "name": "cities"},
        {"type": "file", "name": "map", "desc": "A map"},
    ]
    question = asked(
        packed("form_schema", json.dumps(form)),
        required_parameters={
            "days": {"type": "Integer", "required": True},
            "size": {"type": "string", "enum": ["S", "L"]},
        },
    )
    assert question.fields == (
        QuestionField("days", "integer", required=True, description="How many?", default=3),
        QuestionField("cities", "array"),
        QuestionField("map", "file", description="A map"),
        QuestionField("size", "string", options=("S", "L")),
    )


def test_what_a_node_said_in_the_stream_is_its_question() -> None:
    interrupt = {"data": "", "event_id": "7404830425073352713/2769808280134765896", "type": 2}
    question = Question.from_interrupt(interrupt, node_title="问答", said="去哪个城市？")
    assert (question.text, question.node_title, question.execute_id) == ("去哪个城市？", "问答", "7404830425073352713")


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        [],
        {},
        "",
        "  ",
        "{",
        "[1,2]",
        '{"a":',
        {"content": None},
        {"messages": []},
        {"messages": [{"type": "answer"}]},
    ],
)
def test_an_odd_payload_is_a_question_with_one_free_text(data: Any) -> None:
    question = asked(data)
    assert question.text.strip()
    assert (question.fields, question.options) == ((), ())
    assert resume_data(question, "go on") == "go on"


@pytest.mark.parametrize("required", [[], "x", None, {"": {}}, {"n": 1}, {str(n): {} for n in range(51)}])
def test_odd_parameters_leave_the_question_answerable(required: Any) -> None:
    question = asked("Which?", required_parameters=required)
    assert question.text == "Which?"
    assert len(question.fields) <= 1


@pytest.mark.parametrize("event_id", [None, "", " ", True, [], {"a": 1}])
def test_without_an_event_id_nobody_can_answer(event_id: Any) -> None:
    with pytest.raises(e.CozeProtocolError, match="no event_id"):
        Question.from_interrupt({"event_id": event_id, "type": 2, "data": "Which?"})


@pytest.mark.parametrize("kind", [None, "two", True, 2.5, "9" * 5000])
def test_the_type_is_never_made_up(kind: Any) -> None:
    with pytest.raises(e.CozeProtocolError, match="no type"):
        Question.from_interrupt({"event_id": EVENT, "type": kind})


@pytest.mark.parametrize(("kind", "echoed"), [(1, 1), (6, 6), (7, 7), ("5", 5), (99, 99)])
def test_the_type_is_echoed(kind: Any, echoed: int) -> None:
    assert Question.from_interrupt({"event_id": EVENT, "type": kind}).interrupt_type == echoed


def test_a_question_survives_a_deferral() -> None:
    for question in (Question.from_interrupt(DOCUMENTED), asked(packed("option", {"question": "?", "options": ["a"]}))):
        assert Question.from_payload(json.loads(json.dumps(question.to_payload()))) == question
    for odd in (None, "x", {}, {"event_id": EVENT}, {"event_id": EVENT, "interrupt_type": True}):
        with pytest.raises(e.CozeTriggerEventError):
            Question.from_payload(odd)


def test_what_is_kept_of_a_long_question_fits_a_form() -> None:
    question = asked("很" * 5_000_000, required_parameters={"x": {"default": "y" * 5_000_000}})
    assert len(json.dumps(question.to_payload())) < 100_000
    assert len(question.text) == 5_000_000


def test_a_question_is_not_for_logs() -> None:
    assert "secret" not in repr(asked("secret"))


# --- what an answer is


def test_an_answer_to_fields_is_json_in_a_string() -> None:
    question = Question.from_interrupt(DOCUMENTED)
    assert json.loads(resume_data(question, {"city": "杭州🏯"})) == {"city": "杭州🏯"}
    assert json.loads(resume_data(question, '{"city": "杭州"}')) == {"city": "杭州"}
    assert json.loads(resume_data(question, "杭州")) == {"city": "杭州"}, "a text is the value of the only field"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({}, "days is missing"),
        ({"days": ""}, "days is missing"),
        ({"days": "2"}, "days must be of type integer, not str"),
        ({"days": True}, "days must be of type integer, not bool"),
        ({"days": 2, "size": "M"}, "size must be one of"),
        ({"days": 2, "ratio": "x"}, "ratio must be of type number"),
        ({"days": 2, "colour": "red"}, "'colour' is not asked for"),
        ({"days": 2, "ratio": float("nan")}, "nothing that JSON can hold"),
        ({"days": 2, "size": "\ud800"}, "nothing that JSON can hold"),
        ({7: 2, "days": 1}, "must be texts"),
        ("two", "must be a JSON object with"),
        ("[1]", "must be a JSON object with"),
        (None, "must be a JSON object with"),
    ],
)
def test_an_answer_that_does_not_fit_is_not_sent(answer: Any, problem: str) -> None:
    question = asked(
        required_parameters={
            "days": {"type": "integer", "required": True},
            "ratio": {"type": "float"},
            "size": {"type": "string", "options": ["S", "L"]},
        }
    )
    assert any(problem in found for found in answer_problems(question, answer))
    with pytest.raises(e.CozeInputError, match="was not sent, so it is not billed"):
        resume_data(question, answer)
    assert json.loads(resume_data(question, {"days": 2, "ratio": 1, "size": None})) == {"days": 2, "ratio": 1}


@pytest.mark.parametrize("answer", ["", "  ", None, 7, {}, "\udc00"])
def test_a_free_answer_is_a_text(answer: Any) -> None:
    assert answer_problems(asked("Which?"), answer)


def test_problems_never_show_an_answer() -> None:
    question = asked(required_parameters={"n": {"type": "integer"}, "o": {"options": ["a"]}})
    assert "secret" not in str(
        answer_problems(question, {"n": "secret", "o": "secret"}) + answer_problems(question, "secret")
    )


def test_an_answer_that_goes_round_in_circles_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    assert answer_problems(asked("Which?"), circle) == ["the answer is nothing that JSON can hold (ValueError)"]


# --- answered once


class Site:
    """A workflow that asks twice, on an emulator."""

    def __init__(self, perform: Perform, emulator: Emulator) -> None:
        self.perform, self.emulator = perform, emulator
        self.workflow = emulator.add_workflow(
            interrupt=[Interrupt("Which city?"), Interrupt("?", type=5, parameters={"day": "string"})],
            output="It is sunny.",
        )
        self.execute_id = ""

    def start(self, *, is_async: bool = True) -> Question:
        call = run_workflow(workflow_id=self.workflow.id, parameters={}, is_async=is_async)
        run = self.perform(flows.call(call, RETRY))
        self.execute_id = run.execute_id
        return self.question(None if is_async else run.interrupt)

    def record(self) -> RunHistory:
        call = run_history(workflow_id=self.workflow.id, execute_id=self.execute_id)
        record: RunHistory = self.perform(flows.call(call, RETRY))
        return record

    def question(self, interrupt: Any = None) -> Question:
        found = interrupt or self.record().interrupt
        assert found is not None
        return Question.from_interrupt(found, execute_id=self.execute_id)

    def answer(self, question: Question, data: str = "Hangzhou", **more: Any) -> Resumed:
        flow = resume_once(question, data, workflow_id=self.workflow.id, retry=RETRY, **more)
        resumed: Resumed = self.perform(flow)
        return resumed

    @property
    def paid(self) -> tuple[int, int]:
        """What was billed: runs, and answers on top."""
        return len(self.emulator.ledger), sum(entry.continued for entry in self.emulator.ledger)


@pytest.fixture
def site(perform: Perform, emulator: Emulator) -> Site:
    return Site(perform, emulator)


@pytest.fixture
def memory_site(emulator: Emulator, virtual_time: Any) -> Site:
    return Site(over_memory(emulator, "memory://emulator", virtual_time), emulator)


def test_a_run_that_asks_twice_is_paid_for_once_and_so_is_each_answer(site: Site) -> None:
    first = site.start()
    assert is_still_asked(first, site.record())
    site.answer(first)
    second = site.question()
    assert second.event_id != first.event_id
    assert not is_still_asked(first, site.record())
    site.answer(second, resume_data(second, {"day": "Monday"}))
    assert site.record().execute_status == "Success"
    assert site.paid == (1, 2)


def test_a_synchronous_run_is_answered_in_the_reply(site: Site) -> None:
    resumed = site.answer(site.start(is_async=False))
    assert resumed.reply is not None
    assert resumed.history.execute_id == site.execute_id
    second = site.question(resumed.history.interrupt)
    final = site.answer(second, resume_data(second, {"day": "Monday"}))
    assert final.reply is not None
    assert final.reply.data
    assert site.paid == (1, 2)


@pytest.mark.parametrize("fault", [scenarios.reset, scenarios.closed, scenarios.bad_gateway, scenarios.server_error])
@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_lost_reply_does_not_make_an_answer_cost_twice(
    memory_site: Site, fault: Any, after_commit: bool, is_async: bool
) -> None:
    question = memory_site.start(is_async=is_async)
    memory_site.emulator.script(fault(after_commit=after_commit), on=POST, times=1)
    resumed = memory_site.answer(question)
    assert memory_site.paid == (1, 1)
    assert (resumed.reply is None) == after_commit
    assert memory_site.question().event_id != question.event_id, "it has gone on to its second question"


def test_a_reply_that_is_always_lost_before_it_does_anything_is_given_up(memory_site: Site) -> None:
    question = memory_site.start()
    memory_site.emulator.script(scenarios.reset(), on=POST, times=3)
    with pytest.raises(e.CozeTransportError, match="which waits in Coze") as caught:
        memory_site.answer(question)
    assert caught.value.execute_id == memory_site.execute_id
    assert is_still_asked(question, memory_site.record())
    assert memory_site.paid == (1, 0)


@pytest.mark.parametrize("sent_before", [False, True])
def test_a_later_try_finds_that_the_answer_was_taken(memory_site: Site, sent_before: bool) -> None:
    question = memory_site.start()
    memory_site.answer(question)
    resumed = memory_site.answer(question, "Beijing", sent_before=sent_before)
    assert resumed.reply is None
    assert resumed.history.interrupt is not None
    assert memory_site.question(resumed.history.interrupt).fields[0].name == "day"
    assert memory_site.paid == (1, 1)


def test_a_later_try_finds_that_the_run_has_ended(memory_site: Site) -> None:
    memory_site.answer(memory_site.start())
    second = memory_site.question()
    memory_site.answer(second, '{"day":"Monday"}')
    for sent_before in (False, True):
        again = memory_site.answer(second, '{"day":"Monday"}', sent_before=sent_before)
        assert again.history.execute_status == "Success"
    assert memory_site.paid == (1, 2)


def test_a_later_try_sends_an_answer_that_never_arrived(memory_site: Site) -> None:
    question = memory_site.start()
    assert memory_site.answer(question, sent_before=True).reply is not None
    assert memory_site.paid == (1, 1)


def test_without_a_record_a_lost_reply_is_unknown_unless_paying_twice_is_allowed(memory_site: Site) -> None:
    question = memory_site.start()
    memory_site.emulator.script(scenarios.error(4314), on="GET /v1/workflows/*", times=9)
    memory_site.emulator.script(scenarios.reset(), on=POST, times=2)
    with pytest.raises(e.CozeOutcomeUnknownError, match='on_unknown="resend"'):
        memory_site.answer(question)
    with pytest.raises(e.CozeOutcomeUnknownError, match="an earlier try sent one"):
        memory_site.answer(question, sent_before=True)
    assert memory_site.answer(question, sent_before=True, resend=True).reply is not None
    assert memory_site.paid == (1, 1)


def test_a_refusal_of_the_answer_itself_is_passed_on(memory_site: Site) -> None:
    question = memory_site.start()
    memory_site.emulator.script(scenarios.error(4000), on=POST, times=1)
    with pytest.raises(e.CozeRejectedError, match="the answer to event"):
        memory_site.answer(question)
    assert memory_site.paid == (1, 0)


def test_an_answer_that_the_workflow_does_not_take_makes_it_ask_again(memory_site: Site) -> None:
    memory_site.workflow.interrupt = Interrupt("Which city?", accepts=["Hangzhou"])
    first = memory_site.start()
    memory_site.answer(first, "blue")
    again = memory_site.question()
    assert again.event_id != first.event_id
    memory_site.answer(again)
    assert memory_site.record().execute_status == "Success"
