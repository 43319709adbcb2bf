"""How a run is started and read: asynchronously, as a stream, or whichever the plan allows; and the questions it asks on the way."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ASKING, BROKEN, ECHO, FILE_ROW, PLAIN, SLEEPER
from airflow_provider_coze.emulator.definitions import Interrupt, OutputNode, Seconds
from airflow_provider_coze.operators import interrupts
from airflow_provider_coze.operators.file import coze_file
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.protocol.questions import Question
from tests import tries
from tests.tasks import Coze, Run, is_kind
from tests.tries import Deaths, Task

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

defers, deaths = tries.defers, tries.deaths

ASYNC, STREAM = "POST /v1/workflow/run", "POST /v1/workflow/stream_run"
RESUME, STREAM_RESUME = "POST /v1/workflows/resume", "POST /v1/workflow/stream_resume"


@pytest.fixture
def kept_run(coze: Coze, defers: bool) -> Task:
    return Task(coze, "run", "task_state_store", defers)


def start(run: Run, workflow_id: str = PLAIN, **arguments: Any) -> Any:
    return run(CozeWorkflowOperator, workflow_id=workflow_id, **arguments)


def free(coze: Coze) -> Coze:
    coze.world.plan = "personal_free"
    return coze


# --- auto


def test_where_the_plan_has_asynchronous_runs_they_are_used(coze: Coze, run: Run) -> None:
    assert start(run, ECHO, parameters={"a": 1}) == {"output": {"a": 1}}
    assert (coze.asked(ASYNC), coze.asked(STREAM)) == (1, 0)


def test_where_the_plan_has_none_the_run_is_streamed_and_the_next_one_does_not_ask(coze: Coze, run: Run) -> None:
    free(coze)
    assert start(run, ECHO, parameters={"a": 1}) == {"output": {"a": 1}}
    assert start(run, ECHO, parameters={"a": 2}) == {"output": {"a": 2}}
    assert (coze.asked(ASYNC), coze.asked(STREAM)) == (1, 2)
    assert len(coze.ledger) == 2


# --- streams


def test_a_streamed_run_returns_what_an_asynchronous_one_does(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    made = coze.emulator.add_workflow(
        nodes=[OutputNode("Notice", "reading 第一\nwriting\n")], output={"x": [1, "二"]}, duration=Seconds(120)
    )
    results = [start(run, made.id, execution_mode=mode) for mode in ("async", "stream")]
    assert results[0] == results[1] == {"x": [1, "二"]}
    assert "The workflow says: reading 第一" in caplog.text
    assert run.xcoms["execute_id"] == coze.ledger[1].id


def test_a_stream_may_take_longer_than_90_s(coze: Coze, run: Run) -> None:
    assert start(run, SLEEPER, parameters={"seconds": 500, "value": 1}, execution_mode="stream") == {"output": 1}


def test_a_failure_in_a_stream_is_the_runs_error(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeRunFailedError, match="720701002"):
        start(run, BROKEN, execution_mode="stream")


def test_a_stream_that_breaks_off_before_it_names_its_run_is_never_taken_for_a_success(coze: Coze, run: Run) -> None:
    coze.script(scenarios.stream_cut(after_events=1), on=STREAM)
    with pytest.raises(e.CozeOutcomeUnknownError, match="ended without saying how the run did") as caught:
        start(run, ECHO, parameters={"a": 1}, execution_mode="stream")
    assert is_kind(caught.value, e.CozeOutcomeUnknownError)
    assert len(coze.ledger) == 1


def test_it_is_sent_again_where_that_is_allowed(coze: Coze, run: Run) -> None:
    coze.script(scenarios.stream_cut(after_events=1), on=STREAM)
    assert start(run, ECHO, parameters={"a": 1}, execution_mode="stream", on_unknown="resend") == {"output": {"a": 1}}
    assert len(coze.ledger) == 2


def test_a_streamed_run_whose_worker_dies_after_it_is_found_by_its_id(kept_run: Task, deaths: Deaths) -> None:
    deaths.once(tries.Purchase, "delivered")
    kept_run.killed(execution_mode="stream")
    assert kept_run.attempt(execution_mode="stream") == kept_run.right
    assert kept_run.billed == 1


# --- questions


def asking_twice(coze: Coze) -> Any:
    return coze.emulator.add_workflow(
        interrupt=[Interrupt("Which city?"), Interrupt("How many?", type=5, parameters={"count": "integer"})],
        output=lambda inputs: {"answers": list(inputs.answers)},
    )


def answer(question: Question) -> Any:
    return {"count": 3} if question.fields else "Hangzhou"


@pytest.mark.parametrize("mode", ["async", "sync", "stream"])
def test_a_workflow_that_asks_twice_is_answered_and_billed_once_and_for_each_answer(
    coze: Coze, run: Run, mode: str
) -> None:
    made = asking_twice(coze)
    assert start(run, made.id, execution_mode=mode, on_interrupt=answer) == {"answers": ["Hangzhou", '{"count": 3}']}
    assert [entry.continued for entry in coze.ledger] == [2]
    resumes = coze.bodies(STREAM_RESUME if mode == "stream" else RESUME)
    assert [body["interrupt_type"] for body in resumes] == [2, 5]


def test_nobody_answers_unless_told_to(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeRunInterruptedError):
        start(run, ASKING)
    assert coze.asked(RESUME) == 0


def test_an_answer_that_does_not_fit_is_not_sent(coze: Coze, run: Run) -> None:
    made = asking_twice(coze)
    with pytest.raises(e.CozeInputError, match="count"):
        start(run, made.id, on_interrupt=lambda q: {"count": "many"} if q.fields else "x")
    assert coze.asked(RESUME) == 1


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("mode", ["async", "stream"])
def test_an_answer_whose_reply_is_lost_is_taken_once(coze: Coze, run: Run, after_commit: bool, mode: str) -> None:
    where = STREAM_RESUME if mode == "stream" else RESUME
    coze.script(scenarios.reset(after_commit=after_commit), on=where)
    assert start(run, ASKING, execution_mode=mode, on_interrupt=answer) == {"output": "Hangzhou"}
    assert [entry.continued for entry in coze.ledger] == [1]
    assert coze.asked(where) == (1 if after_commit else 2)


@pytest.mark.parametrize("mode", ["async", "sync", "stream"])
@pytest.mark.parametrize("where", ["asked", "answered", "resumed", "before delivery"])
def test_a_worker_that_dies_around_an_answer_pays_for_it_once(
    kept_run: Task, deaths: Deaths, mode: str, where: str
) -> None:
    given = {"workflow_id": ASKING, "parameters": {}, "on_interrupt": answer, "execution_mode": mode}
    match where:
        case "asked":
            deaths.once(CozeWorkflowOperator, "_asked")
        case "answered":
            deaths.once(CozeWorkflowOperator, "_resumed")
        case "resumed":
            deaths.once(interrupts.Resuming, "resumed", after=True)
        case _:
            deaths.once(tries.Purchase, "delivered")
    kept_run.killed(**given)
    assert kept_run.attempt(**given) == {"output": "Hangzhou"}
    assert [entry.continued for entry in kept_run.coze.ledger] == [1]


# --- before and after


def test_parameters_are_looked_at_before_money_is_spent(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeInputError, match="seconds") as caught:
        start(run, SLEEPER, parameters={"second": 3})
    assert "second" in str(caught.value)
    assert coze.ledger == []
    assert start(run, SLEEPER, parameters={"seconds": 1, "value": 1, "more": 2}, check_parameters=False)


def test_a_file_goes_up_and_a_typed_row_comes_out(coze: Coze, run: Run) -> None:
    table = coze_file(b"city,people\nA,1\nB,41\n", filename="cities.csv")
    row = start(run, FILE_ROW, parameters={"file": table}, output_type=dict[str, Any])
    assert (row["rows"], row["total"], row["largest"]) == (2, 42, "B")
    assert coze.asked("POST /v1/files/upload") == 1


def test_an_output_of_another_type_names_the_place(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeOutputTypeError, match="output"):
        start(run, ECHO, parameters={"a": "secret"}, output_type=dict[str, int])


def test_a_long_output_goes_where_it_was_told_to(coze: Coze, run: Run, tmp_path: Any) -> None:
    path = tmp_path / "out" / "answer.json"
    made = coze.emulator.add_workflow(output={"text": "汉字" * 100_000})
    uri = start(run, made.id, output_path=str(path))
    assert uri == f"file://{path}"
    assert path.read_text(encoding="utf-8").count("汉字") == 100_000


# --- what a stream's refusal and end mean


@pytest.mark.parametrize("code", [4008, 4011])
def test_a_stream_that_is_refused_for_good_is_that_refusal_and_not_unknown(coze: Coze, run: Run, code: int) -> None:
    coze.script(scenarios.error(code), on=STREAM)
    with pytest.raises(e.CozeQuotaError) as caught:
        start(run, ECHO, parameters={"a": 1}, execution_mode="stream")
    assert caught.value.code == code
    assert coze.ledger == []


def test_without_a_record_a_stream_that_broke_off_says_what_a_retry_does(coze: Coze, run: Run) -> None:
    coze.script(scenarios.stream_cut(after_events=1), on=STREAM)
    with pytest.raises(e.CozeProtocolError, match="may go on with it, and bills it") as caught:
        start(run, ECHO, parameters={"a": 1}, execution_mode="stream", durable=False, on_unknown="resend")
    assert "marker" not in str(caught.value)
    assert len(coze.ledger) == 1


def test_the_marker_that_a_streamed_run_gets_is_that_of_its_record(kept_run: Task) -> None:
    free(kept_run.coze)
    made = kept_run.coze.emulator.add_workflow(output={"x": 1})
    assert kept_run.attempt(workflow_id=made.id, parameters={}, marker_parameter="marker") == {"x": 1}
    [sent] = kept_run.coze.ledger
    assert kept_run.state is not None
    assert sent.marker["parameters"]["marker"] == kept_run.state.get("coze")["marker"]


def test_a_question_after_a_stream_that_broke_off_is_answered_as_a_stream(coze: Coze, kept_run: Task) -> None:
    made = coze.emulator.add_workflow(
        interrupt=[Interrupt("Which city?"), Interrupt("Sure?")],
        output=lambda inputs: {"answers": list(inputs.answers)},
        duration=Seconds(20),
    )
    given = {"workflow_id": made.id, "parameters": {}, "execution_mode": "stream", "on_interrupt": lambda _: "yes"}
    coze.script(scenarios.stream_cut(after_events=0), on=STREAM_RESUME)
    assert kept_run.attempt(**given) == {"answers": ["yes", "yes"]}
    assert (coze.asked(RESUME), [entry.continued for entry in coze.ledger]) == (0, [2])
