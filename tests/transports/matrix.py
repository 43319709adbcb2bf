"""What the fault matrix is made of: a served Coze whose faults are ordered, eight operations, and two ways to perform them.

Patience is short for the first attempt of a request and long for the others, so that a fault is noticed at once and a machine
that is busy fails nothing. Sleeps between attempts take no time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.definitions import OAuthApp
from airflow_provider_coze.emulator.server import Server, serve
from airflow_provider_coze.emulator.wire import Reply
from airflow_provider_coze.hooks import coze as hooks
from airflow_provider_coze.hooks import gate
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import auth, flows, outputs
from airflow_provider_coze.protocol.auth import TokenCaches
from airflow_provider_coze.protocol.endpoints import account, chat, conversation, file, workflow
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Call, Flow, Request, Response, Send, changed
from airflow_provider_coze.transports import pools
from tests.ears import Ears, told_by

TOKEN = "pat_FULLYRECOGNISABLETOKEN"
ECHO, ECHO_FLOW = "7511000000000000002", "7511500000000000002"
QUESTION = {"role": "user", "type": "question", "content": "s3cret question", "content_type": "text"}
PATIENT_SECONDS = 10.0
#: A cell that takes longer than this hangs, whatever the machine is doing.
DEADLINE_SECONDS = 20.0

#: Small, because it is read again for every token; what it protects is of no worth.
KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


class Site:
    """A served Coze, the clock it shares with whoever waits, and what was asked of it."""

    def __init__(self, emulator: Emulator, server: Server) -> None:
        self.emulator = emulator
        self.server = server
        self.slept: list[float] = []
        self.on_sleep: Callable[[], object] = lambda: None
        self.patience = PATIENT_SECONDS
        self.seen: list[Request] = []
        self.warm = False
        self._handle = emulator.handle
        emulator.handle = self._recorded  # type: ignore[method-assign]

    def _recorded(self, request: Request) -> Reply:
        self.seen.append(request)
        return self._handle(request)

    def fresh(self) -> None:
        self.emulator.world = default_world()
        self.emulator.world.rate_limits = False
        self.emulator.world.oauth_apps.append(OAuthApp(client_id="1180", public_keys={"finger": PUBLIC}))
        self.emulator.reset()
        self.slept.clear()
        self.seen.clear()
        self.on_sleep = lambda: None
        self.patience = PATIENT_SECONDS

    def prepared(self, request: Request) -> Any:
        """Carry a request out that is none of a test's: it brings about what the test then reads."""
        signed = changed(request, headers={**request.headers, "Authorization": f"Bearer {TOKEN}"})
        return json.loads(self.emulator.respond(signed).body)

    def asked(self, on: str) -> int:
        """How often an operation was asked for; ``*`` stands for any ending."""
        return sum(f"{request.method} {request.path}".startswith(on.rstrip("*")) for request in self.seen)

    def secrets(self) -> set[str]:
        """All that must be in no error: what has come in as credentials, the key, and what was asked."""
        headers = (value for request in self.seen for name, value in request.headers.items())
        sent = {value.removeprefix("Bearer ") for value in headers if value.startswith("Bearer ")}
        return sent | {TOKEN, str(QUESTION["content"]), *PEM.splitlines()[1:-1], *self.emulator.store.issued}

    # --- time, for the hook

    def now(self) -> float:
        return self.emulator.now()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.patience = PATIENT_SECONDS
        self.on_sleep()
        self.emulator.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Operation:
    """One request of the provider, what it must return, and how many executions or copies it has made so far."""

    name: str
    on: str
    prepare: Callable[[Site], Call[Any]]
    right: Callable[[Site, Any], bool]
    made: Callable[[Site], int] = lambda site: 0
    creates: bool = False  # billed, or leaving a copy behind: not to be sent twice
    conn_id: str = "coze_default"


def _chat(site: Site) -> Call[Any]:
    return chat.create_chat(bot_id=ECHO, user_id="u", additional_messages=[QUESTION])


