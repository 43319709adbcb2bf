"""How often to look: the rhythm of polling."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from typing import Any

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
    polls = replace(polls, early=())  # what is young is looked at when it is likely to end
    waits = [polls.wait(age=age, left=None, chance=chance) or 0.0 for age in (young, old)]
    assert waits == sorted(waits)


@given(schedules, ages)
def test_looks_of_tasks_that_began_together_are_spread_by_up_to_a_tenth(polls: PollSchedule, age: float) -> None:
    latest = polls.wait(age=age, left=None, chance=0.0) or 0.0
    earliest = polls.wait(age=age, left=None, chance=0.999) or 0.0
    assert max(1.0, 0.9 * latest) <= earliest <= latest
    if latest > 1.3:
        assert earliest < latest


@pytest.mark.parametrize(
    ("polls", "age", "wait"),
    [
        (CHAT_POLLS, 0.0, 3.5),
        (CHAT_POLLS, 3.5, 3.4),
        (CHAT_POLLS, 6.0, 5.1),
        (CHAT_POLLS, 24.0, 6.0),
        (CHAT_POLLS, 4_000.0, 10.0),
        (RUN_POLLS, 0.0, 2.0),
        (RUN_POLLS, 40.0, 10.0),
        (RUN_POLLS, 4_000.0, 30.0),
    ],
)
def test_a_wait_is_a_quarter_of_the_age_between_its_bounds_once_the_early_looks_are_over(
    polls: PollSchedule, age: float, wait: float
) -> None:
    assert polls.wait(age=age, left=None, chance=0.0) == pytest.approx(wait)


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


# --- short chats, beside the loop that everybody writes: look, sleep 5 s, look again


def _every_five_seconds(takes: float) -> tuple[float, int]:
    """Return how late the end is noticed, and with how many looks; the first is made at once."""
    sleeps = math.ceil(takes / 5)
    return 5 * sleeps - takes, sleeps + 1


def _by_schedule(takes: float, chance: random.Random) -> tuple[float, int]:
    age, looks = 0.0, 0
    while True:
        age += CHAT_POLLS.wait(age=age, left=None, chance=chance.random()) or 0.0
        looks += 1
        if age >= takes:
            return age - takes, looks
        age += 0.05  # what the look itself takes


@pytest.mark.parametrize(
    ("seconds", "late", "later"),
    [(lambda share: 2 + 18 * share, 0.57, 0.70), (lambda share: 2 * 10**share, 0.58, 0.72)],
    ids=["as many of each length from 2 to 20 s", "as many of each order of magnitude"],
)
def test_short_chats_are_noticed_in_six_tenths_of_the_time_with_no_more_looks(
    seconds: Any, late: float, later: float
) -> None:
    chance = random.Random(1)  # noqa: S311 - nothing secret
    chats = [seconds((number + 0.5) / 4_000) for number in range(4_000)]
    fixed, ours = [_every_five_seconds(chat) for chat in chats], [_by_schedule(chat, chance) for chat in chats]
    median = statistics.median(lag for lag, _ in ours) / statistics.median(lag for lag, _ in fixed)
    mean = statistics.mean(lag for lag, _ in ours) / statistics.mean(lag for lag, _ in fixed)
    assert median == pytest.approx(late, abs=0.02)
    assert median <= 0.6
    assert mean == pytest.approx(later, abs=0.02)
    assert sum(looks for _, looks in ours) <= sum(looks for _, looks in fixed)
    assert max(lag for lag, _ in ours) < 5.0
