"""Coze that cannot be reached for a while: what runs there is looked at again, as rows are sent again."""

from __future__ import annotations

import pytest

from airflow_provider_coze.batch.engine import Terminal
from airflow_provider_coze.emulator.scenarios import no_reply, reset
from tests.batch.stage import LISTED, MESSAGES, READ, SEND, Stage, rows

OF_A_CONVERSATION = "POST /v1/conversation/message/list"


@pytest.mark.parametrize("where", [READ, MESSAGES])
def test_a_chat_that_cannot_be_read_for_a_while_is_read_later(stage: Stage, where: str) -> None:
    stage.script(reset(), on=where, times=30)
    stage.play(rows(2))
    assert (len(stage.outputs), stage.billed, stage.engine.stop) == (2, 2, None)


def test_a_lost_chat_is_looked_for_later(stage: Stage) -> None:
    stage.script(no_reply(after_commit=True), on=SEND, times=2)
    stage.script(reset(), on=OF_A_CONVERSATION, times=30)
    stage.play(rows(2))
    assert (len(stage.outputs), stage.billed, stage.engine.stop) == (2, 2, None)


def test_so_are_all_that_are_looked_for_together(stage: Stage) -> None:
    stage.emulator.world.made_conversations_listed = True
    stage.play(rows(1), probes=True)
    stage.script(no_reply(after_commit=True), on=SEND, times=4)
    stage.script(reset(), on=LISTED, times=9)
    stage.play(rows(6))
    assert (len(stage.outputs), stage.billed, stage.engine.stop) == (6, 6, None)


def test_a_batch_stops_when_that_does_not_end_and_its_chats_are_left_to_a_retry(stage: Stage) -> None:
    stage.script(reset(), on=READ, times=None)
    stage.play(rows(2))
    assert stage.engine.stop is not None
    assert stage.engine.stop.reason is Terminal.REFUSED
    assert len(stage.past.open) == 2
