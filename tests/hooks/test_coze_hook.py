"""``CozeHook``: connections, operations, tokens, budgets and Airflow's Test button, over HTTP."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO, ECHO_BOT, SLEEPER_BOT, TOOL_BOT
from airflow_provider_coze.emulator.definitions import AccessToken, Interrupt, OAuthApp, OutputNode, Workflow
from airflow_provider_coze.hooks import connecting
from airflow_provider_coze.hooks import coze as hooks
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import account
from airflow_provider_coze.protocol.endpoints import chat as chats
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests import needs, tasks
from tests.tasks import NOON, TOKEN, Coze, Run

coze_site, coze, studio, run = tasks.coze_site, tasks.coze, tasks.studio, tasks.run

SHARED_TOKENS = hooks._TOKENS  # of the process; the fixtures give every test its own
MINT = "POST /api/permission/oauth2/token"
CHAT = "POST /v3/chat"
GET = "GET /v3/chat/retrieve"
HELLO: dict[str, Any] = {"bot_id": ECHO_BOT, "user_id": "u", "additional_messages": [
    {"role": "user", "content": "hello", "content_type": "text"}
]}  # fmt: skip


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make ``coze_default`` another connection."""
    return lambda value: monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", value)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- the connection


def test_the_connection_is_read_once_on_a_worker(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = CozeHook.get_connection
    monkeypatch.setattr(
        CozeHook, "get_connection", staticmethod(lambda conn_id: (read.append(conn_id), get(conn_id))[1])
    )
    hook = coze.hook()
    hook.create_chat(**HELLO)
    hook.create_chat(**HELLO)
    assert hook.get_conn() is hook.settings
    assert read == ["coze_default"]


def connections_read(monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> list[str]:
    """Note what is read on an event loop: by a coroutine, or before Airflow 3.1, which has none, in another thread."""
    read: list[str] = []
    get, thread = CozeHook.get_connection, threading.get_ident()

    def blocking(conn_id: str) -> Any:
        assert threading.get_ident() != thread, "get_connection blocks the event loop"
        read.append(conn_id)
        if failure is not None:
            raise failure
        return get(conn_id)

    async def aget(conn_id: str) -> Any:
        return await asyncio.to_thread(blocking, conn_id)

    def never(conn_id: str) -> Any:
        raise AssertionError("there is a coroutine for it")

    has_one = needs.ASYNC_CONNECTIONS.has()
    monkeypatch.setattr(CozeHook, "get_connection", staticmethod(never if has_one else blocking))
    if has_one:
        monkeypatch.setattr(CozeHook, "aget_connection", staticmethod(aget))
    return read


async def test_the_connection_is_read_once_on_an_event_loop_and_never_by_the_blocking_way(
    coze: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = connections_read(monkeypatch)
    hook = coze.hook()
    for _ in range(2):
        await hook.aperform(flows.call(chats.create_chat(**HELLO), hook.retry))
    assert await hook.asettings() is hook.settings
    assert read == ["coze_default"]


def test_a_wrong_connection_is_one_error_with_every_field_and_nothing_is_sent(
    coze: Coze, connect: Callable[[str], None]
) -> None:
    connect(coze.connection(password=None, chat_qps="many", verrify="false"))
    with pytest.raises(e.CozeConnectionConfigError) as caught:
        coze.hook().create_chat(**HELLO)
    for field in ("password", "chat_qps", "verrify"):
        assert f"`{field}`" in str(caught.value)
    assert coze.seen == []


def test_a_connection_that_is_not_there_is_named(coze: Coze) -> None:
    with pytest.raises(e.CozeConnectionUnreadableError, match="'coze_elsewhere' was not found"):
        _ = coze.hook("coze_elsewhere").settings
    with pytest.raises(e.CozeConnectionUnreadableError, match="'coze_elsewhere' was not found"):
        asyncio.run(coze.hook("coze_elsewhere").asettings())


def test_a_connection_that_airflow_cannot_read_is_an_error_that_does_not_repeat_it(
    coze: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(conn_id: str) -> Any:
        raise ValueError(f"Invalid connection string: coze://:{TOKEN}@host")

    monkeypatch.setattr(CozeHook, "get_connection", staticmethod(broken))
    with pytest.raises(e.CozeConnectionUnreadableError, match="could not be read") as caught:
        _ = coze.hook().settings
    assert TOKEN not in str(caught.value)
    assert TOKEN not in coze.hook().test_connection()[1]


def test_airflow_makes_the_hook_of_a_connection(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (CozeHook.conn_type, CozeHook.conn_name_attr, CozeHook.default_conn_name) == (
        "coze",
        "coze_conn_id",
        "coze_default",
    )
    hook = CozeHook(**{CozeHook.conn_name_attr: "mine"})
    assert hook.coze_conn_id == "mine"


def test_the_workflow_run_path_of_the_connection_is_where_runs_are_posted(
    coze: Coze, connect: Callable[[str], None]
) -> None:
    connect(coze.connection(workflow_run_path="/v3/workflows/run"))
    coze.world.legacy_workflow_path = True
    coze.hook().run_workflow(workflow_id=ECHO, parameters={}, is_async=True)
    assert coze.asked("POST /v3/workflows/run") == 1
    assert coze.asked("POST /v1/workflow/run") == 0


# --- operations


class Made:
    """What the operations of the table below need to be there."""

    def __init__(self, coze: Coze) -> None:
        hook = coze.hook()
        self.coze = coze
        coze.emulator.add_workflow(Workflow(id="7", output={"x": 1}, nodes=(OutputNode("Note", "half way"),)))
        self.chat = hook.create_chat(**HELLO)
        self.busy = hook.create_chat(**{**HELLO, "bot_id": SLEEPER_BOT, "additional_messages": [
            {"role": "user", "content": "sleep 99: x", "content_type": "text"}]})  # fmt: skip
        self.paused = hook.create_chat(**{**HELLO, "bot_id": TOOL_BOT})
        call = hook.retrieve_chat(**self.ids(self.paused)).tool_calls[0]
        self.outputs = [{"tool_call_id": call["id"], "output": "21"}]
        self.conversation = hook.create_conversation(bot_id=ECHO_BOT)
        self.run = hook.run_workflow(workflow_id="7", parameters={}, is_async=True)
        node = hook.run_history(workflow_id="7", execute_id=self.run.execute_id).nodes["Note"]
        self.node = node["node_execute_uuid"]
        coze.emulator.add_workflow(Workflow(id="8", output="sunny", interrupt=Interrupt("Which city?")))
        asking = hook.run_workflow(workflow_id="8", parameters={}, is_async=False).interrupt or {}
        self.question = {"event_id": asking["event_id"], "interrupt_type": asking["type"]}
        self.file = hook.upload_file(filename="a.csv", content=b"abc")
        [*_, first] = hook.conversation_messages(conversation_id=self.chat.conversation_id).messages
        self.message = {"conversation_id": self.chat.conversation_id, "message_id": first.id}
        coze.seen.clear()

    @staticmethod
    def ids(chat: Any) -> dict[str, str]:
        return {"conversation_id": chat.conversation_id, "chat_id": chat.id}


#: verb → arguments, the request it must make, and what tells that the answer was understood.
VERBS: dict[str, tuple[Callable[[Made], dict[str, Any]], str, Callable[[Any, Made], bool]]] = {
    "create_chat": (lambda made: HELLO, CHAT, lambda got, made: got.status == "in_progress"),
    "retrieve_chat": (lambda made: made.ids(made.chat), GET, lambda got, made: got.status == "completed"),
    "cancel_chat": (
        lambda made: made.ids(made.busy), "POST /v3/chat/cancel", lambda got, made: got.status == "canceled",
    ),
    "chat_messages": (
        lambda made: made.ids(made.chat), "GET /v3/chat/message/list",
        lambda got, made: "You said: hello" in [message.content for message in got],
    ),
    "submit_tool_outputs": (
        lambda made: {**made.ids(made.paused), "tool_outputs": made.outputs}, "POST /v3/chat/submit_tool_outputs",
        lambda got, made: got.id == made.paused.id,
    ),
    "create_conversation": (
        lambda made: {"name": "new"}, "POST /v1/conversation/create", lambda got, made: got.id > made.conversation.id,
    ),
    "retrieve_conversation": (
        lambda made: {"conversation_id": made.conversation.id}, "GET /v1/conversation/retrieve",
        lambda got, made: got.id == made.conversation.id,
    ),
    "list_conversations": (
        lambda made: {"bot_id": ECHO_BOT}, "GET /v1/conversations",
        lambda got, made: [item.id for item in got.conversations] == [made.conversation.id],
    ),
    "conversation_messages": (
        lambda made: {"conversation_id": made.chat.conversation_id}, "POST /v1/conversation/message/list",
        lambda got, made: {message.content for message in got.messages} == {"hello", "You said: hello"},
    ),
    "rename_conversation": (
        lambda made: {"conversation_id": made.conversation.id, "name": "other"}, "PUT /v1/conversations/{conversation}",
        lambda got, made: (got.id, got.name) == (made.conversation.id, "other"),
    ),
    "modify_message": (
        lambda made: {**made.message, "meta_data": {"seen": "yes"}}, "POST /v1/conversation/message/modify",
        lambda got, made: (got.id, got.meta_data) == (made.message["message_id"], {"seen": "yes"}),
    ),
    "run_workflow": (
        lambda made: {"workflow_id": "7", "parameters": {}, "is_async": False}, "POST /v1/workflow/run",
        lambda got, made: json.loads(got.data) == {"x": 1},
    ),
    "resume_workflow": (
        lambda made: {"workflow_id": "8", "resume_data": "Hangzhou", **made.question}, "POST /v1/workflows/resume",
        lambda got, made: got.data == "sunny",
    ),
    "run_history": (
        lambda made: {"workflow_id": "7", "execute_id": made.run.execute_id}, "GET /v1/workflows/7/run_histories/{}",
        lambda got, made: got.execute_status == "Success",
    ),
    "node_output": (
        lambda made: {"workflow_id": "7", "execute_id": made.run.execute_id, "node_execute_uuid": made.node},
        "GET /v1/workflows/7/run_histories/{}/execute_nodes/{}",
        lambda got, made: got.node_output == "half way",
    ),
    "workflow_info": (
        lambda made: {"workflow_id": "7"}, "GET /v1/workflows/7", lambda got, made: got.workflow_id == "7",
    ),
    "upload_file": (
        lambda made: {"filename": "b.csv", "content": b"1234"}, "POST /v1/files/upload",
        lambda got, made: (got.file_name, got.bytes) == ("b.csv", 4),
    ),
    "retrieve_file": (
        lambda made: {"file_id": made.file.id}, "GET /v1/files/retrieve", lambda got, made: got.id == made.file.id,
    ),
    "list_workspaces": (
        lambda made: {}, "GET /v1/workspaces",
        lambda got, made: [space.id for space in got.workspaces] == [made.coze.world.workspace_id],
    ),
    "current_user": (
        lambda made: {}, "GET /v1/users/me", lambda got, made: got.user_id == made.coze.world.user_id,
    ),
    "benefits": (
        lambda made: {"resource_id": "chat"}, "GET /v1/commerce/benefit/benefits/get", lambda got, made: bool(got),
    ),
}  # fmt: skip


def test_the_table_above_has_every_operation_of_the_hook() -> None:
    made_of = {name: getattr(member, "__wrapped__", None) for name, member in vars(CozeHook).items()}
    endpoints = "airflow_provider_coze.protocol.endpoints"
    assert {name for name, made in made_of.items() if made and made.__module__.startswith(endpoints)} == VERBS.keys()


@pytest.mark.parametrize("name", VERBS)
def test_an_operation_reaches_its_endpoint_once_with_the_token_and_understands_the_answer(
    coze: Coze, name: str
) -> None:
    arguments, request, understood = VERBS[name]
    made = Made(coze)
    got = getattr(coze.hook(), name)(**arguments(made))
    assert understood(got, made)
    [(asked, sent, _)] = coze.seen
    assert asked == request.format(made.run.execute_id, made.node, conversation=made.conversation.id)
    assert sent.headers["Authorization"] == f"Bearer {TOKEN}"


def test_an_operation_keeps_the_signature_and_the_words_of_its_endpoint() -> None:
    assert CozeHook.create_chat.__doc__ == chats.create_chat.__doc__
    assert "bot_id" in inspect.signature(CozeHook.create_chat).parameters


# --- request()


def test_request_calls_any_path_with_the_connections_token(coze: Coze) -> None:
    got = coze.hook().request("get", "v1/bots/" + ECHO_BOT)
    assert (got["code"], got["data"]["bot_id"]) == (0, ECHO_BOT)
    assert coze.seen[0][0] == f"GET /v1/bots/{ECHO_BOT}"


def test_request_sends_query_and_body(coze: Coze) -> None:
    hook = coze.hook()
    hook.request("POST", "/v3/chat", json={**HELLO, "stream": False}, query={"conversation_id": ""})
    assert coze.bodies(CHAT)[0]["bot_id"] == ECHO_BOT
    assert coze.queries(CHAT) == [{"conversation_id": ""}]


def test_request_sends_headers_beside_the_token(coze: Coze) -> None:
    coze.hook().request("GET", "/v1/users/me", headers={"Agw-Js-Conv": "str"})
    [(_, request, _)] = coze.seen
    sent = {name.lower(): value for name, value in request.headers.items()}
    assert sent["agw-js-conv"] == "str"
    assert sent["authorization"] == f"Bearer {TOKEN}"


def test_a_path_that_coze_does_not_have_is_refused_in_its_words(coze: Coze) -> None:
    with pytest.raises(e.CozeRejectedError, match="GET /v9/nothing does not exist") as caught:
        coze.hook().request("GET", "/v9/nothing")
    assert (caught.value.code, caught.value.status) == (4000, 404)
    assert caught.value.logid


@pytest.mark.parametrize("fault", [scenarios.bad_gateway(), scenarios.reset(), scenarios.rate_limited()])
def test_a_get_is_repeated_until_it_works(coze: Coze, fault: scenarios.Fault) -> None:
    coze.script(fault, times=3)
    assert coze.hook().request("GET", "/v1/users/me")["code"] == 0
    assert coze.asked("GET /v1/users/me") == 4
    assert len(coze.time.slept) == 3


def test_a_get_is_not_repeated_for_ever(coze: Coze) -> None:
    coze.script(scenarios.bad_gateway(), times=None)
    with pytest.raises(e.CozeUnavailableError):
        coze.hook().request("GET", "/v1/users/me")
    assert coze.asked("GET /v1/users/me") == 4


@pytest.mark.parametrize("fault", [scenarios.bad_gateway(), scenarios.reset()])
def test_a_post_that_may_have_arrived_is_sent_once(coze: Coze, fault: scenarios.Fault) -> None:
    coze.script(fault, times=None)
    with pytest.raises(e.CozeError):
        coze.hook().request("POST", "/v3/chat", json=HELLO)
    assert coze.asked(CHAT) == 1


def test_a_post_that_was_turned_away_before_anything_ran_is_repeated(coze: Coze) -> None:
    coze.script(scenarios.rate_limited(), times=1)
    coze.hook().request("POST", "/v3/chat", json=HELLO)
    assert coze.asked(CHAT) == 2
    assert len(coze.ledger) == 1


def test_a_post_that_changes_nothing_may_be_declared_repeatable(coze: Coze) -> None:
    coze.script(scenarios.bad_gateway(), times=1)
    coze.hook().request("POST", "/v1/conversation/create", json={}, may_repeat=True)
    assert coze.asked("POST /v1/conversation/create") == 2


def test_a_post_that_never_left_is_repeated(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(host=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(e.CozeTransportError, match="never left") as caught:
        coze.hook().create_chat(**HELLO)
    assert caught.value.never_sent is True
    assert len(coze.time.slept) == 3


def test_the_hooks_retry_policy_counts(coze: Coze) -> None:
    coze.script(scenarios.bad_gateway(), times=None)
    with pytest.raises(e.CozeUnavailableError):
        coze.hook(retry=RetryPolicy(attempts=2)).current_user()
    assert coze.asked("GET /v1/users/me") == 2


def test_retry_after_is_what_is_waited(coze: Coze) -> None:
    coze.script(scenarios.rate_limited(retry_after=7))
    coze.hook().current_user()
    assert coze.time.slept == [7.0]


# --- OAuth


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode(), public.decode()


@pytest.fixture
def oauth(coze: Coze, key: tuple[str, str], connect: Callable[[str], None]) -> Coze:
    """Connect with an OAuth app; its tokens live for five minutes."""
    coze.world.oauth_apps.append(OAuthApp("app1", {"kid1": key[1]}))
    connect(
        coze.connection(
            password=None,
            auth_type="oauth_jwt",
            client_id="app1",
            public_key_id="kid1",
            private_key=key[0],
            token_ttl=300,
        )
    )
    return coze


def test_a_token_is_minted_once_for_all_tasks_of_a_process(oauth: Coze) -> None:
    for _ in range(5):
        oauth.hook().create_chat(**HELLO)
    assert oauth.asked(MINT) == 1
    assert oauth.bodies(MINT)[0]["duration_seconds"] == 300
    assert len(oauth.ledger) == 5


def test_tasks_and_triggers_share_the_token(oauth: Coze) -> None:
    hook = oauth.hook()
    chat = hook.create_chat(**HELLO)
    asyncio.run(hook.aperform(flows.read_chat(chat, hook.retry)))
    assert oauth.asked(MINT) == 1


def test_a_token_that_is_refused_is_replaced_once_and_the_chat_is_started_once(oauth: Coze) -> None:
    hook = oauth.hook()
    hook.current_user()
    oauth.emulator.store.issued.clear()  # revoked, long before it was due
    hook.create_chat(**HELLO)
    assert oauth.asked(MINT) == 2
    assert len(oauth.ledger) == 1


def test_a_token_that_is_always_refused_is_replaced_only_once(oauth: Coze) -> None:
    oauth.script(scenarios.error(4100, status=401), on=CHAT, times=None)
    with pytest.raises(e.CozeAuthError):
        oauth.hook().create_chat(**HELLO)
    assert (oauth.asked(MINT), oauth.asked(CHAT)) == (2, 2)
    assert oauth.ledger == []


def test_a_token_that_expires_during_the_wait_is_replaced_without_a_word(oauth: Coze, run: Run) -> None:
    answer = run(CozeChatOperator, bot_id=SLEEPER_BOT, message="sleep 500: rested", timeout=None)
    assert answer == "rested"
    assert oauth.asked(MINT) == 3  # every 240 s: a minute before it expires
    assert len(oauth.ledger) == 1


def test_an_app_that_coze_does_not_know_is_an_auth_error_and_nothing_is_started(oauth: Coze) -> None:
    oauth.world.oauth_apps.clear()
    with pytest.raises(e.CozeAuthError, match="app1") as caught:
        oauth.hook().create_chat(**HELLO)
    assert caught.value.never_sent
    assert oauth.asked(CHAT) == 0


def test_private_key_and_minted_tokens_and_proxy_passwords_are_masked(
    oauth: Coze, key: tuple[str, str], monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], None]
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(hooks, "mask_secret", masked.append)
    oauth.hook().create_chat(**HELLO)
    [token] = oauth.emulator.store.issued
    assert key[0].strip() in [secret.strip() for secret in masked]
    assert token in masked
    connect(oauth.connection(proxy="http://user:p%40ss@127.0.0.1:9"))
    _ = oauth.hook().settings
    assert {"p%40ss", "p@ss"} <= set(masked)


def test_the_tokens_that_a_process_shares_are_masked_when_they_are_minted() -> None:
    assert SHARED_TOKENS._on_mint is hooks.mask_secret


def test_a_minted_token_is_masked_before_it_is_first_used(oauth: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    used_at: list[int] = []
    monkeypatch.setattr(hooks, "mask_secret", lambda secret: used_at.append(oauth.asked(CHAT)))
    oauth.hook().create_chat(**HELLO)
    assert set(used_at) == {0}


# --- the budget of a connection


def test_chats_keep_to_the_connections_rate(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(chat_qps=2))
    for _ in range(5):  # five tasks of one process
        coze.hook().create_chat(**HELLO)
    assert coze.times(CHAT) == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0], abs=0.06)  # a fortieth less than that


def test_worker_and_event_loop_spend_one_budget(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(chat_qps=0.5))
    hook = coze.hook()
    chat = hook.create_chat(**HELLO)
    asyncio.run(coze.hook().aperform(flows.read_chat(chat, hook.retry)))
    assert coze.times(GET) == pytest.approx([2.0], abs=0.06)


def test_workflow_requests_have_a_budget_of_their_own(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(chat_qps=0.01, workflow_qps=4))
    hook = coze.hook()
    hook.create_chat(**HELLO)
    for _ in range(3):
        hook.run_workflow(workflow_id=ECHO, parameters={}, is_async=True)
    assert coze.times("POST /v1/workflow/run") == pytest.approx([0.0, 0.25, 0.5], abs=0.02)


def test_without_a_rate_nothing_waits(coze: Coze) -> None:
    for _ in range(5):
        coze.hook().create_chat(**HELLO)
    assert coze.time.slept == []


BENEFITS = "GET /v1/commerce/benefit/benefits/get"


def test_the_plan_is_asked_once_for_what_it_grants(coze: Coze, connect: Callable[[str], None]) -> None:
    coze.world.plan = "personal_free"
    connect(coze.connection(chat_qps="plan", workflow_qps=50))
    for _ in range(3):
        coze.hook().create_chat(**HELLO)
    asyncio.run(coze.hook().aperform(flows.call(chats.create_chat(**HELLO), RetryPolicy())))
    assert coze.asked(BENEFITS) == 1
    assert coze.times(CHAT) == pytest.approx([0.0, 0.05, 0.1, 0.15], abs=0.015)  # 20 a second


def test_a_plan_that_may_not_be_read_limits_nothing_and_is_warned_of_once(
    coze: Coze, connect: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    connect(coze.connection(workflow_qps="plan"))
    coze.script(scenarios.error(4101), on=BENEFITS, times=9)
    for _ in range(3):
        asyncio.run(coze.hook().aperform(flows.call(account.current_user(), RetryPolicy())))
        coze.hook().run_workflow(workflow_id=ECHO, parameters={}, is_async=True)
    assert coze.asked(BENEFITS) == 1
    assert coze.time.slept == []
    warned = [record.getMessage() for record in caplog.records if "workflow_qps" in record.getMessage()]
    assert len(warned) == 1
    assert "getBenefit" in warned[0]


def test_uploads_have_a_budget_of_their_own(coze: Coze) -> None:
    for _ in range(3):
        coze.hook().upload_file(filename="a.pdf", content=b"%PDF-")
    assert coze.times("POST /v1/files/upload") == pytest.approx([0.0, 0.1, 0.2], abs=0.02)


# --- the Test button


def button(coze: Coze, calls: int) -> tuple[bool, str]:
    fine, message = coze.hook().test_connection()
    asked = [name for name, _, _ in coze.seen if name != MINT]
    assert len(asked) == calls, asked
    assert TOKEN not in message
    return fine, message


def test_a_good_token_passes_in_one_free_call(coze: Coze) -> None:
    fine, message = button(coze, calls=1)
    assert fine
    assert coze.base_url in message
    assert coze.ledger == []


def test_a_workspace_that_the_token_does_not_cover_is_said(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(workspace_id="7500000000000000009"))
    fine, message = button(coze, calls=1)
    assert not fine
    assert message.startswith("Token fine, workspace missing")
    assert "7500000000000000009" in message


def test_a_workspace_that_the_token_covers_passes(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(workspace_id=coze.world.workspace_id))
    assert button(coze, calls=1)[0]


@pytest.mark.parametrize("code", [4100, 700012006])
def test_a_bad_token_is_called_invalid(coze: Coze, connect: Callable[[str], None], code: Any) -> None:
    coze.world.auth_failure_code = code
    connect(coze.connection(password="pat_wrong_one"))
    fine, message = button(coze, calls=1)
    assert not fine
    assert message.startswith("Token invalid")
    assert "pat_wrong_one" not in message


def test_a_token_that_may_only_chat_passes_and_the_missing_permission_is_named(
    coze: Coze, connect: Callable[[str], None]
) -> None:
    coze.world.tokens.append(AccessToken("pat_narrow_one", permissions=("chat", "getChat")))
    connect(coze.connection(password="pat_narrow_one"))
    fine, message = button(coze, calls=2)
    assert fine
    assert message.startswith("Token fine, permission missing")
    assert "listWorkspace" in message
    assert "pat_narrow_one" not in message


def test_a_token_that_may_do_nothing_fails_and_the_missing_permission_is_named(coze: Coze) -> None:
    coze.script(scenarios.error(4101, status=403), times=None)
    fine, message = button(coze, calls=2)
    assert not fine
    assert message.startswith("Token fine, permission missing")
    assert "listWorkspace" in message


def test_a_host_that_does_not_answer_is_unreachable(coze: Coze, connect: Callable[[str], None]) -> None:
    connect(coze.connection(host=f"http://127.0.0.1:{free_port()}"))
    fine, message = button(coze, calls=0)
    assert not fine
    assert message.startswith("Host unreachable")
    assert coze.time.slept == [], "the button does not wait for retries"


def test_a_host_that_hangs_up_is_unreachable_after_one_call(coze: Coze) -> None:
    coze.script(scenarios.reset(), times=None)
    assert button(coze, calls=1)[1].startswith("Host unreachable")


def test_a_host_that_is_some_web_site_is_said_not_to_be_coze(coze: Coze) -> None:
    coze.script(scenarios.answer(200, "<html>Welcome to nginx!</html>"), times=None)
    fine, message = button(coze, calls=1)
    assert not fine
    assert "not as Coze does" in message


def test_coze_in_trouble_is_no_verdict_on_the_token(coze: Coze) -> None:
    coze.script(scenarios.error(4028), times=None)
    fine, message = button(coze, calls=1)
    assert not fine
    assert "says nothing about the token" in message
    assert "4028" in message
    assert "Token invalid" not in message


def test_an_oauth_app_is_tested_with_a_token_of_its_own(oauth: Coze) -> None:
    assert button(oauth, calls=1)[0]
    assert oauth.asked(MINT) == 1


def test_an_oauth_app_that_coze_does_not_know_is_called_invalid(oauth: Coze, key: tuple[str, str]) -> None:
    oauth.world.oauth_apps.clear()
    fine, message = button(oauth, calls=0)
    assert not fine
    assert message.startswith("Token invalid")
    assert key[0][40:80] not in message


def test_an_oauth_token_that_is_refused_is_tried_twice_at_most(oauth: Coze) -> None:
    oauth.script(scenarios.error(4100, status=401), on="/v1/*", times=None)
    assert button(oauth, calls=2)[1].startswith("Token invalid")


def test_a_studio_server_is_tested_by_what_it_has(studio: Coze, connect: Callable[[str], None]) -> None:
    fine, message = button(studio, calls=1)
    assert fine
    assert "Coze Studio" in message
    studio.seen.clear()
    connect(studio.connection(password="pat_wrong_one"))
    fine, message = button(studio, calls=1)
    assert not fine
    assert message.startswith("Token invalid")


def test_a_studio_server_that_is_down_is_unreachable(studio: Coze, connect: Callable[[str], None]) -> None:
    connect(studio.connection(host=f"http://127.0.0.1:{free_port()}"))
    assert button(studio, calls=0)[1].startswith("Host unreachable")


@pytest.mark.parametrize(
    "value",
    ["coze://:" + TOKEN + "@host:not_a_port/", "{not json", '{"conn_type": "coze", "extra": "[]"}', "coze://"],
)
def test_a_connection_that_cannot_be_used_is_an_answer_and_no_stack_trace(
    coze: Coze, connect: Callable[[str], None], value: str
) -> None:
    connect(value)
    assert button(coze, calls=0)[0] is False


def test_a_connection_that_is_missing_is_an_answer_and_no_stack_trace(coze: Coze) -> None:
    fine, message = coze.hook("nowhere").test_connection()
    assert not fine
    assert "nowhere" in message


# --- what must not be seen


def test_hook_settings_and_log_hold_no_secret(
    oauth: Coze, key: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="airflow_provider_coze")
    hook = oauth.hook()
    hook.create_chat(**HELLO)
    [token] = oauth.emulator.store.issued
    told = f"{hook!r} {hook} {hook.settings!r} {hook.settings} {caplog.text}"
    assert token not in told
    assert key[0][40:80] not in told


def test_settings_with_a_fixed_token_do_not_show_it(coze: Coze) -> None:
    hook = coze.hook()
    assert TOKEN not in f"{hook!r} {hook.settings!r} {hook.get_conn()}"


def test_a_process_that_is_being_killed_gives_a_request_few_seconds_and_waits_for_nothing(
    coze: Coze, connect: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_coze.transports import sync

    limits: list[tuple[float, float]] = []
    request = sync.requests.Session.request

    def noted(self: Any, *args: Any, timeout: tuple[float, float], **kwargs: Any) -> Any:
        limits.append(timeout)
        return request(self, *args, timeout=timeout, **kwargs)

    monkeypatch.setattr(sync.requests.Session, "request", noted)
    connect(coze.connection(chat_qps=0.01))  # a request every 100 s
    hook = coze.hook()
    chat = hook.create_chat(**HELLO)
    coze.script(scenarios.bad_gateway())
    with pytest.raises(e.CozeTransportError, match="no time"):
        hook.perform(flows.read_chat(chat, RetryPolicy(attempts=9)), hurry=True)
    hook.perform(flows.read_chat(chat, RetryPolicy(attempts=1)), hurry=True)
    assert coze.time.now == NOON
    assert limits[0] == (5.0, 100.0)
    assert all(connecting <= 1.5 and reading <= 2.0 for connecting, reading in limits[1:])
    assert len(limits) == 3


def test_minting_a_token_in_a_hurry_is_hurried_too(oauth: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_coze.transports import sync

    limits: list[float] = []
    send = sync.SyncTransport.send
    monkeypatch.setattr(
        sync.SyncTransport, "send", lambda self, request: (limits.append(request.read_seconds), send(self, request))[1]
    )
    hook = oauth.hook()
    hook.perform(flows.call(hooks.account.current_user(), RetryPolicy(attempts=1)), hurry=True)
    assert oauth.asked(MINT) == 1
    assert all(limit is not None and limit <= 2.0 for limit in limits)


# --- many who begin together


async def test_hooks_that_begin_together_read_the_connection_once(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    read = connections_read(monkeypatch)
    found = await asyncio.gather(*(coze.hook().asettings() for _ in range(50)))
    assert read == ["coze_default"]
    assert {id(settings) for settings in found} == {id(found[0])}
    monkeypatch.setattr(connecting, "_FRESH_SECONDS", 0.0)
    assert await coze.hook().asettings() == found[0]
    assert len(read) == 2


async def test_a_connection_that_cannot_be_read_is_an_error_of_each_who_wants_it(
    coze: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections_read(monkeypatch, OSError("down"))
    failed = await asyncio.gather(*(coze.hook().asettings() for _ in range(5)), return_exceptions=True)
    assert {type(error) for error in failed} == {e.CozeConnectionUnreadableError}
    assert len({id(error) for error in failed}) == 5
