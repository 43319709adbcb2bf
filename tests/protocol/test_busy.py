"""A conversation that has a chat in progress: waited for, cancelled, left alone, or given up; and nothing is paid for twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER_BOT, TOOL_BOT
from airflow_provider_coze.emulator.faults import Fault
from airflow_provider_coze.protocol import busy, flows, recovery
from airflow_provider_coze.protocol.busy import Busy, Turn
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.messages import Call, Flow
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.recovery import MARKER_FIELD, Search, marked
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import NOON, Perform, VirtualTime, over_memory

RETRY = RetryPolicy(base_seconds=0.0)
POST = "POST /v3/chat"
LIST = "POST /v1/conversation/message/list"
MINE, OTHER = "mine/1/print", "other/1/print"


class Site:
    """A conversation that several share."""

    def __init__(self, perform: Perform, emulator: Emulator, time: VirtualTime) -> None:
        self.perform, self.emulator, self.time = perform, emulator, time
        emulator.world.rate_limits = False
        made = perform(flows.call(conversations.create_conversation(bot_id=ECHO_BOT), RETRY))
        self.conversation_id = str(made.id)

    def chat(self, text: str, marker: str, bot_id: str = ECHO_BOT) -> Call[Chat]:
        message = {"role": "user", "content_type": "text", "content": text}
        return create_chat(
            bot_id=bot_id,
            user_id="tester",
            additional_messages=marked([message], marker),
            conversation_id=self.conversation_id,
            options={"meta_data": {MARKER_FIELD: marker}},
        )

    def occupied(self, seconds: float = 20, bot_id: str = SLEEPER_BOT) -> Chat:
        """Have somebody else's chat going on for so long."""
        chat: Chat = self.perform(flows.call(self.chat(f"sleep {seconds}: rested", OTHER, bot_id), RETRY))
        return chat

    def start(self, text: str = "hello", bot_id: str = ECHO_BOT) -> Callable[[bool], Flow[Chat]]:
        sent_at = self.time()

        def start(in_doubt: bool) -> Flow[Chat]:
            search = Search(self.conversation_id, MINE, False, sent_at, self.time, until=NOON + 300)
            return recovery.send_chat(self.chat(text, MINE, bot_id), search, RETRY, in_doubt=in_doubt)

        return start

    def turn(self, on_busy: str = "wait", **more: Any) -> Turn:
        return Turn(
            **{
                "conversation_id": self.conversation_id,
                "on_busy": on_busy,
                "retry": RETRY,
                "clock": self.time,
                "since": self.time(),
                "until": self.time() + 300,
                "marker": MINE,
                "chance": lambda: 0.0,
                **more,
            }
        )

    def started(self, turn: Turn, start: Callable[[bool], Flow[Chat]] | None = None, **more: Any) -> Chat | None:
        chat: Chat | None = self.perform(busy.start_when_free(start or self.start(), turn, **more))
        return chat

    def status(self, chat: Chat) -> str:
        return str(self.perform(flows.read_chat(chat, RETRY)).status)

    @property
    def billed(self) -> list[str]:
        return [entry.id for entry in self.emulator.ledger]

    @property
    def elapsed(self) -> float:
        return self.time() - NOON


@pytest.fixture
def site(perform: Perform, emulator: Emulator, virtual_time: VirtualTime) -> Site:
    return Site(perform, emulator, virtual_time)


@pytest.fixture
def memory(emulator: Emulator, virtual_time: VirtualTime) -> Site:
    """A site that is reached in one way only, for what no transport can have a part in."""
    return Site(over_memory(emulator, "", virtual_time), emulator, virtual_time)


@pytest.mark.parametrize("on_busy", busy.ON_BUSY)
def test_a_conversation_without_a_chat_is_not_looked_at(memory: Site, on_busy: str) -> None:
    chat = memory.started(memory.turn(on_busy))
    assert chat is not None
    assert memory.billed == [chat.id]
    assert memory.emulator.requests[LIST] == 0
    assert memory.time.slept == []


# --- wait


@pytest.mark.parametrize("named", [True, False])
def test_a_chat_in_progress_is_waited_for_and_then_it_is_our_turn(site: Site, named: bool) -> None:
    site.emulator.world.question_carries_chat_id = named
    other = site.occupied(20)
    chat = site.started(site.turn("wait"))
    assert chat is not None
    assert site.billed == [other.id, chat.id]
    assert 20 <= site.elapsed < 26
    assert site.status(other) == "completed"


def test_who_waits_asks_ever_less_often(memory: Site) -> None:
    memory.occupied(120)
    memory.started(memory.turn("wait"))
    assert memory.elapsed < 131
    assert memory.emulator.requests[POST] == 25
    assert memory.time.slept[-1] == max(memory.time.slept) == 10


