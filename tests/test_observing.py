"""Metrics and spans: what is told about the work, and that telling it changes nothing, costs nothing, and never fails."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_coze import compat
from airflow_provider_coze import errors as e
from airflow_provider_coze.batch.stats import Stats as BatchStats
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER_BOT
from airflow_provider_coze.hooks.gate import Held, lines_of
from airflow_provider_coze.observing import batch_metrics, metrics, spans
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.auth import FixedToken, TokenCache, signed
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.endpoints import account, catalogue, chat, conversation, file, workflow
from airflow_provider_coze.protocol.messages import Call, Flow, Request, Response, Send, Sleep
from airflow_provider_coze.protocol.models import Usage
from airflow_provider_coze.protocol.observed import OPERATIONS, OTHER, OUTCOMES, operation_of, outcome_of, watched
from airflow_provider_coze.protocol.pacing import CHAT_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import adrive
from airflow_provider_coze.transports.sync import drive
from tests.driving import NOON, MemoryTransport, VirtualTime, answer
from tests.tasks import TaskInstance

ONCE = RetryPolicy(attempts=1)


# --- names


def _endpoints() -> Iterator[tuple[str, Call[Any]]]:
    given = {"str": "1", "bool": True, "bytes": b"", "int": 1}
    for module in (account, catalogue, chat, conversation, file, workflow):
        for name in module.__all__:
            function = getattr(module, name)
            if not inspect.isfunction(function) or "Call" not in str(inspect.signature(function).return_annotation):
                continue
            needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
            yield name, function(**{p.name: given.get(str(p.annotation), {}) for p in needed})


@pytest.mark.parametrize(
    ("name", "call"), list(_endpoints()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_operation_of_the_client_has_a_name_without_an_id(name: str, call: Call[Any]) -> None:
    assert operation_of(call.request) != OTHER
    assert operation_of(call.request) in OPERATIONS


def test_an_operation_is_called_like_the_method_of_the_hook() -> None:
    calls = dict(_endpoints())
    for name in ("create_chat", "run_history", "node_output", "upload_file", "rename_conversation", "benefits"):
        assert operation_of(calls[name].request) == name


def test_a_path_that_nobody_knows_has_no_name_of_its_own() -> None:
    assert operation_of(Request("GET", "/v1/datasets/7511000000000000001/images")) == OTHER
    assert operation_of(Request("DELETE", "/v3/chat")) == OTHER


def test_a_chat_that_streams_is_told_apart_by_more_than_its_path() -> None:
    assert operation_of(Request("POST", "/v3/chat", stream=True)) == "stream_chat"


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (answer({"code": 0, "data": {}}), "ok"),
        (answer({"code": 0, "data": "x" * 20_000}), "ok"),
        (answer({"code": 4013, "msg": "slow down"}), "rate_limited"),
        (answer({"code": 4016, "msg": "busy"}), "busy"),
        (answer({"code": 4100, "msg": "no"}), "bad_token"),
        (answer("<html>", status=502), "unavailable"),
        (answer("x" * 20_000, status=429), "rate_limited"),
        (answer("<html>"), "unreadable"),
        (answer({"code": 99_999_999, "msg": "?"}), "refused"),
        (Response(200, {}, b"", stream=SimpleNamespace()), "ok"),  # type: ignore[arg-type]
        (e.CozeTransportError("reset", never_sent=False), "no_answer"),
        (e.CozeTransportError("refused", never_sent=True), "unsent"),
        (ValueError("not ours"), "failed"),
    ],
)
def test_a_request_ends_in_one_word(ended: Response | BaseException, outcome: str) -> None:
    assert outcome_of(ended) == outcome
    assert outcome in OUTCOMES


# --- the page about them

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")


def _part(title: str) -> str:
    return re.split(r"^##+ ", PAGE.split(f"# {title}\n", 1)[1], flags=re.MULTILINE)[0]


def test_the_page_names_every_operation_and_no_other() -> None:
    named = set(re.findall(r"`([a-z_]+)`", _part("Operations")))
    assert named == OPERATIONS


def test_the_page_names_every_outcome_with_its_error() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*?(?:`(\w+)`|none|else)", _part("Outcomes"), re.MULTILINE)
    assert {outcome for outcome, _ in rows} == OUTCOMES
    for outcome, error in rows:
        if error and outcome != "unsent":
            assert outcome_of(getattr(e, error)("x")) == outcome


def test_the_page_names_every_attribute_of_a_span() -> None:
    source = inspect.getsource(spans)
    written = set(re.findall(r'"((?:gen_ai|coze|airflow|error)\.[a-z_.]+)"', source))
    assert written == set(re.findall(r"`((?:gen_ai|coze|airflow|error)\.[a-z_.]+)`", _part("Spans")))


# --- what a meter is told


class Told:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.retries: list[str] = []
        self.waits: list[tuple[str, float]] = []
        self.seconds: list[float] = []

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        self.calls.append((operation, outcome))
        self.seconds.append(seconds)

    def retried(self, operation: str) -> None:
        self.retries.append(operation)

    def waited(self, why: str, seconds: float) -> None:
        self.waits.append((why, seconds))


@pytest.fixture
def told() -> Told:
    return Told()


def _as_it_is(flow: Flow[Any]) -> Flow[Any]:
    return flow


def _question(bot_id: str = ECHO_BOT) -> Call[Any]:
    question = {"role": "user", "content": "hello", "content_type": "text"}
    return chat.create_chat(bot_id=bot_id, user_id="u", additional_messages=[question])


def test_a_flow_under_watch_asks_the_same_and_ends_the_same(told: Told) -> None:
    call = account.current_user()
    flow = watched(flows.call(call, RetryPolicy()), _as_it_is, told, lambda: 0.0)
    assert next(flow) == Send(call.request)
    sleep = flow.send(answer({"code": 4013, "msg": "x"}, retry_after="7"))
    assert sleep == Sleep(7.0)
    assert next(flow) == Send(call.request)
    with pytest.raises(StopIteration) as done:
        flow.send(answer({"code": 0, "data": {"user_id": "7"}}))
    assert done.value.value.user_id == "7"
    assert told.calls == [("current_user", "rate_limited"), ("current_user", "ok")]
    assert told.retries == ["current_user"]
    assert told.waits == [("retry", 7.0)]


def test_a_flow_under_watch_fails_the_same(told: Told) -> None:
    flow = watched(flows.call(_question(), RetryPolicy()), _as_it_is, told, lambda: 0.0)
    next(flow)
    lost = e.CozeTransportError("reset", never_sent=False)
    with pytest.raises(e.CozeTransportError) as raised:
        flow.throw(lost)
    assert raised.value is lost
    assert told.calls == [("create_chat", "no_answer")]
    assert told.waits == told.retries == []


def test_a_flow_that_is_given_up_is_closed_to_its_core(told: Told) -> None:
    closed: list[str] = []

    def core() -> Flow[None]:
        try:
            yield Send(Request("GET", "/v1/users/me"))
        finally:
            closed.append("core")

    flow = watched(core(), _as_it_is, told, lambda: 0.0)
    next(flow)
    flow.close()
    assert closed == ["core"]
    assert told.calls == []


def test_looks_and_the_waits_between_them_are_polls(emulator: Emulator, virtual_time: VirtualTime, told: Told) -> None:
    def ask() -> Flow[Any]:
        begun = yield from flows.call(_question(SLEEPER_BOT), ONCE)
        watch = flows.Watch(CHAT_POLLS, virtual_time(), NOON + 4, virtual_time, chance=lambda: 0.0)
        return (yield from flows.watch_chat(begun, watch))

    def dressed(flow: Flow[Any]) -> Flow[Any]:
        return signed(flow, FixedToken(emulator.token), clock=virtual_time)

    drive(watched(ask(), dressed, told, virtual_time), MemoryTransport(emulator), virtual_time.sleep)  # type: ignore[arg-type]
    assert told.calls[0] == ("create_chat", "ok")
    assert set(told.calls[1:]) == {("retrieve_chat", "ok")}
    assert told.waits == [("poll", seconds) for seconds in virtual_time.slept]
    assert told.retries == []


def test_a_budget_is_waited_for_apart_and_is_not_in_the_latency(
    emulator: Emulator, virtual_time: VirtualTime, told: Told
) -> None:
    settings = Settings("memory://", TokenAuth(emulator.token), chat_qps=0.1)
    gate = Held(lines_of(settings, virtual_time).gate(virtual_time, virtual_time.sleep), virtual_time)

    def twice() -> Flow[None]:
        for _ in range(2):
            yield from flows.call(_question(), ONCE)

    def dressed(flow: Flow[Any]) -> Flow[Any]:
        return signed(flow, FixedToken(emulator.token), clock=virtual_time)

    flow = watched(twice(), dressed, told, virtual_time, lambda: gate.seconds)
    drive(flow, MemoryTransport(emulator), virtual_time.sleep, gate)  # type: ignore[arg-type]
    assert told.waits == [("pacing", pytest.approx(10 / 0.975, abs=0.02))]
    assert told.seconds == [pytest.approx(0.0, abs=1e-3)] * 2


def test_a_request_for_a_token_is_one_of_its_own(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_coze.protocol.auth._jwt", lambda *_: "signed")
    auth = SimpleNamespace(client_id="1", public_key_id="k", private_key="p", token_ttl=900, session_name=None)
    cache = TokenCache(auth, "https://api.coze.cn")

    def dressed(flow: Flow[Any]) -> Flow[Any]:
        return signed(flow, cache, clock=lambda: NOON)

    flow = watched(flows.call(account.current_user(), ONCE), dressed, told, lambda: 0.0)
    next(flow)
    flow.send(answer({"access_token": "t", "expires_in": NOON + 900}))
    with pytest.raises(StopIteration):
        flow.send(answer({"code": 0, "data": {"user_id": "7"}}))
    assert told.calls == [("mint_token", "ok"), ("current_user", "ok")]


def test_studio_has_the_names_of_the_cloud(told: Told) -> None:
    def dressed(flow: Flow[Any]) -> Flow[Any]:
        return spoken(flow, dialect_of("studio", "/v1/workflow/run"))

    flow = watched(flows.call(workflow.run_history(workflow_id="1", execute_id="2"), ONCE), dressed, told, lambda: 0.0)
    effect = next(flow)
    assert isinstance(effect, Send)
    assert effect.request.path == "/v1/workflow/get_run_history"
    with pytest.raises(e.CozeNotFoundError):
        flow.send(answer({"code": 4200, "msg": "no"}))
    assert told.calls == [("run_history", "not_found")]


def test_what_a_layer_refuses_was_no_call(told: Told) -> None:
    def dressed(flow: Flow[Any]) -> Flow[Any]:
        return spoken(flow, dialect_of("studio", "/v1/workflow/run"))

    call = chat.submit_tool_outputs(conversation_id="1", chat_id="2", tool_outputs=[])
    with pytest.raises(e.CozeInputError):
        next(watched(flows.call(call, ONCE), dressed, told, lambda: 0.0))
    assert told.calls == []


# --- Airflow's metrics


class Stats:
    """Airflow's metrics, as far as they are used."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float, Any]] = []
        self.threads: set[str] = set()

    def incr(self, name: str, count: int = 1, *, tags: Any = None) -> None:
        self._take(name, count, tags)

    def timing(self, name: str, ms: float, *, tags: Any = None) -> None:
        self._take(name, ms, tags)

    def gauge(self, name: str, value: float, *, tags: Any = None) -> None:
        self._take(name, value, tags)

    def _take(self, name: str, value: float, tags: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.sent.append((name, value, tags))

    def named(self, name: str) -> list[tuple[float, Any]]:
        return [(value, tags) for each, value, tags in self.sent if each == name]


Airflow = Callable[..., Stats]


@pytest.fixture
def airflow_metrics(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """Turn metrics on, with tags or without."""

    def turn_on(*, tagged: bool, stats: Any = None) -> Stats:
        found = stats or Stats()
        for module in (metrics, batch_metrics):
            monkeypatch.setattr(module, "metrics_tagged", lambda: tagged)
        monkeypatch.setattr(metrics, "metrics", lambda: found)
        return found

    return turn_on


def _performed(emulator: Emulator, flow: Flow[Any]) -> Any:
    return drive(
        metrics.observed(flow, _signed(emulator), lambda: 0.0), MemoryTransport(emulator), lambda seconds: None
    )  # type: ignore[arg-type]


def _signed(emulator: Emulator) -> Callable[[Flow[Any]], Flow[Any]]:
    return lambda flow: signed(flow, FixedToken(emulator.token), clock=time.time)


def test_without_tags_operation_and_outcome_are_in_the_name(emulator: Emulator, airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=False)
    emulator.script(scenarios.rate_limited(), on="POST /v3/chat")
    _performed(emulator, flows.call(_question(), RetryPolicy()))
    names = [name for name, _, _ in stats.sent]
    assert names == [
        "coze.calls.create_chat.rate_limited",
        "coze.latency.create_chat",
        "coze.rate_limited.create_chat",
        "coze.retries.create_chat",
        "coze.wait.retry",
        "coze.calls.create_chat.ok",
        "coze.latency.create_chat",
    ]
    assert {tags for _, _, tags in stats.sent} == {None}
    assert all(re.fullmatch(r"[a-z0-9_.]{1,100}", name) for name in names)


def test_with_tags_each_call_is_counted_once_under_one_name(emulator: Emulator, airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=True)
    _performed(emulator, flows.call(_question(), ONCE))
    assert [name for name, _, _ in stats.sent] == ["coze.calls", "coze.latency"]
    assert stats.named("coze.calls") == [(1, {"operation": "create_chat", "outcome": "ok"})]
    [(milliseconds, tags)] = stats.named("coze.latency")
    assert 0 < milliseconds < 60_000
    assert tags == {"operation": "create_chat"}


def test_tokens_are_counted_by_direction_and_by_whose_they_are(airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=True)
    metrics.count_tokens(Usage(120, 100, 20), what="chat", dag_id="d", task_id="t")
    assert [
        (value, tags["direction"], tags["dag_id"], tags["task_id"]) for value, tags in stats.named("coze.tokens")
    ] == [
        (100, "input", "d", "t"),
        (20, "output", "d", "t"),
    ]


def test_a_dag_is_never_in_a_name(airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=False)
    metrics.count_tokens(Usage(7, 7, 0), what="run", dag_id="d", task_id="t")
    assert stats.sent == [("coze.tokens.run.input", 7, None)]


WHOSE = {"dag_id": "d", "task_id": "t"}


def _batch(*, answered: int = 100) -> BatchStats:
    """A batch of 1,000 rows, of which some are answered and a tenth of these has failed."""
    stats = BatchStats()
    stats.begin(NOON, 1_000)
    stats.in_flight, stats.queue = 48, 300
    for number in range(answered):
        stats.answered(NOON + number / 10, 1, number % 10 > 0, 1.0, "4013", 400, 50)
    stats.retried("4013")
    stats.waited_for_quota(NOON, 5.0)
    return stats


def test_a_batch_sends_what_its_line_says(airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=True)
    figures = _batch().figures(NOON + 10)
    batch_metrics.BatchMeter(**WHOSE).tell(figures)
    assert stats.sent == [
        ("coze.batch.rows", 90, {"outcome": "ok", **WHOSE}),
        ("coze.batch.rows", 10, {"outcome": "failed", **WHOSE}),
        ("coze.batch.retries", 1, WHOSE),
        ("coze.batch.tokens", 40_000, {"direction": "input", **WHOSE}),
        ("coze.batch.tokens", 5_000, {"direction": "output", **WHOSE}),
        ("coze.batch.in_flight", 48, WHOSE),
        ("coze.batch.queue", 300, WHOSE),
        ("coze.batch.rate", figures.rate, WHOSE),
        ("coze.batch.waiting", 50.0, WHOSE),
        ("coze.batch.left", 900, WHOSE),
        ("coze.batch.eta", figures.eta, WHOSE),
    ]
    assert figures.rate == pytest.approx(10, rel=0.05)


def test_what_a_batch_counts_is_sent_once_also_over_a_deferral(airflow_metrics: Airflow) -> None:
    stats, batch = airflow_metrics(tagged=True), _batch()
    meter = batch_metrics.BatchMeter(**WHOSE)
    meter.tell(batch.figures(NOON + 10))
    batch.answered(NOON + 11, 7, True, 1.0)
    meter.tell(batch.figures(NOON + 20))
    after = batch_metrics.BatchMeter(**WHOSE, since=batch.figures(NOON + 20))
    batch.answered(NOON + 21, 2, True, 1.0)
    batch.end(NOON + 21, "complete")
    after.tell(batch.figures(NOON + 21))
    ok = [value for value, tags in stats.named("coze.batch.rows") if tags["outcome"] == "ok"]
    assert ok == [90, 7, 2]
    assert [value for value, _ in stats.named("coze.batch.in_flight")] == [48, 48, 0]
    assert stats.named("coze.batch.rate")[-1][0] == 0


def test_what_cannot_be_told_of_a_batch_is_not_sent(airflow_metrics: Airflow) -> None:
    stats, batch = airflow_metrics(tagged=True), BatchStats()
    batch.begin(NOON, None)
    batch_metrics.BatchMeter(**WHOSE).tell(batch.figures(NOON))
    assert {name for name, *_ in stats.sent} == {
        f"coze.batch.{name}" for name in ("in_flight", "queue", "rate", "waiting")
    }


def test_without_tags_a_batch_is_in_no_name(airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=False)
    batch_metrics.BatchMeter(**WHOSE).tell(_batch().figures(NOON + 10))
    assert ("coze.batch.rows.failed", 10, None) in stats.sent
    assert ("coze.batch.left", 900, None) in stats.sent


def test_the_page_names_every_metric_of_a_batch(airflow_metrics: Airflow) -> None:
    stats = airflow_metrics(tagged=True)
    batch_metrics.BatchMeter(**WHOSE).tell(_batch().figures(NOON + 10))
    rows = re.findall(r"^\| `(coze\.batch\.\w+)`(?: \[`(\w+)`\])? \|", _part("Batches"), re.MULTILINE)
    assert dict(rows) == {name: "".join(set(tags) - set(WHOSE)) for name, _, tags in stats.sent}


def test_metrics_that_fail_fail_nothing_else(emulator: Emulator, airflow_metrics: Airflow) -> None:
    airflow_metrics(tagged=True, stats=SimpleNamespace())  # has neither method
    assert _performed(emulator, flows.call(_question(), ONCE)).id


def test_where_airflow_has_no_metrics_a_flow_gets_nothing_around_it() -> None:
    bare = flows.call(_question(), ONCE)
    assert metrics.observed(bare, _as_it_is, lambda: 0.0) is bare


def test_on_an_event_loop_another_thread_sends_them(emulator: Emulator, airflow_metrics: Airflow) -> None:
    stats, sent = airflow_metrics(tagged=True), threading.Event()

    class Slow(MemoryTransport):
        async def send(self, request: Request) -> Response:  # type: ignore[override]
            return MemoryTransport.send(self, request)

    def release(name: str, ms: float, *, tags: Any = None) -> None:
        sent.wait(5)  # a client that blocks
        Stats.timing(stats, name, ms, tags=tags)

    stats.timing = release  # type: ignore[method-assign]

    async def run() -> None:
        await adrive(metrics.observed(flows.call(_question(), ONCE), _signed(emulator), lambda: 0.0), Slow(emulator))  # type: ignore[arg-type]
        assert stats.named("coze.latency") == []  # the loop was not held up for it
        sent.set()

    asyncio.run(run())
    metrics._POST._waiting.join()
    assert len(stats.named("coze.latency")) == 1
    assert stats.threads == {"coze-metrics"}


def test_metrics_that_pile_up_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_MOST_WAITING", 2)
    busy = threading.Event()
    monkeypatch.setattr(metrics, "_deliver", lambda what: busy.wait(5))
    post = metrics._Post()
    for _ in range(50):
        post.hand_over(("incr", "coze.calls", 1, None))
    assert post._waiting.qsize() <= 2
    busy.set()
    post._waiting.join()


@pytest.mark.parametrize(
    ("options", "tagged"),
    [
        ({}, None),
        ({"STATSD_ON": "True"}, False),
        ({"STATSD_ON": "True", "STATSD_INFLUXDB_ENABLED": "True"}, True),
        ({"STATSD_DATADOG_ENABLED": "True"}, True),
        ({"OTEL_ON": "True"}, True),
        ({"STATSD_ON": "maybe"}, None),
    ],
)
def test_whether_tags_arrive_is_for_airflows_configuration_to_say(
    options: dict[str, str], tagged: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
    compat.metrics_tagged.cache_clear()
    try:
        assert compat.metrics_tagged() is tagged
        assert tagged is not None or compat.metrics() is None
    finally:
        compat.metrics_tagged.cache_clear()


def test_of_airflows_two_outlets_the_one_that_is_set_up_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "metrics_tagged", lambda: False)
    of_tasks, of_triggerer = (_outlet(monkeypatch, name) for name in compat._STATS)
    of_triggerer._factory = object  # type: ignore[attr-defined]
    assert compat.metrics() is of_triggerer.Stats
    of_tasks._factory = object  # type: ignore[attr-defined]
    assert compat.metrics() is of_tasks.Stats


def test_where_neither_is_set_up_metrics_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "metrics_tagged", lambda: False)
    for name in compat._STATS:
        _outlet(monkeypatch, name)
    assert compat.metrics() is None


def _outlet(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    module = ModuleType(name)
    module.Stats, module._factory = object(), None  # type: ignore[attr-defined]
    monkeypatch.setitem(compat.sys.modules, name, module)  # type: ignore[attr-defined]
    return module


# --- spans


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Give what is written into spans, in a process that has a tracer provider."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


CONTEXT = {"ti": TaskInstance(try_number=2)}


def _chat_span(**facts: str) -> spans.WorkSpan:
    return spans.WorkSpan(CONTEXT, "chat", bot_id="7511", **facts)


def _only(written: InMemorySpanExporter) -> Any:
    [span] = written.get_finished_spans()
    return span


def test_a_chat_is_a_span_in_the_words_of_the_conventions(written: InMemorySpanExporter) -> None:
    with _chat_span(bot_version="v2", output_type="json") as span:
        span.began(NOON)
        span.know(conversation_id="7513", chat_id="7512", logid=None)
        span.used(Usage(120, 100, 20))
    found = _only(written)
    assert found.name == "invoke_agent"
    assert found.kind is trace.SpanKind.CLIENT
    assert found.status.is_unset
    assert dict(found.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "coze",
        "gen_ai.agent.id": "7511",
        "gen_ai.agent.version": "v2",
        "gen_ai.conversation.id": "7513",
        "gen_ai.output.type": "json",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "coze.chat_id": "7512",
        "airflow.dag_id": "tests",
        "airflow.task_id": "ask",
        "airflow.dag_run.run_id": "scheduled__2025-12-04",
        "airflow.task_instance.try_number": 2,
        "airflow.task_instance.map_index": -1,
    }


def test_names_that_opentelemetry_has_are_spelt_as_it_spells_them(written: InMemorySpanExporter) -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    with _chat_span() as span:
        span.used(Usage(1, 1, 0))
    with spans.tool_span("lookup", call_id="c"):
        pass
    used = {name for found in written.get_finished_spans() for name in found.attributes or {}}
    assert {name for name in used | set(spans._NAMES.values()) if name.startswith("gen_ai.")} <= known


def test_a_run_is_a_span_too(written: InMemorySpanExporter) -> None:
    with spans.WorkSpan(CONTEXT, "run", workflow_id="7514") as span:
        span.know(execute_id="7515")
    found = _only(written)
    assert found.name == found.attributes["gen_ai.operation.name"] == "invoke_workflow"
    assert (found.attributes["coze.workflow_id"], found.attributes["coze.execute_id"]) == ("7514", "7515")


def test_a_span_begins_when_the_work_did_also_before_a_deferral(written: InMemorySpanExporter) -> None:
    with _chat_span() as span:
        span.began(NOON)
    assert _only(written).start_time == NOON * 1e9


def test_the_first_of_several_turns_is_where_a_span_begins(written: InMemorySpanExporter) -> None:
    with _chat_span() as span:
        span.began(NOON)
        span.began(NOON + 30)  # a repair turn
    assert _only(written).start_time == NOON * 1e9


@pytest.mark.parametrize("error", [e.CozeInputError, e.CozeConnectionUnreadableError, e.CozeStateError])
def test_what_was_never_sent_is_no_span(error: type[e.CozeError], written: InMemorySpanExporter) -> None:
    with pytest.raises(error), _chat_span():
        raise error("no")
    assert written.get_finished_spans() == ()


def test_a_deferral_writes_no_span_and_the_half_after_it_does(written: InMemorySpanExporter) -> None:
    with pytest.raises(TaskDeferred), _chat_span():
        raise TaskDeferred(trigger=SimpleNamespace(), method_name="execute_complete")  # type: ignore[arg-type]
    assert written.get_finished_spans() == ()
    with _chat_span():
        pass
    assert len(written.get_finished_spans()) == 1


def test_a_failure_is_told_by_its_class_and_code_and_never_by_its_words(written: InMemorySpanExporter) -> None:
    with pytest.raises(e.CozeChatFailedError), spans.WorkSpan(CONTEXT, "chat"):
        raise e.CozeChatFailedError("the bot said: my secret", code=4027, bot_id="7511", chat_id="7512")
    found = _only(written)
    assert found.status.status_code is trace.StatusCode.ERROR
    assert (found.attributes["error.type"], found.attributes["coze.code"]) == ("CozeChatFailedError", 4027)
    assert (found.attributes["gen_ai.agent.id"], found.attributes["coze.chat_id"]) == ("7511", "7512")
    assert "secret" not in found.to_json()


def _talk(written: InMemorySpanExporter) -> dict[str, Any]:
    with _chat_span() as span:
        span.asked("How high is it?")
        span.answered("8,849 m")
    with spans.tool_span("lookup", call_id="call_1", arguments='{"peak": "珠峰"}') as tool:
        tool.returned("found")
    return {name: value for found in written.get_finished_spans() for name, value in (found.attributes or {}).items()}


def test_content_is_not_written_unless_somebody_asked_for_it(written: InMemorySpanExporter) -> None:
    found = _talk(written)
    assert "8,849" not in str(found)
    assert not {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.call.arguments"} & found.keys()


def test_content_that_is_asked_for_is_written_as_the_conventions_say(
    written: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COZE__CAPTURE_CONTENT", "True")
    found = _talk(written)
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "How high is it?"}]}
    ]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "8,849 m"}], "finish_reason": "stop"}
    ]
    assert found["gen_ai.tool.call.arguments"] == '{"peak": "珠峰"}'
    assert found["gen_ai.tool.call.result"] == "found"


