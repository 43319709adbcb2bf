"""The tokens of a task: counted piece by piece over deferrals and tries, and stopped at a budget before the next bill."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.errors import CozeTokenBudgetError
from airflow_provider_coze.operators import usage as module
from airflow_provider_coze.operators.usage import UsageLedger, budget_problems
from airflow_provider_coze.protocol.models import Usage
from airflow_provider_coze.protocol.policy import Action, has_spent, verdict
from tests.tasks import NOON, TaskInstance

LOG = logging.getLogger("tests.usage")
CHAT, REPAIR = Usage(120, 100, 20), Usage(50, 45, 5)


class StateStore:
    """Airflow's task state store: what it is given comes back as JSON has it, in the next try as well."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.reads = self.writes = 0

    def get(self, key: str) -> Any:
        self.reads += 1
        return json.loads(self.kept[key]) if key in self.kept else None

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.writes += 1
        self.kept[key] = json.dumps(value)


class Broken(StateStore):
    """One that cannot be reached."""

    def get(self, key: str) -> Any:
        raise ConnectionError("the API server's own words")

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        raise ConnectionError("the API server's own words")


def ledger(ti: TaskInstance | None = None, store: StateStore | None = None, **options: Any) -> UsageLedger:
    """Return the ledger of a try as Airflow begins it."""
    context = {"ti": ti or TaskInstance(), **({} if store is None else {"task_state_store": store})}
    return UsageLedger(context, **{"log": LOG, "kind": "chat", **options})


# --- what is counted


def test_the_usage_of_one_chat_has_the_four_fields_it_always_had_and_says_that_it_is_all() -> None:
    book = ledger(TaskInstance(try_number=1))
    book.add(CHAT, "chat", "7512")
    assert book.to_xcom() == {
        "token_count": 120,
        "input_count": 100,
        "output_count": 20,
        "try_number": 1,
        "total": {"token_count": 120, "input_count": 100, "output_count": 20},
        "attempts": [
            {
                "try_number": 1,
                "what": "chat",
                "id": "7512",
                "token_count": 120,
                "input_count": 100,
                "output_count": 20,
                "reported": True,
            }
        ],
        "complete": True,
    }


def test_pieces_of_one_try_add_up() -> None:
    book = ledger()
    book.add(CHAT, "chat", "1")
    book.add(REPAIR, "repair turn", "2")
    found = book.to_xcom()
    assert found is not None
    assert (found["token_count"], found["input_count"], found["output_count"]) == (170, 145, 25)
    assert [(piece["what"], piece["token_count"]) for piece in found["attempts"]] == [
        ("chat", 120),
        ("repair turn", 50),
    ]


def test_a_later_report_of_the_same_chat_takes_the_place_of_the_one_before() -> None:
    book = ledger()
    book.add(Usage(40, 35, 5), "chat", "1")
    book.add(CHAT, "tool outputs", "1")
    found = book.to_xcom()
    assert found is not None
    assert found["total"] == CHAT.to_dict()
    assert [piece["what"] for piece in found["attempts"]] == ["chat"]


def test_a_report_is_not_forgotten_when_the_next_look_brings_none() -> None:
    book = ledger()
    book.add(CHAT, "chat", "1")
    book.add(None, "chat", "1")
    assert book.used() == 120


def test_what_coze_does_not_say_counts_as_nothing_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    book = ledger()
    book.add(None, "chat", "1")
    book.add(None, "repair turn", "2")
    assert [record.getMessage() for record in caplog.records] == [
        "Coze did not say how many tokens chat 1 used; it counts as 0"
    ]
    assert book.used() == 0
    assert book.to_xcom() is None  # as ever: no figure is better than a wrong one
    book.add(CHAT, "repair turn", "3")
    found = book.to_xcom()
    assert found is not None
    assert found["complete"] is False
    assert [piece["reported"] for piece in found["attempts"]] == [False, False, True]


# --- over a deferral