def _retrieve(site: Site) -> Call[Any]:
    started = site.prepared(_chat(site).request)["data"]
    return chat.retrieve_chat(conversation_id=started["conversation_id"], chat_id=started["id"])


def a_conversation_listed(site: Site) -> Call[Any]:
    site.prepared(Request("POST", "/v1/conversation/create", json={"bot_id": ECHO, "name": "mine"}))
    return conversation.list_conversations(bot_id=ECHO)


def messages_listed(site: Site) -> Call[Any]:
    started = site.prepared(_chat(site).request)["data"]
    site.prepared(
        Request("GET", "/v3/chat/retrieve", {"conversation_id": started["conversation_id"], "chat_id": started["id"]})
    )
    return conversation.conversation_messages(conversation_id=started["conversation_id"])


def a_run_started(site: Site) -> Call[Any]:
    return workflow.run_workflow(workflow_id=ECHO_FLOW, parameters={"a": 1}, is_async=True)


def _history(site: Site) -> Call[Any]:
    return workflow.run_history(
        workflow_id=ECHO_FLOW, execute_id=site.prepared(a_run_started(site).request)["execute_id"]
    )


def _billed(site: Site) -> int:
    return len(site.emulator.ledger)


OPERATIONS = [
    Operation(
        "chat create",
        "POST /v3/chat",
        _chat,
        lambda site, got: got.id == site.emulator.ledger[-1].id,
        made=_billed,
        creates=True,
    ),
    Operation("chat retrieve", "GET /v3/chat/retrieve", _retrieve, lambda site, got: got.status == "completed"),
    Operation(
        "conversation list",
        "GET /v1/conversations",
        a_conversation_listed,
        lambda site, got: [conversation.name for conversation in got.conversations] == ["mine"],
    ),
    Operation(
        "message list",
        "POST /v1/conversation/message/list",
        messages_listed,
        lambda site, got: [message.type for message in got.messages] == ["answer", "question"],
    ),
    Operation(
        "workflow run",
        "POST /v1/workflow/run",
        a_run_started,
        lambda site, got: got.execute_id == site.emulator.ledger[-1].id,
        made=_billed,
        creates=True,
    ),
    Operation(
        "run history",
        "GET /v1/workflows/*",
        _history,
        lambda site, got: (got.execute_status, outputs.history_output(got.output)) == ("Success", {"output": {"a": 1}}),
    ),
    Operation(
        "file upload",
        "POST /v1/files/upload",
        lambda site: file.upload_file(filename="a.csv", content=b"a,b\n1,2\n"),
        lambda site, got: (got.bytes, got.id) == (8, list(site.emulator.store.files)[-1]),
        made=lambda site: len(site.emulator.store.files),
        creates=True,
    ),
    Operation(
        "OAuth token",
        "POST /api/permission/oauth2/token",
        lambda site: account.list_workspaces(),
        lambda site, got: got.total_count == 1,
        conn_id="coze_oauth",
    ),
]

Perform = Callable[[CozeHook, Flow[Any]], Any]


def over_requests(hook: CozeHook, flow: Flow[Any]) -> Any:
    return hook.perform(flow)


def over_aiohttp(hook: CozeHook, flow: Flow[Any]) -> Any:
    async def performed() -> Any:
        try:
            return await hook.aperform(flow)
        finally:
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()} - pools._CLOSING
            if left:  # what has been cancelled ends by itself
                _, left = await asyncio.wait(left, timeout=1)
            assert not left, f"tasks are left: {left}"

    return asyncio.run(performed())


@dataclass
class Outcome:
    """How one cell went."""

    value: Any
    error: Exception | None
    requests: int  # that reached Coze
    made: int  # executions or copies
    slept: list[float]


