"""Every operation as the documents have it: method, path, query, body, permission, and whether it may be repeated.

The table is written from https://www.coze.cn/open/docs/developer_guides, not from the code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_coze.protocol.endpoints import account, chat, conversation, file, workflow
from airflow_provider_coze.protocol.messages import Call, FilePart, Replay, Request

READ, BILLED = Replay.ALWAYS, Replay.IF_NEVER_SENT
QUESTION = {"role": "user", "type": "question", "content": "多少行?", "content_type": "text"}


@dataclass(frozen=True)
class Documented:
    call: Call[Any]
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    json: Any = None
    permission: str | None = None
    replay: Replay = READ
    budget: str | None = None


TABLE = {
    "chat": Documented(
        chat.create_chat(bot_id="11", user_id="airflow", additional_messages=[QUESTION]),
        "POST",
        "/v3/chat",
        {},
        {
            "bot_id": "11",
            "user_id": "airflow",
            "stream": False,
            "auto_save_history": True,
            "additional_messages": [QUESTION],
        },
        "chat",
        BILLED,
        "chat",
    ),
    "chat in a conversation with all options": Documented(
        chat.create_chat(
            bot_id="11",
            user_id="airflow",
            additional_messages=[QUESTION],
            conversation_id="22",
            options={
                "custom_variables": {"a": "b"},
                "meta_data": {"k": "v"},
                "parameters": {"n": 1},
                "extra_params": {"latitude": "1"},
                "shortcut_command": {"command_id": "5"},
                "bot_version": "3",
                "publish_status": None,
                "enable_card": False,
            },
        ),
        "POST",
        "/v3/chat",
        {"conversation_id": "22"},  # in the query, and never in the body
        {
            "bot_id": "11",
            "user_id": "airflow",
            "stream": False,
            "auto_save_history": True,
            "additional_messages": [QUESTION],
            "custom_variables": {"a": "b"},
            "meta_data": {"k": "v"},
            "parameters": {"n": 1},
            "extra_params": {"latitude": "1"},
            "shortcut_command": {"command_id": "5"},
            "bot_version": "3",
            "enable_card": False,
        },
        "chat",
        BILLED,
        "chat",
    ),
    "retrieve chat": Documented(
        chat.retrieve_chat(conversation_id="22", chat_id="33"),
        "GET",
        "/v3/chat/retrieve",
        {"conversation_id": "22", "chat_id": "33"},
        permission="getChat",
        budget="chat",
    ),
    "cancel chat": Documented(
        chat.cancel_chat(conversation_id="22", chat_id="33"),
        "POST",
        "/v3/chat/cancel",
        {},
        {"conversation_id": "22", "chat_id": "33"},  # in the body, not in the query
        "cancelChat",
        READ,  # a chat that is already cancelled answers 4104
        "chat",
    ),
    "messages of a chat": Documented(
        chat.chat_messages(conversation_id="22", chat_id="33"),
        "GET",
        "/v3/chat/message/list",
        {"conversation_id": "22", "chat_id": "33"},
        permission="listMessage",
        budget="chat",
    ),
    "submit tool outputs": Documented(
        chat.submit_tool_outputs(
            conversation_id="22", chat_id="33", tool_outputs=[{"tool_call_id": "CALL-1", "output": "21.5"}]
        ),
        "POST",
        "/v3/chat/submit_tool_outputs",
        {"conversation_id": "22", "chat_id": "33"},
        {"tool_outputs": [{"tool_call_id": "CALL-1", "output": "21.5"}], "stream": False},
        "submitToolChat",
        BILLED,
        "chat",
    ),
    "create conversation": Documented(
        conversation.create_conversation(),
        "POST",
        "/v1/conversation/create",
        {},
        {},
        "createConversation",
        BILLED,
    ),
    "create conversation with everything": Documented(
        conversation.create_conversation(
            bot_id="11", name="dag42", meta_data={"k": "v"}, messages=[QUESTION], connector_id="1024"
        ),
        "POST",
        "/v1/conversation/create",
        {},
        {"bot_id": "11", "name": "dag42", "meta_data": {"k": "v"}, "messages": [QUESTION], "connector_id": "1024"},
        "createConversation",
        BILLED,
    ),
    "retrieve conversation": Documented(
        conversation.retrieve_conversation(conversation_id="22"),
        "GET",
        "/v1/conversation/retrieve",
        {"conversation_id": "22"},
        permission="retrieveConversation",
    ),
    "list conversations": Documented(
        conversation.list_conversations(bot_id="11"),
        "GET",
        "/v1/conversations",
        {"bot_id": "11", "page_num": "1", "page_size": "50"},
        permission="listConversation",
    ),
    "list conversations of a channel": Documented(
        conversation.list_conversations(bot_id="11", page_num=2, page_size=5, connector_id="999"),
        "GET",
        "/v1/conversations",
        {"bot_id": "11", "page_num": "2", "page_size": "5", "connector_id": "999"},
        permission="listConversation",
    ),
    "messages of a conversation": Documented(
        conversation.conversation_messages(conversation_id="22"),
        "POST",
        "/v1/conversation/message/list",
        {"conversation_id": "22"},
        {"order": "desc", "limit": 50},
        "listMessage",
        READ,
    ),
    "messages of a conversation, one page of a chat": Documented(
        conversation.conversation_messages(
            conversation_id="22", chat_id="33", order="asc", limit=7, before_id="1", after_id="2"
        ),
        "POST",
        "/v1/conversation/message/list",
        {"conversation_id": "22"},
        {"order": "asc", "limit": 7, "chat_id": "33", "before_id": "1", "after_id": "2"},
        "listMessage",
        READ,
    ),
    "run workflow": Documented(
        workflow.run_workflow(workflow_id="44", parameters={"table": "a,b"}, is_async=True),
        "POST",
        "/v1/workflow/run",  # singular, v1
        {},
        {"workflow_id": "44", "parameters": {"table": "a,b"}, "is_async": True},
        "run",
        BILLED,
        "workflow",
    ),
    "run workflow with all options": Documented(
        workflow.run_workflow(
            workflow_id="44",
            parameters={},
            is_async=False,
            options={
                "bot_id": "11",
                "app_id": None,
                "ext": {"user_id": "5"},
                "workflow_version": "v0.0.5",
                "connector_id": "1024",
            },
        ),
        "POST",
        "/v1/workflow/run",
        {},
        {
            "workflow_id": "44",
            "parameters": {},
            "is_async": False,
            "bot_id": "11",
            "ext": {"user_id": "5"},
            "workflow_version": "v0.0.5",
            "connector_id": "1024",
        },
        "run",
        BILLED,
        "workflow",
    ),
    "run history": Documented(
        workflow.run_history(workflow_id="44", execute_id="55"),
        "GET",
        "/v1/workflows/44/run_histories/55",
        permission="listRunHistory",
        budget="workflow",
    ),
    "output of a node": Documented(
        workflow.node_output(workflow_id="44", execute_id="55", node_execute_uuid="66"),
        "GET",
        "/v1/workflows/44/run_histories/55/execute_nodes/66",
        permission="listRunHistory",
        budget="workflow",
    ),
    "workflow info": Documented(
        workflow.workflow_info(workflow_id="44"),
        "GET",
        "/v1/workflows/44",
        {"include_input_output": "true"},
        permission="getMetaData",
    ),
    "workflow info, short": Documented(
        workflow.workflow_info(workflow_id="44", include_input_output=False),
        "GET",
        "/v1/workflows/44",
        {"include_input_output": "false"},
        permission="getMetaData",
    ),
    "retrieve file": Documented(
        file.retrieve_file(file_id="77"), "GET", "/v1/files/retrieve", {"file_id": "77"}, permission="retrieveFile"
    ),
    "current user": Documented(account.current_user(), "GET", "/v1/users/me"),
    "list workspaces": Documented(
        account.list_workspaces(page_num=2, page_size=5),
        "GET",
        "/v1/workspaces",
        {"page_num": "2", "page_size": "5"},
        permission="listWorkspace",
    ),
    "benefits": Documented(
        account.benefits(resource_id="workflow"),
        "GET",
        "/v1/commerce/benefit/benefits/get",
        {"benefit_type_list": "api_run_qps", "resource_id": "workflow"},
        permission="getBenefit",
    ),
    "benefits of everything": Documented(
        account.benefits(benefit_type_list="a,b"),
        "GET",
        "/v1/commerce/benefit/benefits/get",
        {"benefit_type_list": "a,b"},
        permission="getBenefit",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_operation_is_requested_as_documented(name: str) -> None:
    documented = TABLE[name]
    assert documented.call.request == Request(
        documented.method, documented.path, query=documented.query, json=documented.json, budget=documented.budget
    )
    assert documented.call.permission == documented.permission
    assert documented.call.replay is documented.replay


def test_an_upload_is_one_part_named_file_with_its_filename() -> None:
    call = file.upload_file(filename="报告.pdf", content=b"%PDF")
    expected = Request("POST", "/v1/files/upload", files=(FilePart("file", "报告.pdf", b"%PDF"),), budget="upload")
    assert call.request == expected
    assert (call.permission, call.replay) == ("uploadFile", BILLED)


@pytest.mark.parametrize(
    "call",
    [
        workflow.run_history(workflow_id="../x", execute_id="a/b?c#d"),
        workflow.node_output(workflow_id="../x", execute_id="a/b?c#d", node_execute_uuid="%"),
        workflow.workflow_info(workflow_id="../x?y"),
    ],
)
def test_an_id_cannot_leave_its_place_in_the_path(call: Call[Any]) -> None:
    segments = call.request.path.split("/")
    assert "..%2Fx" in segments[3]
    assert not set("?#") & set(call.request.path)


def test_prompts_and_tokens_and_contents_are_not_in_a_requests_repr() -> None:
    request = Request(
        "POST",
        "/v3/chat",
        headers={"Authorization": "Bearer s3cret"},
        json={"content": "s3cret"},
        files=(FilePart("file", "a", b"s3cret"),),
        body=b"s3cret",
    )
    assert "s3cret" not in repr(request)
