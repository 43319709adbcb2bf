"""Every fault, at every operation, over both transports: the right answer and one execution, or one error that says what happened.

A dozen of the cells are in `make unit`; all of them are in `make test`, and run by themselves with ``pytest -m matrix``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.scenarios import Fault
from airflow_provider_coze.protocol import codes, flows
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.pacing import RUN_POLLS
from airflow_provider_coze.transports import wire
from tests.transports.matrix import (
    ECHO_FLOW,
    OPERATIONS,
    Matrix,
    Operation,
    Outcome,
    Perform,
    Site,
    a_conversation_listed,
    a_run_started,
    matrix,
    matrix_site,
    messages_listed,
    over_aiohttp,
    over_requests,
)

__all__ = ["matrix", "matrix_site"]

pytestmark = [
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long"),
]

WAYS: list[Perform] = [over_requests, over_aiohttp]
#: Seconds. Of the first attempt, where the fault is one of time.
BRIEF, BRIEF_DRIP = 0.05, 0.07

RIGHT, AGAIN = "the right answer at once", "the right answer when asked again"
MAYBE = "may have received the request and be carrying it out, and billing it"
UNKNOWN = "Whether Coze carried it out is not known"


@dataclass(frozen=True)
class Case:
    """One fault that happens once, and what comes of it: a word of above, or an error and what it says."""

    name: str
    fault: Fault
    reads: str | tuple[type[e.CozeError], str]
    creates: str | tuple[type[e.CozeError], str]
    committed: bool = False  # carried out, although there is no (good) answer
    patience: float | None = None
    creates_says: str = ""  # besides
    waits: tuple[float, float] = (0.0, 1.0)  # between which the wait before the second attempt lies


def lost(name: str, fault: Fault, says: str, *, committed: bool, patience: float | None = None) -> Case:
    """A fault after which nobody knows whether Coze has acted: a read is repeated, and nothing else."""
    return Case(name, fault, AGAIN, (e.CozeTransportError, says), committed, patience, MAYBE)


def answered(
    name: str, fault: Fault, kind: type[e.CozeError], says: str, *, committed: bool = False, **more: Any
) -> Case:
    """An answer that says no, or nothing, and leaves open whether Coze has acted."""
    return Case(name, fault, AGAIN, (kind, says), committed, creates_says=UNKNOWN, **more)


def _cases() -> Iterator[Case]:
    for after in (False, True):
        when = "after it was carried out" if after else "before it was carried out"
        yield lost(
            f"reset {when}", scenarios.reset(after_commit=after), r"\(.*(reset|aborted|disconnected)", committed=after
        )
        yield lost(
            f"closed {when}", scenarios.closed(after_commit=after), r"\(.*(closed|disconnected)", committed=after
        )
        yield lost(
            f"silence {when}",
            scenarios.no_reply(after_commit=after),
            f"no answer within {BRIEF:g} s",
            committed=after,
            patience=BRIEF,
        )
        yield answered(
            f"HTTP 500 {when}",
            scenarios.server_error(after_commit=after),
            e.CozeUnavailableError,
            "code 5000",
            committed=after,
        )
        yield answered(
            f"HTTP 503 without a word {when}",
            scenarios.answer(503, "", after_commit=after),
            e.CozeUnavailableError,
            "HTTP 503",
            committed=after,
        )
        yield answered(
            f"HTTP 502 with a page {when}",
            scenarios.bad_gateway(after_commit=after),
            e.CozeUnavailableError,
            "HTTP 502.*502 Bad Gateway",
            committed=after,
        )
        yield answered(
            f"HTTP 200 with trouble {when}",
            scenarios.server_trouble(after_commit=after),
            e.CozeUnavailableError,
            "code 720702222",
            committed=after,
            waits=(30.0, 31.0),
        )
        no_object = (e.CozeProtocolError, "HTTP 200, but not with a JSON object: '<!doctype html>")
        yield Case(f"a web page {when}", scenarios.web_page(after_commit=after), no_object, no_object, after)
    yield lost(
        "the reply too late", scenarios.slow(3.0), f"no answer within {BRIEF:g} s", committed=True, patience=BRIEF
    )
    yield Case("the reply late", scenarios.slow(0.02), RIGHT, RIGHT)
    broken = r"\(.*(IncompleteRead|not completed|reset|disconnected)"
    yield lost("half a body, closed", scenarios.half_body(how="close"), broken, committed=True)
    yield lost("half a body, reset", scenarios.half_body(how="reset"), broken, committed=True)
    yield lost(
        "half a body, then silence",
        scenarios.half_body(how="never"),
        f"no answer within {BRIEF:g} s",
        committed=True,
        patience=BRIEF,
    )
    half = (e.CozeProtocolError, "not with a JSON object")
    yield Case("half a body that looks whole", scenarios.half_body(how="end"), half, half, True)
    for part in ("head", "body"):
        yield lost(
            f"an endless drip in the {part}",
            scenarios.drip(every_seconds=0.004, part=part),  # type: ignore[arg-type]
            f"no whole answer within {wire.WHOLE_ANSWER * BRIEF_DRIP:g} s",
            committed=True,
            patience=BRIEF_DRIP,
        )
    huge = scenarios.huge_body(size_bytes=300_000)
    yield Case(
        "a huge body", huge, AGAIN, (e.CozeTransportError, "more than 200000 bytes"), True, creates_says="has acted"
    )
    yield Case("the wrong type", scenarios.wrong_type(), RIGHT, RIGHT)
    yield Case("HTTP 429 with Retry-After", scenarios.rate_limited(retry_after=7), AGAIN, AGAIN, waits=(7.0, 7.0))
    yield Case("HTTP 429", scenarios.rate_limited(), AGAIN, AGAIN)
    yield Case("HTTP 429 without a word", scenarios.answer(429, ""), AGAIN, AGAIN)
    yield Case("HTTP 200 with 4013", scenarios.rate_limited(status=200), AGAIN, AGAIN)


CASES = list(_cases())

#: The cells of `make unit`: together they touch every operation, both transports and each kind of outcome.
UNIT = {
    ("reset after it was carried out", "chat create", "over_requests"),
    ("reset after it was carried out", "chat create", "over_aiohttp"),
    ("reset before it was carried out", "chat retrieve", "over_aiohttp"),
    ("silence after it was carried out", "workflow run", "over_requests"),
    ("HTTP 429 with Retry-After", "workflow run", "over_aiohttp"),
    ("HTTP 502 with a page before it was carried out", "conversation list", "over_requests"),
    ("half a body, closed", "message list", "over_aiohttp"),
    ("half a body that looks whole", "run history", "over_requests"),
    ("an endless drip in the head", "OAuth token", "over_requests"),
    ("an endless drip in the body", "file upload", "over_aiohttp"),
    ("a huge body", "run history", "over_aiohttp"),
    ("the wrong type", "file upload", "over_requests"),
}


def cells() -> Iterator[Any]:
    for case in CASES:
        for operation in OPERATIONS:
            for way in WAYS:
                names = (case.name, operation.name, way.__name__)
                yield pytest.param(
                    case, operation, way, id="-".join(names), marks=() if names in UNIT else pytest.mark.matrix
                )


every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
both_ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.mark.parametrize(("case", "operation", "way"), cells())
def test_a_fault_that_passes(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch, case: Case, operation: Operation, way: Perform
) -> None:
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 200_000)

    def order(site: Site) -> None:
        site.emulator.script(case.fault, on=operation.on)
        site.patience = case.patience or site.patience

    outcome = matrix.perform(way, operation, order)
    expected = case.creates if operation.creates else case.reads
    if expected is RIGHT:
        _is_right(matrix, operation, outcome, requests=1)
        assert outcome.slept == []
    elif expected is AGAIN:
        _is_right(matrix, operation, outcome, requests=2)
        if not (outcome.slept == [] and _repeated_by_aiohttp(case.fault, operation, way)):
            (wait,) = outcome.slept
            assert case.waits[0] <= wait <= case.waits[1]
    else:
        _says(outcome, *expected)
        assert (outcome.requests, outcome.slept) == (1, []), "it was sent again"
        if operation.creates:
            assert outcome.made == case.committed
            assert re.search(case.creates_says, str(outcome.error))


def _repeated_by_aiohttp(fault: Fault, operation: Operation, way: Perform) -> bool:
    """A connection that breaks before any answer makes aiohttp send a GET again, once and at once; it cannot be told not to."""
    return way is over_aiohttp and operation.on.startswith("GET ") and fault.kind == "drop"


def _is_right(matrix: Matrix, operation: Operation, outcome: Outcome, *, requests: int) -> None:
    assert outcome.error is None
    assert operation.right(matrix.site, outcome.value), outcome.value
    assert outcome.requests == requests
    assert outcome.made == operation.creates, "one execution, neither none nor two"


def _says(outcome: Outcome, kind: type[e.CozeError], says: str) -> None:
    assert outcome.error is not None, "there was an answer"
    assert isinstance(outcome.error, kind)
    assert re.search(says, str(outcome.error)), str(outcome.error)


# --- no connection


def _unit(*chosen: tuple[str, str]) -> list[Any]:
    return [
        pytest.param(
            operation,
            way,
            id=f"{operation.name}-{way.__name__}",
            marks=() if (operation.name, way.__name__) in chosen else pytest.mark.matrix,
        )
        for operation in OPERATIONS
        for way in WAYS
    ]


@pytest.mark.parametrize(
    ("operation", "way"), _unit(("chat create", "over_aiohttp"), ("workflow run", "over_requests"))
)
def test_a_connection_that_is_refused_for_a_while_costs_a_wait_and_nothing_is_done_twice(
    matrix: Matrix, operation: Operation, way: Perform
) -> None:
    def order(site: Site) -> None:
        site.emulator.script(scenarios.refused())
        site.on_sleep = lambda: len(site.slept) == 2 and site.emulator.clear_faults()

    outcome = matrix.perform(way, operation, order)
    _is_right(matrix, operation, outcome, requests=1)
    assert len(outcome.slept) == 2


@pytest.mark.parametrize(("operation", "way"), _unit(("chat create", "over_requests"), ("OAuth token", "over_aiohttp")))
def test_a_connection_that_stays_refused_is_said_to_have_carried_nothing(
    matrix: Matrix, operation: Operation, way: Perform
) -> None:
    outcome = matrix.perform(way, operation, lambda site: site.emulator.script(scenarios.refused()))
    _says(outcome, e.CozeTransportError, "(?i)refused|connect call failed")
    assert isinstance(outcome.error, e.CozeTransportError)
    assert outcome.error.never_sent is True
    assert "never left, so Coze did nothing" in str(outcome.error)
    assert (outcome.requests, outcome.made) == (0, 0)
    assert len(outcome.slept) == _attempts(operation) - 1


def _attempts(operation: Operation) -> int:
    """Four of a request; a token is asked for three times at each of them, because the request itself was never sent."""
    return 4 * 3 if operation.conn_id == "coze_oauth" else 4


# --- faults that do not pass

STAYING: dict[str, tuple[Fault, type[e.CozeError], str]] = {
    "reset": (scenarios.reset(), e.CozeTransportError, r"\(.*(reset|aborted|disconnected)"),
    "closed": (scenarios.closed(after_commit=True), e.CozeTransportError, r"\(.*(closed|disconnected)"),
    "half a body": (scenarios.half_body(), e.CozeTransportError, r"\(.*(IncompleteRead|not completed)"),
    "HTTP 500": (scenarios.server_error(), e.CozeUnavailableError, "code 5000"),
    "HTTP 502": (scenarios.bad_gateway(), e.CozeUnavailableError, "HTTP 502"),
    "HTTP 429": (scenarios.rate_limited(retry_after=2), e.CozeRateLimitedError, "code 4013"),
}


@pytest.mark.matrix
@pytest.mark.parametrize("fault", STAYING)
@every_operation
@both_ways
def test_a_fault_that_stays_is_the_error_of_the_last_attempt_and_starts_nothing_twice(
    matrix: Matrix, way: Perform, operation: Operation, fault: str
) -> None:
    what, kind, says = STAYING[fault]
    outcome = matrix.perform(way, operation, lambda site: site.emulator.script(what, on=operation.on, times=None))
    _says(outcome, kind, says)
    attempts = _attempts(operation)
    once = operation.creates and fault != "HTTP 429"  # a start that was turned away is sent again
    by_aiohttp = 2 if _repeated_by_aiohttp(what, operation, way) else 1
    assert outcome.requests == (1 if once else attempts * by_aiohttp)
    assert outcome.made == (what.after_commit and operation.creates)
    if kind is e.CozeRateLimitedError:
        assert set(outcome.slept) == {2.0}
        assert outcome.error is not None
        assert getattr(outcome.error, "retry_after", None) == 2.0


# --- every code of Coze

PLAIN = [operation for operation in OPERATIONS if operation.conn_id == "coze_default"]


@pytest.mark.matrix
@pytest.mark.parametrize("operation", PLAIN, ids=lambda operation: operation.name)
@both_ways
def test_every_code_is_its_error_or_passes_and_starts_nothing_twice(
    matrix: Matrix, way: Perform, operation: Operation
) -> None:
    for code, meaning in codes.BY_CODE.items():
        matrix.site.fresh()
        outcome = matrix.perform(
            way, operation, lambda site, code=code: site.emulator.script(scenarios.error(code, "told"), on=operation.on)
        )
        repeated = meaning.again is not codes.Again.NO and (not operation.creates or meaning.started is False)
        if repeated:
            _is_right(matrix, operation, outcome, requests=2)
        else:
            _says(outcome, meaning.error, f"code {code} .*'told'")
            assert (outcome.requests, outcome.made, outcome.slept) == (1, 0, []), code
            assert getattr(outcome.error, "code", None) == code


@both_ways
def test_what_the_token_endpoint_says_is_the_error_of_the_request_that_wanted_the_token(
    matrix: Matrix, way: Perform
) -> None:
    (operation,) = (operation for operation in OPERATIONS if operation.conn_id == "coze_oauth")
    refusal = scenarios.answer(400, {"error_code": "invalid_client", "error_message": "no such app"})
    outcome = matrix.perform(way, operation, lambda site: site.emulator.script(refusal, on=operation.on))
    _says(outcome, e.CozeAuthError, "Coze gave no token to OAuth app '1180'.*invalid_client")
    assert (outcome.requests, outcome.slept) == (1, [])


# --- tokens that expire in the middle


@pytest.mark.parametrize(("operation", "way"), _unit(("chat create", "over_requests"), ("run history", "over_aiohttp")))
def test_a_token_that_expires_is_replaced_once_if_it_can_be_and_nothing_is_done_twice(
    matrix: Matrix, operation: Operation, way: Perform
) -> None:
    if operation.conn_id == "coze_oauth":
        outcome = matrix.perform(
            way, operation, lambda site: site.emulator.script(scenarios.token_expired(), on="GET /v1/workspaces")
        )
        _is_right(matrix, operation, outcome, requests=2)
        assert matrix.site.asked("GET /v1/workspaces") == 2
        return
    outcome = matrix.perform(
        way, operation, lambda site: site.emulator.script(scenarios.token_expired(), on=operation.on)
    )
    _says(outcome, e.CozeAuthError, "code 4100")
    assert (outcome.requests, outcome.made, outcome.slept) == (1, 0, [])


# --- a Coze that lags behind itself


@both_ways
def test_a_run_that_is_not_visible_yet_is_waited_for(matrix: Matrix, way: Perform) -> None:
    site = matrix.site
    site.emulator.world.history_delay_seconds = 10.0
    started = RunHistory(execute_id=site.prepared(a_run_started(site).request)["execute_id"], execute_status="Running")
    watch = flows.Watch(RUN_POLLS, since=site.now(), until=None, clock=site.now)
    history = way(matrix.hook(), flows.watch_run(started, watch, workflow_id=ECHO_FLOW))
    assert history.execute_status == "Success"
    assert site.asked("GET /v1/workflows/*") == len(site.slept)
    assert len(site.slept) > 1
    assert len(site.emulator.ledger) == 1


@both_ways
def test_lists_that_lag_behind_are_complete_after_their_delay(matrix: Matrix, way: Perform) -> None:
    world = matrix.site.emulator.world
    world.conversation_list_delay_seconds = world.message_list_delay_seconds = 2.0
    hook = matrix.hook()
    for prepare, what in ((a_conversation_listed, "conversations"), (messages_listed, "messages")):
        call = prepare(matrix.site)
        assert getattr(way(hook, flows.call(call, hook.retry)), what) == ()
        matrix.site.emulator.advance(2.0)
        assert getattr(way(hook, flows.call(call, hook.retry)), what) != ()


# --- the real bound


@pytest.mark.matrix
@both_ways
def test_an_answer_of_65_mib_is_not_read_to_its_end(matrix: Matrix, way: Perform) -> None:
    (operation,) = (operation for operation in OPERATIONS if operation.name == "chat create")
    outcome = matrix.perform(way, operation, lambda site: site.emulator.script(scenarios.huge_body()))
    _says(outcome, e.CozeTransportError, f"more than {64 * 1024 * 1024} bytes")
    assert outcome.made == 1