def test_without_a_store_the_pieces_of_a_try_come_back_out_of_its_xcom() -> None:
    ti = TaskInstance()
    before = ledger(ti)
    before.add(CHAT, "chat", "1")
    ti.xcom_push("usage", before.to_xcom())
    after = ledger(ti, resumed=True)
    after.add(REPAIR, "repair turn", "2")
    found = after.to_xcom()
    assert found is not None
    assert found["token_count"] == 170
    assert found["complete"] is True


def test_a_task_that_begins_anew_does_not_believe_an_xcom() -> None:
    ti = TaskInstance(try_number=2)
    ti.xcom_push("usage", {"try_number": 2, "attempts": [{"id": "1", "token_count": 9, "reported": True}]})
    assert ledger(ti).used() == 0


@pytest.mark.parametrize(
    "pushed", [None, "170", [], {"try_number": 7, "attempts": [{}]}, {"try_number": 1, "attempts": 3}]
)
def test_an_xcom_that_is_not_of_this_try_counts_nothing(pushed: Any) -> None:
    ti = TaskInstance()
    ti.xcom_push("usage", pushed)
    assert ledger(ti, resumed=True).used() == 0


# --- over tries


def test_with_a_store_a_retry_knows_what_the_try_before_used() -> None:
    store = StateStore()
    ledger(TaskInstance(try_number=1), store).add(CHAT, "chat", "1")
    book = ledger(TaskInstance(try_number=2), store)
    book.add(REPAIR, "chat", "2")
    found = book.to_xcom()
    assert found is not None
    assert (found["try_number"], found["token_count"]) == (2, 50)
    assert found["total"] == {"token_count": 170, "input_count": 145, "output_count": 25}
    assert [(piece["try_number"], piece["id"]) for piece in found["attempts"]] == [(1, "1"), (2, "2")]
    assert found["complete"] is True


def test_without_a_store_a_retry_says_that_it_does_not_know() -> None:
    book = ledger(TaskInstance(try_number=2))
    book.add(CHAT, "chat", "1")
    found = book.to_xcom()
    assert found is not None
    assert found["complete"] is False
    assert found["total"] == CHAT.to_dict()


def test_a_chat_that_a_retry_goes_on_with_counts_once() -> None:
    store = StateStore()
    ledger(TaskInstance(try_number=1), store).add(CHAT, "chat", "1")
    book = ledger(TaskInstance(try_number=2), store)
    book.add(CHAT, "chat", "1")
    found = book.to_xcom()
    assert found is not None
    assert found["total"] == CHAT.to_dict()
    assert found["token_count"] == 120


def test_a_store_in_files_works_as_airflows_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COZE__STATE_PATH", f"file://{tmp_path / 'kept'}")
    ledger(TaskInstance(try_number=1)).add(CHAT, "chat", "1")
    [file] = (tmp_path / "kept").iterdir()
    assert file.name.endswith(".usage.json")
    assert ledger(TaskInstance(try_number=2)).used() == 120


def test_a_task_that_is_not_durable_keeps_nothing() -> None:
    store = StateStore()
    ledger(TaskInstance(), store, keeps=False).add(CHAT, "chat", "1")
    assert store.kept == {}


def test_the_first_try_asks_no_store() -> None:
    store = StateStore()
    book = ledger(TaskInstance(try_number=1), store, budget=1000)
    book.check("a chat")
    book.add(CHAT, "chat", "1")
    book.to_xcom()
    assert (store.reads, store.writes) == (0, 1)


def test_a_store_that_is_down_costs_the_count_and_never_the_task(caplog: pytest.LogCaptureFixture) -> None:
    book = ledger(TaskInstance(try_number=2), Broken(), budget=1000)
    book.check("a chat")
    book.add(CHAT, "chat", "1")
    found = book.to_xcom()
    assert found is not None
    assert found["complete"] is False
    assert "own words" not in caplog.text  # they may hold credentials
    assert [record.getMessage() for record in caplog.records] == [
        "What earlier tries used could not be read (ConnectionError)"
    ]


def test_what_cannot_be_kept_is_said(caplog: pytest.LogCaptureFixture) -> None:
    ledger(TaskInstance(try_number=1), Broken()).add(CHAT, "chat", "1")
    assert [record.getMessage() for record in caplog.records] == [
        "What this try used could not be kept for later tries (ConnectionError)"
    ]


