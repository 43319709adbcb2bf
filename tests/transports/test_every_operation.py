"""Every operation of ``protocol.endpoints``, performed over both transports against the cloud and against Coze Studio.

An endpoint function without a case fails by its name: write a function of that name below. docs/reference/coverage.md counts on it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import (
    ASKING,
    CHATFLOW,
    ECHO,
    ECHO_BOT,
    SLEEPER_BOT,
    SUMMARY,
    TOOL_BOT,
)
from airflow_provider_coze.emulator.definitions import OAuthApp, OutputNode
from airflow_provider_coze.emulator.dialects import Cloud
from airflow_provider_coze.emulator.server import Server, serve
from airflow_provider_coze.emulator.studio.dialect import Studio
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import endpoints, flows
from airflow_provider_coze.protocol.messages import Call
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.run_streams import RunFold
from airflow_provider_coze.protocol.sse import Event
from airflow_provider_coze.protocol.streams import ChatflowFold, ChatFold, Fold

pytestmark = pytest.mark.matrix  # by the hundred: `make test` runs them, `make unit` does not

WAYS = ("requests", "aiohttp")


def _operations() -> dict[str, Callable[..., Call[Any]]]:
    """Return every endpoint function, by ``module.function``."""
    found = {}
    for part in pkgutil.iter_modules(endpoints.__path__):
        module = importlib.import_module(f"{endpoints.__name__}.{part.name}")
        for name, function in vars(module).items():
            returns = str(getattr(function, "__annotations__", {}).get("return"))
            is_own = inspect.isfunction(function) and function.__module__ == module.__name__
            if is_own and not name.startswith("_") and returns.startswith(("Call[", "StreamCall")):
                found[f"{part.name}.{name}"] = function
    return found


OPERATIONS = _operations()


class Coze:
    """A hook whose calls go one way; ``coze("chat.create_chat", bot_id=…)`` performs the endpoint function of that name."""

    def __init__(self, server: Server, way: str) -> None:
        self.server = server
        self.is_studio = server.emulator.dialect_name == "studio"
        self.performed: set[str] = set()
        self._way = way

    def __call__(self, name: str, /, **given: Any) -> Any:
        """Return what a call parses its answer to, or the events of a stream."""
        call = OPERATIONS[name](**given)
        self.performed.add(name)
        if call.request.stream:
            return self._streamed(call) if self._way == "requests" else asyncio.run(self._astreamed(call))
        hook = CozeHook()
        flow = flows.call(call, hook.retry)
        return hook.perform(flow) if self._way == "requests" else asyncio.run(hook.aperform(flow))

    def fold(self, fold: Fold, name: str, /, **given: Any) -> Any:
        """Return a fold that has taken a stream to its end."""
        for event in self(name, **given):
            fold.feed(event)
        assert fold.ended
        return fold

    def _streamed(self, call: Any) -> list[Event]:
        with CozeHook().stream(call) as events:
            return list(events)

    async def _astreamed(self, call: Any) -> list[Event]:
        async with CozeHook().astream(call) as events:
            return [event async for event in events]

    # --- what several cases begin with

    def chat(self, bot_id: str, text: str) -> Chat:
        made: Chat = self("chat.create_chat", bot_id=bot_id, user_id="u", additional_messages=[_question(text)])
        return made

    def paused(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Return a chat that waits for a tool, and what to tell it."""
        chat = self.chat(TOOL_BOT, "how warm?")
        where = {"conversation_id": chat.conversation_id, "chat_id": chat.id}
        (call,) = self("chat.retrieve_chat", **where).tool_calls
        return where, [{"tool_call_id": call["id"], "output": "21 °C"}]


def _question(text: str) -> dict[str, str]:
    return {"role": "user", "type": "question", "content": text, "content_type": "text"}


def _said(messages: Any) -> list[str]:
    return [message.content for message in messages if message.type == "answer"]