class Matrix:
    """One cell after the other, each on a Coze that has forgotten the one before."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch, ears: Ears) -> None:
        self.site = site
        self._ears = ears
        site.fresh()
        oauth = {"auth_type": "oauth_jwt", "client_id": "1180", "public_key_id": "finger", "private_key": PEM}
        base = {"conn_type": "coze", "host": site.server.base_url}
        # A retry that comes before the budget of uploads allows it would wait once more, by chance.
        unhurried = {"upload_qps": 1_000}
        monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", json.dumps({**base, "password": TOKEN, "extra": unhurried}))
        monkeypatch.setenv("AIRFLOW_CONN_COZE_OAUTH", json.dumps({**base, "extra": oauth}))
        monkeypatch.setattr(gate, "_LINES", {})
        monkeypatch.setattr(hooks, "_TOKENS", TokenCaches())
        # Airflow's mask is not there to rely on, and gets slower with every secret that it has seen.
        monkeypatch.setattr(hooks, "mask_secret", lambda secret: None)
        self._monkeypatch = monkeypatch
        if not site.warm:
            # Airflow reads connections in a thread of its own, which it keeps for the process.
            asyncio.run(CozeHook().asettings())
            site.warm = True

    def perform(self, way: Perform, operation: Operation, order: Callable[[Site], object]) -> Outcome:
        """Bring about what the operation needs, order the fault, perform, and look that nothing is left behind."""
        site = self.site
        gate._LINES.clear()  # what is too fast slows down those that follow
        call = operation.prepare(site)
        made_before, threads = operation.made(site), set(threading.enumerate())
        order(site)
        # The token call has a patience of its own, which no layer around the flow can reach.
        self._monkeypatch.setattr(auth, "_READ_SECONDS", site.patience)
        site_sleeps = site.on_sleep
        site.on_sleep = lambda: (self._monkeypatch.setattr(auth, "_READ_SECONDS", PATIENT_SECONDS), site_sleeps())

        hook = self.hook(operation.conn_id)
        flow = through(flows.call(call, hook.retry), self._impatient)
        value = error = None
        begun = time.monotonic()
        try:
            value = way(hook, flow)
        except Exception as caught:
            error = caught
        assert time.monotonic() - begun < DEADLINE_SECONDS
        self._nothing_is_left(threads)
        told = [*self._ears.heard, repr(hook), repr(hook.settings), *(told_by(error) if error is not None else [])]
        assert [text for text in told if any(secret in text for secret in site.secrets())] == []
        return Outcome(value, error, site.asked(operation.on), operation.made(site) - made_before, list(site.slept))

    def hook(self, conn_id: str = "coze_default") -> CozeHook:
        """Return a hook that shares the site's time."""
        hook = CozeHook(conn_id)
        hook.clock, hook.sleep, hook.asleep = self.site.now, self.site.sleep, self.site.asleep
        return hook

    def _impatient(self, effect: Send) -> Flow[Response]:
        response: Response = yield Send(changed(effect.request, read_seconds=self.site.patience))
        return response

    def _nothing_is_left(self, threads: set[threading.Thread]) -> None:
        until = time.monotonic() + 5
        while self.site.emulator.connections_open:
            assert time.monotonic() < until, "connections are left open"
            time.sleep(0.001)
        left = set(threading.enumerate()) - threads
        assert not left, f"threads are left: {left}"


@pytest.fixture(scope="module")
def matrix_site() -> Iterator[Site]:
    """Serve a Coze to all cells of a module. Its clock is the machine's, plus what was slept."""
    with warnings.catch_warnings():
        # What tests of other modules have left is told when it is collected: now, and not in the first cell.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    emulator = Emulator(token=TOKEN)
    with serve(emulator) as server:
        yield Site(emulator, server)
        gc.unfreeze()


@pytest.fixture
def matrix(matrix_site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Matrix]:
    with Ears() as ears:
        yield Matrix(matrix_site, monkeypatch, ears)
    gc.collect()  # what is not closed is told when it is collected, and a warning is an error here
    gc.freeze()  # Airflow's million objects need not be looked at after every cell
