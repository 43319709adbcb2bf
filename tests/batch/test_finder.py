"""Where the chats of a batch are: found among the conversations of their bot, or shown never to have arrived, or neither."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_coze.batch import finder as finders
from airflow_provider_coze.batch.asks import Ask
from airflow_provider_coze.batch.past import Past
from airflow_provider_coze.batch.plan import Doubt
from airflow_provider_coze.emulator.store import Conversation
from airflow_provider_coze.errors import CozeOutcomeUnknownError
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.batch.stage import LISTED, Stage, rows

HISTORY = "POST /v1/conversation/message/list"


@pytest.fixture(autouse=True)
def listed(stage: Stage) -> None:
    stage.emulator.world.made_conversations_listed = True


def send(stage: Stage, *markers: str, text: str = "sleep 4") -> None:
    """Send chats, and lose their replies."""

    async def sent() -> None:
        for marker in markers:
            message: Any = {
                "role": "user",
                "content_type": "text",
                "content": text,
                "meta_data": {MARKER_FIELD: marker},
            }
            call = create_chat(bot_id=stage.bot.id, user_id="u", additional_messages=[message], options={})
            await stage.perform(flows.call(call, RetryPolicy()))

    asyncio.run(sent())


def doubts(stage: Stage, *markers: str) -> list[Doubt]:
    return [Doubt(Ask(tuple(rows(1))), marker, stage.time()) for marker in markers]


def look(stage: Stage, *markers: str, **options: Any) -> dict[str, str | None]:
    """Look for chats, and return the ids of those that were found."""
    finder = stage.finder(Past(), **options)
    found = asyncio.run(finder.find_listed(doubts(stage, *markers)))
    return {marker: chat and chat.id for marker, chat in found.items()}


def somebodys(stage: Stage, **fields: Any) -> Conversation:
    """Add a conversation that is none of ours."""
    return stage.emulator.store.new_conversation(
        owner=f"{stage.emulator.world.user_id}/", bot_id=stage.bot.id, **fields
    )


def test_chats_are_known_by_their_markers(stage: Stage) -> None:
    send(stage, "a", "b", "c")
    ids = [bill.id for bill in stage.emulator.ledger]
    assert look(stage, "a", "c", "never sent") == {"a": ids[0], "c": ids[2], "never sent": None}


def test_what_may_not_be_listed_yet_is_waited_for(stage: Stage) -> None:
    stage.emulator.world.conversation_list_delay_seconds = 4.0
    send(stage, "a")
    assert look(stage, "a") == {"a": stage.emulator.ledger[0].id}


def test_a_chat_whose_question_shows_only_when_it_is_over_is_waited_for(stage: Stage) -> None:
    stage.emulator.world.question_listed_at_once = False
    send(stage, "a", text="sleep 60")
    assert look(stage, "a") == {"a": stage.emulator.ledger[0].id}


def test_one_that_has_arrived_and_never_answers_is_neither_found_nor_missing(stage: Stage) -> None:
    send(stage, "a", text="fail")
    assert look(stage, "a", "b", patience=60.0) == {}


def test_an_empty_conversation_of_somebody_else_proves_nothing(stage: Stage) -> None:
    somebodys(stage)
    assert look(stage, "a", patience=60.0) == {}


def test_nobody_looks_for_longer_than_until_the_end(stage: Stage) -> None:
    somebodys(stage)
    begun = stage.time()
    look(stage, "a", until=begun + 30)
    assert stage.time() - begun <= 30


def test_conversations_that_are_known_are_not_read(stage: Stage) -> None:
    finder = stage.finder(Past())
    for _ in range(5):
        finder.know(somebodys(stage).id)
        somebodys(stage, meta_data={MARKER_FIELD: "of a batch, with a conversation of its own"})
    assert asyncio.run(finder.find_listed(doubts(stage, "a"))) == {"a": None}
    assert stage.asked(HISTORY) == 0


def test_only_as_many_pages_are_read_as_can_hold_it(stage: Stage) -> None:
    for _ in range(200):
        somebodys(stage)
    stage.time.sleep(3_600)
    assert look(stage, "a") == {"a": None}
    assert stage.asked(LISTED) == 1


def test_of_more_conversations_than_anybody_looks_through_nothing_is_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finders, "_MAX_PAGES", 2)
    send(stage, "a")
    for _ in range(200):
        somebodys(stage, meta_data={MARKER_FIELD: "another"})
    assert look(stage, "a", "b") == {}
    finder = stage.finder(Past())
    bill = stage.emulator.ledger[0]
    assert asyncio.run(finder.prove("a", bill.conversation_id or "", bill.started_at)) is False


def test_a_conversation_that_is_deleted_while_it_is_looked_at_is_nobodys(stage: Stage) -> None:
    gone = somebodys(stage).id

    def deletes(name: str, request: Any) -> None:
        if name == HISTORY:
            stage.emulator.store.conversations.pop(gone, None)

    stage.tampered = deletes
    assert look(stage, "a") == {"a": None}


class TestTheProof:
    def proves(self, stage: Stage, marker: str = "a") -> bool:
        bill = stage.emulator.ledger[0]
        finder = stage.finder(Past())
        return asyncio.run(finder.prove(marker, bill.conversation_id or "", bill.started_at))

    def test_a_chat_that_is_listed_with_its_marker_is_one(self, stage: Stage) -> None:
        send(stage, "a")
        assert self.proves(stage)

    def test_one_that_is_listed_late_is_one_as_well(self, stage: Stage) -> None:
        stage.emulator.world.conversation_list_delay_seconds = 4.0
        send(stage, "a")
        assert self.proves(stage)

    def test_one_whose_question_lacks_the_marker_is_none(self, stage: Stage) -> None:
        send(stage, "a")
        assert not self.proves(stage, "b")

    def test_one_that_is_not_listed_is_none(self, stage: Stage) -> None:
        stage.emulator.world.made_conversations_listed = False
        send(stage, "a")
        assert not self.proves(stage)


def test_a_chat_gets_a_conversation_that_carries_its_marker_unless_it_needs_none(stage: Stage) -> None:
    finder = stage.finder(Past())
    made = asyncio.run(finder.place("a"))
    assert made is not None
    assert stage.emulator.store.conversations[made].meta_data == {MARKER_FIELD: "a"}
    finder.is_shown = True
    assert asyncio.run(finder.place("b")) is None


def test_the_error_of_an_unknown_chat_has_four_parts(stage: Stage) -> None:
    error = stage.finder(Past()).unknown(doubts(stage, "a")[0])
    assert isinstance(error, CozeOutcomeUnknownError)
    for part in (f"bot '{stage.bot.id}'", "its reply was lost", "billed as far as it went", 'on_unknown="resend"'):
        assert part in str(error)