@pytest.mark.parametrize(
    "kept", ["null", "7", '{"a": 1}', '[3, null, {"id": "1", "reported": true, "token_count": "many"}]']
)
def test_a_store_that_holds_something_else_counts_nothing(kept: str) -> None:
    store = StateStore()
    store.kept["coze_usage"] = kept
    assert ledger(TaskInstance(try_number=2), store).used() == 0


# --- the budget


def test_below_the_budget_everything_goes_on() -> None:
    book = ledger(budget=121)
    book.check("the chat")
    book.add(CHAT, "chat", "1")
    book.check("a repair turn")


@pytest.mark.parametrize("budget", [1, 119, 120])
def test_at_the_budget_nothing_more_is_sent_and_the_error_says_all(budget: int) -> None:
    book = ledger(budget=budget)
    book.add(CHAT, "chat", "7512")
    with pytest.raises(CozeTokenBudgetError) as raised:
        book.check("a repair turn", chat_id="7512", conversation_id="7513", execute_id=None)
    error = raised.value
    assert error.facts() == {"chat_id": "7512", "conversation_id": "7513"}
    assert str(error) == (
        "A repair turn was not sent: task 'ask' has used 120 tokens in this try, and its token_budget is "
        f"{budget} (chat 7512: 120). Nothing more was sent to Coze, and what was used is billed. A retry would begin to count at 0, "
        "so the task is not retried by itself; to go on, raise token_budget."
    )


def test_without_a_budget_there_is_no_end_and_nobody_is_asked() -> None:
    store = StateStore()
    book = ledger(TaskInstance(try_number=2), store)
    book.check("the chat")
    assert store.reads == 0


def test_a_retry_that_would_go_over_the_budget_sends_nothing() -> None:
    store = StateStore()
    ledger(TaskInstance(try_number=1), store).add(CHAT, "chat", "1")
    with pytest.raises(
        CozeTokenBudgetError, match=r"in all tries since the task was cleared last.*A retry counts them as well"
    ):
        ledger(TaskInstance(try_number=2), store, budget=100).check("the chat")


def test_a_task_that_a_person_clears_has_its_budget_anew_and_its_bill_goes_on() -> None:
    store = StateStore()
    ledger(TaskInstance(try_number=1, max_tries=2), store).add(CHAT, "chat", "1")
    cleared = ledger(TaskInstance(try_number=2, max_tries=3), store, budget=100)
    cleared.check("the chat")
    cleared.add(REPAIR, "chat", "2")
    found = cleared.to_xcom()
    assert found is not None
    assert cleared.used() == 50
    assert found["total"]["token_count"] == 170


def test_a_budget_that_is_used_up_is_no_reason_for_a_retry() -> None:
    error = CozeTokenBudgetError("used up", chat_id="1")
    assert verdict(error, spent=has_spent(error), now=NOON).action is Action.FAIL


@pytest.mark.parametrize("budget", [None, 1, 10_000_000])
def test_a_budget_is_a_whole_number_over_zero_or_none(budget: int | None) -> None:
    assert budget_problems(budget) == []


@pytest.mark.parametrize("budget", [0, -1, True, 1.5, "1000", [1]])
def test_anything_else_is_named_as_the_problem(budget: object) -> None:
    [problem] = budget_problems(budget)
    assert "token_budget" in problem
    assert repr(budget) in problem


# --- the metric


def test_no_token_is_in_the_metric_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[int, str, str, str]] = []
    monkeypatch.setattr(
        module,
        "count_tokens",
        lambda usage, *, what, dag_id, task_id: counted.append((usage.token_count, what, dag_id, task_id)),
    )
    store = StateStore()
    book = ledger(TaskInstance(try_number=1), store, kind="run")
    book.add(Usage(40, 35, 5), "run", "1")
    book.add(CHAT, "run", "1")
    ledger(TaskInstance(try_number=2), store, kind="run").add(CHAT, "run", "1")
    assert [tokens for tokens, *_ in counted] == [40, 80, 0]
    assert {each[1:] for each in counted} == {("run", "tests", "ask")}
