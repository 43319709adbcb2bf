"""How often to look: the rhythm of polling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS, PollSchedule

schedules = st.sampled_from([CHAT_POLLS, RUN_POLLS]).flatmap(
    lambda known: st.builds(known.below, st.none() | st.floats(0.01, 600))
)
ages = st.floats(-10, 1e7)
chances = st.floats(0, 1, exclude_max=True)


@given(schedules, ages, chances)
def test_looks_are_at_least_a_second_apart_and_never_more_than_the_ceiling(
    polls: PollSchedule, age: float, chance: float
) -> None:
    wait = polls.wait(age=age, left=None, chance=chance)
    assert wait is not None
    assert 1.0 <= wait <= polls.ceiling_seconds


@given(schedules, ages, chances, st.floats(1e-6, 1e7))
def test_the_last_look_is_made_right_at_the_deadline(
    polls: PollSchedule, age: float, chance: float, left: float
) -> None:
    wait = polls.wait(age=age, left=left, chance=chance)
    unhurried = polls.wait(age=age, left=None, chance=chance)
    assert unhurried is not None
    assert wait == min(left, unhurried)


@given(schedules, ages, chances, st.floats(-1e7, 0))
def test_after_the_deadline_there_is_no_look(polls: PollSchedule, age: float, chance: float, left: float) -> None:
    assert polls.wait(age=age, left=left, chance=chance) is None


@given(schedules, ages, ages, chances)
def test_older_work_is_not_looked_at_more_often(polls: PollSchedule, one: float, other: float, chance: float) -> None:
    young, old = sorted((one, other))
    waits = [polls.wait(age=age, left=None, chance=chance) or 0.0 for age in (young, old)]
    assert waits == sorted(waits)


@given(schedules, ages)
def test_looks_of_tasks_that_began_together_are_spread_by_up_to_a_fifth(polls: PollSchedule, age: float) -> None:
    latest = polls.wait(age=age, left=None, chance=0.0) or 0.0
    earliest = polls.wait(age=age, left=None, chance=0.999) or 0.0
    assert max(1.0, 0.8 * latest) <= earliest <= latest
    if latest > 1.3:
        assert earliest < latest


@pytest.mark.parametrize(
    ("polls", "age", "wait"),
    [
        (CHAT_POLLS, 0.0, 1.0),
        (CHAT_POLLS, 8.0, 2.0),
        (CHAT_POLLS, 4_000.0, 10.0),
        (RUN_POLLS, 0.0, 2.0),
        (RUN_POLLS, 40.0, 10.0),
        (RUN_POLLS, 4_000.0, 30.0),
    ],
)
def test_a_wait_is_a_quarter_of_the_age_between_its_bounds(polls: PollSchedule, age: float, wait: float) -> None:
    assert polls.wait(age=age, left=None, chance=0.0) == wait


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        (None, RUN_POLLS),
        (5.0, PollSchedule(2.0, 5.0)),
        (1.5, PollSchedule(1.5, 1.5)),
        (0.1, PollSchedule(1.0, 1.0)),
        (60.0, PollSchedule(2.0, 60.0)),
    ],
)
def test_another_ceiling_keeps_the_rhythm_below_it(ceiling: float | None, expected: PollSchedule) -> None:
    assert RUN_POLLS.below(ceiling) == expected
