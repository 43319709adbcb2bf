"""Coze's status words, in all their spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase, run_phase


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("created", Phase.ACTIVE),
        ("in_progress", Phase.ACTIVE),
        ("completed", Phase.DONE),
        ("compleated", Phase.DONE),
        ("failed", Phase.FAILED),
        ("expired", Phase.FAILED),
        ("deleted", Phase.FAILED),
        ("canceled", Phase.CANCELLED),
        ("cancelled", Phase.CANCELLED),
        ("conversation.chat.cancelled", Phase.CANCELLED),
        ("requires_action", Phase.NEEDS_INPUT),
        ("required_action", Phase.NEEDS_INPUT),
        ("COMPLETED", Phase.DONE),
        ("In_Progress", Phase.ACTIVE),
        ("reticulating_splines", Phase.UNKNOWN),
        ("", Phase.UNKNOWN),
    ],
)
def test_every_spelling_of_a_chats_status_means_its_phase(word: str, phase: Phase) -> None:
    assert chat_phase(word) is phase


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("Running", Phase.ACTIVE),
        ("Success", Phase.DONE),
        ("Fail", Phase.FAILED),
        ("Cancel", Phase.CANCELLED),
        ("running", Phase.ACTIVE),
        ("SUCCESS", Phase.DONE),
        ("<UNSET>", Phase.NEEDS_INPUT),
        ("", Phase.UNKNOWN),
    ],
)
def test_every_spelling_of_a_runs_status_means_its_phase(word: str, phase: Phase) -> None:
    assert run_phase(word) is phase


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("Running", Phase.NEEDS_INPUT),
        ("<UNSET>", Phase.NEEDS_INPUT),
        ("Success", Phase.DONE),
        ("Fail", Phase.FAILED),
        ("Cancel", Phase.CANCELLED),
    ],
)
def test_a_question_counts_only_while_the_run_has_not_ended(word: str, phase: Phase) -> None:
    assert run_phase(word, interrupted=True) is phase


@given(st.text())
def test_a_new_word_is_never_the_end(word: str) -> None:
    for phase in (chat_phase("new " + word), run_phase("new " + word)):
        assert phase is Phase.UNKNOWN
    assert Phase.UNKNOWN in WAITING


def test_only_activity_and_the_unknown_are_waited_on() -> None:
    assert {Phase.ACTIVE, Phase.UNKNOWN} == set(WAITING)
