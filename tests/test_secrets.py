"""A known token and a known key, put through every path a task can take, are in nothing that is written down, shown or handed on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import BROKE_BOT, BROKEN, CHATFLOW, ECHO_BOT
from airflow_provider_coze.emulator.definitions import OAuthApp
from airflow_provider_coze.emulator.wire import Reply, answer
from airflow_provider_coze.hooks import coze as hooks
from airflow_provider_coze.hooks import gate
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.auth import TokenCaches
from airflow_provider_coze.protocol.endpoints import account
from airflow_provider_coze.protocol.messages import Request
from tests import needs, tasks, tries
from tests.ears import Ears, told_by
from tests.tasks import LOGGER, TOKEN, Coze, fire
from tests.transports.matrix import PEM, PUBLIC
from tests.tries import CHAT, OF_A_CHAT, OF_A_RUN, RUN, Deaths, Killed, Task

coze_site, coze, airflow = tasks.coze_site, tasks.coze, tasks.airflow
deaths = tries.deaths

pytestmark = [pytest.mark.matrix, pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")]

CHATFLOW_POST, TOKEN_POST = "POST /v1/workflows/chat", "POST /api/permission/oauth2/token"
PROXY_PASSWORD = "pr0xy-p4ssword-of-nobody"
LOGINS = ("token", "oauth_jwt")


class Watched(Task):
    """One task instance, and, under the name of each place, the texts that its tries have left there."""

    def __init__(self, coze: Coze, kind: str, login: str, *, defers: bool, place: str, folder: Path) -> None:
        super().__init__(coze, kind, place, defers)
        self.login, self.folder = login, folder
        self.left: dict[str, list[str]] = defaultdict(list)
        self.ears = Ears()

    def operator(self, **arguments: Any) -> Any:
        if self.kind != "chatflow":
            return super().operator(**arguments)
        given = {"task_id": "ask", "workflow_id": CHATFLOW, "bot_id": ECHO_BOT, "message": "hello", **arguments}
        return self.coze.prepared(CozeChatflowOperator(**given))

    @property
    def post(self) -> str:
        return {"chat": CHAT, "run": RUN, "chatflow": CHATFLOW_POST}[self.kind]

    def attempt(self, **arguments: Any) -> Any:
        """Run one try as Airflow does: its templates are rendered and kept, its trigger and its event are stored."""
        context = self.begin(**arguments)
        method, event = "execute", None
        try:
            self._keep_rendered(context)
            while True:
                try:
                    value = getattr(self.worker, method)(context, **({"event": event} if event else {}))
                    self.left["XComs"].append(json.dumps(value))
                    return value
                except TaskDeferred as deferral:
                    row = deferral.trigger.serialize()
                    self.left["trigger rows"] += [json.dumps(row), repr(deferral.trigger), repr(vars(deferral.trigger))]
                    self.left["trigger rows"] += [repr(deferral), repr(deferral.kwargs), repr(deferral.args)]
                    method, event = deferral.method_name, fire(self.coze, deferral.trigger)
                    self.left["events"].append(json.dumps(event))
                    self.worker = self.operator(**arguments)
        except (Exception, Killed) as error:
            self.left["exceptions"] += told_by(error)
            raise
        finally:
            self._keep_reprs()
            self.left["XComs"].append(json.dumps(self.ti.xcoms))

    def _keep_rendered(self, context: dict[str, Any]) -> None:
        worker = self.worker
        worker.render_template_fields({**context, "task": worker})
        fields = {name: getattr(worker, name) for name in worker.template_fields}
        self.left["rendered templates"].append(json.dumps(fields, default=repr))
        with contextlib.suppress(ImportError):  # as Airflow 3 stores them
            from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

            self.left["rendered templates"].append(json.dumps(_serialize_rendered_fields(worker)))

    def _keep_reprs(self) -> None:
        hook = self.worker.hook
        self.left["reprs"] += [repr(self.worker), repr(vars(self.worker)), repr(hook), repr(vars(hook))]
        with contextlib.suppress(e.CozeConnectionConfigError):
            self.left["reprs"] += [repr(hook.settings), str(hook.settings), repr(hook.settings.auth)]
        self.left["reprs"] += [repr(hooks._TOKENS), repr(vars(hooks._TOKENS)), repr(gate._LINES)]

    def places(self) -> dict[str, list[str]]:
        """Return all that was left, with what is kept outside of the tries."""
        emulator, found = self.coze.emulator, dict(self.left)
        found["state records"] = list(self.state.values.values()) if self.state is not None else []
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        found["state files"] = [f"{path.name} {path.read_text(encoding='utf-8')}" for path in files]
        emulator.clear_faults()  # they hold what a test has ordered, word for word
        transcript = [json.dumps(entry.as_json()) for entry in emulator.ledger]
        transcript += [repr(emulator), repr(emulator.ledger), repr(emulator.world)]
        transcript += [repr(request) for _, request, _ in self.coze.seen]
        transcript += [repr(emulator.store.chats), repr(emulator.store.runs), repr(emulator.store.conversations)]
        for what in ("ledger", "stats", "world", "faults"):
            reply = emulator.handle(Request("GET", f"/_emulator/{what}"))
            assert reply.status == 200
            transcript.append(reply.body.decode())
        found["emulator"] = transcript
        found["logs"] = self.ears.heard
        return found

    def fragments(self) -> set[str]:
        """Return what gives a secret away: the ends of all tokens that there were, of the JWTs, and every line of the key."""
        sent = {credentials(request) for _, request, _ in self.coze.seen} - {""}
        tokens = {TOKEN, *self.coze.emulator.store.issued, *(text for text in sent if text.count(".") != 2)}
        signatures = {text.rpartition(".")[2] for text in sent if text.count(".") == 2}
        assert len(tokens) > 1 or self.login == "token", "the key was used"
        whole = {*tokens, *signatures}
        return {
            PROXY_PASSWORD,
            *PEM.splitlines()[1:-1],
            *(text[:20] for text in whole),
            *(text[-20:] for text in whole),
        }

    def gives_away(self) -> list[str]:
        """Return the places where a secret is."""
        fragments = self.fragments()
        return [
            place for place, texts in self.places().items() if any(part in text for text in texts for part in fragments)
        ]


Watch = Callable[..., Watched]


@pytest.fixture
def watch(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Watch]:
    """Give a maker of tasks that are watched, and look at the end that something was to be seen."""
    # Airflow's mask is a second net; here the first one has to hold. It also gets slower with every secret that it has seen.
    monkeypatch.setattr(hooks, "mask_secret", lambda secret: None)
    masker = "airflow.sdk.log" if needs.TASK_SDK.has() else "airflow.utils.log.secrets_masker"
    monkeypatch.setattr(f"{masker}.mask_secret", lambda *_, **__: None)
    monkeypatch.setattr(hooks, "_TOKENS", TokenCaches())
    coze.world.oauth_apps.append(OAuthApp(client_id="1180", public_keys={"finger": PUBLIC}))
    made: list[Watched] = []

    def watching(
        kind: str, login: str, *, defers: bool = False, place: str = "task_state_store", **extra: Any
    ) -> Watched:
        connect(coze, monkeypatch, login, **extra)
        if place == "state_path":
            monkeypatch.setenv("AIRFLOW__COZE__STATE_PATH", f"file://{tmp_path}/state")
        made.append(Watched(coze, kind, login, defers=defers, place=place, folder=tmp_path))
        made[0].ears = ears
        return made[-1]

    with Ears() as ears:
        yield watching
    printed = "".join(capfd.readouterr())
    assert [part for task in made for part in task.fragments() if part in printed] == []


def connect(coze: Coze, monkeypatch: pytest.MonkeyPatch, login: str, **extra: Any) -> None:
    oauth = {"auth_type": "oauth_jwt", "client_id": "1180", "public_key_id": "finger", "private_key": PEM}
    given = {"password": TOKEN} if login == "token" else {"password": None, **oauth}
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(**{**given, **extra}))


@contextlib.contextmanager
def echoing(coze: Coze, on: str, *, status: int = 401) -> Iterator[None]:
    """Have a server, or a proxy in front of it, repeat what it was sent as the credentials."""
    handle = coze._handle

    def repeating(request: Request) -> Reply:
        if f"{request.method} {request.path}" != on:
            return handle(request)
        sent = credentials(request)
        words = f"Bearer {sent} is not good here ({sent})"
        said = {"error_code": "invalid_request", "error_message": words, "access_token": sent}
        return answer(said if on == TOKEN_POST else {"code": 4100, "msg": words, "data": {"you": sent}}, status=status)

    coze._handle = repeating  # type: ignore[method-assign]
    try:
        yield
    finally:
        coze._handle = handle  # type: ignore[method-assign]


def credentials(request: Request) -> str:
    """Return what a request was signed with; "" for one that was not."""
    found = (value for name, value in request.headers.items() if name.lower() == "authorization")
    return next(found, "").removeprefix("Bearer ")


# --- what happens to a task


def succeeds(task: Watched, deaths: Deaths) -> None:
    assert task.attempt()


def fails(task: Watched, deaths: Deaths) -> None:
    broken = {"chat": {"bot_id": BROKE_BOT}, "run": {"workflow_id": BROKEN, "parameters": {}}}
    with pytest.raises((e.CozeChatFailedError, e.CozeRunFailedError)):
        task.attempt(**broken[task.kind])


def is_refused(task: Watched, deaths: Deaths) -> None:
    task.coze.script(scenarios.error(4100, status=401), on=task.post, times=None)
    with pytest.raises(e.CozeAuthError):
        task.attempt()


def is_refused_in_its_own_words(task: Watched, deaths: Deaths) -> None:
    for status in (401, 200, 500):
        with echoing(task.coze, task.post, status=status), pytest.raises(e.CozeError):
            task.attempt(reuse="never", timeout=5)


def loses_its_reply(task: Watched, deaths: Deaths) -> None:
    task.coze.script(scenarios.reset(after_commit=True), on=task.post)
    with contextlib.suppress(e.CozeOutcomeUnknownError):
        task.attempt()
    assert task.attempt(on_unknown="resend")


def is_killed(task: Watched, deaths: Deaths) -> None:
    points = {"chat": OF_A_CHAT, "run": OF_A_RUN}[task.kind]
    for point in ("before the intent", "ids saved", *(["deferring", "resumed"] if task.defers else []), "delivered"):
        points[point](deaths)
        task.killed()
    assert task.attempt() == task.right


def is_ended_by_a_person(task: Watched, deaths: Deaths) -> None:
    if task.kind == "chat":
        task.coze.script(scenarios.error(4100, status=401), on="POST /v3/chat/cancel", times=None)
    task.coze.time.after(3, lambda: task.worker.on_kill())
    with contextlib.suppress(e.CozeError):
        task.attempt(deferral_grace=5)


def is_out_of_time(task: Watched, deaths: Deaths) -> None:
    with pytest.raises((e.CozeChatTimeoutError, e.CozeRunTimeoutError)):
        task.attempt(timeout=5)


def is_watched_in_vain(task: Watched, deaths: Deaths) -> None:
    task.coze.script(scenarios.error(4100, status=401), on="GET /v*", times=None)
    with pytest.raises(e.CozeAuthError):
        task.attempt()


def cannot_be_sent(task: Watched, deaths: Deaths) -> None:
    task.coze.script(scenarios.refused())
    try:
        with pytest.raises(e.CozeTransportError):
            task.attempt()
    finally:
        task.coze.emulator.clear_faults()
    assert task.attempt()


def has_a_broken_store(task: Watched, deaths: Deaths) -> None:
    assert task.attempt()
    for broken in ("get", "set") if task.state is not None else ():
        task.state.broken = {broken}
        with pytest.raises(e.CozeStateError):
            task.attempt(message=broken) if task.kind == "chat" else task.attempt(
                parameters={"value": broken, "seconds": 1}
            )


PATHS = [
    succeeds,
    fails,
    is_refused,
    is_refused_in_its_own_words,
    loses_its_reply,
    is_killed,
    is_ended_by_a_person,
    is_out_of_time,
    is_watched_in_vain,
    cannot_be_sent,
    has_a_broken_store,
]
#: In every run of the suite: each path once, and every login, kind, way of waiting and place of a record.
UNIT = {
    ("chat", "oauth_jwt", "deferred", "task_state_store", succeeds),
    ("run", "token", "deferred", "state_path", succeeds),
    ("chat", "token", "plain", "coze", fails),
    ("run", "oauth_jwt", "plain", "task_state_store", is_refused),
    ("chat", "token", "plain", "task_state_store", is_refused_in_its_own_words),
    ("run", "oauth_jwt", "deferred", "task_state_store", is_refused_in_its_own_words),
    ("chat", "oauth_jwt", "deferred", "coze", loses_its_reply),
    ("run", "token", "plain", "task_state_store", loses_its_reply),
    ("chat", "token", "deferred", "state_path", is_killed),
    ("run", "oauth_jwt", "plain", "state_path", is_killed),
    ("chat", "oauth_jwt", "plain", "task_state_store", is_ended_by_a_person),
    ("run", "token", "deferred", "task_state_store", is_out_of_time),
    ("chat", "oauth_jwt", "deferred", "task_state_store", is_watched_in_vain),
    ("run", "oauth_jwt", "plain", "task_state_store", cannot_be_sent),
    ("chat", "token", "plain", "task_state_store", has_a_broken_store),
}


def cells() -> Iterator[Any]:
    for kind, places in (("chat", tries.PLACES), ("run", tries.PLACES[:2])):
        for login in LOGINS:
            for mode in ("plain", "deferred"):
                for place in places:
                    for path in PATHS:
                        cell = (kind, login, mode, place, path)
                        marks = () if cell in UNIT else pytest.mark.matrix
                        yield pytest.param(*cell, id=f"{'-'.join(cell[:4])}-{path.__name__}", marks=marks)


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize(("kind", "login", "mode", "place", "path"), list(cells()))
def test_no_path_of_a_task_gives_a_secret_away(
    watch: Watch,
    deaths: Deaths,
    kind: str,
    login: str,
    mode: str,
    place: str,
    path: Callable[[Watched, Deaths], None],
) -> None:
    task = watch(kind, login, defers=mode == "deferred", place=place)
    path(task, deaths)
    assert task.gives_away() == []
    assert all(task.places()[seen] for seen in ("reprs", "rendered templates", "XComs", "emulator", "logs"))
    if mode == "deferred" and path in (succeeds, is_out_of_time):
        assert all(task.places()[seen] for seen in ("trigger rows", "events"))


@pytest.mark.parametrize("login", ["oauth_jwt", pytest.param("token", marks=pytest.mark.matrix)])
def test_no_chatflow_gives_a_secret_away(watch: Watch, login: str) -> None:
    task = watch("chatflow", login)
    task.attempt()
    task.coze.script(scenarios.stream_cut(after_events=0), on=CHATFLOW_POST)
    with pytest.raises(e.CozeOutcomeUnknownError):
        task.attempt(message="more")
    assert task.gives_away() == []


@pytest.mark.parametrize("login", LOGINS)
def test_a_chatflow_that_is_refused_with_its_own_token_does_not_quote_it(watch: Watch, login: str) -> None:
    task = watch("chatflow", login)
    with echoing(task.coze, CHATFLOW_POST), pytest.raises(e.CozeError):
        task.attempt()
    assert task.gives_away() == []


@pytest.mark.parametrize(
    ("login", "stream"),
    [
        ("token", {"stream": True}),
        ("oauth_jwt", {"execution_mode": "stream"}),
        pytest.param("oauth_jwt", {"stream": True}, marks=pytest.mark.matrix),
        pytest.param("token", {"execution_mode": "stream"}, marks=pytest.mark.matrix),
    ],
    ids=str,
)
def test_no_stream_gives_a_secret_away(watch: Watch, login: str, stream: dict[str, Any]) -> None:
    task = watch("chat" if "stream" in stream else "run", login)
    assert task.attempt(**stream) == task.right
    on = CHAT if task.kind == "chat" else "POST /v1/workflow/stream_run"
    task.coze.script(scenarios.half_body(how="reset"), on=on)
    with contextlib.suppress(e.CozeError):
        task.attempt(**stream, reuse="never")
    assert task.gives_away() == []


# --- the credentials themselves are wrong


@pytest.mark.parametrize("defers", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["plain", "deferred"])
@pytest.mark.parametrize("status", [400, *(pytest.param(code, marks=pytest.mark.matrix) for code in (401, 500))])
def test_a_token_endpoint_that_repeats_the_jwt_is_not_quoted(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, status: int, defers: bool
) -> None:
    task = watch("chat", "oauth_jwt", defers=defers)
    task.attempt()  # a token there was
    monkeypatch.setattr(hooks, "_TOKENS", TokenCaches())
    with echoing(task.coze, TOKEN_POST, status=status), pytest.raises(e.CozeError):
        task.attempt(reuse="never")
    assert task.gives_away() == []


WRONG: list[dict[str, Any]] = [
    {"private_key": PEM.replace("-----END PRIVATE KEY-----", "")},
    {"private_key": PEM, "client_id": PEM},
    {"password": f"{TOKEN} and more", "auth_type": "token"},
    {"private_key": PEM.replace("PRIVATE", "PUBLIC")},
    {"private_key": PEM.replace("\n", " ") + "x"},
    {"private_key": [PEM]},
    {"private_key": PEM, "proxy": f"ftp://me:{PROXY_PASSWORD}@proxy.test"},
    {"password": f"Bearer {TOKEN}\n", "auth_type": "token"},
    {"password": TOKEN, "auth_type": TOKEN},
    {"token": TOKEN, "auth_type": "token"},
]


@pytest.mark.parametrize(
    "wrong",
    [*WRONG[:3], *(pytest.param(wrong, marks=pytest.mark.matrix) for wrong in WRONG[3:])],
    ids=lambda wrong: "-".join(wrong),
)
def test_a_connection_that_is_wrong_is_described_without_its_secrets(
    watch: Watch, coze: Coze, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    task = watch("chat", "oauth_jwt")
    task.attempt()
    connect(coze, monkeypatch, "oauth_jwt", **wrong)
    with contextlib.suppress(e.CozeError):  # some of them work
        task.attempt(reuse="never")
    task.left["test button"].append(str(coze.hook().test_connection()))
    assert task.gives_away() == []


@pytest.mark.parametrize("login", LOGINS)
def test_the_test_button_gives_nothing_away(watch: Watch, login: str) -> None:
    task = watch("chat", login)
    task.left["test button"].append(str(task.coze.hook().test_connection()))
    task.coze.script(scenarios.error(4100, status=401), on="GET /v1/workspaces", times=None)
    task.left["test button"].append(str(task.coze.hook().test_connection()))
    assert task.gives_away() == []


@pytest.mark.parametrize("status", [401, 500])
@pytest.mark.parametrize("login", LOGINS)
def test_the_test_button_does_not_quote_a_token_that_a_server_repeats(watch: Watch, login: str, status: int) -> None:
    task = watch("chat", login)
    with echoing(task.coze, "GET /v1/workspaces", status=status):
        task.left["test button"].append(str(task.coze.hook().test_connection()))
    assert task.gives_away() == []


@pytest.mark.parametrize("login", ["token", pytest.param("oauth_jwt", marks=pytest.mark.matrix)])
def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(watch: Watch, login: str) -> None:
    task = watch(login=login, kind="chat")
    task.attempt()
    task = watch(login=login, kind="chat", proxy=f"http://me:{PROXY_PASSWORD}@127.0.0.1:1")
    hook = task.coze.hook()
    looked = flows.call(account.list_workspaces(), hook.retry)
    with pytest.raises(e.CozeTransportError) as on_worker:
        task.attempt()
    with pytest.raises(e.CozeTransportError) as on_loop:
        asyncio.run(hook.aperform(looked))
    for caught in (on_worker, on_loop):
        task.left["exceptions"] += told_by(caught.value)
    task.left["reprs"] += [repr(hook.settings), repr(hook)]
    assert task.gives_away() == []


# --- it would be seen


def _log(task: Watched) -> None:
    logging.getLogger(LOGGER).debug("token %s", TOKEN)


#: A logger of Airflow 3's, made here: Airflow 2 has none of this name, and later than the ears nobody would hear it.
APART = logging.getLogger("uvicorn.access")


def _log_apart(task: Watched) -> None:
    APART.debug("key", extra={"key": PEM}, exc_info=ValueError(PEM))


def _raise(task: Watched) -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError:
        task.left["exceptions"] += told_by(e.CozeInputError("no").with_traceback(None))
        try:
            raise e.CozeInputError("no") from None
        except e.CozeInputError as error:
            task.left["exceptions"] += told_by(error)


def _keep(task: Watched) -> None:
    assert task.state is not None
    task.state.set("coze_usage", {"auth": f"Bearer {TOKEN}"})


def _file(task: Watched) -> None:
    (task.folder / "x.json").write_text(PEM, encoding="utf-8")


def _push(task: Watched) -> None:
    task.left["XComs"].append(json.dumps({"issued": next(iter(task.coze.emulator.store.issued), TOKEN)}))


@pytest.mark.parametrize(
    ("leak", "place"),
    [
        (_log, "logs"),
        (_log_apart, "logs"),
        (_raise, "exceptions"),
        (_keep, "state records"),
        (_file, "state files"),
        (_push, "XComs"),
    ],
)
def test_a_leak_would_be_seen(watch: Watch, leak: Callable[[Watched], None], place: str) -> None:
    APART.propagate = False
    task = watch("chat", "oauth_jwt")
    task.attempt()
    leak(task)
    assert task.gives_away() == [place]