def _asked(interrupt: Mapping[str, Any]) -> dict[str, Any]:
    return {"workflow_id": ASKING, "event_id": interrupt["event_id"], "interrupt_type": interrupt["type"]}


class Cases:
    """One function for each operation, named after it with ``_`` for the dot; where Studio differs, it says how."""

    # --- account, catalogue

    def account_current_user(self, coze: Coze) -> None:
        assert coze("account.current_user").user_name == "emulator"

    def account_list_workspaces(self, coze: Coze) -> None:
        page = coze("account.list_workspaces", page_size=5)
        assert (page.total_count, page.workspaces[0].id) == (1, coze.server.world.workspace_id)

    def account_benefits(self, coze: Coze) -> None:
        found = coze("account.benefits", resource_id="chat")
        assert found["benefit_info"][0]["basic"]["item_info"]["total"] == 100

    def catalogue_list_bots(self, coze: Coze) -> None:
        page = coze("catalogue.list_bots", workspace_id=coze.server.world.workspace_id, page_size=2)
        assert ([bot.name for bot in page.bots], page.total > 2) == (["analyst", "echo"], True)

    def catalogue_list_workflows(self, coze: Coze) -> None:
        page = coze("catalogue.list_workflows", workspace_id=coze.server.world.workspace_id, workflow_mode="chatflow")
        assert ([found.id for found in page.workflows], page.has_more) == ([CHATFLOW], False)

    # --- chat

    def chat_create_chat(self, coze: Coze) -> None:
        chat = coze.chat(ECHO_BOT, "你好")
        assert chat.status == ("created" if coze.is_studio else "in_progress")
        assert [entry.id for entry in coze.server.ledger] == [chat.id]

    def chat_stream_chat(self, coze: Coze) -> None:
        given = {"bot_id": ECHO_BOT, "user_id": "u", "additional_messages": [_question("你好")]}
        fold = coze.fold(ChatFold(), "chat.stream_chat", **given)
        assert (fold.chat.status, fold.answer().text) == ("completed", "You said: 你好")
        assert fold.usage.token_count == coze.server.ledger[0].tokens

    def chat_retrieve_chat(self, coze: Coze) -> None:
        chat = coze.chat(ECHO_BOT, "x")
        found = coze("chat.retrieve_chat", conversation_id=chat.conversation_id, chat_id=chat.id)
        assert (found.id, found.status, found.usage.token_count > 0) == (chat.id, "completed", True)

    def chat_cancel_chat(self, coze: Coze) -> None:
        chat = coze.chat(SLEEPER_BOT, "sleep 60: x")
        found = coze("chat.cancel_chat", conversation_id=chat.conversation_id, chat_id=chat.id)
        assert found.status == ("conversation.chat.cancelled" if coze.is_studio else "canceled")

    def chat_chat_messages(self, coze: Coze) -> None:
        chat = coze.chat(ECHO_BOT, "x")
        found = coze("chat.chat_messages", conversation_id=chat.conversation_id, chat_id=chat.id)
        assert _said(found) == ["You said: x"]
        assert ("x" in [message.content for message in found]) is coze.is_studio  # the question

    def chat_submit_tool_outputs(self, coze: Coze) -> None:
        where, outputs = coze.paused()
        assert coze("chat.submit_tool_outputs", **where, tool_outputs=outputs).status == "in_progress"
        assert _said(coze("chat.chat_messages", **where)) == ["Sensor B2 says: 21 °C"]

    def chat_stream_tool_outputs(self, coze: Coze) -> None:
        where, outputs = coze.paused()
        fold = coze.fold(ChatFold(), "chat.stream_tool_outputs", **where, tool_outputs=outputs)
        assert fold.answer().text == "Sensor B2 says: 21 °C"

    # --- conversations

    def conversation_create_conversation(self, coze: Coze) -> None:
        made = coze("conversation.create_conversation", bot_id=ECHO_BOT, meta_data={"k": "值"})
        assert coze("conversation.retrieve_conversation", conversation_id=made.id).meta_data == {"k": "值"}

    def conversation_retrieve_conversation(self, coze: Coze) -> None:
        made = coze("conversation.create_conversation", bot_id=ECHO_BOT)
        assert coze("conversation.retrieve_conversation", conversation_id=made.id).id == made.id

    def conversation_list_conversations(self, coze: Coze) -> None:
        made = [coze("conversation.create_conversation", bot_id=ECHO_BOT).id for _ in range(3)]
        page = coze("conversation.list_conversations", bot_id=ECHO_BOT, page_size=2)
        assert ([found.id for found in page.conversations], page.has_more) == (made[:0:-1], True)

    def conversation_conversation_messages(self, coze: Coze) -> None:
        chat = coze.chat(ECHO_BOT, "x")
        page = coze("conversation.conversation_messages", conversation_id=chat.conversation_id, order="asc")
        assert [message.content for message in page.messages] == ["x", "You said: x"]

    def conversation_rename_conversation(self, coze: Coze) -> None:
        made = coze("conversation.create_conversation", bot_id=ECHO_BOT)
        assert coze("conversation.rename_conversation", conversation_id=made.id, name="新").name == "新"

    def conversation_modify_message(self, coze: Coze) -> None:
        where = {"conversation_id": coze.chat(ECHO_BOT, "x").conversation_id}
        message = coze("conversation.conversation_messages", **where, order="asc").messages[0]
        found = coze("conversation.modify_message", **where, message_id=message.id, meta_data={"k": "v"})
        assert (found.id, found.meta_data) == (message.id, {"k": "v"})

    # --- files

    def file_upload_file(self, coze: Coze) -> None:
        file = coze("file.upload_file", filename="数据.csv", content=b"a,b\n1,2\n")
        assert (file.file_name, file.bytes, file.created_at > 0) == ("数据.csv", 8, True)

    def file_retrieve_file(self, coze: Coze) -> None:
        file = coze("file.upload_file", filename="a.csv", content=b"a")
        assert coze("file.retrieve_file", file_id=file.id) == file

    # --- workflows

    def workflow_run_workflow(self, coze: Coze) -> None:
        for is_async in (True, False):
            run = coze("workflow.run_workflow", workflow_id=ECHO, parameters={"a": "值"}, is_async=is_async)
            assert run.execute_id == coze.server.ledger[-1].id
            assert is_async or json.loads(run.data) == {"output": {"a": "值"}}

    def workflow_stream_run(self, coze: Coze) -> None:
        fold = coze.fold(RunFold(), "workflow.stream_run", workflow_id=ECHO, parameters={"a": "值"})
        assert json.loads(_output(fold)) == {"output": {"a": "值"}}

    def workflow_resume_workflow(self, coze: Coze) -> None:
        asked = coze("workflow.run_workflow", workflow_id=ASKING, parameters={}, is_async=False)
        run = coze("workflow.resume_workflow", **_asked(asked.interrupt), resume_data="杭州")
        assert json.loads(run.data) == {"output": "杭州"}
        assert coze.server.ledger[0].continued == 1

    def workflow_stream_resume(self, coze: Coze) -> None:
        asked = coze.fold(RunFold(), "workflow.stream_run", workflow_id=ASKING, parameters={})
        fold = coze.fold(RunFold(), "workflow.stream_resume", **_asked(asked.interrupt), resume_data="杭州")
        assert json.loads(_output(fold)) == {"output": "杭州"}
        assert coze.server.ledger[0].continued == 1

    def workflow_stream_chatflow(self, coze: Coze) -> None:
        conversation = coze("conversation.create_conversation", bot_id=ECHO_BOT)
        fold = coze.fold(
            ChatflowFold(),
            "workflow.stream_chatflow",
            workflow_id=CHATFLOW,
            additional_messages=[_question("你好")],
            conversation_id=conversation.id,
            options={"bot_id": ECHO_BOT},
        )
        assert (fold.answer().text, fold.chat.conversation_id) == ("You said: 你好", conversation.id)
        assert fold.execute_id == coze.server.ledger[0].id

    def workflow_run_history(self, coze: Coze) -> None:
        run = coze("workflow.run_workflow", workflow_id=ECHO, parameters={"a": 1}, is_async=True)
        record = coze("workflow.run_history", workflow_id=ECHO, execute_id=run.execute_id)
        assert (record.execute_id, record.execute_status) == (run.execute_id, "Success")
        assert flows.run_result(record, workflow_id=ECHO, waited=1).output == {"output": {"a": 1}}

    def workflow_node_output(self, coze: Coze) -> None:
        flow = coze.server.add_workflow(nodes=[OutputNode("Message", "reading")])
        run = coze("workflow.run_workflow", workflow_id=flow.id, parameters={}, is_async=True)
        where = {"workflow_id": flow.id, "execute_id": run.execute_id}
        uuid = coze("workflow.run_history", **where).nodes["Message"]["node_execute_uuid"]
        node = coze("workflow.node_output", **where, node_execute_uuid=uuid)
        assert (node.is_finish, node.node_output) == (True, "reading")

    def workflow_workflow_info(self, coze: Coze) -> None:
        info = coze("workflow.workflow_info", workflow_id=SUMMARY)
        assert (info.workflow_name, info.input_parameters["table"]["required"]) == ("table summary", True)


