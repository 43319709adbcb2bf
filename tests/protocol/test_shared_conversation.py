"""A conversation that many tasks share: found, or made once for all of them, whoever comes when."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import ANALYST, ECHO_BOT
from airflow_provider_coze.protocol import flows, shared_conversation
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.messages import changed
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.shared_conversation import SHARED_FIELD, Shared, find_shared, open_shared
from tests.driving import NOON, Perform, VirtualTime, over_memory

RETRY = RetryPolicy(base_seconds=0.0)
LIST, CREATE = "GET /v1/conversations", "POST /v1/conversation/create"


class Site:
    """A bot's conversations."""

    def __init__(self, perform: Perform, emulator: Emulator, time: VirtualTime) -> None:
        self.perform, self.emulator, self.time = perform, emulator, time
        emulator.world.rate_limits = False

    def opened(self, **more: Any) -> str:
        conversation, self.is_new = self.perform(open_shared(shared(**more), RETRY))
        return str(conversation.id)

    def made(self, **meta_data: str) -> str:
        call = conversations.create_conversation(bot_id=ECHO_BOT, meta_data=meta_data)
        return str(self.perform(flows.call(call, RETRY)).id)

    def asked(self, name: str) -> int:
        return self.emulator.requests[name]


def shared(**more: Any) -> Shared:
    return Shared(**{"bot_id": ECHO_BOT, "marker": "m1", "name": "airflow: d r", "since": NOON, **more})


@pytest.fixture
def site(perform: Perform, emulator: Emulator, virtual_time: VirtualTime) -> Site:
    return Site(perform, emulator, virtual_time)


@pytest.fixture
def memory(emulator: Emulator, virtual_time: VirtualTime) -> Site:
    return Site(over_memory(emulator, "", virtual_time), emulator, virtual_time)


def test_it_is_made_once_and_found_from_then_on(site: Site) -> None:
    first = site.opened()
    assert site.is_new
    assert [site.opened(), site.is_new] == [first, False]
    made = site.perform(flows.call(conversations.retrieve_conversation(conversation_id=first), RETRY))
    assert (made.name, made.meta_data) == ("airflow: d r", {SHARED_FIELD: "m1"})
    assert site.emulator.ledger == []


def test_finding_it_costs_one_request_and_no_time(memory: Site) -> None:
    memory.opened()
    before, slept = memory.asked(LIST), len(memory.time.slept)
    memory.opened()
    assert memory.asked(LIST) - before == 1
    assert len(memory.time.slept) == slept


def test_others_have_another(memory: Site) -> None:
    assert len({memory.opened(), memory.opened(marker="m2"), memory.opened(bot_id=ANALYST)}) == 3


def test_a_conversation_of_one_chat_is_not_taken_for_it(memory: Site) -> None:
    single = memory.made(airflow="m1")
    assert memory.opened() != single


def test_two_that_make_one_at_the_same_moment_agree_on_the_older(memory: Site) -> None:
    flow = open_shared(shared(), RETRY)
    rival: list[str] = []

    def meanwhile() -> str:
        rival.append(memory.made(**{SHARED_FIELD: "m1"}))
        return rival[0]

    effect = next(flow)
    while not rival:  # the other one makes its own between our look and our making one
        answer = memory.emulator.respond(signed(memory, effect.request))
        meanwhile()
        effect = flow.send(answer)
    found, is_new = memory.perform(resumed(flow, effect))
    assert (found.id, is_new) == (rival[0], False)
    assert memory.opened() == rival[0]


def signed(site: Site, request: Any) -> Any:

    return changed(request, headers={"Authorization": f"Bearer {site.emulator.token}"})


def resumed(flow: Any, effect: Any) -> Any:
    """Go on with a flow that has been begun by hand."""
    while True:
        answer = yield effect
        try:
            effect = flow.send(answer)
        except StopIteration as done:
            return done.value


def test_the_one_who_made_it_uses_it_although_it_is_listed_late(memory: Site) -> None:
    memory.emulator.world.conversation_list_delay_seconds = 60
    first = memory.opened()
    memory.time.sleep(61)
    assert memory.opened() == first


def test_a_lost_reply_leaves_an_empty_one_and_all_use_the_oldest(site: Site) -> None:
    site.emulator.script(scenarios.reset(after_commit=True), on=CREATE)
    first = site.opened()
    assert site.asked(CREATE) == 2
    assert sorted(site.emulator.store.conversations)[0] == first
    assert site.opened() == first


def test_the_oldest_is_looked_for_beyond_the_page_that_has_one(memory: Site) -> None:
    oldest = memory.made(**{SHARED_FIELD: "m1"})
    for _ in range(60):
        memory.made()
    memory.made(**{SHARED_FIELD: "m1"})
    assert memory.opened(since=None) == oldest


def test_a_search_ends_where_the_dag_run_began(memory: Site) -> None:
    for _ in range(120):
        memory.made()
    memory.time.sleep(7_200)
    for _ in range(60):
        memory.made()
    assert memory.perform(find_shared(shared(since=memory.time() - 60), RETRY)) is None
    assert memory.asked(LIST) == 2


def test_a_search_ends_some_time_before_the_one_that_was_found(memory: Site) -> None:
    for _ in range(120):
        memory.made()
    memory.time.sleep(7_200)
    wanted = memory.made(**{SHARED_FIELD: "m1"})
    for _ in range(60):
        memory.made()
    assert memory.opened(since=None) == wanted
    assert memory.asked(LIST) == 2


def test_a_bot_with_too_many_conversations_is_not_searched_for_ever(
    memory: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_conversation, "_MAX_PAGES", 2)
    for _ in range(120):
        memory.made()
    with pytest.raises(e.CozeInputError, match="Make one yourself and give its id"):
        memory.opened(since=None)
    assert memory.asked(CREATE) == 120


def test_a_server_that_keeps_no_meta_data_is_named_before_anything_is_billed(memory: Site) -> None:
    body = {"code": 0, "msg": "", "data": {"id": "7512", "created_at": NOON, "meta_data": {}}}
    memory.emulator.script(scenarios.answer(200, body), on=CREATE)
    with pytest.raises(e.CozeInputError, match="does not keep the meta_data") as caught:
        memory.opened()
    assert "nothing is billed" in str(caught.value)


@pytest.mark.parametrize("on", [LIST, CREATE])
def test_a_permission_that_is_missing_says_what_it_was_for(memory: Site, on: str) -> None:
    memory.emulator.script(scenarios.error(4101, "no"), on=on)
    with pytest.raises(e.CozePermissionError, match="the conversation that the chat was to share"):
        memory.opened()
