"""Looks come when chats like those that have ended are likely to end."""

from __future__ import annotations

import random

import pytest

from airflow_provider_coze.batch.rhythm import Rhythm
from airflow_provider_coze.protocol.pacing import SEARCH_POLLS, PollSchedule


def learn(rhythm: Rhythm, seconds: float, *, told: bool = False) -> None:
    """Have one that took so long be looked at as the rhythm has it."""
    _, before, late = looks_until(rhythm.polls, seconds)
    rhythm.learn(1_000 if told else 0, round(1_000 + seconds) if told else 0, before=before, age=seconds + late)


def looks_until(polls: PollSchedule, ends: float) -> tuple[int, float, float]:
    """Return how many looks it takes to see the end, when the last one was that did not, and how late it is seen."""
    age = before = 0.0
    looks = 0
    while age < ends:
        before, age = age, age + (polls.wait(age=age, left=None, chance=0.0) or 0.0)
        looks += 1
    return looks, before, age - ends


def test_until_some_have_ended_the_looks_are_as_they_are_for_any() -> None:
    rhythm = Rhythm(SEARCH_POLLS)
    for _ in range(19):
        learn(rhythm, 7)
    assert rhythm.polls == SEARCH_POLLS


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("seconds", [0.4, 1.0, 4.0, 30.0, 600.0])
def test_of_chats_that_take_equally_long_few_looks_see_the_end_soon(seconds: float, told: bool) -> None:
    rhythm = Rhythm(PollSchedule(first_seconds=1.0, ceiling_seconds=1e9))
    for _ in range(300):
        learn(rhythm, seconds, told=told)
    looks, _, late = looks_until(rhythm.polls, seconds)
    assert looks <= (2 if told else 4)
    assert late <= max(1.1, 0.1 * seconds)


def test_looks_that_come_late_do_not_make_the_next_ones_later() -> None:
    rhythm = Rhythm(SEARCH_POLLS)
    for _ in range(2_000):
        _, before, late = looks_until(rhythm.polls, 0.9)
        rhythm.learn(0, 0, before=before, age=0.9 + late + 0.3)  # the loop was busy
    assert rhythm.polls.early[0] < 1.6


def test_of_chats_of_many_lengths_there_are_fewer_looks_and_the_ends_are_not_seen_much_later() -> None:
    chance = random.Random(7)  # noqa: S311
    rhythm = Rhythm(SEARCH_POLLS)
    lengths = [chance.uniform(2, 20) for _ in range(400)]
    for length in lengths:
        learn(rhythm, length)
    learnt, before = ([looks_until(polls, length) for length in lengths] for polls in (rhythm.polls, SEARCH_POLLS))
    assert sum(looks for looks, _, _ in learnt) < 0.55 * sum(looks for looks, _, _ in before)
    assert sum(late for _, _, late in learnt) / len(lengths) < 3.0


def test_clocks_that_were_set_back_teach_nothing_impossible() -> None:
    rhythm = Rhythm(SEARCH_POLLS)
    for _ in range(20):
        rhythm.learn(2_000, 1_000, before=0.0, age=-3_600.0)
    assert rhythm.polls.early == (1.0,)


def test_what_changes_is_learnt_anew() -> None:
    rhythm = Rhythm(SEARCH_POLLS)
    for seconds in [2.0] * 600 + [9.0] * 600:
        learn(rhythm, seconds, told=True)
    assert rhythm.polls.early == (9.75,)
