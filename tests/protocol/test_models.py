"""What Coze returns, read tolerantly: spellings, int-or-string, absent, null, and junk where nothing depends on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeError, CozeProtocolError
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.endpoints import account, chat, conversation, file, workflow
from airflow_provider_coze.protocol.envelope import open_envelope
from airflow_provider_coze.protocol.flows import call as perform_call
from airflow_provider_coze.protocol.messages import Call, Response
from airflow_provider_coze.protocol.models import Chat, LastError, Message, Usage, integer
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import SAMPLES, sample

IDS = {"conversation_id": "7512000000000000100", "chat_id": "7512000000000000201"}
RUN = {"workflow_id": "7511500000000000001", "execute_id": "7513000000000000002"}

#: One call for each folder of samples.
CALLS: dict[str, Call[Any]] = {
    "benefit": account.benefits(),
    "chat_cancel": chat.cancel_chat(**IDS),
    "chat_create": chat.create_chat(bot_id="1", user_id="u", additional_messages=[]),
    "chat_messages": chat.chat_messages(**IDS),
    "chat_retrieve": chat.retrieve_chat(**IDS),
    "chat_submit": chat.submit_tool_outputs(**IDS, tool_outputs=[]),
    "conversation_create": conversation.create_conversation(),
    "conversation_list": conversation.list_conversations(bot_id="1"),
    "conversation_messages": conversation.conversation_messages(conversation_id="1"),
    "conversation_retrieve": conversation.retrieve_conversation(conversation_id="1"),
    "file_retrieve": file.retrieve_file(file_id="1"),
    "file_upload": file.upload_file(filename="a", content=b""),
    "users_me": account.current_user(),
    "workflow_history": workflow.run_history(**RUN),
    "workflow_info": workflow.workflow_info(workflow_id="1"),
    "workflow_node": workflow.node_output(**RUN, node_execute_uuid="1"),
    "workflow_run": workflow.run_workflow(workflow_id="1", parameters={}, is_async=True),
    "workspace_list": account.list_workspaces(),
}
STUDIO_CALLS = {
    f"studio_{name}": CALLS[name]
    for name in ("chat_cancel", "chat_create", "chat_messages", "chat_retrieve", "conversation_retrieve")
} | {"studio_workflow_history": CALLS["workflow_history"], "studio_workflow_run": CALLS["workflow_run"]}
CASES = [(path.parent.name, path.stem) for path in sorted(SAMPLES.glob("*/*.json"))]


def read(operation: str, case: str) -> Any:
    """Read a sample as the package does."""
    response = sample(operation, case)
    if operation in CALLS:
        call = CALLS[operation]
        return call.parse(open_envelope(response, call))
    flow = spoken(perform_call(STUDIO_CALLS[operation], RetryPolicy(attempts=1)), dialect_of("studio"))
    next(flow)
    with pytest.raises(StopIteration) as done:
        flow.send(response)
    return done.value.value


READABLE = [(operation, case) for operation, case in CASES if operation in CALLS | STUDIO_CALLS]


def test_there_are_samples_of_every_operation() -> None:
    assert CALLS.keys() | STUDIO_CALLS.keys() <= {operation for operation, _ in CASES}


@pytest.mark.parametrize(("operation", "case"), READABLE)
def test_every_sample_of_a_yes_is_understood_and_every_no_is_a_typed_error(operation: str, case: str) -> None:
    response = sample(operation, case)
    try:
        code = json.loads(response.body).get("code", 0)
    except ValueError:
        code = None
    if code == 0 and response.status == 200:
        assert read(operation, case) is not None
    else:
        with pytest.raises(CozeError) as caught:
            read(operation, case)
        assert caught.value.logid


def test_a_chat_is_read_whole() -> None:
    found = read("chat_create", "completed_at_once")
    assert found == Chat(
        id="7512000000000000201",
        conversation_id="7512000000000000100",
        status="completed",
        bot_id="7511000000000000001",
        created_at=1764800000,
        completed_at=1764800004,
        usage=Usage(120, 100, 20),
        last_error=None,
        meta_data={"airflow_key": "dag42/run1/task/-1"},
        logid="20260101000000ABCDEF0123456789AB",
    )
    assert found.created == datetime(2025, 12, 3, 22, 13, 20, tzinfo=UTC)
    assert isinstance(found.created, pendulum.DateTime)
    assert found.created.timezone_name == "UTC"


def test_the_tool_calls_of_a_paused_chat_are_cozes_own_objects() -> None:
    (call,) = read("chat_retrieve", "requires_action").tool_calls
    assert call["function"]["name"] == "read_sensor"
    assert json.loads(call["function"]["arguments"]) == {"room": "B2"}


def test_a_failed_chat_says_why() -> None:
    assert read("chat_retrieve", "failed").last_error.code == 4028


def test_a_failed_chat_has_no_messages_and_that_is_no_error() -> None:
    assert read("chat_messages", "failed_without_data") == ()


def test_a_synchronous_result_is_found_by_the_execute_id_of_its_debug_url() -> None:
    run = read("workflow_run", "sync")
    assert (run.execute_id, run.data, run.usage) == ("7513000000000000002", '{"output":"42 rows"}', Usage(150, 50, 100))
    assert run.interrupt is None


def test_an_asynchronous_start_is_a_handle_without_a_result() -> None:
    for operation in ("workflow_run", "studio_workflow_run"):
        run = read(operation, "async")
        assert (run.execute_id, run.data, run.interrupt) == ("7513000000000000002", None, None)
        assert "execute_id=" in run.debug_url


def test_a_question_is_kept_whole() -> None:
    run = read("workflow_run", "interrupted_with_fields")
    assert run.interrupt["event_id"] == "7513000000000000002/2700000000000000001"
    assert run.interrupt["type"] == 5
    assert read("workflow_history", "interrupted").interrupt["type"] == 2


def test_a_record_is_read_whole() -> None:
    record = read("workflow_history", "success_with_output_nodes")
    assert (record.execute_id, record.execute_status, record.error_code) == ("7513000000000000002", "Success", 0)
    assert record.usage == Usage(150, 50, 100)
    assert record.nodes["Message"]["node_execute_uuid"] == "7513000000000000012"
    assert record.created == datetime(2025, 12, 3, 22, 13, 20, tzinfo=UTC)
    assert not record.is_output_trimmed
    assert read("workflow_history", "trimmed").is_output_trimmed


def test_a_failed_run_says_why() -> None:
    record = read("workflow_history", "fail")
    assert (record.error_code, record.error_message) == (720701002, "Node 'Code' failed: division by zero")


def test_a_record_of_coze_studio_reads_like_the_clouds() -> None:
    record = read("studio_workflow_history", "success")
    assert (record.execute_id, record.error_code, record.error_message) == ("7513000000000000002", 0, "")
    assert record.logid == "20260101000000"  # log_id there


def test_the_types_of_a_workflows_inputs_are_known() -> None:
    info = read("workflow_info", "with_inputs")
    assert (info.workflow_name, info.input_parameters["table"]["type"]) == ("table summary", "string")
    assert info.output["terminate_plan"] == "return_variables"
    assert info.created_at == 1764547200


def test_a_page_of_messages_keeps_the_meta_data_they_were_sent_with() -> None:
    page = read("conversation_messages", "page")
    assert [message.role for message in page.messages] == ["assistant", "user"]
    assert page.messages[1].meta_data == {"airflow_key": "dag42/run1/task/-1"}
    assert (page.first_id, page.last_id, page.has_more) == ("7512000000000000301", "7512000000000000300", False)


def test_the_other_answers_are_read() -> None:
    assert read("conversation_list", "first_of_two_pages").has_more
    assert read("workspace_list", "page").workspaces[0].role_type == "owner"
    assert read("workspace_list", "page").total_count == 1
    assert read("users_me", "found").nick_name == "Emulator"
    assert read("benefit", "qps")["benefit_info"][0]["benefit_type"] == "api_run_qps"
    uploaded = read("file_upload", "uploaded")
    assert uploaded.bytes > 0
    assert uploaded.created is not None
    assert read("workflow_node", "finished").is_finish


# --- spellings


@pytest.mark.parametrize(
    "zero", [None, {}, {"code": 0, "msg": ""}, {"code": None, "msg": ""}, {"code": "0"}, {"code": ""}, "x"]
)
def test_no_error_is_no_error_in_each_of_its_spellings(zero: Any) -> None:
    assert Chat.from_body({"data": {"last_error": zero}}, id="1", conversation_id="2").last_error is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "720702204", "msg": "no name"}, LastError(720702204, "no name")),  # as chatflows write it
        ({"code": 5000}, LastError(5000, "")),
    ],
)
def test_the_code_of_a_failed_chat_may_be_a_string(error: Any, expected: LastError) -> None:
    assert Chat.from_body({"data": {"last_error": error}}, id="1", conversation_id="2").last_error == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ("x", None),
        ({"token_count": 3, "input_count": 1, "output_count": 2}, Usage(3, 1, 2)),
        ({"token_count": "3", "input_count": "1", "output_count": "2"}, Usage(3, 1, 2)),
        ({"input_tokens": 1, "output_tokens": 2}, Usage(3, 1, 2)),
        ({"token_count": 7}, Usage(7, 0, 0)),
        ({"token_count": 0, "output_count": 0, "input_count": 0}, Usage()),
    ],
)
def test_usage_is_read_in_both_spellings_and_its_absence_is_none(usage: Any, expected: Usage | None) -> None:
    assert Usage.from_body(usage) == expected


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (42, 42),
        ("42", 42),
        (" 42 ", 42),
        ("", 0),
        (None, 0),
        ("words", 0),
        (4.9, 4),
        ("4.9", 4),
        ([], 0),
        (float("inf"), 0),
        (float("nan"), 0),
        ("9" * 5000, 0),
        (10**18, 10**18),
        (str(10**18 + 1), 10**18 + 1),  # not through a float
        (-1, -1),
    ],
)
def test_numbers_are_read_from_numbers_digits_and_nothing(written: Any, number: int) -> None:
    assert integer(written) == number


@pytest.mark.parametrize("seconds", [0, -1, 10**13, 10**18, 10**30])
def test_a_time_that_is_none_is_none(seconds: int) -> None:
    assert Message("1", "user", "question", "hi", created_at=seconds).created is None


def test_an_id_stays_a_string_of_all_its_19_digits() -> None:
    body = json.loads('{"code":0,"data":{"id":7512000000000000201,"conversation_id":7512000000000000101}}')
    found = Chat.from_body(body)
    assert (found.id, found.conversation_id) == ("7512000000000000201", "7512000000000000101")


def test_an_answer_that_leaves_the_ids_out_gets_those_that_were_asked_for() -> None:
    found = Chat.from_body(
        {"data": {"id": "", "conversation_id": None, "status": "canceled"}}, id="1", conversation_id="2"
    )
    assert (found.id, found.conversation_id, found.status) == ("1", "2", "canceled")


def test_a_chat_without_a_status_is_still_going_on() -> None:
    assert Chat.from_body({"data": {"id": "1", "conversation_id": "2"}}).status == "in_progress"


@pytest.mark.parametrize(
    ("operation", "body", "missing"),
    [
        ("chat_create", {"code": 0, "data": {"conversation_id": "2"}}, "'id'"),
        ("chat_create", {"code": 0, "data": {"id": "1"}}, "'conversation_id'"),
        ("chat_create", {"code": 0}, "'id'"),
        ("chat_create", {"code": 0, "data": None}, "'id'"),
        ("conversation_create", {"code": 0, "data": {"name": "x"}}, "'id'"),
        ("file_upload", {"code": 0, "data": {"bytes": 5}}, "'id'"),
        ("workflow_history", {"code": 0, "data": []}, "record of the run is empty"),
        ("workflow_history", {"code": 0}, "record of the run is empty"),
        ("workflow_run", {"code": 0, "msg": ""}, "neither an execute_id nor a result"),
    ],
)
def test_an_answer_without_what_everything_depends_on_is_an_error_that_names_it(
    operation: str, body: dict[str, Any], missing: str
) -> None:
    with pytest.raises(CozeProtocolError, match=missing):
        CALLS[operation].parse(body)


def test_a_start_that_cannot_be_found_again_says_that_it_may_be_billed() -> None:
    with pytest.raises(CozeProtocolError, match="is billed") as caught:
        CALLS["workflow_run"].parse({"code": 0, "detail": {"logid": "L1"}})
    assert caught.value.logid == "L1"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"a":1}', '{"a":1}'),
        ({"a": "第"}, '{"a": "第"}'),
        (42, "42"),
        (True, "true"),
        ([1], "[1]"),
        ("", ""),
        (None, None),
    ],
)
def test_a_result_may_be_an_object_where_the_documents_have_a_string(data: Any, text: str | None) -> None:
    run = CALLS["workflow_run"].parse({"code": 0, "execute_id": "1", "data": data})
    assert run.data == text
    record = CALLS["workflow_history"].parse({"code": 0, "data": [{"execute_id": "1", "output": data}]})
    assert record.output == text


# --- junk

NASTY: list[Any] = [None, "", "x", "//[", "1e999", "9" * 5000, 0, -1, 1.5, 10**13, 10**30, float("nan"), float("inf")]
NASTY += [True, [], {}, [None], [[]], {"a": None}, {"a": []}, ["x"], {"code": {}}, {"tool_calls": 1}, {"logid": []}]

#: Where each operation's optional fields stand: (the required ones, their names, what is put around them).
OPTIONAL: dict[str, tuple[dict[str, Any], str, Callable[[Any], Any]]] = {
    "chat_retrieve": (
        {"id": "1", "conversation_id": "2"},
        "status bot_id created_at completed_at failed_at usage last_error required_action meta_data",
        lambda chat: {"data": chat},
    ),
    "chat_messages": (
        {},
        "id role type content content_type chat_id created_at meta_data reasoning_content",
        lambda message: {"data": [message]},
    ),
    "conversation_retrieve": (
        {"id": "1"},
        "name meta_data created_at last_section_id connector_id",
        lambda conversation: {"data": conversation},
    ),
    "conversation_list": ({}, "conversations has_more", lambda page: {"data": page}),
    "conversation_messages": ({}, "data first_id last_id has_more", dict),
    "workflow_history": (
        {},
        "execute_id execute_status output error_code error_message debug_url usage create_time update_time "
        "is_output_trimmed interrupt_data logid node_execute_status",
        lambda record: {"data": [record]},
    ),
    "workflow_run": (
        {"execute_id": ""},
        "data debug_url usage interrupt_data detail",
        lambda run: {"data": "x", **run},
    ),
    "workflow_node": ({}, "is_finish node_output", lambda node: {"data": node}),
    "workflow_info": ({}, "workflow_detail input output", lambda info: {"data": info}),
    "file_retrieve": ({"id": "1"}, "bytes file_name created_at", lambda file: {"data": file}),
    "users_me": ({}, "user_id user_name nick_name", lambda user: {"data": user}),
    "workspace_list": ({}, "workspaces total_count", lambda page: {"data": page}),
    "benefit": ({}, "data", dict),
}


def survived(operation: str, fields: dict[str, Any]) -> None:
    required, _, around = OPTIONAL[operation]
    found = CALLS[operation].parse(around({"unheard_of": 1, **fields, **required}))
    repr(found)
    for item in found if isinstance(found, tuple) else [found]:
        getattr(item, "created", None)


@pytest.mark.parametrize("operation", OPTIONAL)
def test_no_optional_field_keeps_an_answer_from_being_read_whatever_is_in_it(operation: str) -> None:
    for name in OPTIONAL[operation][1].split():
        for value in NASTY:
            if (operation, name, value) != ("workflow_run", "data", None):  # nothing else would be left to find it by
                survived(operation, {name: value})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=80)
@given(
    st.sampled_from(sorted(OPTIONAL)).flatmap(
        lambda operation: st.tuples(
            st.just(operation),
            st.dictionaries(
                st.sampled_from(OPTIONAL[operation][1].split()), json_values.filter(lambda v: v is not None)
            ),
        )
    )
)
def test_junk_in_several_optional_fields_is_survived(drawn: tuple[str, dict[str, Any]]) -> None:
    survived(*drawn)


def test_answers_are_not_in_a_repr() -> None:
    chat_said = Message("1", "assistant", "answer", content="s3cret", reasoning_content="s3cret")
    run = CALLS["workflow_run"].parse(
        {"code": 0, "data": "s3cret", "execute_id": "1", "interrupt_data": {"x": "s3cret"}}
    )
    record = CALLS["workflow_history"].parse({"data": [{"output": "s3cret", "interrupt_data": {"x": "s3cret"}}]})
    response = Response(200, {}, b"s3cret")
    assert "s3cret" not in repr([chat_said, run, record, response])
