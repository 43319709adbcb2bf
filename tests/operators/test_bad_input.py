"""What is wrong is said at once, in one error, before anything is billed: arguments, ids, tokens, hosts."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.default_world import DRAFT, DRAFT_BOT, ECHO, ECHO_BOT
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests.tasks import TOKEN, Coze, Run

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

CHAT: dict[str, Any] = {"bot_id": ECHO_BOT, "message": "hello"}
RUN: dict[str, Any] = {"workflow_id": ECHO}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bot_id": 7511000000000000002}, ("bot_id must be a string, not int", '"7511000000000000002"')),
        ({"bot_id": ""}, ("bot_id is ''", "rendered to nothing")),
        ({"bot_id": None}, ("bot_id must be a string, not None",)),
        ({"bot_id": " 7511"}, ("bot_id ' 7511' has white space",)),
        ({"bot_id": True}, ("bot_id must be a string, not bool",)),
        ({"message": ""}, ("message is ''", "rendered to nothing")),
        ({"message": "  \n"}, ("message is", "empty")),
        ({"message": "None"}, ("message is 'None'", "rendered to nothing")),
        ({"message": 5}, ("message must be a string, not int",)),
        ({"message": None}, ("exactly one of message and additional_messages", "neither")),
        ({"additional_messages": [{"content": "x"}]}, ("exactly one of message and additional_messages", "both")),
        ({"message": None, "additional_messages": []}, ("additional_messages is empty",)),
        ({"message": None, "additional_messages": "hi"}, ("additional_messages must be a list", "str")),
        ({"message": None, "additional_messages": [{"content": ""}]}, ("additional_messages[0]: content is ''",)),
        ({"message": None, "additional_messages": ["hi"]}, ("additional_messages[0] must be a mapping",)),
        ({"message": None, "additional_messages": [{"content": "x"}] * 101}, ("101 messages", "4004")),
        ({"message": None, "additional_messages": [{"role": "bot", "content": "x"}]}, ("role must be one of",)),
        ({"message": None, "additional_messages": [{"role": "assistant", "content": "x"}]}, ("role must be user",)),
        ({"user_id": 7}, ("user_id must be a string", '"7"')),
        ({"conversation_id": 75}, ("conversation_id must be a string", '"75"')),
        ({"conversation_id": "None"}, ("conversation_id is 'None'",)),
        ({"custom_variables": {"n": 1}}, ("custom_variables['n'] must be a string, not int",)),
        ({"meta_data": ["a"]}, ("meta_data must be a mapping",)),
        ({"meta_data": {str(n): "x" for n in range(17)}}, ("17 pairs", "4003")),
        ({"meta_data": {"k": "x" * 513}}, ("meta_data['k']", "513")),
        ({"extra_params": {"city": "Oslo"}}, ("extra_params knows only latitude, longitude, not 'city'",)),
        ({"parameters": "{}"}, ("parameters must be a mapping, not str", "render_template_as_native_obj")),
        ({"shortcut_command": [1]}, ("shortcut_command must be a mapping",)),
        ({"publish_status": "live"}, ("publish_status must be one of", "'live'")),
        ({"publish_status": "unpublished_draft", "bot_version": "1"}, ("bot_version cannot be combined",)),
        ({"auto_save_history": False}, ("auto_save_history must be True", "4007")),
        ({"timeout": 0}, ("timeout must be a number of seconds over 0, not 0",)),
        ({"timeout": "60"}, ("timeout must be a number", "'60'")),
        ({"poll_interval": -1}, ("poll_interval must be a number",)),
        ({"deferral_grace": -1}, ("deferral_grace must be a number of seconds, 0 or more",)),
    ],
)
def test_a_wrong_argument_of_a_chat_is_named_and_nothing_is_sent(
    coze: Coze, run: Run, wrong: dict[str, Any], words: tuple[str, ...]
) -> None:
    refused(coze, run, CozeChatOperator, {**CHAT, **wrong}, words)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"workflow_id": 7511500000000000002}, ("workflow_id must be a string, not int", '"7511500000000000002"')),
        ({"workflow_id": "None"}, ("workflow_id is 'None'", "rendered to nothing")),
        ({"parameters": "{'a': 1}"}, ("parameters must be a mapping, not str", "render_template_as_native_obj")),
        ({"parameters": ["a"]}, ("parameters must be a mapping, not list",)),
        ({"parameters": {"a": {"b": [object()]}}}, ("parameters['a']['b'][0] is object, which JSON cannot hold",)),
        ({"parameters": {"a": float("nan")}}, ("parameters['a'] is float, which JSON cannot hold",)),
        ({"parameters": {1: "a"}}, ("parameters[1] is int",)),
        ({"bot_id": 1}, ("bot_id must be a string",)),
        ({"bot_id": "1", "app_id": "2"}, ("bot_id and app_id exclude each other",)),
        ({"ext": {"city": "Oslo"}}, ("ext knows only", "'city'")),
        ({"ext": {"user_id": 5}}, ("ext['user_id'] must be a string",)),
        ({"workflow_version": ""}, ("workflow_version is ''",)),
        ({"connector_id": 1024}, ("connector_id must be a string", '"1024"')),
        ({"execution_mode": "later"}, ("execution_mode must be one of", "'later'")),
        ({"execution_mode": "sync", "wait_for_completion": False}, ('needs execution_mode="async"',)),
        ({"timeout": True}, ("timeout must be a number",)),
    ],
)
def test_a_wrong_argument_of_a_run_is_named_and_nothing_is_sent(
    coze: Coze, run: Run, wrong: dict[str, Any], words: tuple[str, ...]
) -> None:
    refused(coze, run, CozeWorkflowOperator, {**RUN, **wrong}, words)


def refused(coze: Coze, run: Run, kind: type, arguments: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(e.CozeInputError) as caught:
        run(kind, **arguments)
    for word in (*words, "'ask'", "Nothing was sent"):
        assert word in str(caught.value)
    assert coze.seen == []


def test_all_that_is_wrong_is_said_together(coze: Coze, run: Run) -> None:
    wrong = {"bot_id": 1, "message": "", "meta_data": {"k": 1}, "parameters": "x", "timeout": -1, "user_id": "a b"}
    refused(coze, run, CozeChatOperator, wrong, tuple(wrong))
    wrong = {"workflow_id": "", "parameters": [1], "ext": 1, "execution_mode": "x", "poll_interval": "fast"}
    refused(coze, run, CozeWorkflowOperator, wrong, tuple(wrong))


def test_a_dag_with_wrong_arguments_can_still_be_parsed() -> None:
    CozeChatOperator(task_id="a", bot_id=1, message=None, timeout=-1)  # type: ignore[arg-type]
    CozeWorkflowOperator(task_id="b", workflow_id=None, parameters="x", execution_mode="x")  # type: ignore[arg-type]


# --- what only Coze, or the network, can know

KINDS = pytest.mark.parametrize(
    ("kind", "arguments"), [(CozeChatOperator, CHAT), (CozeWorkflowOperator, RUN)], ids=["chat", "workflow"]
)


@pytest.mark.parametrize(
    ("kind", "arguments", "expected", "code", "words"),
    [
        (CozeChatOperator, {**CHAT, "bot_id": DRAFT_BOT}, e.CozeRejectedError, 4015, ("not published", "API channel")),
        (CozeChatOperator, {**CHAT, "bot_id": "7"}, e.CozeNotFoundError, 4200, ("bot_id=7", "Check the id")),
        (CozeChatOperator, {**CHAT, "conversation_id": "7"}, e.CozeNotFoundError, 4002, ("conversation",)),
        (CozeWorkflowOperator, {"workflow_id": DRAFT}, e.CozeNotFoundError, 4200, ("not published", DRAFT)),
        (CozeWorkflowOperator, {"workflow_id": "7"}, e.CozeNotFoundError, 4200, ("workflow_id=7",)),
    ],
    ids=["draft-bot", "unknown-bot", "unknown-conversation", "draft-workflow", "unknown-workflow"],
)
def test_what_does_not_exist_or_is_not_published_is_an_error_and_not_billed(
    coze: Coze,
    run: Run,
    kind: type,
    arguments: dict[str, Any],
    expected: type[e.CozeAPIError],
    code: int,
    words: tuple[str, ...],
) -> None:
    with pytest.raises(expected) as caught:
        run(kind, **arguments)
    assert caught.value.code == code
    for word in (*words, "Nothing was started, so nothing is billed"):
        assert word in str(caught.value)
    assert coze.ledger == []


@KINDS
def test_a_connection_that_is_not_there_is_named(
    coze: Coze, run: Run, monkeypatch: pytest.MonkeyPatch, kind: type, arguments: dict[str, Any]
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_COZE_DEFAULT")
    with pytest.raises(e.CozeConnectionConfigError, match="'coze_default' was not found"):
        run(kind, **arguments)
    assert coze.seen == []


@KINDS
def test_a_wrong_field_of_the_connection_is_named(
    coze: Coze, run: Run, monkeypatch: pytest.MonkeyPatch, kind: type, arguments: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(read_seconds="soon"))
    with pytest.raises(e.CozeConnectionConfigError, match="`read_seconds`"):
        run(kind, **arguments)
    assert coze.seen == []


@KINDS
def test_a_host_that_does_not_answer_is_named_and_nothing_has_left(
    coze: Coze, run: Run, monkeypatch: pytest.MonkeyPatch, kind: type, arguments: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(host=f"http://127.0.0.1:{port}"))
    with pytest.raises(e.CozeTransportError, match=f"127.0.0.1:{port}.*never left") as caught:
        run(kind, **arguments)
    assert caught.value.never_sent is True
    assert coze.seen == []


@KINDS
def test_a_wrong_token_is_an_auth_error_that_does_not_show_it(
    coze: Coze, run: Run, monkeypatch: pytest.MonkeyPatch, kind: type, arguments: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_wrong_one"))
    with pytest.raises(e.CozeAuthError, match="access token") as caught:
        run(kind, **arguments)
    assert caught.value.code == 4100
    assert "pat_wrong_one" not in f"{caught.value!r}"
    assert TOKEN not in f"{caught.value!r}"
    assert coze.ledger == []
