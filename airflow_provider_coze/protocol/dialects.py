"""Where the self-hosted Coze Studio differs from the cloud: paths, field names, keys. Tables, applied to every request.

Endpoints and flows are written in the cloud's words. Source of all rows: github.com/coze-dev/coze-studio
(backend/api/router/coze/api.go, idl/conversation/{run,message}.thrift, idl/workflow/workflow.thrift), 4f786d6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.endpoints.workflow import RUN_PATH
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Flow, Request, Response, Send, changed

__all__ = ["Dialect", "dialect_of", "spoken"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of Coze server wants to be spoken to."""

    name: str
    run_path: str = RUN_PATH
    studio: bool = field(default=False)


#: The answers whose object stands under another key than ``data``.
_STUDIO_DATA_KEYS = {
    "/v3/chat/cancel": "ChatV3ChatDetail",
    "/v3/chat/message/list": "Messages",
    "/v1/conversation/retrieve": "ConversationData",
}
#: Fields of records that carry another name: Studio's → the cloud's.
_STUDIO_FIELDS = {"log_id": "logid", "error_msg": "error_message", "creator_d": "creator_id", "CreatedAt": "created_at"}
#: Routes that Studio does not have, and what that means to the caller.
_STUDIO_MISSING = (
    (re.compile(r"/v3/chat/submit_tool_outputs"), "submitting tool outputs"),
    (re.compile(r"/v1/conversation/message/(create|retrieve|modify|delete)"), "single messages of a conversation"),
    (re.compile(r"/v1/conversations/[^/]+/messages/.*"), "feedback on messages"),
    (re.compile(r"/v1/workflows/resume"), "resuming a run that was not streamed; one that was streamed can be resumed"),
    (re.compile(r"/v1/workflows/[^/]+/run_histories/[^/]+/execute_nodes/.*"), "the outputs of single nodes"),
    (re.compile(r"/v1/workflows(/[^/]+/versions)?"), "listing workflows and their versions"),
    (re.compile(r"/v1/files/retrieve"), "looking a file up"),
    (re.compile(r"/v1/(bots|apps|space/published_bots_list)"), "listing bots and apps"),
    (re.compile(r"/v1/bot/(create|update|publish)|/v1/bots/[^/]+/(unpublish|versions)"), "making and publishing bots"),
    (re.compile(r"/v1/(workspaces|users/me|commerce/.*)"), "accounts, workspaces and plans"),
    (re.compile(r"/v1/(audio/.*|variables)"), "speech and variables"),
)
#: What the cloud tells of a workflow and Studio does not: only a chatflow's role is there.
_WORKFLOW = re.compile(r"/v1/workflows/[^/]+")
_CHATFLOW_PATH = "/v1/workflows/chat"
#: Chats say no with HTTP 400 and code 400; their own code is at the beginning of the text, and a stack trace may end it
#: (backend/api/handler/coze/agent_run_service.go, backend/pkg/errorx/internal).
_STUDIO_CODE_IN_TEXT = re.compile(r"code=(\d+) message=(.*?)(?=\nstack=|\Z)", re.DOTALL)
_HISTORY = re.compile(r"/v1/workflows/([^/]+)/run_histories/([^/]+)")


def dialect_of(name: str, workflow_run_path: str = RUN_PATH) -> Dialect:
    """Return the dialect of a connection: ``cloud`` or ``studio``, with the path that starts runs there."""
    return Dialect(name=name, run_path=workflow_run_path, studio=name == "studio")


def spoken(flow: Flow[T], dialect: Dialect) -> Flow[T]:
    """Return *flow* with its requests and answers translated between the cloud's words and the dialect's."""
    if not dialect.studio and dialect.run_path == RUN_PATH:
        return flow

    def layer(effect: Send) -> Flow[Response]:
        response: Response = yield effect.of(_request(effect.request, dialect))
        return _response(effect.request, response) if dialect.studio else response

    return through(flow, layer)


def _request(request: Request, dialect: Dialect) -> Request:
    if request.path == RUN_PATH:
        request = changed(request, path=dialect.run_path)
    if not dialect.studio:
        return request
    if missing := _missing_on_studio(request):
        raise CozeInputError(
            f"Coze Studio has no {request.method} {request.path} ({missing}). Nothing was sent. "
            'If the connection is the cloud\'s, set its dialect to "cloud".'
        )
    if request.path == _CHATFLOW_PATH and not _names_conversation(request.json):
        raise CozeInputError(
            "A chatflow of Coze Studio needs a conversation_id, or a name for the conversation in the parameter "
            f"CONVERSATION_NAME; the cloud would make a conversation by itself ({request.method} {request.path}). Nothing was sent."
        )
    if found := _HISTORY.fullmatch(request.path):
        query = {"workflow_id": unquote(found[1]), "execute_id": unquote(found[2])}
        return changed(request, path="/v1/workflow/get_run_history", query=query)
    if isinstance(request.json, dict) and "workflow_version" in request.json:
        body = {("version" if name == "workflow_version" else name): value for name, value in request.json.items()}
        return changed(request, json=body)
    return request


def _missing_on_studio(request: Request) -> str:
    """Return what the operation is about, if Studio does not have it."""
    if request.method == "GET" and "include_input_output" in request.query and _WORKFLOW.fullmatch(request.path):
        return "the inputs and outputs of a workflow"
    return next((missing for pattern, missing in _STUDIO_MISSING if pattern.fullmatch(request.path)), "")


def _names_conversation(body: object) -> bool:
    if not isinstance(body, Mapping):
        return False
    parameters = body.get("parameters")
    named = isinstance(parameters, Mapping) and parameters.get("CONVERSATION_NAME")
    return bool(body.get("conversation_id") or named)


def _response(asked: Request, response: Response) -> Response:
    response = changed(response, dialect="studio")
    try:
        body = read_json(response.body)
    except ValueError:
        return response
    if not isinstance(body, dict):
        return response
    if body.get("code") == 400 and (told := _STUDIO_CODE_IN_TEXT.match(str(body.get("msg")))):
        body["code"], body["msg"] = told.groups()
    own_key = _STUDIO_DATA_KEYS.get(asked.path)
    if own_key and own_key in body:
        body["data"] = body.pop(own_key)
    body["data"] = _renamed(body.get("data"))
    if body["data"] is None:
        del body["data"]
    return changed(response, body=json.dumps(body).encode())


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {_STUDIO_FIELDS.get(name, name): item for name, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value
