"""Coze Studio and relocated endpoints: what is translated on the way out and on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_coze import errors
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import BROKEN, DRAFT_BOT, ECHO, ECHO_BOT, SLEEPER, SLEEPER_BOT
from airflow_provider_coze.emulator.server import serve
from airflow_provider_coze.errors import CozeError, CozeInputError
from airflow_provider_coze.protocol import flows, listings
from airflow_provider_coze.protocol.auth import FixedToken, signed
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.endpoints import account, catalogue, chat, conversation, file, workflow
from airflow_provider_coze.protocol.messages import Call, Flow, Replay, Request, Response, Send
from airflow_provider_coze.protocol.models import Chat, RunHistory
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive
from tests.driving import VirtualTime, answer, sample

ONCE = RetryPolicy(attempts=1)
STUDIO = dialect_of("studio")
RUN = workflow.run_workflow(workflow_id="44", parameters={}, is_async=True, options={"workflow_version": "v0.0.5"})


def sent(call: Call[Any], dialect: Any = STUDIO) -> Request:
    effect = next(spoken(flows.call(call, ONCE), dialect))
    assert isinstance(effect, Send)
    return effect.request


def heard(call: Call[Any], response: Response) -> Any:
    """Return what a caller gets when Coze Studio answers so."""
    flow = spoken(flows.call(call, ONCE), STUDIO)
    next(flow)
    with pytest.raises(StopIteration) as done:
        flow.send(response)
    return done.value.value


# --- out


def test_the_cloud_is_spoken_to_as_it_is_and_costs_no_layer() -> None:
    flow = flows.call(RUN, ONCE)
    assert spoken(flow, dialect_of("cloud")) is flow


def test_a_record_is_asked_for_under_studios_path() -> None:
    request = sent(workflow.run_history(workflow_id="4/4", execute_id="5 5"))
    assert (request.method, request.path) == ("GET", "/v1/workflow/get_run_history")
    assert request.query == {"workflow_id": "4/4", "execute_id": "5 5"}


def test_the_version_of_a_workflow_has_another_name_there() -> None:
    assert sent(RUN).json == {"workflow_id": "44", "parameters": {}, "is_async": True, "version": "v0.0.5"}


@pytest.mark.parametrize(
    "call",
    [
        chat.create_chat(bot_id="1", user_id="u", additional_messages=[], conversation_id="2"),
        chat.retrieve_chat(conversation_id="1", chat_id="2"),
        chat.cancel_chat(conversation_id="1", chat_id="2"),
        chat.chat_messages(conversation_id="1", chat_id="2"),
        conversation.create_conversation(bot_id="1"),
        conversation.conversation_messages(conversation_id="1"),
        file.upload_file(filename="a", content=b"b"),
        chat.stream_chat(bot_id="1", user_id="u", additional_messages=[]),
        workflow.stream_run(workflow_id="1", parameters={}),
        workflow.stream_resume(workflow_id="1", event_id="2/3", interrupt_type=2, resume_data="x"),
        workflow.stream_chatflow(workflow_id="1", additional_messages=[], conversation_id="2"),
        workflow.stream_chatflow(workflow_id="1", additional_messages=[], parameters={"CONVERSATION_NAME": "c"}),
        Call(Request("GET", "/v1/workflows/1"), dict, Replay.ALWAYS),
        Call(Request("GET", "/v1/bots/1"), dict, Replay.ALWAYS),
        Call(Request("GET", "/v1/apps/1"), dict, Replay.ALWAYS),
    ],
    ids=lambda call: call.request.path,
)
def test_what_studio_has_in_common_with_the_cloud_is_asked_for_alike(call: Call[Any]) -> None:
    assert sent(call) == call.request


@pytest.mark.parametrize(
    "call",
    [
        chat.submit_tool_outputs(conversation_id="1", chat_id="2", tool_outputs=[]),
        workflow.node_output(workflow_id="1", execute_id="2", node_execute_uuid="3"),
        file.retrieve_file(file_id="1"),
        account.current_user(),
        account.list_workspaces(),
        account.benefits(),
        catalogue.list_bots(workspace_id="1"),
        catalogue.list_workflows(workspace_id="1"),
        conversation.modify_message(conversation_id="1", message_id="2", meta_data={}),
        workflow.resume_workflow(workflow_id="1", event_id="2/3", interrupt_type=2, resume_data="x"),
        workflow.workflow_info(workflow_id="1"),
        workflow.stream_chatflow(workflow_id="1", additional_messages=[], options={"bot_id": "2"}),
        chat.stream_tool_outputs(conversation_id="1", chat_id="2", tool_outputs=[]),
        Call(Request("GET", "/v1/bots"), dict, Replay.ALWAYS),
        Call(Request("GET", "/v1/workflows"), dict, Replay.ALWAYS),
        Call(Request("GET", "/v1/apps"), dict, Replay.ALWAYS),
    ],
    ids=lambda call: call.request.path,
)
def test_what_studio_does_not_have_is_refused_before_anything_is_sent(call: Call[Any]) -> None:
    with pytest.raises(CozeInputError, match="Nothing was sent") as caught:
        sent(call)
    assert call.request.path in str(caught.value)


@pytest.mark.parametrize("name", ["cloud", "studio"])
def test_runs_start_where_the_connection_says(name: str) -> None:
    relocated = dialect_of(name, "/gateway/run")
    assert sent(RUN, relocated).path == "/gateway/run"
    read = chat.retrieve_chat(conversation_id="1", chat_id="2")
    assert sent(read, relocated) == read.request


# --- back


def test_an_answer_of_the_cloud_is_not_touched_when_only_the_path_differs() -> None:
    flow = spoken(flows.call(RUN, ONCE), dialect_of("cloud", "/gateway/run"))
    next(flow)
    with pytest.raises(StopIteration) as done:
        flow.send(answer({"code": 0, "execute_id": "1", "data": {"log_id": "x"}}))
    assert done.value.value.data == '{"log_id": "x"}'


@pytest.mark.parametrize(
    ("call", "operation", "case", "seen"),
    [
        (
            chat.cancel_chat(conversation_id="1", chat_id="2"),
            "studio_chat_cancel",
            "canceled",
            lambda found: (found.id, found.status) == ("7512000000000000201", "conversation.chat.cancelled"),
        ),
        (
            chat.chat_messages(conversation_id="1", chat_id="2"),
            "studio_chat_messages",
            "completed",
            lambda found: [message.role for message in found] == ["user", "assistant"],
        ),
        (
            conversation.retrieve_conversation(conversation_id="1"),
            "studio_conversation_retrieve",
            "found",
            lambda found: found.id == "7512000000000000100",
        ),
    ],
    ids=["ChatV3ChatDetail", "Messages", "ConversationData"],
)
def test_answers_under_studios_own_keys_are_found(
    call: Call[Any], operation: str, case: str, seen: Callable[[Any], bool]
) -> None:
    assert seen(heard(call, sample(operation, case)))


def test_studios_names_of_fields_are_understood() -> None:
    body = {
        "data": [{"execute_id": 55, "execute_status": "Fail", "log_id": "L1", "error_msg": "no", "error_code": "5"}]
    }
    record = heard(workflow.run_history(workflow_id="1", execute_id="55"), answer(body))
    assert (record.execute_id, record.logid, record.error_message, record.error_code) == ("55", "L1", "no", 5)
    uploaded = heard(
        file.upload_file(filename="a", content=b""), answer({"data": {"id": "1", "CreatedAt": 1764800000}})
    )
    assert uploaded.created_at == 1764800000
    raw: Call[Any] = Call(Request("GET", "/v1/conversation/retrieve"), dict, Replay.ALWAYS)
    assert heard(raw, answer({"ConversationData": {"id": "1", "creator_d": "5"}}))["data"] == {
        "id": "1",
        "creator_id": "5",
    }


def test_text_that_is_no_valid_unicode_is_translated_into_text_that_is() -> None:
    half = '{"code":0,"Messages":[{"role":"assistant","type":"answer","content":"half an emoji: \\ud83d"}]}'
    (message,) = heard(chat.chat_messages(conversation_id="1", chat_id="2"), answer(half))
    assert message.content == "half an emoji: \ufffd"


@pytest.mark.parametrize("body", ["record not found", "[1]", "", "[" * 100_000], ids=lambda body: body[:16] or "empty")
def test_an_answer_that_is_no_object_is_left_to_the_envelope(body: str) -> None:
    with pytest.raises(errors.CozeUnavailableError):
        heard(chat.retrieve_chat(conversation_id="1", chat_id="2"), answer(body, 500))


@pytest.mark.parametrize(
    ("msg", "code", "kind"),
    [
        ("code=103100002 message=agent not exists", 103100002, errors.CozeNotFoundError),
        ("code=103000001 message=unauthorized access : user not match", 103000001, errors.CozePermissionError),
        ("code=103200005 message=in progress can not be cancelled", 103200005, errors.CozeAlreadyEndedError),
        ("code=103100001 message=model failed\ncause=x\nstack=main.go:1", 103100001, errors.CozeUnavailableError),
        ("invalid parameter : bot_id", None, errors.CozeRejectedError),
    ],
)
def test_the_code_that_studio_hides_in_the_text_of_a_400_is_found(
    msg: str, code: int | None, kind: type[CozeError]
) -> None:
    with pytest.raises(CozeError) as caught:
        heard(chat.cancel_chat(conversation_id="1", chat_id="2"), answer({"code": 400, "msg": msg}, 400))
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.msg == msg.removeprefix(f"code={code} message=").partition("\nstack=")[0]


# --- over the wire

Way = Callable[[Settings, Flow[Any], VirtualTime], Any]


def over_requests(settings: Settings, flow: Flow[Any], time: VirtualTime) -> Any:
    with SyncTransport(settings) as transport:
        return drive(flow, transport, time.sleep)


def over_aiohttp(settings: Settings, flow: Flow[Any], time: VirtualTime) -> Any:
    async def performed() -> Any:
        async with AioTransport(settings) as transport:
            return await adrive(flow, transport, time.asleep)

    return asyncio.run(performed())


class Studio:
    def __init__(self, emulator: Emulator, base_url: str, way: Way, time: VirtualTime) -> None:
        self.emulator = emulator
        self.time = time
        self._settings = Settings(base_url=base_url, auth=TokenAuth(emulator.token), dialect="studio")
        self._way = way

    def perform(self, flow: Flow[Any]) -> Any:
        dressed = signed(spoken(flow, STUDIO), FixedToken(self.emulator.token), clock=self.time)
        return self._way(self._settings, dressed, self.time)

    def call(self, call: Call[Any]) -> Any:
        return self.perform(flows.call(call, ONCE))

    def ask(self, bot_id: str, question: str) -> Chat:
        message = {"role": "user", "type": "question", "content": question, "content_type": "text"}
        found: Chat = self.call(chat.create_chat(bot_id=bot_id, user_id="u", additional_messages=[message]))
        return found

    def read(self, asked: Chat) -> Chat:
        found: Chat = self.perform(flows.read_chat(asked, ONCE))
        return found


@pytest.fixture(params=[over_requests, over_aiohttp], ids=lambda way: way.__name__)
def studio(request: pytest.FixtureRequest, virtual_time: VirtualTime) -> Iterator[Studio]:
    emulator = Emulator(dialect="studio", clock=virtual_time)
    with serve(emulator) as server:
        yield Studio(emulator, server.base_url, request.param, virtual_time)


def test_a_chat_of_studio_goes_from_question_to_answer(studio: Studio) -> None:
    asked = studio.ask(SLEEPER_BOT, "sleep 5: 好")
    assert asked.status == "created"
    assert studio.read(asked).status == "in_progress"
    studio.time.sleep(6)
    done = studio.read(asked)
    assert done.status == "completed"
    said = studio.perform(flows.chat_answer(done, ONCE, waited=6))
    assert said.text == "好"  # and not the question, which Studio lists too
    found = studio.perform(listings.messages_of(asked.conversation_id, ONCE))
    assert {message.role for message in found} == {"user", "assistant"}


def test_a_chat_of_studio_is_cancelled_and_its_odd_status_understood(studio: Studio) -> None:
    asked = studio.ask(SLEEPER_BOT, "sleep 60: late")
    canceled = studio.perform(flows.cancel_chat(asked, ONCE))
    with pytest.raises(errors.CozeChatCanceledError):
        studio.perform(flows.chat_answer(canceled, ONCE, waited=1))


def test_cancelling_a_chat_of_studio_that_has_ended_reads_it(studio: Studio) -> None:
    asked = studio.ask(ECHO_BOT, "hi")
    studio.time.sleep(60)
    assert studio.perform(flows.cancel_chat(asked, ONCE)).status == "completed"


def test_a_conversation_of_studio_is_made_and_found_again(studio: Studio) -> None:
    made = studio.call(conversation.create_conversation(bot_id=ECHO_BOT, meta_data={"k": "v"}))
    assert studio.call(conversation.retrieve_conversation(conversation_id=made.id)) == made
    assert made.meta_data == {"k": "v"}


@pytest.mark.parametrize("is_async", [True, False])
def test_a_run_of_studio_goes_from_its_start_to_its_result(studio: Studio, is_async: bool) -> None:
    start = workflow.run_workflow(workflow_id=ECHO, parameters={"a": "值"}, is_async=is_async)
    run = studio.call(start)
    record = studio.call(workflow.run_history(workflow_id=ECHO, execute_id=run.execute_id))
    assert record.execute_id == run.execute_id
    assert flows.run_result(record, workflow_id=ECHO, waited=1).output == {"output": {"a": "值"}}
    if not is_async:
        assert flows.direct_result(run, workflow_id=ECHO, waited=1).output == {"output": {"a": "值"}}
    assert len(studio.emulator.ledger) == 1


def test_a_run_of_studio_is_watched(studio: Studio) -> None:
    start = workflow.run_workflow(workflow_id=SLEEPER, parameters={"seconds": 20, "value": 1}, is_async=True)
    run = studio.call(start)
    watch = flows.Watch(flows.PollSchedule(2.0, 30.0), studio.time.now, None, studio.time, chance=lambda: 0.0)
    record = RunHistory(execute_id=run.execute_id, execute_status="Running")
    record = studio.perform(flows.watch_run(record, watch, workflow_id=SLEEPER))
    assert record.execute_status == "Success"
    assert studio.time.slept


def test_a_failed_run_of_studio_says_why(studio: Studio) -> None:
    run = studio.call(workflow.run_workflow(workflow_id=BROKEN, parameters={}, is_async=True))
    record = studio.call(workflow.run_history(workflow_id=BROKEN, execute_id=run.execute_id))
    with pytest.raises(errors.CozeRunFailedError, match="division by zero") as caught:
        flows.run_result(record, workflow_id=BROKEN, waited=1)
    assert caught.value.code == 720701002
    assert caught.value.logid


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (
            chat.create_chat(
                bot_id=DRAFT_BOT,
                user_id="u",
                additional_messages=[{"role": "user", "content": "hi", "content_type": "text"}],
            ),
            errors.CozeNotFoundError,
            103100002,
        ),
        (conversation.retrieve_conversation(conversation_id="1"), errors.CozeNotFoundError, 103000002),
        (chat.retrieve_chat(conversation_id="1", chat_id="1"), errors.CozeUnavailableError, None),
        (workflow.run_workflow(workflow_id="1", parameters={}, is_async=True), errors.CozeNotFoundError, 720702004),
    ],
    ids=["no bot", "no conversation", "no chat", "no workflow"],
)
def test_refusals_of_studio_are_the_same_typed_errors(
    studio: Studio, call: Call[Any], kind: type[CozeError], code: int | None
) -> None:
    with pytest.raises(CozeError) as caught:
        studio.call(call)
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert caught.value.logid


def test_a_gateway_that_moved_the_start_of_runs_is_reached_over_the_wire(perform: Any, emulator: Emulator) -> None:
    # The emulator has no such path, which proves where the request went.
    with pytest.raises(CozeError, match="/gateway/run does not exist"):
        perform(spoken(flows.call(RUN, ONCE), dialect_of("cloud", "/gateway/run")))
    assert emulator.requests["POST /gateway/run"] == 1
