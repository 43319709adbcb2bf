"""Rows as runs: what is sent, how long it is waited for, and what is read."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze.batch.asks import Answered, Ask, Failed, Item, Live
from airflow_provider_coze.batch.reading import Reader
from airflow_provider_coze.batch.rhythm import Rhythm
from airflow_provider_coze.batch.runs import Runs
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Immediate, Interrupt, Seconds, Workflow
from airflow_provider_coze.errors import CozePlanError, CozeRunInterruptedError, CozeRunTimeoutError
from airflow_provider_coze.protocol.messages import Send
from airflow_provider_coze.protocol.pacing import RUN_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import NOON, Perform, VirtualTime, over_memory

ITEMS = tuple(Item(index, word, {"text": word}, f"h{index}") for index, word in enumerate(("apple", "pear"), 3))
ONE = Ask(ITEMS[:1])


@pytest.fixture
def perform(emulator: Emulator, virtual_time: VirtualTime) -> Perform:
    return over_memory(emulator, "memory://emulator", virtual_time)


@pytest.fixture
def workflow(emulator: Emulator) -> Workflow:
    return emulator.add_workflow(output=dict, duration=Seconds(20))


@pytest.fixture
def runs(workflow: Workflow, virtual_time: VirtualTime) -> Runs:
    return made(workflow, virtual_time)


def made(workflow: Workflow, time: VirtualTime, **more: Any) -> Runs:
    shared: dict[str, Any] = {
        "options": {"app_id": "7", "ext": None},
        "reader": Reader(),
        "retry": RetryPolicy(),
        "rhythm": Rhythm(RUN_POLLS),
        "clock": time,
        "row_timeout": None,
        "until": None,
    }
    return Runs(workflow_id=workflow.id, **{**shared, **more})


def body_of(runs: Runs, ask: Ask) -> Any:
    effect = next(runs.start(ask, "m1", None))
    assert isinstance(effect, Send)
    return effect.request.json


def test_a_row_is_the_parameters(runs: Runs) -> None:
    assert body_of(runs, ONE) == {
        "workflow_id": runs.workflow_id,
        "parameters": {"text": "apple"},
        "is_async": True,
        "app_id": "7",
    }


def test_several_are_a_list_under_one_name_with_their_indexes(workflow: Workflow, virtual_time: VirtualTime) -> None:
    body = body_of(made(workflow, virtual_time, packed_parameter="inputs"), Ask(ITEMS))
    assert body["parameters"] == {"inputs": [{"text": "apple", "index": 3}, {"text": "pear", "index": 4}]}


def test_one_is_started_waited_for_and_read(runs: Runs, perform: Perform, virtual_time: VirtualTime) -> None:
    live = perform(runs.start(ONE, "m1", None))
    assert live.answered is None
    outcome = perform(runs.to_end(live))
    assert isinstance(outcome, Answered)
    assert outcome.outputs == {3: {"text": "apple"}}
    assert outcome.ids == live.ids
    assert 20 <= virtual_time.now - NOON < 27


def test_a_synchronous_one_is_answered_at_once(workflow: Workflow, perform: Perform, virtual_time: VirtualTime) -> None:
    workflow.duration = Immediate()
    live = perform(made(workflow, virtual_time, mode="sync").start(ONE, "m1", None))
    assert live.answered is not None
    assert live.answered.outputs == {3: {"text": "apple"}}
    assert live.ids["execute_id"]


class TestAPlanWithoutAsynchronousRuns:
    @pytest.fixture(autouse=True)
    def free(self, emulator: Emulator, workflow: Workflow) -> None:
        emulator.world.plan = "personal_free"
        workflow.duration = Immediate()

    def test_is_found_out_once(self, runs: Runs, perform: Perform, emulator: Emulator) -> None:
        for _ in range(3):
            assert perform(runs.start(ONE, "m1", None)).answered is not None
        assert emulator.requests["POST /v1/workflow/run"] == 4
        assert len(emulator.ledger) == 3

    def test_is_an_error_if_the_mode_is_async(
        self, workflow: Workflow, perform: Perform, virtual_time: VirtualTime
    ) -> None:
        with pytest.raises(CozePlanError):
            perform(made(workflow, virtual_time, mode="async").start(ONE, "m1", None))


def test_one_of_another_process_is_looked_at_at_once(runs: Runs, perform: Perform, virtual_time: VirtualTime) -> None:
    live = perform(runs.start(ONE, "m1", None))
    virtual_time.sleep(1_000)
    before = virtual_time.now
    old = Live(live.ask, live.marker, live.at, live.ids, is_old=True)
    assert isinstance(perform(runs.to_end(old)), Answered)
    assert virtual_time.now == before


def test_one_whose_record_shows_late_is_waited_for(runs: Runs, perform: Perform, emulator: Emulator) -> None:
    emulator.world.history_delay_seconds = 5.0
    live = perform(runs.start(ONE, "m1", None))
    old = Live(live.ask, live.marker, live.at, live.ids, is_old=True)
    assert isinstance(perform(runs.to_end(old)), Answered)


def test_when_the_batchs_time_is_up_it_goes_on(workflow: Workflow, perform: Perform, virtual_time: VirtualTime) -> None:
    limited = made(workflow, virtual_time, until=NOON + 10, row_timeout=300.0)
    assert perform(limited.to_end(perform(limited.start(ONE, "m1", None)))) is None


def test_when_its_own_time_is_up_it_goes_on_and_has_failed(
    workflow: Workflow, perform: Perform, virtual_time: VirtualTime
) -> None:
    limited = made(workflow, virtual_time, row_timeout=10.0)
    outcome = perform(limited.to_end(perform(limited.start(ONE, "m1", None))))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, CozeRunTimeoutError)


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_question_is_a_failure(workflow: Workflow, perform: Perform, virtual_time: VirtualTime, mode: str) -> None:
    workflow.interrupt, workflow.duration = Interrupt("Which city?"), Immediate()
    runs = made(workflow, virtual_time, mode=mode)
    outcome = perform(runs.to_end(perform(runs.start(ONE, "m1", None))))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, CozeRunInterruptedError)


def test_of_an_output_that_coze_has_trimmed_it_is_said_what_is_missing(
    workflow: Workflow, perform: Perform, emulator: Emulator, runs: Runs
) -> None:
    emulator.world.trim_output_bytes = 100
    workflow.output = {"long": "y" * 300}
    outcome = perform(runs.to_end(perform(runs.start(ONE, "m1", None))))
    assert isinstance(outcome, Answered)
    assert outcome.missing == ("the end of the end node's output",)


def test_no_repr_quotes_a_row_or_an_output(runs: Runs, perform: Perform) -> None:
    live = perform(runs.start(ONE, "m1", None))
    outcome = perform(runs.to_end(live))
    assert "apple" not in repr((live, outcome))
