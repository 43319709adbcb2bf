"""The emulator's answers have the shape of the samples: the same keys, the same JSON types, the same status and headers.

The samples come from Coze's documents, recordings and public issues, never from the client of this package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.cloud.oauth import GRANT_TYPE
from airflow_provider_coze.emulator.definitions import (
    Failure,
    Interrupt,
    OAuthApp,
    OutputNode,
    Parameter,
    Polls,
    Seconds,
    ToolCall,
)
from airflow_provider_coze.emulator.dialects import Cloud
from airflow_provider_coze.emulator.studio.dialect import Studio
from airflow_provider_coze.emulator.world import World
from airflow_provider_coze.protocol.messages import FilePart, Response
from tests.emulator.conftest import NOON, Coze, chat_body, ids

SAMPLES = Path(__file__).parents[1] / "samples"
NAMES = sorted(path.relative_to(SAMPLES).with_suffix("").as_posix() for path in SAMPLES.glob("*/*.json"))
AT_ONCE = Polls(0)
MARKER = {"airflow_key": "dag42/run1/task/-1"}

Scene = Callable[[Coze], Response]
SCENES: dict[str, Scene] = {}


def scene(*names: str) -> Callable[[Scene], Scene]:
    """Register how to make the emulator give the answer of a sample."""

    def register(function: Scene) -> Scene:
        SCENES.update(dict.fromkeys(names, function))
        return function

    return register


def _bot(coze: Coze, **fields: Any) -> str:
    return coze.emulator.add_bot(**{"duration": Seconds(5), "answer": "Run 42 succeeded.", **fields}).id


def _asked(coze: Coze, path: str = "/v3/chat", conversation_id: str = "", **fields: Any) -> Response:
    body = chat_body(_bot(coze, **fields), "Summarise run 42", meta_data=MARKER)
    return coze.send("POST", path, body, {"conversation_id": conversation_id})


def _chat(coze: Coze, **fields: Any) -> dict[str, Any]:
    return dict(json.loads(_asked(coze, **fields).body)["data"])


def _retrieved(coze: Coze, after: float = 5, **fields: Any) -> Response:
    chat = _chat(coze, **fields)
    coze.emulator.advance(after)
    return coze.send("GET", "/v3/chat/retrieve", query=ids(chat))


def _conversation(coze: Coze) -> dict[str, Any]:
    body = {"bot_id": _bot(coze), "name": "dag42", "meta_data": MARKER}
    return dict(coze.data("POST", "/v1/conversation/create", body))


def _run(coze: Coze, is_async: bool = False, **fields: Any) -> tuple[str, Response]:
    workflow = coze.emulator.add_workflow(**{"output": {"output": "42 rows"}, **fields})
    body = {"workflow_id": workflow.id, **({"is_async": True} if is_async else {})}
    return workflow.id, coze.send("POST", "/v1/workflow/run", body)


def _history(coze: Coze, **fields: Any) -> Response:
    workflow_id, started = _run(coze, is_async=True, **fields)
    execute_id = json.loads(started.body)["execute_id"]
    return coze.send("GET", f"/v1/workflows/{workflow_id}/run_histories/{execute_id}")


# --- chats


@scene("chat_create/in_progress")
def _(coze: Coze) -> Response:
    return _asked(coze)


@scene("chat_create/completed_at_once")
def _(coze: Coze) -> Response:
    coze.emulator.world.first_chat_status = "completed"
    return _asked(coze, duration=Polls(0))


@scene("chat_retrieve/in_progress", "chat_retrieve/created")
def _(coze: Coze) -> Response:
    return _retrieved(coze, after=0)


@scene("chat_retrieve/completed")
def _(coze: Coze) -> Response:
    return _retrieved(coze)


@scene("chat_retrieve/failed")
def _(coze: Coze) -> Response:
    return _retrieved(coze, failure=Failure(4028))


@scene("chat_retrieve/requires_action")
def _(coze: Coze) -> Response:
    return _retrieved(coze, tool_calls=(ToolCall("read_sensor", {"room": "B2"}),))


@scene("chat_retrieve/not_found")
def _(coze: Coze) -> Response:
    chat = _chat(coze)
    return coze.send("GET", "/v3/chat/retrieve", query={**ids(chat), "chat_id": "7512000000000000999"})


@scene("chat_retrieve/canceled")
def _(coze: Coze) -> Response:
    chat = _chat(coze)
    coze.data("POST", "/v3/chat/cancel", ids(chat))
    return coze.send("POST", "/v3/chat/retrieve", query=ids(chat))


@scene("chat_cancel/canceled")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat/cancel", ids(_chat(coze)))


@scene("chat_cancel/not_cancelable")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat/cancel", ids(_chat(coze, duration=Polls(0))))


@scene("chat_messages/completed")
def _(coze: Coze) -> Response:
    chat = _chat(coze, follow_ups=("Which run was slowest?",), duration=Polls(0))
    return coze.send("GET", "/v3/chat/message/list", query=ids(chat))


@scene("chat_messages/failed_without_data")
def _(coze: Coze) -> Response:
    chat = _chat(coze, failure=Failure(4028), duration=Polls(0))
    return coze.send("POST", "/v3/chat/message/list", query=ids(chat))


@scene("chat_submit/in_progress")
def _(coze: Coze) -> Response:
    chat = _chat(coze, tool_calls=(ToolCall("read_sensor"),))
    coze.emulator.advance(5)
    (call,) = coze.retrieve(chat)["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": "21"}]}
    return coze.send("POST", "/v3/chat/submit_tool_outputs", outputs, ids(chat))


@scene("chat_stream/requires_action")
def _(coze: Coze) -> Response:
    bot_id = _bot(coze, tool_calls=(ToolCall("read_sensor", {"room": "B2"}),))
    return coze.send("POST", "/v3/chat", chat_body(bot_id, "x", stream=True))


# --- conversations


@scene("conversation_create/created")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v1/conversation/create", {"bot_id": _bot(coze), "name": "dag42", "meta_data": MARKER})


@scene("conversation_retrieve/found")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/conversation/retrieve", query={"conversation_id": _conversation(coze)["id"]})


@scene("conversation_list/page", "conversation_list/first_of_two_pages")
def _(coze: Coze) -> Response:
    _conversation(coze)
    return coze.send("GET", "/v1/conversations", query={"bot_id": coze.emulator.world.bots[-1].id})


@scene("conversation_rename/renamed")
def _(coze: Coze) -> Response:
    return coze.send("PUT", f"/v1/conversations/{_conversation(coze)['id']}", {"name": "dag42"})


@scene("conversation_delete/deleted")
def _(coze: Coze) -> Response:
    return coze.send("DELETE", f"/v1/conversations/{_conversation(coze)['id']}")


@scene("conversation_clear/cleared")
def _(coze: Coze) -> Response:
    return coze.send("POST", f"/v1/conversations/{_conversation(coze)['id']}/clear")


def _messages(coze: Coze, duration: Polls | Seconds) -> Response:
    body = chat_body(_bot(coze, duration=duration), "Summarise run 42")
    body["additional_messages"][0]["meta_data"] = MARKER
    chat = coze.data("POST", "/v3/chat", body)
    return coze.send("POST", "/v1/conversation/message/list", {}, {"conversation_id": chat["conversation_id"]})


@scene("conversation_messages/page")
def _(coze: Coze) -> Response:
    return _messages(coze, Polls(0))


@scene("conversation_messages/question_only")
def _(coze: Coze) -> Response:
    return _messages(coze, Seconds(5))


@scene("conversation_messages/empty")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v1/conversation/message/list", {}, {"conversation_id": _conversation(coze)["id"]})


def _message(coze: Coze) -> dict[str, str]:
    conversation_id = _conversation(coze)["id"]
    body = {"role": "user", "content": "x", "content_type": "text", "meta_data": MARKER}
    made = coze.data("POST", "/v1/conversation/message/create", body, {"conversation_id": conversation_id})
    return {"conversation_id": conversation_id, "message_id": made["id"]}


@scene("message_create/created")
def _(coze: Coze) -> Response:
    body = {"role": "user", "content": "x", "content_type": "text", "meta_data": MARKER}
    query = {"conversation_id": _conversation(coze)["id"]}
    return coze.send("POST", "/v1/conversation/message/create", body, query)


@scene("message_retrieve/found")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/conversation/message/retrieve", query=_message(coze))


@scene("message_modify/modified")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v1/conversation/message/modify", {"content": "y"}, _message(coze))


@scene("message_delete/deleted")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v1/conversation/message/delete", query=_message(coze))


# --- workflows


@scene("workflow_run/sync")
def _(coze: Coze) -> Response:
    return _run(coze)[1]


@scene("workflow_run/sync_plain_text")
def _(coze: Coze) -> Response:
    return _run(coze, output="All 42 rows are fine.")[1]


@scene("workflow_run/async")
def _(coze: Coze) -> Response:
    return _run(coze, is_async=True)[1]


@scene("workflow_run/interrupted")
def _(coze: Coze) -> Response:
    return _run(coze, interrupt=Interrupt("Which city?"))[1]


@scene("workflow_run/interrupted_with_fields")
def _(coze: Coze) -> Response:
    return _run(coze, interrupt=Interrupt("?", type=5, parameters={"city": "string"}))[1]


@scene("workflow_run/failed")
def _(coze: Coze) -> Response:
    return _run(coze, failure=Failure(720701002, "Node 'Code' failed: division by zero"))[1]


@scene("workflow_run/6003", "errors/6003")
def _(coze: Coze) -> Response:
    coze.emulator.world.plan = "personal_free"
    return _run(coze, is_async=True)[1]


@scene("workflow_run/unpublished")
def _(coze: Coze) -> Response:
    return _run(coze, published=False)[1]


@scene("workflow_history/running")
def _(coze: Coze) -> Response:
    return _history(coze, duration=Seconds(5))


@scene("workflow_history/success")
def _(coze: Coze) -> Response:
    return _history(coze)


@scene("workflow_history/success_with_output_nodes")
def _(coze: Coze) -> Response:
    return _history(coze, nodes=[OutputNode("Message", "reading")])


@scene("workflow_history/fail")
def _(coze: Coze) -> Response:
    return _history(coze, failure=Failure(720701002))


@scene("workflow_history/trimmed")
def _(coze: Coze) -> Response:
    coze.emulator.world.trim_output_bytes = 10
    return _history(coze)


@scene("workflow_history/interrupted")
def _(coze: Coze) -> Response:
    return _history(coze, interrupt=Interrupt("Which city?"))


@scene("workflow_history/not_found")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/workflows/7511500000000000001/run_histories/7513000000000000002")


@scene("workflow_node/finished")
def _(coze: Coze) -> Response:
    workflow_id, started = _run(coze, is_async=True, nodes=[OutputNode("Message", "reading")])
    execute_id = json.loads(started.body)["execute_id"]
    uuid = coze.history(workflow_id, execute_id)["node_execute_status"]["Message"]["node_execute_uuid"]
    return coze.send("GET", f"/v1/workflows/{workflow_id}/run_histories/{execute_id}/execute_nodes/{uuid}")


def _resumed(coze: Coze, *, is_async: bool = False, times: int = 1) -> Response:
    workflow_id, started = _run(coze, is_async=is_async, interrupt=Interrupt("Which city?"))
    found = json.loads(started.body)
    found = coze.history(workflow_id, found["execute_id"]) if is_async else found
    body = {
        "workflow_id": workflow_id,
        "event_id": found["interrupt_data"]["event_id"],
        "interrupt_type": 2,
        "resume_data": "Hangzhou",
    }
    return [coze.send("POST", "/v1/workflows/resume", body) for _ in range(times)][-1]


@scene("workflow_resume/sync")
def _(coze: Coze) -> Response:
    return _resumed(coze)


@scene("workflow_resume/async")
def _(coze: Coze) -> Response:
    return _resumed(coze, is_async=True)


@scene("workflow_resume/ended")
def _(coze: Coze) -> Response:
    return _resumed(coze, times=2)


@scene("workflow_stream/ping")
def _(coze: Coze) -> Response:
    coze.emulator.world.done_carries_debug_url = False
    coze.emulator.script(scenarios.pings(every_events=1))
    workflow = coze.emulator.add_workflow(output={"output": "42 rows"})
    return coze.send("POST", "/v1/workflow/stream_run", {"workflow_id": workflow.id})


@scene("chatflow_stream/failed")
def _(coze: Coze) -> Response:
    workflow = coze.emulator.add_workflow(mode="chatflow")
    body = {
        "workflow_id": workflow.id,
        "app_id": "7511900000000000001",
        "additional_messages": chat_body("", "x")["additional_messages"],
    }
    return coze.send("POST", "/v1/workflows/chat", body)


# --- the rest


@scene("workflow_list/page")
def _(coze: Coze) -> Response:
    coze.emulator.add_workflow()
    return coze.send("GET", "/v1/workflows", query={"workspace_id": coze.emulator.world.workspace_id})


@scene("workflow_info/with_inputs")
def _(coze: Coze) -> Response:
    workflow = coze.emulator.add_workflow(parameters={"table": Parameter(required=True)})
    return coze.send("GET", f"/v1/workflows/{workflow.id}", query={"include_input_output": "true"})


@scene("workflow_versions/page")
def _(coze: Coze) -> Response:
    return coze.send("GET", f"/v1/workflows/{coze.emulator.add_workflow().id}/versions")


@scene("file_upload/uploaded")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v1/files/upload", files=(FilePart("file", "a.csv", b"a,b\n1,2\n"),))


@scene("file_retrieve/found")
def _(coze: Coze) -> Response:
    file_id = coze.data("POST", "/v1/files/upload", files=(FilePart("file", "a.csv", b"a"),))["id"]
    return coze.send("GET", "/v1/files/retrieve", query={"file_id": file_id})


@scene("users_me/found")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/users/me")


@scene("workspace_list/page")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/workspaces")


@scene("bot_list/page")
def _(coze: Coze) -> Response:
    _bot(coze)
    return coze.send("GET", "/v1/bots", query={"workspace_id": coze.emulator.world.workspace_id})


@scene("bot_list/published")
def _(coze: Coze) -> Response:
    _bot(coze)
    return coze.send("GET", "/v1/space/published_bots_list", query={"space_id": coze.emulator.world.workspace_id})


@scene("bot_retrieve/found")
def _(coze: Coze) -> Response:
    bot_id = _bot(coze)
    assert coze.data("GET", "/v1/bot/get_online_info", query={"bot_id": bot_id})
    return coze.send("GET", f"/v1/bots/{bot_id}")


@scene("benefit/level")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/commerce/benefit/benefits/get")


@scene("benefit/qps")
def _(coze: Coze) -> Response:
    query = {"benefit_type_list": "api_run_qps", "resource_id": "workflow"}
    return coze.send("GET", "/v1/commerce/benefit/benefits/get", query=query)


def _token(coze: Coze, exp: int, grant_type: str = GRANT_TYPE) -> Response:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    coze.emulator.world.oauth_apps.append(OAuthApp("1150", {"kid1": pem.decode()}))
    claims = {"iss": "1150", "aud": "api.coze.cn", "iat": int(NOON) - 1, "exp": int(NOON) + exp, "jti": "1"}
    assertion = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "kid1"})
    return coze.send("POST", "/api/permission/oauth2/token", {"grant_type": grant_type}, token=assertion)


@scene("oauth_token/issued")
def _(coze: Coze) -> Response:
    return _token(coze, 600)


@scene("oauth_token/invalid_request")
def _(coze: Coze) -> Response:
    return _token(coze, 0)


@scene("oauth_token/unsupported_grant_type")
def _(coze: Coze) -> Response:
    return _token(coze, 600, "client_credentials")


# --- errors


@scene("errors/4100")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/users/me", token="pat_wrong")


@scene("errors/700012006")
def _(coze: Coze) -> Response:
    coze.emulator.world.auth_failure_code = 700012006
    return coze.send("GET", "/v1/users/me", token="pat_wrong")


@scene("errors/4101")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/bots", query={"workspace_id": "7510000000000000999"})


@scene("errors/4200_bot")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", chat_body("7511000000000000999", "x"))


@scene("errors/4000_body")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", {**chat_body(_bot(coze), "x"), "user_id": 42})


@scene("errors/4000_unknown_path")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/x", {})


@scene("errors/4002")
def _(coze: Coze) -> Response:
    return _asked(coze, conversation_id="7512000000000000999")


@scene("errors/4003")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", chat_body(_bot(coze), "x", meta_data={str(n): "x" for n in range(17)}))


@scene("errors/4004")
def _(coze: Coze) -> Response:
    body = chat_body(_bot(coze), "x")
    return coze.send("POST", "/v3/chat", {**body, "additional_messages": body["additional_messages"] * 101})


@scene("errors/4007")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", chat_body(_bot(coze), "x", auto_save_history=False))


@scene("errors/4015")
def _(coze: Coze) -> Response:
    return _asked(coze, published=False)


@scene("errors/4016")
def _(coze: Coze) -> Response:
    return _asked(coze, conversation_id=_chat(coze)["conversation_id"])


@scene("errors/4013")
def _(coze: Coze) -> Response:
    coze.emulator.world.rate_limits = True
    return [_asked(coze) for _ in range(101)][-1]


def _ordered(fault: scenarios.Fault) -> Scene:
    def answered(coze: Coze) -> Response:
        coze.emulator.script(fault)
        return _asked(coze)

    return answered


SCENES["errors/5000"] = _ordered(scenarios.error(5000))
SCENES["errors/500"] = _ordered(scenarios.server_error())
SCENES["errors/502_html"] = _ordered(scenarios.bad_gateway())
SCENES["errors/720702222"] = _ordered(scenarios.server_trouble())
SCENES["errors/429_retry_after_7"] = _ordered(scenarios.rate_limited(retry_after=7))
SCENES["errors/400_plain_text"] = _ordered(scenarios.answer(400, "missing required Host header"))


# --- Coze Studio


def _studio_chat(coze: Coze, duration: Polls | Seconds = AT_ONCE) -> dict[str, Any]:
    return dict(
        coze.data(
            "POST", "/v3/chat", chat_body(_bot(coze, duration=duration, finish_message=False), "hi", stream=False)
        )
    )


@scene("studio_chat_create/created")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", chat_body(_bot(coze), "hi", stream=False))


@scene("studio_chat_create/no_bot")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", chat_body("1", "hi", stream=False))


@scene("studio_chat_retrieve/in_progress")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v3/chat/retrieve", query=ids(_studio_chat(coze, Seconds(5))))


@scene("studio_chat_retrieve/completed")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v3/chat/retrieve", query=ids(_studio_chat(coze)))


@scene("studio_chat_retrieve/not_found")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v3/chat/retrieve", query={"conversation_id": "1", "chat_id": "1"})


@scene("studio_chat_cancel/canceled")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat/cancel", ids(_studio_chat(coze, Seconds(5))))


@scene("studio_chat_messages/completed")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v3/chat/message/list", query=ids(_studio_chat(coze)))


@scene("studio_conversation_retrieve/found")
def _(coze: Coze) -> Response:
    made = coze.data("POST", "/v1/conversation/create", {"meta_data": {"k": "v"}})
    return coze.send("GET", "/v1/conversation/retrieve", query={"conversation_id": made["id"]})


@scene("studio_workflow_run/sync")
def _(coze: Coze) -> Response:
    return _run(coze)[1]


@scene("studio_workflow_run/async")
def _(coze: Coze) -> Response:
    return _run(coze, is_async=True)[1]


@scene("studio_workflow_run/interrupted")
def _(coze: Coze) -> Response:
    return _run(coze, interrupt=Interrupt("?"))[1]


@scene("studio_workflow_history/success")
def _(coze: Coze) -> Response:
    workflow_id, started = _run(coze, is_async=True)
    query = {"workflow_id": workflow_id, "execute_id": json.loads(started.body)["execute_id"]}
    return coze.send("GET", "/v1/workflow/get_run_history", query=query)


@scene("studio_errors/no_token")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", headers={"Authorization": ""})


@scene("studio_errors/bad_token")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", token="pat_wrong")


@scene("studio_errors/no_session")
def _(coze: Coze) -> Response:
    return coze.send("GET", "/v1/users/me")


@scene("studio_errors/unknown_route")
def _(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat/retrieve")


# --- the comparison

#: Recorded streams: test_emulated_streams compares them byte for byte.
STREAMS = {
    "chat_stream/text",
    "chat_stream/failed",
    "chatflow_stream/text",
    "workflow_stream/text",
    "workflow_stream/error",
    "workflow_stream/interrupted",
}


def _acted(name: str) -> tuple[Coze, Response]:
    dialect = "studio" if name.startswith("studio_") else "cloud"
    coze = Coze(Emulator(World(), dialect=dialect, clock=lambda: NOON))  # type: ignore[arg-type]
    return coze, SCENES[name](coze)


def _sample(name: str) -> dict[str, Any]:
    return dict(json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8")))


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return type(value).__name__


def _events(stream: str) -> list[Any]:
    blocks = [dict(line.split(":", 1) for line in block.splitlines()) for block in stream.strip().split("\n\n")]
    return [(sorted(block), block["event"], _shape(json.loads(block["data"]))) for block in blocks]


@pytest.mark.parametrize("name", sorted(SCENES))
def test_the_emulator_answers_in_the_shape_of_the_sample(name: str) -> None:
    sample = _sample(name)
    _, response = _acted(name)
    assert response.status == sample["status"]
    assert response.headers["content-type"] == sample["headers"]["content-type"]
    log_id = {"x-tt-logid", "x-log-id"} & sample["headers"].keys()
    assert log_id <= response.headers.keys()
    assert response.headers.get("retry-after") == sample["headers"].get("retry-after")
    text = response.body.decode()
    if isinstance(sample["body"], dict):
        assert _shape(json.loads(text)) == _shape(sample["body"])
    elif "event-stream" in sample["headers"]["content-type"]:
        assert _events(text) == _events(sample["body"])
    else:
        assert text == sample["body"]


@pytest.mark.parametrize(
    "name",
    [name for name in sorted(SCENES) if isinstance(_sample(name)["body"], dict) and "msg" in _sample(name)["body"]],
)
def test_codes_are_those_of_the_sample_and_texts_begin_with_its_text(name: str) -> None:
    sample = _sample(name)["body"]
    body = json.loads(_acted(name)[1].body)
    assert body["code"] == sample["code"]
    if sample["code"]:
        assert re.sub(r"\d{7,}", "<id>", body["msg"]).startswith(re.sub(r"\d{7,}", "<id>", sample["msg"]))


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_says_where_it_is_from(name: str) -> None:
    sample = _sample(name)
    assert sorted(sample) == ["body", "headers", "provenance", "status"]
    assert re.match(r"(documented|constructed|recorded): .", sample["provenance"])


def test_every_sample_is_compared_with_the_emulator() -> None:
    assert set(NAMES) - STREAMS == set(SCENES)


def test_every_operation_of_the_cloud_has_a_sample() -> None:
    reached = set(STREAMS_REACH)
    for name in SCENES:
        if not name.startswith("studio_"):
            reached |= set(_acted(name)[0].emulator.requests)
    assert {f"{route.method} {route.path}" for route in Cloud._routes} - reached == set()


#: What the byte-for-byte comparison of the recorded streams reaches, and a stream that begins again after a question.
STREAMS_REACH = {"POST /v1/workflow/stream_run", "POST /v1/workflows/chat", "POST /v1/workflow/stream_resume"}


# --- the documents

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "emulator.md"


@pytest.mark.parametrize("dialect", [Cloud, Studio])
def test_every_operation_is_on_the_page(dialect: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = [route for route in dialect._routes if f"`{route.method} {route.path}`" not in page]
    assert [f"{route.method} {route.path}" for route in missing] == []


def test_every_setting_definition_scenario_and_control_is_on_the_page() -> None:
    from dataclasses import fields

    from airflow_provider_coze.emulator import control
    from airflow_provider_coze.emulator.definitions import AccessToken, Bot, Workflow

    page = PAGE.read_text(encoding="utf-8")
    names = [field.name for kind in (World, Bot, Workflow, Interrupt, AccessToken, OAuthApp) for field in fields(kind)]
    names += [name for name in scenarios.__all__ if name not in ("Fault", "Script")]
    names += [f"{method} {path}" for method, path in control._ROUTES]
    assert [name for name in names if f"`{name}" not in page] == []


def test_the_limits_are_the_first_paragraph_of_the_page() -> None:
    title, first, *_ = PAGE.read_text(encoding="utf-8").split("\n\n")
    assert title.startswith("# ")
    assert "does not" in first
