"""What is done with Coze, step by step. Flows are driven by hand: no server, no mock, no waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from airflow_provider_coze import errors
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER
from airflow_provider_coze.errors import CozeError, CozeTransportError
from airflow_provider_coze.protocol import flows, listings
from airflow_provider_coze.protocol.endpoints import chat as chats
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.endpoints import workflow as workflows
from airflow_provider_coze.protocol.flows import Watch
from airflow_provider_coze.protocol.messages import Flow, Response, Send, Sleep
from airflow_provider_coze.protocol.models import Chat, LastError, RunHistory, Usage, WorkflowRun
from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import NOON, Perform, VirtualTime, answer, sample

RETRY = RetryPolicy()
READ = chats.retrieve_chat(conversation_id="22", chat_id="33")
START = workflows.run_workflow(workflow_id="44", parameters={}, is_async=True)
LOST = CozeTransportError("reset", never_sent=False)
NEVER_SENT = CozeTransportError("refused", never_sent=True)
DEBUG_URL = "https://www.coze.cn/work_flow?execute_id=55"

Step = Response | CozeTransportError


def driven(flow: Flow[Any], steps: Iterable[Step], time: VirtualTime | None = None) -> tuple[Any, list[Any]]:
    """Answer each Send with the next step; return what the flow returned and all it asked for."""
    time = time or VirtualTime()
    asked: list[Any] = []
    left = iter(steps)
    answered: Step | None = None
    try:
        while True:
            if isinstance(answered, CozeTransportError):  # a new one each time: errors learn on their way up
                effect = flow.throw(CozeTransportError(*answered.args, **answered.facts()))
            else:
                effect = flow.send(answered)
            asked.append(effect)
            if isinstance(effect, Sleep):
                time.sleep(effect.seconds)
                answered = None
            else:
                if effect.after:
                    time.sleep(effect.after)
                answered = next(left, None)
                assert answered is not None, f"one more request than expected: {effect}"
    except StopIteration as done:
        assert next(left, None) is None, "not all answers were asked for"
        return done.value, asked


def failing(flow: Flow[Any], steps: Iterable[Step], time: VirtualTime | None = None) -> CozeError:
    with pytest.raises(CozeError) as caught:
        driven(flow, steps, time)
    return caught.value


def sends(asked: list[Any]) -> list[str]:
    return [f"{effect.request.method} {effect.request.path}" for effect in asked if isinstance(effect, Send)]


def sleeps(asked: list[Any]) -> list[float]:
    waits = [effect.seconds if isinstance(effect, Sleep) else effect.after for effect in asked]
    return [seconds for seconds in waits if seconds]


# --- call


def test_a_call_sends_its_request_and_returns_what_its_answer_says() -> None:
    result, asked = driven(flows.call(READ, RETRY), [sample("chat_retrieve", "completed")])
    assert asked == [Send(READ.request)]
    assert result.status == "completed"


def test_a_read_waits_what_a_429_asks_for_and_asks_again() -> None:
    flow = flows.call(READ, RETRY)
    next(flow)
    assert flow.send(sample("errors", "429_retry_after_7")) == Sleep(7.0)
    assert flow.send(None) == Send(READ.request)


@pytest.mark.parametrize("passing", [LOST, answer("<html>", 502), answer({"code": 4013})], ids=["lost", "502", "4013"])
def test_a_read_is_repeated_up_to_its_attempts_and_then_the_last_error_is_raised(passing: Step) -> None:
    flow = flows.call(READ, RetryPolicy(attempts=3))
    with pytest.raises((CozeTransportError, errors.CozeAPIError)):
        driven(flow, [passing, passing, passing])
    _, asked = driven(flows.call(READ, RetryPolicy(attempts=3)), [passing, passing, sample("chat_retrieve", "created")])
    assert len(sends(asked)) == 3
    assert len(sleeps(asked)) == 2


@pytest.mark.parametrize(
    "failure",
    [
        LOST,
        answer("<html>", 502),
        answer({"code": 4013, "debug_url": "https://www.coze.cn/work_flow?execute_id=1"}, retry_after="1"),
        answer({"code": 720702222}),
        answer("", 200),
    ],
    ids=["lost", "502", "4013 of a run", "720702222", "empty"],
)
def test_a_billed_call_that_may_have_arrived_is_made_once(failure: Step) -> None:
    error = failing(flows.call(START, RETRY), [failure])
    assert isinstance(error, CozeError)


def test_a_billed_call_that_never_left_is_made_again() -> None:
    run, asked = driven(flows.call(START, RETRY), [NEVER_SENT, NEVER_SENT, sample("workflow_run", "async")])
    assert run.execute_id == "7513000000000000002"
    assert sends(asked) == ["POST /v1/workflow/run"] * 3


@pytest.mark.parametrize("code", [4009, 4013, 4020])
def test_a_billed_call_that_its_code_turned_away_is_made_again(code: int) -> None:
    turned_away = answer({"code": code})
    run, asked = driven(flows.call(START, RETRY), [turned_away, turned_away, sample("workflow_run", "async")])
    assert run.execute_id == "7513000000000000002"
    assert sends(asked) == ["POST /v1/workflow/run"] * 3


def test_a_billed_call_that_http_429_turned_away_is_made_again_after_the_wait_that_was_asked_for() -> None:
    limited = sample("errors", "429_retry_after_7")
    run, asked = driven(flows.call(START, RETRY), [limited, limited, sample("workflow_run", "async")])
    assert run.execute_id == "7513000000000000002"
    assert sends(asked) == ["POST /v1/workflow/run"] * 3
    assert sleeps(asked) == [7.0, 7.0]


def test_waits_add_up_to_the_budget_of_the_call() -> None:
    limited = answer({"code": 4013}, retry_after="50")
    time = VirtualTime()
    error = failing(flows.call(READ, RetryPolicy(attempts=9, budget_seconds=120)), [limited] * 3, time)
    assert isinstance(error, errors.CozeRateLimitedError)
    assert time.slept == [50.0, 50.0]


def test_an_answer_without_its_ids_is_not_asked_for_again() -> None:
    assert isinstance(failing(flows.call(chats.create_chat(bot_id="1", user_id="u", additional_messages=[]), RETRY),
                              [answer({"code": 0, "data": {}})]), errors.CozeProtocolError)  # fmt: skip


# --- watching

CHAT = Chat(id="33", conversation_id="22", status="created")
RUN = RunHistory(execute_id="55", execute_status="Running", debug_url=DEBUG_URL)


def chat_is(status: str, **fields: Any) -> Response:
    return answer({"code": 0, "data": {"id": "33", "conversation_id": "22", "status": status, **fields}})


def run_is(status: str, **fields: Any) -> Response:
    return answer({"code": 0, "data": [{"execute_id": "55", "execute_status": status, **fields}]})


def watching(time: VirtualTime, until: float | None = None, **fields: Any) -> Watch:
    given: dict[str, Any] = {
        "polls": replace(CHAT_POLLS, early=()),
        "since": time.now,
        "until": until,
        "clock": time,
        "chance": lambda: 0.0,
    }
    return Watch(**(given | fields))


class OfChats:
    """A chat to watch, so that what holds for both kinds of work is said once."""

    waiting, done = chat_is("created"), chat_is("completed")
    ids: ClassVar = {"chat_id": "33", "conversation_id": "22"}
    path = "/v3/chat/retrieve"

    @staticmethod
    def watch(watch: Watch) -> Flow[Any]:
        return flows.watch_chat(CHAT, watch)


class OfRuns:
    """A run to watch."""

    waiting, done = run_is("Running"), run_is("Success")
    ids: ClassVar = {"workflow_id": "44", "execute_id": "55", "debug_url": DEBUG_URL}
    path = "/v1/workflows/44/run_histories/55"

    @staticmethod
    def watch(watch: Watch) -> Flow[Any]:
        return flows.watch_run(RUN, watch, workflow_id="44")


both = pytest.mark.parametrize("work", [OfChats, OfRuns], ids=["chat", "run"])
Work = type[OfChats] | type[OfRuns]


def status_of(work: Chat | RunHistory) -> str:
    return work.status if isinstance(work, Chat) else work.execute_status


@both
def test_it_is_read_after_each_wait_until_its_status_changes(work: Work, virtual_time: VirtualTime) -> None:
    steps = [work.waiting, work.waiting, work.done]
    ended, asked = driven(work.watch(watching(virtual_time)), steps, virtual_time)
    assert status_of(ended) in ("completed", "Success")
    assert sends(asked) == [f"GET {work.path}"] * 3
    assert all(effect.after and effect.looks for effect in asked)  # it has just been started, or just been read
    assert sleeps(asked) == [1.0, 1.0, 1.0]


@both
def test_waits_grow_with_the_age_of_the_work_and_not_of_the_watch(work: Work, virtual_time: VirtualTime) -> None:
    watch = watching(virtual_time, since=virtual_time.now - 20)
    _, asked = driven(work.watch(watch), [work.waiting, work.done], virtual_time)
    assert sleeps(asked) == [5.0, 6.25]


@both
def test_the_last_look_is_at_the_deadline_and_then_it_is_returned_unchanged(
    work: Work, virtual_time: VirtualTime
) -> None:
    watch = watching(virtual_time, until=virtual_time.now + 2.5)
    waiting, asked = driven(work.watch(watch), [work.waiting] * 3, virtual_time)
    assert status_of(waiting) in ("created", "Running")
    assert sleeps(asked) == [1.0, 1.0, 0.5]
    assert virtual_time.now == NOON + 2.5


@both
def test_without_time_nothing_is_asked(work: Work, virtual_time: VirtualTime) -> None:
    _, asked = driven(work.watch(watching(virtual_time, until=virtual_time.now)), [], virtual_time)
    assert asked == []


@both
def test_nothing_is_asked_before_it_can_be_of_use(work: Work, virtual_time: VirtualTime) -> None:
    watch = watching(virtual_time, not_before=virtual_time.now + 4.0)
    _, asked = driven(work.watch(watch), [work.waiting, work.done], virtual_time)
    assert sleeps(asked) == [4.0, 1.0]


@both
def test_failing_looks_are_repeated_patiently(work: Work, virtual_time: VirtualTime) -> None:
    steps: list[Step] = [LOST, answer("<html>", 502), answer({"code": 4013})] * 8 + [work.done]
    ended, asked = driven(work.watch(watching(virtual_time)), steps, virtual_time)
    assert status_of(ended) in ("completed", "Success")
    assert len(sends(asked)) == 25


@both
def test_patience_ends_after_ten_minutes_and_the_error_knows_where_the_work_stands(
    work: Work, virtual_time: VirtualTime
) -> None:
    error = failing(work.watch(watching(virtual_time)), [LOST] * 1_000, virtual_time)
    assert 500 < virtual_time.now - NOON <= 601
    assert error.facts().items() >= work.ids.items()
    assert "is billed" in str(error)
    assert "a retry of the task goes on with it, unless durable is False" in str(error)


@both
def test_patience_does_not_outlast_the_deadline(work: Work, virtual_time: VirtualTime) -> None:
    watch = watching(virtual_time, until=virtual_time.now + 40.0)
    error = failing(work.watch(watch), [answer({"code": 4013}, retry_after="30")] * 5, virtual_time)
    assert isinstance(error, errors.CozeRateLimitedError)
    assert virtual_time.slept == [1.0, 30.0]


@both
def test_a_failure_that_cannot_pass_ends_the_watch_at_once(work: Work, virtual_time: VirtualTime) -> None:
    error = failing(work.watch(watching(virtual_time)), [answer({"code": 4101})], virtual_time)
    assert type(error) is errors.CozePermissionError
    assert error.facts().items() >= work.ids.items()


@pytest.mark.parametrize("status", ["completed", "failed", "canceled", "requires_action"])
def test_a_chat_that_has_ended_is_not_asked_about(status: str, virtual_time: VirtualTime) -> None:
    ended = replace(CHAT, status=status)
    assert driven(flows.watch_chat(ended, watching(virtual_time)), []) == (ended, [])


@pytest.mark.parametrize(
    "ended",
    [replace(RUN, execute_status="Success"), replace(RUN, execute_status="Fail"), replace(RUN, interrupt={"type": 2})],
    ids=["Success", "Fail", "asks"],
)
def test_a_run_that_has_ended_or_asks_is_not_asked_about(ended: RunHistory, virtual_time: VirtualTime) -> None:
    assert driven(flows.watch_run(ended, watching(virtual_time), workflow_id="44"), []) == (ended, [])


def test_every_change_of_a_chats_status_is_handed_out_unknown_words_included(virtual_time: VirtualTime) -> None:
    chat, words = CHAT, []
    for step in ("in_progress", "thinking_hard", "completed"):
        chat, _ = driven(flows.watch_chat(chat, watching(virtual_time)), [chat_is(step)], virtual_time)
        words.append(chat.status)
    assert words == ["in_progress", "thinking_hard", "completed"]


def test_a_question_ends_the_watch_of_a_run_although_it_is_still_running(virtual_time: VirtualTime) -> None:
    asks = run_is("<UNSET>", interrupt_data={"event_id": "55/1", "type": 2})
    record, _ = driven(flows.watch_run(RUN, watching(virtual_time), workflow_id="44"), [asks], virtual_time)
    assert record.interrupt == {"event_id": "55/1", "type": 2}
    assert not flows.is_waiting(record)


def test_a_record_that_leaves_its_ids_out_keeps_them(virtual_time: VirtualTime) -> None:
    bare = answer({"code": 0, "data": [{"execute_status": "Success"}]})
    record, _ = driven(flows.watch_run(RUN, watching(virtual_time), workflow_id="44"), [bare], virtual_time)
    assert (record.execute_id, record.debug_url) == ("55", DEBUG_URL)


NOT_VISIBLE = answer({"code": 4314, "msg": "no such record"})


def test_a_young_run_may_not_be_visible_yet(virtual_time: VirtualTime) -> None:
    record, asked = driven(
        flows.watch_run(RUN, watching(virtual_time, polls=RUN_POLLS), workflow_id="44"),
        [NOT_VISIBLE, NOT_VISIBLE, run_is("Success")],
        virtual_time,
    )
    assert record.execute_status == "Success"
    assert len(sends(asked)) == 3


@pytest.mark.parametrize(
    ("age", "body"), [(29.0, {"code": 4314}), (0.0, {"code": 4200}), (0.0, {"code": 0})], ids=["old", "other", "404"]
)
def test_a_run_that_is_old_or_missing_for_another_reason_is_an_error(
    age: float, body: dict[str, Any], virtual_time: VirtualTime
) -> None:
    watch = watching(virtual_time, since=virtual_time.now - age)
    missing = answer(body, 404 if body == {"code": 0} else 200)
    error = failing(flows.watch_run(RUN, watch, workflow_id="44"), [missing], virtual_time)
    assert isinstance(error, errors.CozeNotFoundError)
    assert error.execute_id == "55"


def test_looks_are_spread_by_chance(virtual_time: VirtualTime) -> None:
    watch = Watch(CHAT_POLLS, since=virtual_time.now - 20, until=None, clock=virtual_time)
    waits = {watch.next_wait() for _ in range(20)}
    assert len(waits) > 1
    assert all(wait is not None and 4.0 <= wait <= 5.0 for wait in waits)


# --- cancelling


def test_a_chat_is_cancelled_with_one_request() -> None:
    chat, asked = driven(flows.cancel_chat(CHAT, RETRY), [chat_is("canceled")])
    assert (chat.status, sends(asked)) == ("canceled", ["POST /v3/chat/cancel"])


@pytest.mark.parametrize("code", [4104, 103200005])
def test_a_chat_that_was_faster_than_its_cancelling_is_read_instead(code: int) -> None:
    chat, asked = driven(flows.cancel_chat(CHAT, RETRY), [answer({"code": code}), chat_is("completed")])
    assert (chat.status, sends(asked)) == ("completed", ["POST /v3/chat/cancel", "GET /v3/chat/retrieve"])


def test_cancelling_is_repeated_when_its_answer_is_lost() -> None:
    _, asked = driven(flows.cancel_chat(CHAT, RETRY), [LOST, answer({"code": 4104}), chat_is("canceled")])
    assert sends(asked) == ["POST /v3/chat/cancel", "POST /v3/chat/cancel", "GET /v3/chat/retrieve"]


# --- the answer of a chat

#: What a retry of the task does, in the words of each error.
AFTERWARDS = {
    errors.CozeChatFailedError: "starts, and pays for, a new chat",
    errors.CozeChatCanceledError: "starts, and pays for, a new chat",
    errors.CozeChatRequiresActionError: "finds it as it stands then",
    errors.CozeChatTimeoutError: "waits for it again, unless durable is False",
    errors.CozeRunFailedError: "starts, and pays for, a new run",
    errors.CozeRunCanceledError: "starts, and pays for, a new run",
    errors.CozeRunInterruptedError: "finds it as it stands then",
    errors.CozeRunTimeoutError: "waits for it again, unless durable is False",
}


def test_the_answer_of_a_completed_chat_is_fetched() -> None:
    chat = replace(CHAT, status="completed")
    said, asked = driven(flows.chat_answer(chat, RETRY, waited=3), [sample("chat_messages", "completed")])
    assert sends(asked) == ["GET /v3/chat/message/list"]
    assert said.text == "Run 42 succeeded."
    assert said.chat is chat
    assert {message.type for message in said.messages} >= {"verbose", "answer"}
    assert "Run 42" not in repr(said)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("failed", errors.CozeChatFailedError),
        ("expired", errors.CozeChatFailedError),
        ("canceled", errors.CozeChatCanceledError),
        ("requires_action", errors.CozeChatRequiresActionError),
        ("created", errors.CozeChatTimeoutError),
        ("in_progress", errors.CozeChatTimeoutError),
        ("thinking_hard", errors.CozeChatTimeoutError),
    ],
)
def test_a_chat_without_an_answer_is_an_error_with_its_ids_and_nothing_is_fetched(
    status: str, kind: type[CozeError]
) -> None:
    chat = replace(CHAT, status=status, bot_id="11", logid="L1", last_error=None)
    error = failing(flows.chat_answer(chat, RETRY, waited=3.0), [])
    assert type(error) is kind
    ids = {"chat_id": "33", "conversation_id": "22", "bot_id": "11", "logid": "L1"}
    assert error.facts().items() >= ids.items()
    for text in ("'33'", "'22'", "L1", AFTERWARDS[kind]):
        assert text in str(error)


def test_a_failed_chat_carries_its_reason_and_what_the_code_means() -> None:
    chat = replace(CHAT, status="failed", last_error=LastError(4028, "Your free quota has been used up."))
    error = failing(flows.chat_answer(chat, RETRY, waited=3.0), [])
    assert (error.code, error.msg) == (4028, "Your free quota has been used up.")
    assert "the free quota is used up. Upgrade the plan" in str(error)


def test_a_paused_chat_carries_its_tool_calls_and_names_the_tools() -> None:
    calls = ({"id": "CALL-1", "type": "function", "function": {"name": "read_sensor"}}, {"type": "reply_message"})
    error = failing(flows.chat_answer(replace(CHAT, status="requires_action", tool_calls=calls), RETRY, waited=3.0), [])
    assert isinstance(error, errors.CozeChatRequiresActionError)
    assert error.tool_calls == [dict(call) for call in calls]
    assert "['read_sensor', 'reply_message']" in str(error)


def test_an_answer_that_cannot_be_fetched_says_that_it_is_paid_for_and_where_it_is() -> None:
    error = failing(flows.chat_answer(replace(CHAT, status="completed"), RetryPolicy(attempts=1), waited=3), [LOST])
    assert isinstance(error, CozeTransportError)
    assert (error.chat_id, error.conversation_id) == ("33", "22")
    assert "completed and paid for" in str(error)


# --- the messages of a conversation


def page(*ids: int, more: bool) -> Response:
    messages = [{"id": str(one), "role": "user", "content": f"m{one}", "content_type": "text"} for one in ids]
    first, last = (str(ids[0]), str(ids[-1])) if ids else ("", "")
    return answer({"code": 0, "data": messages, "first_id": first, "last_id": last, "has_more": more})


def test_pages_follow_each_other_by_the_last_id_of_the_one_before() -> None:
    steps = [page(9, 8, more=True), page(7, 6, more=True), page(5, more=False)]
    found, asked = driven(listings.messages_of("22", RETRY, chat_id="33"), steps)
    assert [message.id for message in found] == ["9", "8", "7", "6", "5"]
    bodies = [effect.request.json for effect in asked]
    assert [body.get("after_id") for body in bodies] == [None, "8", "6"]
    assert all("before_id" not in body and body["chat_id"] == "33" for body in bodies)


@pytest.mark.parametrize(
    "steps", [[page(more=True)], [page(9, 8, more=True), page(9, 8, more=True)]], ids=["empty", "same"]
)
def test_pages_that_never_end_are_not_followed_for_ever(steps: list[Response]) -> None:
    driven(listings.messages_of("22", RETRY), steps)


def test_a_long_conversation_is_read_to_its_beginning_once(perform: Perform, emulator: Emulator) -> None:
    conversation = perform(flows.call(conversations.create_conversation(bot_id=ECHO_BOT), RETRY))
    for turn in range(30):  # two messages each, and 50 fit on a page
        question = {"role": "user", "content": f"turn {turn}", "content_type": "text"}
        perform(
            flows.call(
                chats.create_chat(
                    bot_id=ECHO_BOT,
                    user_id="u",
                    additional_messages=[question],
                    conversation_id=conversation.id,
                ),
                RETRY,
            )
        )
    found = perform(listings.messages_of(conversation.id, RETRY))
    said = [message.content for message in found if message.role == "user"]
    assert said == [f"turn {turn}" for turn in reversed(range(30))]
    assert len({message.id for message in found}) == len(found) == 60


# --- the result of a run


def test_the_result_of_a_successful_run_is_unwrapped() -> None:
    usage = Usage(3, 1, 2)
    record = replace(RUN, execute_status="Success", output='{"Output":"{\\"a\\":1}"}', usage=usage, logid="L1")
    result = flows.run_result(replace(record, is_output_trimmed=True), workflow_id="44", waited=3)
    assert result == flows.RunResult({"a": 1}, "55", DEBUG_URL, usage, "L1", is_output_trimmed=True)
    assert "'a'" not in repr(result)


def test_a_result_that_was_trimmed_away_is_none() -> None:
    record = replace(RUN, execute_status="Success", output=None, is_output_trimmed=True)
    assert flows.run_result(record, workflow_id="44", waited=3).output is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"execute_status": "Fail"}, errors.CozeRunFailedError),
        ({"execute_status": "Cancel"}, errors.CozeRunCanceledError),
        ({"interrupt": {"event_id": "55/1", "type": 2}}, errors.CozeRunInterruptedError),
        ({"execute_status": "Running"}, errors.CozeRunTimeoutError),
        ({"execute_status": ""}, errors.CozeRunTimeoutError),
        ({"execute_status": "Paused"}, errors.CozeRunTimeoutError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "".join(value),
)
def test_a_run_without_a_result_is_an_error_with_its_ids(fields: dict[str, Any], kind: type[CozeError]) -> None:
    record = replace(RUN, logid="L1", **fields)
    with pytest.raises(CozeError) as caught:
        flows.run_result(record, workflow_id="44", waited=3.0)
    assert type(caught.value) is kind
    ids = {"workflow_id": "44", "execute_id": "55", "debug_url": DEBUG_URL, "logid": "L1"}
    assert caught.value.facts().items() >= ids.items()
    for text in ("'55'", "'44'", "L1", DEBUG_URL, AFTERWARDS[kind]):
        assert text in str(caught.value)


def test_a_failed_run_carries_its_reason_and_what_the_code_means() -> None:
    record = replace(RUN, execute_status="Fail", error_code=4011, error_message="no tokens left")
    with pytest.raises(errors.CozeRunFailedError, match=r"balance is used up\. Top up") as caught:
        flows.run_result(record, workflow_id="44", waited=3)
    assert (caught.value.code, caught.value.msg) == (4011, "no tokens left")


def test_the_question_of_a_run_is_carried_whole() -> None:
    asked = {"event_id": "55/1", "type": 2, "data": "Which city?", "required_parameters": {}}
    with pytest.raises(errors.CozeRunInterruptedError) as caught:
        flows.run_result(replace(RUN, interrupt=asked), workflow_id="44", waited=3)
    assert caught.value.interrupt == asked


@pytest.mark.parametrize(
    ("data", "output"),
    [('{"output":"42 rows"}', {"output": "42 rows"}), ("All fine.", "All fine."), ("42", "42"), ("", "")],
)
def test_a_synchronous_result_is_unwrapped(data: str, output: Any) -> None:
    run = WorkflowRun("55", DEBUG_URL, data=data, usage=Usage(3, 1, 2), logid="L1")
    expected = flows.RunResult(output, "55", DEBUG_URL, Usage(3, 1, 2), "L1")
    assert flows.direct_result(run, workflow_id="44", waited=3) == expected


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (WorkflowRun("55", DEBUG_URL, data="", interrupt={"type": 5}), errors.CozeRunInterruptedError),
        (WorkflowRun("55", DEBUG_URL), errors.CozeRunTimeoutError),
    ],
    ids=["asks", "nothing"],
)
def test_a_synchronous_answer_without_a_result_is_an_error_with_its_ids(
    run: WorkflowRun, kind: type[CozeError]
) -> None:
    with pytest.raises(CozeError) as caught:
        flows.direct_result(run, workflow_id="44", waited=3)
    assert type(caught.value) is kind
    assert caught.value.facts().items() >= {"workflow_id": "44", "execute_id": "55", "debug_url": DEBUG_URL}.items()


# --- all of it, over every way of reaching Coze


def test_a_chat_from_its_question_to_its_answer(
    perform: Perform, virtual_time: VirtualTime, emulator: Emulator
) -> None:
    def chat_to_end() -> Flow[flows.ChatAnswer]:
        question = {"role": "user", "type": "question", "content": "你好", "content_type": "text"}
        chat = yield from flows.call(
            chats.create_chat(bot_id=ECHO_BOT, user_id="u", additional_messages=[question]), RETRY
        )
        while chat.status != "completed":
            chat = yield from flows.watch_chat(chat, watching(virtual_time))
        return (yield from flows.chat_answer(chat, RETRY, waited=1))

    said = perform(chat_to_end())
    assert said.text == "You said: 你好"
    assert said.follow_ups == ["Would you like to say something else?"]
    assert len(emulator.ledger) == 1


def test_a_run_from_its_start_to_its_result(perform: Perform, virtual_time: VirtualTime, emulator: Emulator) -> None:
    def run_to_end() -> Flow[flows.RunResult]:
        start = workflows.run_workflow(
            workflow_id=SLEEPER, parameters={"seconds": 90, "value": {"行": [1, None]}}, is_async=True
        )
        run = yield from flows.call(start, RETRY)
        record = RunHistory(execute_id=run.execute_id, execute_status="Running", debug_url=run.debug_url)
        watch = watching(virtual_time, polls=RUN_POLLS)
        record = yield from flows.watch_run(record, watch, workflow_id=SLEEPER)
        return flows.run_result(record, workflow_id=SLEEPER, waited=90)

    result = perform(run_to_end())
    assert result.output == {"output": {"行": [1, None]}}
    assert len(emulator.ledger) == 1
    assert 90 <= virtual_time.now - NOON <= 90 * 1.25 + 2