def test_a_value_that_is_no_yes_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COZE__CAPTURE_CONTENT", "perhaps")
    assert spans.captures_content() is False


def test_what_a_tool_does_is_a_child_of_its_span(written: InMemorySpanExporter) -> None:
    with spans.tool_span("lookup", call_id="call_1"), trace.get_tracer("a tool").start_as_current_span("query"):
        pass
    child, parent = written.get_finished_spans()
    assert (child.name, parent.name) == ("query", "execute_tool lookup")
    assert child.parent is not None
    assert child.parent.span_id == parent.context.span_id


def test_a_tool_that_fails_fails_as_it_would_and_its_words_stay_out(written: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError, match="珠峰"), spans.tool_span("lookup", call_id="call_1"):
        raise KeyError("珠峰")
    found = _only(written)
    assert found.attributes["error.type"] == "KeyError"
    assert "珠峰" not in found.to_json(indent=None)
    assert found.events == ()


@pytest.mark.parametrize("broken", ["no provider", "no opentelemetry", "provider that fails"])
def test_where_no_span_can_be_written_the_work_goes_on(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken == "no opentelemetry":
        monkeypatch.delitem(spans.sys.modules, "opentelemetry.trace")  # type: ignore[attr-defined]
    elif broken == "provider that fails":
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: SimpleNamespace())
    with _chat_span() as span:
        span.asked("x")
    with spans.tool_span("lookup", call_id="call_1") as tool:
        tool.returned("y")
    with pytest.raises(e.CozeRunFailedError), spans.WorkSpan(CONTEXT, "run"):
        raise e.CozeRunFailedError("no")