def test_a_chat_that_is_named_is_watched_and_not_knocked_at(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    memory.occupied(60)
    memory.started(memory.turn("wait"))
    assert memory.emulator.requests[POST] == 3  # the other's, the one that was refused, the one that was not


def test_chats_that_are_over_are_looked_at_once(memory: Site) -> None:
    for _ in range(2):
        memory.started(memory.turn("wait"))
    memory.occupied(60)
    before = memory.emulator.requests["GET /v3/chat/retrieve"]
    memory.started(memory.turn("wait"))
    assert memory.emulator.requests["GET /v3/chat/retrieve"] - before == 2


@pytest.mark.parametrize("named", [True, False])
def test_a_wait_that_is_too_long_ends_and_says_whom_it_waited_for(memory: Site, named: bool) -> None:
    memory.emulator.world.question_carries_chat_id = named
    other = memory.occupied(600)
    with pytest.raises(e.CozeConversationBusyError) as caught:
        memory.started(memory.turn("wait", until=NOON + 45))
    assert memory.elapsed == 45
    assert "It was waited for 45 s." in str(caught.value)
    assert f"Nothing was started in conversation {memory.conversation_id!r}." in str(caught.value)
    assert (f"{other.id!r}" in str(caught.value)) is named
    assert caught.value.conversation_id == memory.conversation_id
    assert caught.value.chat_id is None, "the chat is not this task's, which has bought nothing"
    assert memory.billed == [other.id]


def test_a_wait_whose_time_is_over_before_it_begins_does_not_sleep(memory: Site) -> None:
    memory.occupied()
    with pytest.raises(e.CozeConversationBusyError):
        memory.started(memory.turn("wait", until=memory.time()))
    assert memory.time.slept == []


def test_a_wait_goes_on_while_the_other_chat_cannot_be_read(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    other = memory.occupied(20)
    for operation in ("GET /v3/chat/retrieve", LIST):
        memory.emulator.script(scenarios.error(4101, "no"), on=operation, times=3)
    chat = memory.started(memory.turn("wait"))
    assert chat is not None
    assert memory.billed == [other.id, chat.id]


def test_a_chat_that_waits_for_its_tools_does_not_hold_the_turn(memory: Site) -> None:
    memory.occupied(bot_id=TOOL_BOT)
    assert memory.started(memory.turn("wait")) is not None


def test_a_start_that_is_refused_for_another_reason_is_not_repeated(memory: Site) -> None:
    memory.occupied(5)
    memory.emulator.script(scenarios.error(4015, "not published"), on=POST, skip=1)
    with pytest.raises(e.CozeRejectedError):
        memory.started(memory.turn("wait"))
    assert memory.emulator.requests[POST] == 3


# --- fail, new


def test_it_fails_at_once_where_that_is_wanted(site: Site) -> None:
    other = site.occupied()
    with pytest.raises(e.CozeConversationBusyError, match="Nothing was started") as caught:
        site.started(site.turn("fail"))
    assert caught.value.code == 4016
    assert site.time.slept == []
    assert site.billed == [other.id]


def test_another_conversation_is_asked_for_where_that_is_wanted(site: Site) -> None:
    other = site.occupied()
    assert site.started(site.turn("new")) is None
    assert site.billed == [other.id]
    assert site.time.slept == []


# --- cancel


def test_a_chat_that_is_named_is_cancelled(site: Site) -> None:
    site.emulator.world.question_carries_chat_id = True
    other = site.occupied(600)
    chat = site.started(site.turn("cancel"))
    assert chat is not None
    assert site.status(other) == "canceled"
    assert site.billed == [other.id, chat.id]
    assert site.time.slept == []


def test_a_chat_that_nothing_names_cannot_be_cancelled(memory: Site) -> None:
    other = memory.occupied()
    with pytest.raises(e.CozeConversationBusyError, match="cannot be cancelled without its id") as caught:
        memory.started(memory.turn("cancel"))
    assert "Nothing in the conversation names the chat in progress." in str(caught.value)
    assert memory.billed == [other.id]


def test_one_chat_is_cancelled_and_the_next_is_waited_for(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    first = memory.occupied(600)
    turn = memory.turn("cancel")
    refused = memory.perform(busy.attempt(memory.start()(False), turn))
    turn = memory.perform(busy.make_room(refused))
    assert memory.status(first) == "canceled"
    second = memory.occupied(20)
    assert memory.started(turn) is not None
    assert memory.status(second) == "completed"


def test_a_chat_that_ends_before_it_is_cancelled_is_as_good(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    other = memory.occupied(30)
    refused = memory.perform(busy.attempt(memory.start()(False), memory.turn("cancel")))
    memory.time.sleep(31)
    turn = memory.perform(busy.make_room(refused))
    assert memory.started(turn) is not None
    assert memory.status(other) == "completed"


def test_a_cancellation_that_is_not_allowed_says_what_goes_on(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    other = memory.occupied(600)
    memory.emulator.script(scenarios.error(4101, "no permission"), on="POST /v3/chat/cancel")
    with pytest.raises(e.CozePermissionError, match=f"Chat '{other.id}' is in progress") as caught:
        memory.started(memory.turn("cancel"))
    assert caught.value.chat_id is None
    assert memory.billed == [other.id]


# --- whose chat it is


def _lost(site: Site, text: str = "sleep 40: mine") -> Callable[[bool], Flow[Chat]]:
    """Have the reply to our start lost while Coze carries it out, in a conversation whose questions are listed late."""
    site.emulator.world.question_listed_at_once = False
    site.emulator.script(scenarios.reset(after_commit=True), on=POST)
    return site.start(text, SLEEPER_BOT)


@pytest.mark.parametrize("on_busy", ["wait", "new", "cancel"])
def test_a_chat_whose_reply_was_lost_is_waited_for_as_our_own(site: Site, on_busy: str) -> None:
    start = _lost(site)
    try:
        chat = site.started(site.turn(on_busy), start)
    except e.CozeConversationBusyError:
        pytest.fail("it is ours, and must not be given up as somebody else's")
    assert chat is not None
    assert site.billed == [chat.id]
    assert 40 <= site.elapsed < 60


def test_our_own_chat_is_never_cancelled(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    memory.emulator.script(scenarios.reset(after_commit=True), on=POST)
    memory.emulator.script(
        scenarios.answer(200, {"code": 0, "msg": "", "data": [], "has_more": False}), on=LIST, times=20
    )
    chat = memory.started(memory.turn("cancel"), memory.start("sleep 300: mine", SLEEPER_BOT))
    assert chat is not None
    assert memory.billed == [chat.id]
    assert memory.status(chat) == "in_progress"


def test_a_lost_start_that_waits_too_long_is_unknown_and_not_refused(memory: Site) -> None:
    start = _lost(memory, "sleep 600: mine")
    with pytest.raises(e.CozeOutcomeUnknownError, match="which may be that one") as caught:
        memory.started(memory.turn("wait", until=NOON + 60), start)
    assert isinstance(caught.value.__cause__, e.CozeConversationBusyError)
    assert caught.value.conversation_id == memory.conversation_id
    assert len(memory.billed) == 1


def test_a_start_that_an_earlier_process_may_have_made_stays_in_doubt(memory: Site) -> None:
    memory.emulator.world.question_listed_at_once = False
    mine = memory.perform(flows.call(memory.chat("sleep 40: mine", MINE, SLEEPER_BOT), RETRY))
    memory.time.sleep(1)
    found = memory.started(memory.turn("new"), memory.start("sleep 40: mine", SLEEPER_BOT), in_doubt=True)
    assert found is not None
    assert found.id == mine.id
    assert memory.billed == [mine.id]


def test_a_refusal_by_somebody_elses_chat_leaves_no_doubt(memory: Site) -> None:
    memory.occupied()
    refused = memory.perform(busy.attempt(memory.start()(False), memory.turn("wait")))
    assert isinstance(refused, Busy)
    assert refused.in_doubt is False
    assert refused.error.code == 4016


def test_a_start_without_a_marker_takes_no_chat_for_its_own(memory: Site) -> None:
    memory.emulator.world.question_carries_chat_id = True
    other = memory.occupied(10)
    unmarked = memory.turn("wait", marker="")

    def start(in_doubt: bool) -> Flow[Chat]:
        return flows.call(memory.chat("hello", MINE), RETRY)

    chat = memory.started(unmarked, start)
    assert chat is not None
    assert chat.id != other.id


def test_a_request_that_never_arrived_is_sent_once_there_is_room(memory: Site) -> None:
    other = memory.occupied(40)
    memory.emulator.script(scenarios.reset(after_commit=False), on=POST)
    chat = memory.started(memory.turn("new"))
    assert chat is not None
    assert memory.billed == [other.id, chat.id]


_FAULTS = {
    "none": None,
    "lost before": scenarios.reset(after_commit=False),
    "lost after": scenarios.reset(after_commit=True),
    "gateway before": scenarios.bad_gateway(after_commit=False),
    "gateway after": scenarios.bad_gateway(after_commit=True),
    "limited": scenarios.rate_limited(),
}


@pytest.mark.matrix
@pytest.mark.parametrize("on_busy", busy.ON_BUSY)
@pytest.mark.parametrize("fault", _FAULTS.values(), ids=list(_FAULTS))
@pytest.mark.parametrize("skip", [0, 1])
def test_whatever_is_lost_and_whoever_is_there_it_is_paid_for_once_at_most(
    on_busy: str, fault: Fault | None, skip: int
) -> None:
    for seconds, listed, named in itertools.product((0, 20, 400), (True, False), (True, False)):
        time = VirtualTime()
        emulator = Emulator(clock=time)
        emulator.world.question_listed_at_once, emulator.world.question_carries_chat_id = listed, named
        site = Site(over_memory(emulator, "", time), emulator, time)
        others = [site.occupied(seconds).id] if seconds else []
        if fault is not None:
            emulator.script(fault, on=POST, skip=skip)
        chat, failed = None, None
        try:
            chat = site.started(site.turn(on_busy), site.start("sleep 9: mine", SLEEPER_BOT))
        except e.CozeError as error:
            failed = error
        mine = [chat_id for chat_id in site.billed if chat_id not in others]
        assert len(mine) <= 1
        if chat is not None:
            assert mine == [chat.id]
        elif failed is None or (
            recovery.may_have_started(failed) is False and not isinstance(failed, e.CozeOutcomeUnknownError)
        ):
            assert mine == [], (failed, seconds, listed, named)