#: What Coze Studio does not have, with arguments that would do elsewhere.
STUDIO_LACKS: dict[str, dict[str, Any]] = {
    "account.benefits": {},
    "account.current_user": {},
    "account.list_workspaces": {},
    "catalogue.list_bots": {"workspace_id": "1"},
    "catalogue.list_workflows": {"workspace_id": "1"},
    "chat.stream_tool_outputs": {"conversation_id": "1", "chat_id": "2", "tool_outputs": []},
    "chat.submit_tool_outputs": {"conversation_id": "1", "chat_id": "2", "tool_outputs": []},
    "conversation.modify_message": {"conversation_id": "1", "message_id": "2", "meta_data": {}},
    "file.retrieve_file": {"file_id": "1"},
    "workflow.node_output": {"workflow_id": "1", "execute_id": "2", "node_execute_uuid": "3"},
    "workflow.resume_workflow": {
        "workflow_id": "1", "event_id": "2/3", "interrupt_type": 2, "resume_data": "x",
    },
    "workflow.workflow_info": {"workflow_id": "1"},
}  # fmt: skip


def _conversation(coze: Coze) -> str:
    return str(CozeHook().request("POST", "/v1/conversation/create", json={"bot_id": ECHO_BOT})["data"]["id"])


def _message(coze: Coze) -> dict[str, str]:
    where = {"conversation_id": _conversation(coze)}
    body = {"role": "user", "content": "x", "content_type": "text"}
    made = CozeHook().request("POST", "/v1/conversation/message/create", query=where, json=body)
    return {**where, "message_id": made["data"]["id"]}


