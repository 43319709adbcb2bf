"""Chats whose reply was lost: found again, waited for, and sent again only when no trace of them is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import BROKE_BOT, ECHO_BOT, SLEEPER_BOT
from airflow_provider_coze.protocol import flows, recovery
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.messages import Call
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.recovery import MARKER_FIELD, Search, marked
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import NOON, Perform, VirtualTime

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

MARKER = "key/1/print"
POST = "POST /v3/chat"
RETRY = RetryPolicy(base_seconds=0.0)


class Site:
    """A conversation on an emulator, and what is sent to it."""

    def __init__(self, perform: Perform, emulator: Emulator, time: VirtualTime) -> None:
        self.perform, self.emulator, self.time = perform, emulator, time
        self.conversation_id = self.made()

    def made(self, marker: str = MARKER, bot_id: str = ECHO_BOT) -> str:
        flow = recovery.open_conversation(bot_id=bot_id, meta_data={MARKER_FIELD: marker}, retry=RETRY)
        return str(self.perform(flow).id)

    def start(self, text: str = "hello", marker: str = MARKER, **more: Any) -> Call[Chat]:
        options = {"meta_data": {MARKER_FIELD: marker}}
        message = {"role": "user", "content_type": "text", "content": text}
        return create_chat(
            **{
                "bot_id": ECHO_BOT,
                "user_id": "tester",
                "additional_messages": marked([message], marker),
                "conversation_id": self.conversation_id,
                "options": options,
                **more,
            }
        )

    def search(self, **more: Any) -> Search:
        made = Search(self.conversation_id, MARKER, True, self.time(), self.time, until=self.time() + 300)
        return replace(made, **more)

    def sent(self, call: Call[Chat] | None = None, search: Search | None = None, **more: Any) -> Chat:
        chat: Chat = self.perform(recovery.send_chat(call or self.start(), search or self.search(), RETRY, **more))
        return chat

    def other_chat(self, text: str = "somebody else's") -> Chat:
        chat: Chat = self.perform(flows.call(self.start(text, marker="other/1/x"), RETRY))
        return chat

    @property
    def billed(self) -> list[str]:
        return [entry.id for entry in self.emulator.ledger]

    def answer_to(self, chat: Chat) -> str:
        done = self.perform(flows.read_chat(chat, RETRY))
        return str(self.perform(flows.chat_answer(done, RETRY, waited=0)).text)


@pytest.fixture
def site(perform: Perform, emulator: Emulator, virtual_time: VirtualTime) -> Site:
    emulator.world.rate_limits = False
    return Site(perform, emulator, virtual_time)


def slow(text: str = "sleep 20: rested") -> dict[str, Any]:
    return {"bot_id": SLEEPER_BOT, "text": text}


# --- sending


def test_a_chat_that_is_accepted_is_sent_once_and_looked_for_never(site: Site) -> None:
    chat = site.sent()
    assert site.billed == [chat.id]
    assert site.time.slept == []
    assert site.emulator.requests["POST /v1/conversation/message/list"] == 0


@pytest.mark.parametrize("listed_at_once", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        scenarios.reset(after_commit=True),
        scenarios.closed(after_commit=True),
        scenarios.bad_gateway(after_commit=True),
        scenarios.server_error(after_commit=True),
        scenarios.answer(200, "<html>", after_commit=True),
    ],
    ids=["reset", "closed", "502", "500", "html"],
)
def test_a_chat_whose_reply_is_lost_is_found_and_not_sent_again(
    site: Site, fault: scenarios.Fault, listed_at_once: bool
) -> None:
    site.emulator.world.question_listed_at_once = listed_at_once
    site.emulator.script(fault, on=POST)
    chat = site.sent(site.start(**slow()))
    assert site.billed == [chat.id]
    assert site.answer_to(chat) == "rested"


@pytest.mark.parametrize(
    "fault",
    [scenarios.reset(), scenarios.closed(), scenarios.bad_gateway(), scenarios.server_error(), scenarios.error(4009)],
    ids=["reset", "closed", "502", "500", "4009"],
)
def test_a_chat_that_never_arrived_is_sent_again_after_its_conversation_showed_no_trace_of_it(
    site: Site, fault: scenarios.Fault
) -> None:
    site.emulator.script(fault, on=POST, times=2)
    chat = site.sent()
    assert site.billed == [chat.id]
    assert site.answer_to(chat) == "You said: hello"
    assert site.time.now - NOON <= 20


def test_a_chat_that_is_refused_is_not_looked_for(site: Site) -> None:
    site.emulator.script(scenarios.error(4015), on=POST)
    with pytest.raises(e.CozeRejectedError):
        site.sent()
    assert site.emulator.requests["POST /v1/conversation/message/list"] == 0


@pytest.mark.parametrize("code", [4008, 4011, 4102])
def test_a_refusal_that_time_does_not_heal_is_raised_at_once(site: Site, code: int) -> None:
    site.emulator.script(scenarios.error(code), on=POST, times=None)
    with pytest.raises(e.CozeAPIError):
        site.sent()
    assert site.emulator.requests[POST] == 1


def test_trouble_that_stays_is_raised_in_the_end_and_nothing_is_billed(site: Site) -> None:
    site.emulator.script(scenarios.bad_gateway(), on=POST, times=None)
    with pytest.raises(e.CozeUnavailableError):
        site.sent()
    assert site.billed == []
    assert site.emulator.requests[POST] == RETRY.attempts


def test_trouble_is_raised_when_the_time_is_up_and_not_later(site: Site) -> None:
    site.emulator.script(scenarios.server_trouble(), on=POST, times=None)  # asks for waits of 30 s
    with pytest.raises(e.CozeUnavailableError):
        site.sent(search=site.search(until=NOON + 20))
    assert site.time.now <= NOON + 20
    assert site.billed == []


def test_a_conversation_that_says_it_is_busy_has_the_chat_of_the_try_before(site: Site) -> None:
    site.emulator.world.question_listed_at_once = False  # nothing of it can be seen while it runs
    running = site.perform(flows.call(site.start(**slow()), RETRY))
    chat = site.sent(site.start(**slow()), site.search(sent_at=NOON - 60), in_doubt=True)
    assert chat.id == running.id
    assert site.billed == [running.id]


def test_a_try_in_doubt_adopts_the_chat_of_the_try_before(site: Site) -> None:
    before = site.perform(flows.call(site.start(**slow()), RETRY))
    chat = site.sent(site.start(**slow()), in_doubt=True)
    assert chat.id == before.id
    assert site.billed == [before.id]


def test_a_try_in_doubt_whose_chat_was_never_sent_sends_it(site: Site) -> None:
    chat = site.sent(search=site.search(sent_at=NOON - 60), in_doubt=True)
    assert site.billed == [chat.id]
    assert site.time.slept == []  # the doubt is a minute old: what is not there now will not come


# --- what cannot be known


def test_a_question_without_an_answer_is_waited_for_until_the_time_is_up(site: Site) -> None:
    site.emulator.script(scenarios.reset(after_commit=True), on=POST)
    with pytest.raises(e.CozeOutcomeUnknownError, match=r"holds its question, and no answer.*on_unknown") as caught:
        site.sent(site.start(**slow("sleep 900: late")), site.search(until=NOON + 100))
    assert caught.value.conversation_id == site.conversation_id
    assert site.time.now == pytest.approx(NOON + 100, abs=1)
    assert len(site.billed) == 1


def test_a_chat_that_failed_without_a_trace_of_its_id_is_unknown(site: Site) -> None:
    site.emulator.script(scenarios.reset(after_commit=True), on=POST)
    with pytest.raises(e.CozeOutcomeUnknownError):
        site.sent(site.start(bot_id=BROKE_BOT), site.search(until=NOON + 30))
    assert len(site.billed) == 1


def test_a_question_that_names_its_chat_is_enough(site: Site) -> None:
    site.emulator.world.question_carries_chat_id = True
    site.emulator.script(scenarios.reset(after_commit=True), on=POST)
    chat = site.sent(site.start(bot_id=BROKE_BOT))
    site.time.sleep(5)
    assert site.perform(flows.read_chat(chat, RETRY)).status == "failed"
    assert site.billed == [chat.id]


def test_a_conversation_that_was_deleted_tells_nothing(site: Site) -> None:
    site.emulator.store.conversations.pop(site.conversation_id)
    with pytest.raises(e.CozeOutcomeUnknownError, match="does not exist any more"):
        site.sent(in_doubt=True)
    assert site.billed == []


# --- conversations that others use as well


def test_in_a_shared_conversation_the_chat_is_told_from_those_before_and_after_it(site: Site) -> None:
    site.other_chat("before")
    site.time.sleep(5)
    ours = site.perform(flows.call(site.start("ours"), RETRY))
    site.time.sleep(5)
    site.perform(flows.read_chat(ours, RETRY))
    site.other_chat("after")
    site.time.sleep(5)
    found = site.perform(recovery.find_chat(site.search(dedicated=False), RETRY))
    assert found is not None
    assert found.id == ours.id


def test_in_a_shared_conversation_that_holds_only_others_it_never_arrived(site: Site) -> None:
    site.other_chat()
    site.time.sleep(30)
    search = site.search(dedicated=False, sent_at=NOON)
    assert site.perform(recovery.find_chat(search, RETRY)) is None


def test_a_shared_conversation_that_is_busy_with_another_chat_refuses(site: Site) -> None:
    site.perform(flows.call(site.start(**slow(), marker="other/1/x"), RETRY))
    with pytest.raises(e.CozeConversationBusyError):
        site.sent(search=site.search(dedicated=False))
    assert len(site.billed) == 1


def test_a_long_shared_conversation_is_read_only_as_far_as_needed(site: Site) -> None:
    for number in range(80):
        site.other_chat(f"old {number}")
        site.time.sleep(1000)
    sent_at = site.time()
    chat = site.perform(flows.call(site.start("ours"), RETRY))
    site.time.sleep(5)
    before = site.emulator.requests["POST /v1/conversation/message/list"]
    found = site.perform(recovery.find_chat(site.search(dedicated=False, sent_at=sent_at), RETRY))
    assert found is not None
    assert found.id == chat.id
    assert site.emulator.requests["POST /v1/conversation/message/list"] - before == 1


# --- finding the conversation


def conversation_found(site: Site, key: str = "key", since: float | None = None) -> Any:
    return site.perform(recovery.find_conversation(bot_id=ECHO_BOT, key=key, since=since, retry=RETRY))


def test_a_conversation_is_found_by_the_key_in_its_marker(site: Site) -> None:
    site.made("other/1/x")
    conversation, marker = conversation_found(site)
    assert (conversation.id, marker) == (site.conversation_id, MARKER)


def test_the_newest_submissions_conversation_is_the_one_that_counts(site: Site) -> None:
    newest = site.made("key/2/print")
    conversation, _ = conversation_found(site)
    assert conversation.id == newest


def test_a_key_is_not_found_by_its_beginning(site: Site) -> None:
    assert conversation_found(site, key="ke") is None


def test_a_conversation_that_is_not_listed_at_once_is_found_at_the_second_look(site: Site) -> None:
    site.emulator.world.conversation_list_delay_seconds = 3.0
    late = site.made("late/1/print")
    conversation, _ = conversation_found(site, key="late")
    assert conversation.id == late


def test_conversations_are_looked_through_page_by_page_until_they_are_too_old(site: Site) -> None:
    for number in range(120):
        site.made(f"other/{number}/x")
    assert conversation_found(site)[0].id == site.conversation_id
    pages = site.emulator.requests["GET /v1/conversations"]
    assert pages == 3
    assert conversation_found(site, key="nobody", since=site.time() + 3600) is None
    assert site.emulator.requests["GET /v1/conversations"] - pages == 2  # one page for each of the two looks


def test_a_bot_with_too_many_conversations_is_not_searched_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_MAX_PAGES", 2)
    for number in range(120):
        site.made(f"other/{number}/x")
    with pytest.raises(e.CozeOutcomeUnknownError, match="state_path"):
        conversation_found(site, key="nobody")


def test_a_lost_reply_to_making_a_conversation_leaves_an_empty_one_behind(site: Site) -> None:
    site.emulator.script(scenarios.reset(after_commit=True), on="POST /v1/conversation/create")
    made = site.made("again/1/x")
    listed = site.perform(flows.call(conversations.list_conversations(bot_id=ECHO_BOT), RETRY)).conversations
    assert next(c.id for c in listed if c.meta_data[MARKER_FIELD] == "again/1/x") == made
    assert site.billed == []


def test_a_question_is_found_by_the_key_in_its_marker(site: Site) -> None:
    site.sent()
    site.time.sleep(5)
    find: Callable[[str], Any] = lambda key: site.perform(  # noqa: E731
        recovery.find_question(conversation_id=site.conversation_id, key=key, since=NOON, retry=RETRY)
    )
    assert find("key").content == "hello"
    assert find("ke") is None


# --- what an error says about the start


@pytest.mark.parametrize(
    ("error", "started", "repeating"),
    [
        (e.CozeTransportError("x", never_sent=True), False, True),
        (e.CozeTransportError("x", never_sent=False), True, True),
        (e.CozeProtocolError("x"), True, True),
        (e.CozeRejectedError("x", code=4000, status=200), False, False),
        (e.CozeUnavailableError("x", code=5000, status=200), True, True),
        (e.CozeUnavailableError("x", status=502), True, True),
        (e.CozeQuotaError("x", code=4011, status=200), True, False),
        (e.CozeRejectedError("x", code=4000, status=200, debug_url="https://x.test/?execute_id=1"), True, False),
        (e.CozeInputError("x"), False, False),
    ],
)
def test_what_an_error_says_about_the_start(error: e.CozeError, started: bool, repeating: bool) -> None:
    assert recovery.may_have_started(error) is started
    assert recovery.is_worth_repeating(error) is repeating


def test_the_marker_joins_what_the_user_put_into_the_question() -> None:
    before = {"role": "assistant", "content": "hm"}
    question = {"role": "user", "content": "?", "meta_data": {"mine": "1"}}
    assert marked([before, question], "m") == [before, {**question, "meta_data": {"mine": "1", MARKER_FIELD: "m"}}]
    assert question["meta_data"] == {"mine": "1"}
