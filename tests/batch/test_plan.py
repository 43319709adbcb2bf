"""What is done about each row that comes in, by what earlier tries have left."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from airflow_provider_coze.batch.asks import Ask, Item, Live
from airflow_provider_coze.batch.past import OpenSubmission, Past
from airflow_provider_coze.batch.plan import Doubt, Job, Plan, hash_of
from airflow_provider_coze.batch.rows import BadRow

AT = 1_000.0


def item(index: int, hash_: str = "") -> Item:
    return Item(index, f"row {index}", f"row {index}", hash_ or f"h{index}")


def items(*indexes: int) -> list[Item]:
    return [item(index) for index in indexes]


def ended(past: Past, index: int, *, error: str | None = None, hash_: str | None = None) -> None:
    line = {
        "index": index,
        "input_hash": f"h{index}" if hash_ is None else hash_,
        "error": error and {"type": error, "code": 5000},
        "usage": None,
    }
    past.has_result((0, 0, 0), line)


def sent(past: Past, *indexes: int, marker: str = "m", ids: bool = True, conversation_id: str | None = None) -> None:
    submission = OpenSubmission(marker, indexes, hash_of(items(*indexes)), AT, conversation_id)
    past.intended(submission)
    if ids:
        past.bought(marker, {"chat_id": f"c-{marker}", "conversation_id": "v"}, AT)


def planned(past: Past, rows: Iterable[Item | BadRow], **options: int) -> list[Job]:
    return list(Plan(past, **options).jobs(rows))


def test_rows_are_asked_in_their_order() -> None:
    assert planned(Past(), items(0, 1, 2)) == [Ask((item(index),)) for index in range(3)]


def test_several_share_a_request_and_the_last_one_has_what_is_left() -> None:
    jobs = planned(Past(), items(*range(7)), rows_per_call=3)
    assert [job.indexes for job in jobs if isinstance(job, Ask)] == [(0, 1, 2), (3, 4, 5), (6,)]


def test_rows_that_have_an_outcome_are_not_asked() -> None:
    past = Past()
    ended(past, 0)
    ended(past, 1, error="CozeChatFailedError")
    assert planned(past, items(0, 1, 2)) == [Ask((item(2),))]


def test_rows_that_failed_are_asked_as_if_for_the_first_time_if_that_was_noted() -> None:
    past = Past()
    sent(past, 1)
    ended(past, 0)
    ended(past, 1, error="CozeChatFailedError")
    past.forget_failures()
    assert planned(past, items(0, 1)) == [Ask((item(1),), tries=0)]


def test_a_row_whose_input_is_another_than_it_was_is_asked_anew() -> None:
    past = Past()
    ended(past, 0)
    plan = Plan(past)
    assert list(plan.jobs([item(0, "other")])) == [Ask((item(0, "other"),))]
    assert plan.changed == 1


def test_a_row_takes_along_how_often_it_was_tried() -> None:
    past = Past()
    sent(past, 0)
    past.over("m", None)
    assert planned(past, items(0)) == [Ask((item(0),), tries=1)]


class TestBadRows:
    def test_they_are_recorded_once(self) -> None:
        past, bad = Past(), BadRow(3, "empty", "there is nothing in it")
        assert planned(past, [bad]) == [bad]
        ended(past, 3, error="CozeInputError", hash_="")
        assert planned(past, [bad]) == []

    def test_and_again_when_what_failed_is_to_count_no_more(self) -> None:
        past, bad = Past(), BadRow(3, "empty", "there is nothing in it")
        ended(past, 3, error="CozeInputError", hash_="")
        past.forget_failures()
        assert planned(past, [bad]) == [bad]

    def test_and_in_the_place_of_an_outcome_of_an_earlier_input(self) -> None:
        past, bad = Past(), BadRow(3, "empty", "there is nothing in it")
        ended(past, 3)
        assert planned(past, [bad]) == [bad]


class TestWhatIsGoingOn:
    def test_a_chat_that_was_bought_is_adopted(self) -> None:
        past = Past()
        sent(past, 0, conversation_id="own")
        ids = {"chat_id": "c-m", "conversation_id": "v"}
        assert planned(past, items(0)) == [Live(Ask((item(0),), first_at=AT), "m", AT, ids, "own", is_old=True)]

    def test_a_request_without_a_reply_is_looked_for(self) -> None:
        past = Past()
        sent(past, 0, ids=False, conversation_id="own")
        assert planned(past, items(0)) == [Doubt(Ask((item(0),), first_at=AT), "m", AT, "own")]

    def test_it_counts_among_the_tries_of_its_row_only_once_it_has_failed(self) -> None:
        past = Past()
        sent(past, 0, marker="a")
        past.over("a", None)
        sent(past, 0, marker="b")
        [job] = planned(past, items(0))
        assert isinstance(job, Live)
        assert job.ask.tries == 1

    def test_one_with_several_rows_waits_until_all_of_them_have_come(self) -> None:
        past = Past()
        sent(past, 0, 3)
        jobs = planned(past, items(0, 1, 2, 3, 4))
        assert [type(job).__name__ for job in jobs] == ["Ask", "Ask", "Live", "Ask"]
        assert isinstance(jobs[2], Live)
        assert jobs[2].ask.indexes == (0, 3)

    def test_its_rows_are_asked_anew_if_one_of_them_is_another(self) -> None:
        past = Past()
        sent(past, 0, 1)
        plan = Plan(past, rows_per_call=2)
        assert list(plan.jobs([item(0), item(1, "other")])) == [Ask((item(0),)), Ask((item(1, "other"),))]
        assert plan.changed == 2

    def test_but_not_those_that_have_an_outcome_already(self) -> None:
        past = Past()
        sent(past, 0, 1)
        ended(past, 0)
        assert planned(past, [item(0), item(1, "other")]) == [Ask((item(1, "other"),))]

    def test_if_the_input_has_fewer_rows_than_it_had_the_others_are_asked_anew(self) -> None:
        past = Past()
        sent(past, 0, 1)
        assert planned(past, items(0)) == [Ask((item(0),))]


class TestWhichOutcomesBelongToTheInput:
    @pytest.fixture
    def past(self) -> Past:
        past = Past()
        for index in range(3):
            ended(past, index)
        return past

    def belonging(self, past: Past, plan: Plan) -> list[int]:
        return [known.index for known in past.results() if plan.belongs(known)]

    def test_all_as_long_as_it_was_not_read_so_far(self, past: Past) -> None:
        assert self.belonging(past, Plan(past)) == [0, 1, 2]

    def test_not_those_of_rows_that_are_gone(self, past: Past) -> None:
        plan = Plan(past)
        list(plan.jobs(items(0, 1)))
        assert self.belonging(past, plan) == [0, 1]
        assert plan.seen_all == 2

    def test_not_those_of_rows_that_have_changed(self, past: Past) -> None:
        plan = Plan(past)
        list(plan.jobs([item(0, "other"), item(1), item(2)]))
        assert self.belonging(past, plan) == [1, 2]