#: What there is no function for: how ``CozeHook.request`` is called, besides method and path, to get an answer.
REQUESTED: dict[str, Callable[[Coze], dict[str, Any]]] = {
    "DELETE /v1/conversations/{conversation_id}": lambda coze: {"conversation_id": _conversation(coze)},
    "POST /v1/conversations/{conversation_id}/clear": lambda coze: {"conversation_id": _conversation(coze)},
    "POST /v1/workflow/conversation/create": lambda coze: {"json": {"app_id": "7", "conversation_name": "c"}},
    "POST /v1/conversation/message/create": lambda coze: {
        "query": {"conversation_id": _conversation(coze)},
        "json": {"role": "user", "content": "x", "content_type": "text"},
    },
    "GET /v1/conversation/message/retrieve": lambda coze: {"query": _message(coze)},
    "POST /v1/conversation/message/delete": lambda coze: {"query": _message(coze)},
    "GET /v1/workflows/{workflow_id}": lambda coze: {"workflow_id": CHATFLOW},
    "GET /v1/workflows/{workflow_id}/versions": lambda coze: {"workflow_id": ECHO},
    "GET /v1/space/published_bots_list": lambda coze: {"query": {"space_id": coze.server.world.workspace_id}},
    "GET /v1/bots/{bot_id}": lambda coze: {"bot_id": ECHO_BOT},
    "GET /v1/bot/get_online_info": lambda coze: {"query": {"bot_id": ECHO_BOT}},
}
#: Kinds of tokens, as ``auth_type`` of a connection calls them.
AUTH = ("token", "oauth_jwt")


