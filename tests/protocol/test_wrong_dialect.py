"""A connection whose dialect is not its server's: every refusal names it, and nothing is read as an empty answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import ECHO, ECHO_BOT
from airflow_provider_coze.errors import CozeError, CozeInputError, CozeNotFoundError, CozeProtocolError
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.auth import FixedToken, signed
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.endpoints import account, catalogue, chat, conversation, file, workflow
from airflow_provider_coze.protocol.envelope import kind_of_server, open_envelope
from airflow_provider_coze.protocol.messages import Call, Response
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.transports.sync import drive
from tests.driving import MemoryTransport, VirtualTime, answer

TO_STUDIO, TO_CLOUD = "set the connection's dialect to studio", "set the connection's dialect to cloud"
UUID = "0b6c2f0e-8f0f-5d9f-9a52-2f4c0d1c7a11"
MESSAGE = {"role": "user", "type": "question", "content": "hi", "content_type": "text"}
READ = chat.retrieve_chat(conversation_id="1", chat_id="2")

Ask = Callable[[Call[Any]], Any]


def asking(server: Any, dialect: str) -> tuple[Emulator, Ask]:
    """Return a server of one kind, and a way to talk to it as to the other."""
    time = VirtualTime()
    emulator = Emulator(dialect=server, clock=time)

    def ask(call: Call[Any]) -> Any:
        flow = spoken(flows.call(call, RetryPolicy(attempts=1)), dialect_of(dialect))
        return drive(signed(flow, FixedToken(emulator.token), clock=time), MemoryTransport(emulator), time.sleep)  # type: ignore[arg-type]

    return emulator, ask


# --- how a server is recognised


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer({"code": 0}, x_tt_logid="2026"), "cloud"),
        (answer({"code": 0}, x_tt_logid="2026", x_log_id=UUID), "cloud"),
        (answer({"code": 4000, "msg": "no", "detail": {"logid": "2026"}}), "cloud"),
        (answer({"code": 4000, "msg": "The requested API endpoint GET /x does not exist."}, 404), "cloud"),
        (answer({"code": 0}, x_log_id=UUID), "studio"),
        (answer({"code": 401, "msg": "missing session_key in cookie"}, 401), "studio"),
        (answer({"code": 700012006, "msg": "missing session_key in cookie"}), "studio"),
        (answer({"code": 700012006, "msg": "authentication failed: api key invalid"}), "studio"),
        (answer({"code": 404, "msg": "not found"}, 404), "studio"),
        (answer({"code": 700012006, "msg": "access token invalid"}, 401), None),
        (answer({"code": 4000, "msg": "Request parameter error"}), None),
        (answer({"code": 4000, "msg": 7, "detail": "x"}, 404), None),
        (answer({"code": 0}, x_log_id="7"), None),  # some gateway's
        (answer("record not found", 500), None),
    ],
    ids=str,
)
def test_a_server_is_known_by_its_log_ids_and_by_what_only_it_says(response: Response, kind: str | None) -> None:
    body = json.loads(response.body) if response.body.startswith(b"{") else None
    assert kind_of_server(response, body) == kind


def test_a_server_that_does_not_show_its_kind_is_not_guessed_at() -> None:
    with pytest.raises(CozeError) as caught:
        open_envelope(answer({"code": 4000, "msg": "no"}), READ)
    assert "dialect" not in str(caught.value)


# --- the cloud's dialect, a Studio server


@pytest.mark.parametrize(
    "call",
    [
        account.list_workspaces(),
        account.current_user(),
        catalogue.list_bots(workspace_id="1"),
        catalogue.list_workflows(workspace_id="1"),
        workflow.run_history(workflow_id=ECHO, execute_id="7"),
        workflow.resume_workflow(workflow_id=ECHO, event_id="1/2", interrupt_type=2, resume_data="x"),
        chat.submit_tool_outputs(conversation_id="1", chat_id="2", tool_outputs=[]),
        conversation.retrieve_conversation(conversation_id="7"),
        file.retrieve_file(file_id="7"),
    ],
    ids=lambda call: call.request.path,
)
def test_what_a_studio_server_refuses_tells_to_set_the_dialect(call: Call[Any]) -> None:
    _, ask = asking("studio", "cloud")
    with pytest.raises(CozeError, match=TO_STUDIO):
        ask(call)


def test_the_first_free_step_of_a_chat_tells_to_set_the_dialect_before_anything_is_billed() -> None:
    emulator, ask = asking("studio", "cloud")
    with pytest.raises(CozeProtocolError, match=TO_STUDIO) as caught:
        ask(conversation.create_conversation(bot_id=ECHO_BOT, meta_data={"k": "v"}))
    assert "nothing is billed" in str(caught.value)
    assert caught.value.logid
    assert emulator.ledger == []


def test_what_stands_under_studios_own_keys_is_never_read_as_nothing() -> None:
    emulator, ask = asking("studio", "cloud")
    made: Chat = ask(chat.create_chat(bot_id=ECHO_BOT, user_id="u", additional_messages=[MESSAGE]))
    where = {"conversation_id": made.conversation_id, "chat_id": made.id}
    for call in (
        chat.chat_messages(**where),
        conversation.retrieve_conversation(conversation_id=made.conversation_id),
        conversation.rename_conversation(conversation_id=made.conversation_id, name="n"),
    ):
        with pytest.raises(CozeProtocolError, match=TO_STUDIO):
            ask(call)
    assert len(emulator.ledger) == 1


def test_the_handle_of_a_run_that_is_paid_for_is_not_thrown_away_for_it() -> None:
    emulator, ask = asking("studio", "cloud")
    run = ask(workflow.run_workflow(workflow_id=ECHO, parameters={}, is_async=True))
    assert run.execute_id == emulator.ledger[0].id


def test_words_of_studio_inside_an_answer_of_the_cloud_are_just_words() -> None:
    data = {"id": "1", "conversation_id": "2", "status": "completed", "meta_data": {"Messages": "creator_d"}}
    assert open_envelope(answer({"code": 0, "data": data}, x_tt_logid="2026"), READ)["data"] == data


# --- Studio's dialect, the cloud


def test_the_cloud_that_is_asked_for_studios_record_of_a_run_tells_to_set_the_dialect() -> None:
    _, ask = asking("cloud", "studio")
    with pytest.raises(CozeError, match=TO_CLOUD):
        ask(workflow.run_history(workflow_id=ECHO, execute_id="7"))


def test_any_refusal_of_the_cloud_tells_to_set_the_dialect() -> None:
    _, ask = asking("cloud", "studio")
    with pytest.raises(CozeNotFoundError, match=TO_CLOUD):
        ask(chat.create_chat(bot_id="7", user_id="u", additional_messages=[MESSAGE]))


def test_what_both_have_in_common_works_all_the_same() -> None:
    _, ask = asking("cloud", "studio")
    made: Chat = ask(chat.create_chat(bot_id=ECHO_BOT, user_id="u", additional_messages=[MESSAGE]))
    said = ask(chat.chat_messages(conversation_id=made.conversation_id, chat_id=made.id))
    assert [message.content for message in said if message.type == "answer"] == ["You said: hi"]


# --- the right one


@pytest.mark.parametrize("kind", ["cloud", "studio"])
def test_a_connection_that_is_right_is_never_told_to_change(kind: str) -> None:
    _, ask = asking(kind, kind)
    for call in (
        chat.create_chat(bot_id="7", user_id="u", additional_messages=[MESSAGE]),
        workflow.run_workflow(workflow_id="7", parameters={}, is_async=True),
        workflow.run_history(workflow_id=ECHO, execute_id="7"),
        conversation.retrieve_conversation(conversation_id="7"),
    ):
        with pytest.raises(CozeError) as caught:
            ask(call)
        assert not isinstance(caught.value, CozeInputError)
        assert "dialect" not in str(caught.value)
