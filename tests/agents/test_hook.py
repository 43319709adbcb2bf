"""``CozeManagedAgentHook``: a bot behind common.ai's contract, which is really installed here."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.providers.common.ai.exceptions import ManagedAgentInvocationError, ManagedAgentRejected
from airflow.providers.common.ai.managed_agents import ManagedAgentRequest

from airflow_provider_coze import errors as e
from airflow_provider_coze.agents.asking import OPTIONS
from airflow_provider_coze.agents.coze import CozeManagedAgentHook
from airflow_provider_coze.agents.failures import CozeAgentNotAskedError
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import (
    BROKE_BOT,
    DRAFT_BOT,
    ECHO_BOT,
    MEMORY_BOT,
    SLEEPER_BOT,
    TOOL_BOT,
)
from airflow_provider_coze.emulator.definitions import Bot, ToolCall
from airflow_provider_coze.emulator.scenarios import Fault
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests import needs
from tests.agents.asking import SEND, agent, ask
from tests.tasks import TOKEN, Coze
from tests.test_compat import others_have_to_wait

SECRET = "the rabbit lives behind the third tree"


@pytest.fixture(params=["coze", "studio"])
def site(request: pytest.FixtureRequest) -> Coze:
    """Every test using this runs once in the cloud and once with Coze Studio. No test may ask which."""
    found: Coze = request.getfixturevalue(request.param)
    return found


def fails(coze: Coze, bot_id: str, prompt: str = "hello", **request: Any) -> Exception:
    with pytest.raises(Exception) as caught:
        ask(coze, bot_id, prompt, **request)
    return caught.value


# --- what comes back


def test_the_answer_comes_with_the_ids_and_tokens_that_the_contract_has_room_for(site: Coze) -> None:
    found = ask(site, ECHO_BOT)
    (bought,) = site.ledger
    assert found.text == "You said: hello"
    assert found.session_id == bought.conversation_id
    assert found.trace_ref == found.raw.chat.id
    assert found.raw.messages
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (
        found.raw.chat.usage.input_count,
        found.raw.chat.usage.output_count,
    )
    assert found.usage.output_tokens
    assert found.structured is None


def test_each_question_has_a_conversation_of_its_own_unless_it_goes_on_with_one(site: Coze) -> None:
    first = ask(site, MEMORY_BOT, "I am Li")
    second = ask(site, MEMORY_BOT, "who am I?", session_id=first.session_id)
    other = ask(site, MEMORY_BOT, "who am I?")
    assert second.session_id == first.session_id != other.session_id
    assert "I am Li" in second.text
    assert "I am Li" not in other.text


def test_a_slow_bot_is_waited_for(coze: Coze) -> None:
    assert ask(coze, SLEEPER_BOT, "sleep 100: done").text == "done"
    assert 100 <= coze.time() - coze.times(SEND)[0] - 1_764_849_600 < 130


def test_who_asks_and_other_fields_of_a_chat_can_be_said(coze: Coze) -> None:
    ask(coze, ECHO_BOT, vendor_options={"user_id": "li", "custom_variables": {"tone": "dry"}, "meta_data": {"a": "b"}})
    ask(coze, ECHO_BOT)
    told, plain = coze.bodies(SEND)
    assert (told["user_id"], plain["user_id"]) == ("li", "airflow")
    assert told["custom_variables"] == {"tone": "dry"}
    assert told["meta_data"].items() >= {("a", "b")}


def test_messages_go_to_the_bot_in_their_order(coze: Coze) -> None:
    parts = [{"type": "text", "text": "and"}, {"type": "text", "text": "now?"}]
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": parts},
    ]
    agent(coze, ECHO_BOT).invoke(ManagedAgentRequest(messages=messages))
    sent = [
        (message["role"], message["content_type"], message["content"])
        for message in coze.bodies(SEND)[0]["additional_messages"]
    ]
    assert sent == [("user", "text", "one"), ("assistant", "text", "two"), ("user", "text", "and\nnow?")]


def test_neither_question_nor_answer_nor_token_is_in_the_log(coze: Coze, caplog: pytest.LogCaptureFixture) -> None:
    ask(coze, ECHO_BOT, SECRET)
    fails(coze, BROKE_BOT, SECRET)
    assert "answered after" in caplog.text
    assert "rabbit" not in caplog.text
    assert TOKEN not in caplog.text


# --- paid once


LOST: dict[str, Fault] = {
    "reset": scenarios.reset(after_commit=True),
    "closed": scenarios.closed(after_commit=True),
    "bad gateway": scenarios.bad_gateway(after_commit=True),
    "web page": scenarios.web_page(after_commit=True),
    "half": scenarios.half_body(),
}
NEVER_ARRIVED: dict[str, Fault] = {
    "reset": scenarios.reset(),
    "bad gateway": scenarios.bad_gateway(),
    "too many": scenarios.rate_limited(),
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("in_session", [False, True], ids=["new", "session"])
def test_a_chat_whose_reply_is_lost_is_found_and_not_asked_again(coze: Coze, fault: Fault, in_session: bool) -> None:
    session_id = ask(coze, ECHO_BOT, "before").session_id if in_session else None
    before = len(coze.ledger)
    coze.script(fault, on=SEND, times=1)
    found = ask(coze, ECHO_BOT, session_id=session_id)
    assert found.text == "You said: hello"
    assert len(coze.ledger) == before + 1


@pytest.mark.parametrize("fault", NEVER_ARRIVED.values(), ids=NEVER_ARRIVED)
def test_a_question_that_never_arrived_is_sent_again(coze: Coze, fault: Fault) -> None:
    coze.script(fault, on=SEND, times=1)
    assert ask(coze, ECHO_BOT).text == "You said: hello"
    assert len(coze.ledger) == 1


def test_a_lost_question_is_looked_for_long_enough_however_long_it_waited_to_be_sent(coze: Coze) -> None:
    coze.script(scenarios.rate_limited(retry_after=20), on=SEND, times=1)
    coze.script(scenarios.reset(), on=SEND, times=1)
    assert ask(coze, ECHO_BOT).text == "You said: hello"
    turned_away, lost, again = coze.times(SEND)
    assert lost - turned_away >= 20
    assert again - lost >= 5, "it might have been listed a moment later, and would be paid for twice"


def test_a_lost_conversation_costs_nothing(coze: Coze) -> None:
    coze.script(scenarios.reset(after_commit=True), on="POST /v1/conversation/create", times=1)
    assert ask(coze, ECHO_BOT).text == "You said: hello"
    assert len(coze.ledger) == 1


def test_a_chat_that_failed_without_a_trace_is_not_asked_again(coze: Coze) -> None:
    coze.script(scenarios.reset(after_commit=True), on=SEND, times=1)
    error = fails(coze, BROKE_BOT, timeout=60)
    assert isinstance(error, e.CozeOutcomeUnknownError)
    assert not isinstance(error, CozeAgentNotAskedError | ManagedAgentInvocationError)
    assert "on_unknown" not in str(error)
    assert len(coze.ledger) == 1


def test_an_answer_that_cannot_be_read_any_more_is_of_a_bot_that_was_asked(coze: Coze) -> None:
    coze.before("GET /v3/chat/retrieve", lambda: coze.script(scenarios.refused()))
    error = fails(coze, SLEEPER_BOT, "sleep 100: done", timeout=200)
    assert isinstance(error, e.CozeTransportError)
    assert not isinstance(error, CozeAgentNotAskedError)
    assert "pays for a new one" in str(error)


def test_a_site_that_is_gone_while_a_lost_chat_is_looked_for_may_have_been_asked(coze: Coze) -> None:
    coze.script(scenarios.reset(after_commit=True), on=SEND, times=1)
    coze.before("GET /v1/conversation/message/list", lambda: coze.script(scenarios.refused()))
    coze.before("POST /v1/conversation/message/list", lambda: coze.script(scenarios.refused()))
    error = fails(coze, ECHO_BOT, timeout=60)
    assert isinstance(error, e.CozeTransportError)
    assert not isinstance(error, CozeAgentNotAskedError)
    assert len(coze.ledger) == 1


def test_a_chat_that_takes_too_long_is_cancelled(coze: Coze) -> None:
    error = fails(coze, SLEEPER_BOT, "sleep 100: done", timeout=20)
    assert isinstance(error, e.CozeChatTimeoutError)
    assert not isinstance(error, CozeAgentNotAskedError | ManagedAgentInvocationError)
    assert "has been cancelled" in str(error)
    assert coze.asked("POST /v3/chat/cancel") == 1
    assert coze.times("POST /v3/chat/cancel")[0] == pytest.approx(20, abs=2)


def test_a_task_whose_time_is_up_cancels_the_chat(coze: Coze) -> None:
    class AirflowTaskTimeout(BaseException):
        pass

    def stop() -> None:
        raise AirflowTaskTimeout

    coze.time.after(10, stop)
    with pytest.raises(AirflowTaskTimeout):
        ask(coze, SLEEPER_BOT, "sleep 100: done")
    assert coze.asked("POST /v3/chat/cancel") == 1


def test_a_connection_is_read_once_however_many_ask_at_once(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, read = list[bool](), CozeManagedAgentHook.get_connection

    def get_connection(conn_id: str) -> Any:
        alone.append(others_have_to_wait())
        return read(conn_id)

    monkeypatch.setattr(CozeManagedAgentHook, "get_connection", staticmethod(get_connection))
    bots = [agent(coze, ECHO_BOT), agent(coze, ECHO_BOT)]
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(bot.invoke, ManagedAgentRequest(prompt="hello")) for bot in bots * 2]
    assert {each.result().text for each in asked} == {"You said: hello"}
    assert alone == [True, True], "once for each hook, and one after the other"


# --- failures, in the contract's classes


TERMINAL = (ManagedAgentInvocationError, CozeAgentNotAskedError)


def test_a_token_that_is_refused_is_final_and_nobody_was_asked(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_other"))
    error = fails(coze, ECHO_BOT)
    assert isinstance(error, e.CozeAuthError)
    assert all(isinstance(error, kind) for kind in TERMINAL)
    assert type(error).__name__ == "CozeAuthError"
    assert error.code in (4100, 700012006)


def test_a_connection_that_is_wrong_is_final_and_one_that_is_missing_may_come_back(
    coze: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(read_seconds="never"))
    wrong = fails(coze, ECHO_BOT)
    assert isinstance(wrong, e.CozeConnectionConfigError)
    assert all(isinstance(wrong, kind) for kind in TERMINAL)
    monkeypatch.delenv("AIRFLOW_CONN_COZE_DEFAULT")
    missing = fails(coze, ECHO_BOT)
    assert isinstance(missing, e.CozeConnectionUnreadableError)
    assert isinstance(missing, CozeAgentNotAskedError)
    assert not isinstance(missing, ManagedAgentInvocationError)


@pytest.mark.parametrize("bot_id", [DRAFT_BOT, "1", "not an id"])
def test_a_bot_that_cannot_be_asked_is_final(coze: Coze, bot_id: str) -> None:
    assert all(isinstance(fails(coze, bot_id), kind) for kind in TERMINAL)
    assert coze.ledger == []


def test_a_site_that_cannot_be_reached_may_come_back(coze: Coze) -> None:
    coze.script(scenarios.refused())
    error = fails(coze, ECHO_BOT)
    assert isinstance(error, e.CozeTransportError)
    assert isinstance(error, CozeAgentNotAskedError)
    assert not isinstance(error, ManagedAgentInvocationError)


def test_a_site_with_too_many_requests_may_have_room_later(coze: Coze) -> None:
    coze.script(scenarios.rate_limited(), on=SEND, times=99)
    error = fails(coze, ECHO_BOT)
    assert isinstance(error, e.CozeRateLimitedError)
    assert isinstance(error, CozeAgentNotAskedError)
    assert not isinstance(error, ManagedAgentInvocationError)


def test_a_bot_that_failed_was_asked_and_says_why(coze: Coze) -> None:
    error = fails(coze, BROKE_BOT)
    assert isinstance(error, e.CozeChatFailedError)
    assert isinstance(error, ManagedAgentInvocationError), "no retry pays the quota"
    assert not isinstance(error, CozeAgentNotAskedError)
    assert (error.code, error.chat_id) == (4028, coze.ledger[0].id)
    assert str(error).count("No record is kept of an agent's chat") == 1


def test_a_retry_policy_of_ours_stops_what_is_final_and_nothing_else(coze: Coze) -> None:
    needs.RETRY_POLICIES.or_skip()
    from airflow_provider_coze.retry_policy import CozeRetryPolicy

    final, passing = fails(coze, BROKE_BOT), fails(coze, SLEEPER_BOT, "sleep 100: done", timeout=20)
    said = [CozeRetryPolicy().evaluate(error, 1, 3).action.name for error in (final, passing)]
    assert said == ["FAIL", "RETRY"]


def test_a_bot_that_wants_tools_is_final(coze: Coze) -> None:
    error = fails(coze, TOOL_BOT)
    assert isinstance(error, e.CozeChatRequiresActionError)
    assert isinstance(error, ManagedAgentInvocationError)


def test_a_bot_that_asks_back_wants_another_question(coze: Coze) -> None:
    asking = Bot(id="7511", name="asking", tool_calls=(ToolCall("ask", {"question": SECRET}, type="reply_message"),))
    coze.emulator.world.bots = [*coze.world.bots, asking]
    error = fails(coze, "7511")
    assert isinstance(error, ManagedAgentRejected)
    assert "rabbit" not in str(error)


@pytest.mark.parametrize(("code", "advice"), [(4010, "shorter"), (4014, "Rephrase")])
def test_what_another_wording_can_mend_is_said_to_the_model(coze: Coze, code: int, advice: str) -> None:
    coze.script(scenarios.error(code, "Something about the question."), on=SEND)
    error = fails(coze, ECHO_BOT)
    assert isinstance(error, ManagedAgentRejected)
    assert advice in str(error)
    assert isinstance(error.__cause__, e.CozeRejectedError)


def test_an_empty_question_is_given_back_to_the_model(coze: Coze) -> None:
    assert isinstance(fails(coze, ECHO_BOT, " "), ManagedAgentRejected)
    assert coze.seen == []


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        ({"vendor_options": {"bot_id": "1"}}, "'bot_id'"),
        ({"vendor_options": {"conversation_id": "1"}}, "'conversation_id'"),
        ({"vendor_options": {"custom_variables": {"a": 1}}}, "custom_variables"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"session_id": ""}, "conversation_id"),
        ({"messages": [], "prompt": None}, "additional_messages"),
        ({"messages": [{"role": "system", "content": "m"}], "prompt": None}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}], "prompt": None}, "content"),
    ],
)
def test_a_request_that_is_wrong_is_refused_before_anything_is_sent(
    coze: Coze, request_: dict[str, Any], wrong: str
) -> None:
    error = fails(coze, ECHO_BOT, **{"prompt": "hello", **request_})
    assert isinstance(error, e.CozeInputError)
    assert all(isinstance(error, kind) for kind in TERMINAL)
    assert wrong in str(error)
    assert coze.seen == []


def test_no_option_makes_it_another_bot_or_account() -> None:
    assert not {"bot_id", "agent", "conversation_id", "coze_conn_id", "connector_id", "stream"} & set(OPTIONS)


def test_errors_survive_pickling(coze: Coze) -> None:
    error = fails(coze, BROKE_BOT)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - ours
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.facts() == error.facts()


def test_a_hooks_own_retry_policy_is_kept_to(coze: Coze) -> None:
    coze.script(scenarios.rate_limited(), on=SEND, times=99)
    with pytest.raises(e.CozeRateLimitedError):
        agent(coze, ECHO_BOT, retry=RetryPolicy(attempts=1)).invoke(ManagedAgentRequest(prompt="hello"))
    assert coze.asked(SEND) == 1