def has_case(name: str) -> bool:
    return hasattr(Cases, name.replace(".", "_"))


def _case(name: str) -> Callable[[Coze], None]:
    if not has_case(name):
        pytest.fail(f"{name} has no case: add {name.replace('.', '_')}() to Cases in {__file__}")
    case: Callable[[Coze], None] = getattr(Cases(), name.replace(".", "_"))
    return case


def _output(fold: Any) -> str:
    record = fold.record()
    return str(json.loads(record.output)["Output"])


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with serve(Emulator()) as cloud, serve(Emulator(dialect="studio")) as studio:
        yield {"cloud": cloud, "studio": studio}


@pytest.fixture(params=WAYS)
def cozes(
    request: pytest.FixtureRequest, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Coze]:
    def one(dialect: str) -> Coze:
        server = servers[dialect]
        server.reset()
        monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", server.connection)
        return Coze(server, request.param)

    return one


@pytest.mark.parametrize("operation", sorted(REQUESTED))
@pytest.mark.parametrize("dialect", [Cloud, Studio])
def test_an_operation_without_a_function_is_reached_through_request(
    operation: str, dialect: Any, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    if operation not in {f"{route.method} {route.path}" for route in dialect._routes}:
        return
    server = servers[dialect.__name__.lower()]
    server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", server.connection)
    given = REQUESTED[operation](Coze(server, "requests"))
    ids = {name: given.pop(name) for name in re.findall(r"{(\w+)}", operation)}
    method, path = operation.split(" ")
    assert CozeHook().request(method, path.format(**ids), **given).get("code") == 0
    assert server.emulator.requests[operation] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("auth", AUTH)
def test_every_kind_of_token_is_accepted_over_every_transport(
    auth: str, way: str, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers["cloud"]
    server.reset()
    connection = json.loads(server.connection)
    if auth == "oauth_jwt":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        app = OAuthApp(f"118{WAYS.index(way)}", {"k": public})
        server.world.oauth_apps.append(app)
        extra = {"auth_type": auth, "client_id": app.client_id, "public_key_id": "k", "private_key": private}
        connection = {"conn_type": "coze", "host": server.base_url, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", json.dumps(connection))
    assert Coze(server, way)("account.current_user").user_name == "emulator"
    assert len(server.emulator.store.issued) == (auth == "oauth_jwt")


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_does_on_the_cloud_what_it_is_for(name: str, cozes: Callable[[str], Coze]) -> None:
    coze = cozes("cloud")
    _case(name)(coze)
    assert name in coze.performed


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - STUDIO_LACKS.keys()))
def test_an_operation_that_studio_has_does_the_same_there(name: str, cozes: Callable[[str], Coze]) -> None:
    coze = cozes("studio")
    _case(name)(coze)
    assert name in coze.performed


@pytest.mark.parametrize("name", sorted(STUDIO_LACKS))
def test_what_studio_lacks_is_one_clear_error_before_anything_is_sent(name: str, cozes: Callable[[str], Coze]) -> None:
    coze = cozes("studio")
    with pytest.raises(CozeInputError, match=r"Coze Studio has no .*Nothing was sent"):
        coze(name, **STUDIO_LACKS[name])
    assert not coze.server.emulator.requests
