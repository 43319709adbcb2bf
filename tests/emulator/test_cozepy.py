"""Coze's official Python client against the emulator, unmodified: an independent witness of the wire."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pydantic
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own use of authlib
    import cozepy
    import cozepy.chat

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.definitions import (
    Interrupt,
    OAuthApp,
    OutputNode,
    Polls,
    Template,
    ToolCall,
    Turn,
)
from airflow_provider_coze.emulator.server import Server

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

ECHO, BROKE, TOOLS, SLEEPER = (f"751100000000000000{n}" for n in (2, 4, 5, 6))
SUMMARY, ECHO_FLOW, DRAFT_FLOW, BROKEN, ASKING, PLAIN, SLEEPER_FLOW, CHATFLOW = (
    f"751150000000000000{n}" for n in range(1, 9)
)


@pytest.fixture
def client(coze_emulator: Server) -> cozepy.Coze:
    return cozepy.Coze(auth=cozepy.TokenAuth(coze_emulator.token), base_url=coze_emulator.base_url)


@pytest.fixture
def aclient(coze_emulator: Server) -> cozepy.AsyncCoze:
    return cozepy.AsyncCoze(auth=cozepy.AsyncTokenAuth(coze_emulator.token), base_url=coze_emulator.base_url)


@pytest.fixture(autouse=True)
def _polls_without_waiting(monkeypatch: pytest.MonkeyPatch, coze_emulator: Server) -> None:
    """Let the client's one second between polls pass on the emulator's clock."""
    monkeypatch.setattr(cozepy.chat.time, "sleep", coze_emulator.advance)


def _question(text: str) -> list[cozepy.Message]:
    return [cozepy.Message.build_user_question_text(text, {"marker": "m"})]


def test_create_and_poll_brings_the_answer(client: cozepy.Coze, coze_emulator: Server) -> None:
    poll = client.chat.create_and_poll(
        bot_id=SLEEPER, user_id="u", additional_messages=_question("sleep 3: awake"), meta_data={"key": "v"}
    )
    assert poll.chat.status == cozepy.ChatStatus.COMPLETED
    assert poll.chat.usage is not None
    assert poll.chat.usage.token_count == coze_emulator.ledger[0].tokens
    assert poll.messages is not None
    assert [m.content for m in poll.messages if m.type == cozepy.MessageType.ANSWER] == ["awake"]
    assert coze_emulator.ledger[0].marker == {"meta_data": {"key": "v"}, "message_meta_data": {"marker": "m"}}


def test_create_retrieve_and_cancel(client: cozepy.Coze) -> None:
    chat = client.chat.create(bot_id=SLEEPER, user_id="u", additional_messages=_question("sleep 60: x"))
    assert chat.status == cozepy.ChatStatus.IN_PROGRESS
    again = client.chat.retrieve(conversation_id=chat.conversation_id, chat_id=chat.id)
    assert (again.id, again.bot_id, again.response.logid is not None) == (chat.id, SLEEPER, True)
    assert (
        client.chat.cancel(conversation_id=chat.conversation_id, chat_id=chat.id).status == cozepy.ChatStatus.CANCELED
    )
    with pytest.raises(cozepy.CozeAPIError) as error:
        client.chat.cancel(conversation_id=chat.conversation_id, chat_id=chat.id)
    assert error.value.code == 4104
    assert error.value.logid


def test_create_and_poll_of_a_failed_chat_breaks_on_the_missing_list_as_it_does_with_coze(client: cozepy.Coze) -> None:
    # github.com/coze-dev/coze-py/issues/425
    with pytest.raises(pydantic.ValidationError):
        client.chat.create_and_poll(bot_id=BROKE, user_id="u", additional_messages=_question("x"))


def test_a_chat_can_be_streamed(client: cozepy.Coze) -> None:
    events = list(client.chat.stream(bot_id=ECHO, user_id="u", additional_messages=_question("hello there")))
    kinds = cozepy.ChatEventType
    assert [event.event for event in events[:2]] == [
        kinds.CONVERSATION_CHAT_CREATED,
        kinds.CONVERSATION_CHAT_IN_PROGRESS,
    ]
    deltas = [e.message.content for e in events if e.event == kinds.CONVERSATION_MESSAGE_DELTA and e.message]
    assert "".join(deltas) == "You said: hello there"
    assert events[-1].event == kinds.CONVERSATION_CHAT_COMPLETED
    assert not any(event.event == kinds.UNKNOWN for event in events)


def test_tool_outputs_can_be_submitted_streamed_and_not(client: cozepy.Coze) -> None:
    for stream in (False, True):
        chat = client.chat.create(bot_id=TOOLS, user_id="u", additional_messages=_question("how warm?"))
        chat = client.chat.retrieve(conversation_id=chat.conversation_id, chat_id=chat.id)
        assert chat.status == cozepy.ChatStatus.REQUIRES_ACTION
        assert chat.required_action is not None
        assert chat.required_action.submit_tool_outputs is not None
        (call,) = chat.required_action.submit_tool_outputs.tool_calls
        outputs = [cozepy.ToolOutput(tool_call_id=call.id, output="21 °C")]
        given = {"conversation_id": chat.conversation_id, "chat_id": chat.id, "tool_outputs": outputs}
        if stream:
            events = list(client.chat.submit_tool_outputs(**given, stream=True))
            assert events[-1].event == cozepy.ChatEventType.CONVERSATION_CHAT_COMPLETED
        else:
            client.chat.submit_tool_outputs(**given, stream=False)
        messages = client.chat.messages.list(conversation_id=chat.conversation_id, chat_id=chat.id)
        assert [m.content for m in messages if m.type == cozepy.MessageType.ANSWER] == ["Sensor B2 says: 21 °C"]


def test_a_chain_of_thought_comes_before_the_answer_in_a_stream(client: cozepy.Coze, coze_emulator: Server) -> None:
    bot = coze_emulator.add_bot(reasoning="A story it is.", answer="Once upon a time.")
    stream = client.chat.stream(bot_id=bot.id, user_id="u", additional_messages=_question("x"), parameters={})
    assert stream.response.logid
    thought, said, usage = "", "", 0
    for event in stream:
        if event.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and event.message:
            assert not (said and event.message.reasoning_content)
            thought += event.message.reasoning_content or ""
            said += event.message.content
        if event.event == cozepy.ChatEventType.CONVERSATION_CHAT_COMPLETED and event.chat and event.chat.usage:
            usage = event.chat.usage.token_count
    assert (thought, said) == ("A story it is.", "Once upon a time.")
    assert usage == coze_emulator.ledger[0].tokens > 0


def test_a_stream_that_asks_for_tools_goes_on_in_the_stream_of_their_outputs(
    client: cozepy.Coze, coze_emulator: Server
) -> None:
    def chosen(turn: Turn) -> list[ToolCall]:
        return [] if turn.tool_outputs else [ToolCall("screenshot" if "screen" in turn else "schedule", {"n": 1})]

    tools = {"schedule": "two interviews", "screenshot": "a dog on a beach"}
    bot = coze_emulator.add_bot(tool_calls=chosen, answer=lambda turn: "".join(turn.tool_outputs.values()))
    called: list[tuple[str, str]] = []

    def followed(stream: cozepy.Stream[cozepy.ChatEvent]) -> str:
        said = ""
        for event in stream:
            if event.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and event.message:
                said += event.message.content
            if event.event == cozepy.ChatEventType.CONVERSATION_CHAT_REQUIRES_ACTION:
                assert event.chat is not None
                assert event.chat.required_action is not None
                assert event.chat.required_action.submit_tool_outputs is not None
                calls = event.chat.required_action.submit_tool_outputs.tool_calls
                called.extend((call.function.name, call.function.arguments) for call in calls)
                outputs = [cozepy.ToolOutput(tool_call_id=call.id, output=tools[call.function.name]) for call in calls]
                said += followed(
                    client.chat.submit_tool_outputs(
                        conversation_id=event.chat.conversation_id,
                        chat_id=event.chat.id,
                        tool_outputs=outputs,
                        stream=True,
                    )
                )
        return said

    for question, answer in (("what is on today?", "two interviews"), ("what is on my screen?", "a dog on a beach")):
        assert (
            followed(client.chat.stream(bot_id=bot.id, user_id="u", additional_messages=_question(question))) == answer
        )
    assert called == [("schedule", '{"n": 1}'), ("screenshot", '{"n": 1}')]
    assert [entry.continued for entry in coze_emulator.ledger] == [1, 1]


def test_a_question_may_show_a_picture_that_was_uploaded(
    client: cozepy.Coze, coze_emulator: Server, tmp_path: Path
) -> None:
    bot = coze_emulator.add_bot(answer=Template("{message} {files[0]}"))
    (tmp_path / "picture.png").write_bytes(b"png")
    file = client.files.upload(file=tmp_path / "picture.png")
    parts = [cozepy.MessageObjectString.build_text("Read"), cozepy.MessageObjectString.build_image(file_id=file.id)]
    asked = [cozepy.Message.build_user_question_objects(parts)]
    events = client.chat.stream(bot_id=bot.id, user_id="u", additional_messages=asked)
    deltas = [
        e.message.content for e in events if e.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and e.message
    ]
    assert "".join(deltas) == "Read picture.png"


def test_an_error_before_a_stream_is_an_api_error(client: cozepy.Coze) -> None:
    with pytest.raises(cozepy.CozeAPIError) as error:
        client.chat.stream(bot_id="1", user_id="u", additional_messages=_question("x"))
    assert error.value.code == 4200


def test_a_workflow_runs_synchronously(client: cozepy.Coze, coze_emulator: Server) -> None:
    result = client.workflows.runs.create(workflow_id=ECHO_FLOW, parameters={"a": "b"})
    assert json.loads(result.data or "") == {"output": {"a": "b"}}
    assert coze_emulator.ledger[0].id in result.debug_url
    assert client.workflows.runs.create(workflow_id=PLAIN).data == "All 42 rows are fine."
    with pytest.raises(cozepy.CozeAPIError) as error:
        client.workflows.runs.create(workflow_id=BROKEN)
    assert (error.value.code, "execute_id=" in (error.value.debug_url or "")) == (720701002, True)
    with pytest.raises(cozepy.CozeAPIError, match="4200"):
        client.workflows.runs.create(workflow_id=DRAFT_FLOW)


def test_a_workflow_runs_asynchronously(client: cozepy.Coze, coze_emulator: Server) -> None:
    started = client.workflows.runs.create(workflow_id=SUMMARY, parameters={"table": "a,b\nx,1"}, is_async=True)
    assert started.execute_id
    find = client.workflows.runs.run_histories.retrieve
    assert (
        find(workflow_id=SUMMARY, execute_id=started.execute_id).execute_status == cozepy.WorkflowExecuteStatus.RUNNING
    )
    coze_emulator.advance(7)
    history = find(workflow_id=SUMMARY, execute_id=started.execute_id)
    assert history.execute_status == cozepy.WorkflowExecuteStatus.SUCCESS
    assert history.run_mode == cozepy.WorkflowRunMode.ASYNCHRONOUS
    assert json.loads(json.loads(history.output)["Output"])["rows"] == 1
    failed = client.workflows.runs.create(workflow_id=BROKEN, is_async=True)
    assert find(workflow_id=BROKEN, execute_id=failed.execute_id or "").error_code == 720701002
    coze_emulator.world.plan = "personal_free"
    with pytest.raises(cozepy.CozeAPIError, match="6003"):
        client.workflows.runs.create(workflow_id=SUMMARY, parameters={"table": "a,b\nx,1"}, is_async=True)


def test_the_output_of_a_node_can_be_read(client: cozepy.Coze, coze_emulator: Server) -> None:
    workflow = coze_emulator.add_workflow(nodes=[OutputNode("Message", "reading")])
    started = client.workflows.runs.create(workflow_id=workflow.id, is_async=True)
    histories = client.workflows.runs.run_histories
    history = histories.retrieve(workflow_id=workflow.id, execute_id=started.execute_id or "")
    assert history.node_execute_status is not None
    node = histories.execute_nodes.retrieve(
        workflow_id=workflow.id,
        execute_id=started.execute_id or "",
        node_execute_uuid=history.node_execute_status["Message"].node_execute_uuid,
    )
    assert (node.is_finish, node.node_output) == (True, "reading")


def test_a_workflow_can_be_streamed_and_resumed(client: cozepy.Coze) -> None:
    events = list(client.workflows.runs.stream(workflow_id=ECHO_FLOW, parameters={"a": 1}))
    assert [event.event for event in events] == [cozepy.WorkflowEventType.MESSAGE]
    events = list(client.workflows.runs.stream(workflow_id=ASKING))
    assert events[-1].event == cozepy.WorkflowEventType.INTERRUPT
    assert events[-1].interrupt is not None
    asked = events[-1].interrupt.interrupt_data
    rest = list(
        client.workflows.runs.resume(
            workflow_id=ASKING, event_id=asked.event_id, resume_data="Hangzhou", interrupt_type=asked.type
        )
    )
    assert rest[0].message is not None
    assert json.loads(rest[0].message.content) == {"output": "Hangzhou"}
    (failed,) = client.workflows.runs.stream(workflow_id=BROKEN)
    assert failed.error is not None
    assert failed.error.error_code == 720701002


def test_a_workflow_that_asks_twice_is_resumed_twice(client: cozepy.Coze, coze_emulator: Server) -> None:
    questions = [Interrupt("Who?"), Interrupt("Sure?", type=5, parameters={"sure": "boolean"})]
    workflow = coze_emulator.add_workflow(interrupt=questions, output=lambda inputs: " ".join(inputs.answers))
    said: list[str] = []

    def followed(stream: cozepy.Stream[cozepy.WorkflowEvent]) -> None:
        for event in stream:
            if event.event == cozepy.WorkflowEventType.MESSAGE and event.message:
                said.append(event.message.content)
            elif event.event == cozepy.WorkflowEventType.INTERRUPT and event.interrupt:
                asked = event.interrupt.interrupt_data
                given = {"workflow_id": workflow.id, "event_id": asked.event_id, "interrupt_type": asked.type}
                followed(client.workflows.runs.resume(**given, resume_data="hey"))

    followed(client.workflows.runs.stream(workflow_id=workflow.id, parameters={}))
    assert said == ["Who?", "Sure?", "hey hey"]
    assert [entry.continued for entry in coze_emulator.ledger] == [2]


def test_a_started_run_is_polled_to_its_end_and_found_again(client: cozepy.Coze, coze_emulator: Server) -> None:
    workflow = coze_emulator.add_workflow(duration=Polls(2), output="done")
    run = client.workflows.runs.create(workflow_id=workflow.id, is_async=True)
    given = {"workflow_id": workflow.id, "execute_id": run.execute_id or ""}
    history = client.workflows.runs.run_histories.retrieve
    words = [history(**given).execute_status for _ in range(3)]
    assert words == [*[cozepy.WorkflowExecuteStatus.RUNNING] * 2, cozepy.WorkflowExecuteStatus.SUCCESS]
    found = history(**given)
    assert (found.output, bool(found.response.logid)) == ('{"Output":"done"}', True)


def test_a_ping_is_an_unknown_event(client: cozepy.Coze, coze_emulator: Server) -> None:
    coze_emulator.script(scenarios.pings())
    events = list(client.workflows.runs.stream(workflow_id=ECHO_FLOW))
    assert [event.event for event in events] == [cozepy.WorkflowEventType.MESSAGE, cozepy.WorkflowEventType.UNKNOWN]


def test_a_chatflow_can_be_streamed(client: cozepy.Coze) -> None:
    events = list(client.workflows.chat.stream(workflow_id=CHATFLOW, bot_id=ECHO, additional_messages=_question("hi")))
    assert events[-1].event == cozepy.ChatEventType.CONVERSATION_CHAT_COMPLETED
    answers = [
        e.message.content for e in events if e.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and e.message
    ]
    assert "".join(answers) == "You said: hi"


def test_a_chatflow_answers_in_a_conversation_that_was_made_before(client: cozepy.Coze, coze_emulator: Server) -> None:
    conversation = client.conversations.create()
    ends = [
        event.chat
        for event in client.workflows.chat.stream(
            workflow_id=CHATFLOW, bot_id=ECHO, conversation_id=conversation.id, additional_messages=_question("hi")
        )
        if event.event == cozepy.ChatEventType.CONVERSATION_CHAT_COMPLETED
    ]
    assert [chat.conversation_id for chat in ends if chat] == [conversation.id]
    assert [chat.usage.token_count for chat in ends if chat and chat.usage] == [coze_emulator.ledger[0].tokens]
    listed = client.conversations.messages.list(conversation_id=conversation.id)
    assert [message.content for message in listed] == ["You said: hi", "hi"]


def test_conversations_live_from_create_to_delete(client: cozepy.Coze) -> None:
    made = client.conversations.create(bot_id=ECHO, name="dag42", meta_data={"k": "v"}, messages=_question("x"))
    assert client.conversations.retrieve(conversation_id=made.id).meta_data == {"k": "v"}
    assert [found.id for found in client.conversations.list(bot_id=ECHO)] == [made.id]
    assert client.conversations.update(conversation_id=made.id, name="new").name == "new"
    assert client.conversations.clear(conversation_id=made.id).conversation_id == made.id
    client.conversations.delete(conversation_id=made.id)
    with pytest.raises(cozepy.CozeAPIError, match="4002"):
        client.conversations.retrieve(conversation_id=made.id)


def test_many_conversations_come_in_pages(client: cozepy.Coze) -> None:
    made = [client.conversations.create(bot_id=ECHO).id for _ in range(5)]
    assert [found.id for found in client.conversations.list(bot_id=ECHO, page_size=2)] == made[::-1]


def test_messages_live_from_create_to_delete(client: cozepy.Coze) -> None:
    conversation = client.conversations.create()
    messages = client.conversations.messages
    where = {"conversation_id": conversation.id}
    made = [
        messages.create(
            **where, role=cozepy.MessageRole.USER, content=text, content_type=cozepy.MessageContentType.TEXT
        )
        for text in "abc"
    ]
    assert [m.content for m in messages.list(**where, limit=2)] == ["c", "b", "a"]
    assert [m.content for m in messages.list(**where, order="asc", limit=1)] == ["a", "b", "c"]
    assert messages.update(**where, message_id=made[0].id or "", content="A").content == "A"
    assert messages.retrieve(**where, message_id=made[0].id or "").content == "A"
    assert messages.delete(**where, message_id=made[0].id or "").id == made[0].id
    assert len(list(messages.list(**where))) == 2


def test_a_file_is_uploaded_and_found(client: cozepy.Coze, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n")
    uploaded = client.files.upload(file=path)
    assert client.files.retrieve(file_id=uploaded.id).bytes == 8
    assert uploaded.file_name == "a.csv"


def test_the_catalogue_can_be_read(client: cozepy.Coze) -> None:
    assert client.users.me().user_name == "emulator"
    (workspace,) = client.workspaces.list()
    assert [bot.name for bot in client.bots.list(space_id=workspace.id)][:2] == ["analyst", "echo"]
    assert [bot.bot_id for bot in client.bots._list_v2(workspace_id=workspace.id)][:2] == ["7511000000000000001", ECHO]
    assert client.bots.retrieve(bot_id=ECHO).name == "echo"
    listed = list(client.workflows.list(workspace_id=workspace.id))
    assert [workflow.workflow_id for workflow in listed][:2] == [SUMMARY, ECHO_FLOW]
    assert client.workflows.retrieve(workflow_id=SUMMARY).workflow_detail.workflow_name == "table summary"
    assert [version.version for version in client.workflows.versions.list(workflow_id=SUMMARY)] == ["v0.0.1"]


def test_a_gateway_page_and_a_bad_token_are_api_errors(client: cozepy.Coze, coze_emulator: Server) -> None:
    coze_emulator.script(scenarios.bad_gateway())
    with pytest.raises(cozepy.CozeAPIError) as error:
        client.users.me()
    assert error.value.code == 502
    stranger = cozepy.Coze(auth=cozepy.TokenAuth("pat_wrong"), base_url=coze_emulator.base_url)
    with pytest.raises(cozepy.CozeAPIError) as error:
        stranger.users.me()
    assert error.value.code == 4100


# --- JWT


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def oauth(coze_emulator: Server, key: rsa.RSAPrivateKey) -> cozepy.JWTOAuthApp:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    coze_emulator.world.oauth_apps.append(OAuthApp("1150", {"kid1": public.decode()}))
    return cozepy.JWTOAuthApp("1150", private.decode(), "kid1", base_url=coze_emulator.base_url)


def test_jwt_authentication(oauth: cozepy.JWTOAuthApp, coze_emulator: Server) -> None:
    client = cozepy.Coze(auth=cozepy.JWTAuth(oauth_app=oauth), base_url=coze_emulator.base_url)
    assert client.users.me().user_name == "emulator"
    client.users.me()
    assert coze_emulator.emulator.requests["POST /api/permission/oauth2/token"] == 1
    token = oauth.get_access_token(ttl=3600)
    assert abs(token.expires_in - coze_emulator.emulator.now() - 3600) < 5


def test_an_unknown_app_gets_no_token(oauth: cozepy.JWTOAuthApp, coze_emulator: Server) -> None:
    coze_emulator.world.oauth_apps.clear()
    with pytest.raises(cozepy.CozeAPIError, match="invalid client"):
        oauth.get_access_token()


# --- the asynchronous client


async def test_the_asynchronous_client_chats_and_runs(aclient: cozepy.AsyncCoze, coze_emulator: Server) -> None:
    chat = await aclient.chat.create(bot_id=ECHO, user_id="u", additional_messages=_question("x"))
    chat = await aclient.chat.retrieve(conversation_id=chat.conversation_id, chat_id=chat.id)
    assert chat.status == cozepy.ChatStatus.COMPLETED
    events = [e async for e in aclient.chat.stream(bot_id=ECHO, user_id="u", additional_messages=_question("x"))]
    assert events[-1].event == cozepy.ChatEventType.CONVERSATION_CHAT_COMPLETED
    result = await aclient.workflows.runs.create(workflow_id=ECHO_FLOW, parameters={"a": 1})
    assert json.loads(result.data or "") == {"output": {"a": 1}}
    streamed = [e async for e in aclient.workflows.runs.stream(workflow_id=ECHO_FLOW)]
    assert [event.event for event in streamed] == [cozepy.WorkflowEventType.MESSAGE]
