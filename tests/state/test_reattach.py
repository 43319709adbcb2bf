"""The table of what a try does about the record before it, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.state.reattach import (
    REUSES,
    Attach,
    Decision,
    Look,
    Reconcile,
    Remote,
    Submit,
    Unknown,
    decide,
    ids_of,
)
from airflow_provider_coze.state.record import Intent, Submitted

GENERATION = 2
BOUGHT = Submitted("same", "key/1/same", 1.0, {"chat_id": "2"})
HANDED_OVER = Submitted("same", "key/1/same", 1.0, {"chat_id": "2"}, delivered=GENERATION)
HANDED_OVER_BEFORE_A_CLEAR = Submitted("same", "key/1/same", 1.0, {"chat_id": "2"}, delivered=GENERATION - 1)
NOT_SENT = Intent("same", "key/1/same", 1.0)
MAYBE_SENT = Intent("same", "key/1/same", 1.0, sent_to="100")


def for_chat(record: Any, **more: Any) -> Decision:
    return decide(record, fingerprint="same", generation=GENERATION, needs_conversation=True, **more)


def for_run(record: Any, **more: Any) -> Decision:
    return decide(record, fingerprint="same", generation=GENERATION, needs_conversation=False, **more)


BOTH = pytest.mark.parametrize("decided", [for_chat, for_run], ids=["chat", "run"])


@BOTH
def test_without_a_record_one_is_bought(decided: Any) -> None:
    assert decided(None) == Submit()


@BOTH
@pytest.mark.parametrize("record", [NOT_SENT, MAYBE_SENT, BOUGHT, HANDED_OVER])
@pytest.mark.parametrize("remote", [None, *Remote])
def test_who_reuses_never_buys_whatever_there_is_and_is_told(decided: Any, record: Any, remote: Any) -> None:
    assert decided(record, reuse="never", remote=remote) == Submit('reuse is "never"')


@BOTH
@pytest.mark.parametrize("reuse", ["unfinished", "always"])
def test_another_input_is_other_work(decided: Any, reuse: str) -> None:
    decision = decided(Submitted("other", "key/1/other", 1.0, {"chat_id": "2"}), reuse=reuse)
    assert decision == Submit("the rendered input is not the recorded one's")


@BOTH
def test_a_clear_after_the_answer_asks_anew(decided: Any) -> None:
    assert decided(HANDED_OVER_BEFORE_A_CLEAR) == Submit("the task was cleared after it had its answer")


@BOTH
def test_a_clear_after_the_answer_gets_it_again_if_the_user_says_always(decided: Any) -> None:
    assert decided(HANDED_OVER_BEFORE_A_CLEAR, reuse="always") == Look()
    assert decided(HANDED_OVER_BEFORE_A_CLEAR, reuse="always", remote=Remote.DONE) == Attach()


@BOTH
def test_an_automatic_retry_after_the_answer_gets_it_again(decided: Any) -> None:
    assert decided(HANDED_OVER) == Look()
    assert decided(HANDED_OVER, remote=Remote.DONE) == Attach()


def test_a_chat_that_had_no_conversation_yet_was_not_sent() -> None:
    assert for_chat(NOT_SENT) == Submit()


def test_a_chat_that_had_a_conversation_is_looked_for_there() -> None:
    assert for_chat(MAYBE_SENT) == Reconcile()


@pytest.mark.parametrize("intent", [NOT_SENT, MAYBE_SENT])
def test_a_run_of_which_only_the_intent_is_known_is_unknown(intent: Intent) -> None:
    assert isinstance(for_run(intent), Unknown)


@BOTH
def test_what_was_bought_is_looked_at_before_anything_is_decided(decided: Any) -> None:
    assert decided(BOUGHT) == Look()


@BOTH
@pytest.mark.parametrize("remote", [Remote.ALIVE, Remote.DONE])
def test_what_goes_on_or_is_done_is_gone_on_with(decided: Any, remote: Remote) -> None:
    assert decided(BOUGHT, remote=remote) == Attach()


@BOTH
def test_what_failed_is_bought_anew(decided: Any) -> None:
    assert decided(BOUGHT, remote=Remote.FAILED) == Submit("the recorded one ended without an answer")


@BOTH
def test_what_coze_does_not_know_any_more_is_unknown(decided: Any) -> None:
    assert isinstance(decided(BOUGHT, remote=Remote.GONE), Unknown)


@given(
    record=st.one_of(
        st.none(),
        st.builds(Intent, st.sampled_from("ab"), st.text(), st.floats(), st.none() | st.text(min_size=1)),
        st.builds(Submitted, st.sampled_from("ab"), st.text(), st.floats(), st.just({}), st.none() | st.integers(0, 3)),
    ),
    generation=st.integers(0, 3),
    reuse=st.sampled_from(REUSES),
    remote=st.none() | st.sampled_from(Remote),
    needs_conversation=st.booleans(),
)
def test_every_case_has_a_row_and_nothing_is_bought_silently_beside_work_that_goes_on(
    record: Any, generation: int, reuse: str, remote: Remote | None, needs_conversation: bool
) -> None:
    decision = decide(
        record,
        fingerprint="a",
        generation=generation,
        reuse=reuse,
        remote=remote,
        needs_conversation=needs_conversation,
    )
    assert isinstance(decision, Submit | Look | Attach | Reconcile | Unknown)
    if isinstance(record, Submitted) and decision == Submit():
        pytest.fail("a second one is bought without a reason for the log")
    if isinstance(decision, Look):
        assert remote is None
    if isinstance(decision, Attach):
        assert isinstance(record, Submitted)
        assert record.fingerprint == "a"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "no ids"),
        (NOT_SENT, "no ids"),
        (MAYBE_SENT, "conversation_id 100"),
        (
            Submitted("p", "m", 1.0, {"workflow_id": "3", "execute_id": "4", "debug_url": ""}),
            "workflow_id 3, execute_id 4",
        ),
    ],
)
def test_the_log_names_what_is_known(record: Any, said: str) -> None:
    assert ids_of(record) == said
