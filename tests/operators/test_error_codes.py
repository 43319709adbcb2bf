"""Every documented code, as HTTP 200 and with the status of its class, at the start and while waiting: one error."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests.tasks import Coze, Run, is_kind

#: `make test` runs them, and `make unit`, which has a minute, does without.
pytestmark = pytest.mark.matrix

#: Written out here, so that a change of the package's own table has to be made twice.
CODES: dict[int, type[e.CozeAPIError]] = {
    4000: e.CozeRejectedError,
    4001: e.CozeNotFoundError,
    4002: e.CozeNotFoundError,
    4003: e.CozeRejectedError,
    4004: e.CozeRejectedError,
    4005: e.CozeRejectedError,
    4006: e.CozeNotFoundError,
    4007: e.CozeRejectedError,
    4008: e.CozeQuotaError,
    4009: e.CozeUnavailableError,
    4010: e.CozeRejectedError,
    4011: e.CozeQuotaError,
    4012: e.CozeRejectedError,
    4013: e.CozeRateLimitedError,
    4014: e.CozeRejectedError,
    4015: e.CozeRejectedError,
    4016: e.CozeConversationBusyError,
    4019: e.CozeQuotaError,
    4020: e.CozeRateLimitedError,
    4021: e.CozeRejectedError,
    4022: e.CozeQuotaError,
    4028: e.CozeQuotaError,
    4100: e.CozeAuthError,
    4101: e.CozePermissionError,
    4102: e.CozeRiskControlError,
    4104: e.CozeAlreadyEndedError,
    4105: e.CozeRejectedError,
    4200: e.CozeNotFoundError,
    4201: e.CozeRejectedError,
    4300: e.CozeRejectedError,
    4301: e.CozeRejectedError,
    4302: e.CozeRejectedError,
    4303: e.CozeRejectedError,
    4304: e.CozeRejectedError,
    4314: e.CozeNotFoundError,
    4315: e.CozeAlreadyEndedError,
    5000: e.CozeUnavailableError,
    6003: e.CozePlanError,
    700012006: e.CozeAuthError,
    720702204: e.CozeRejectedError,
    720702222: e.CozeUnavailableError,
}
#: The pairs that Coze's own JavaScript client knows (packages/coze-js/src/error.ts).
PAIRS = {4000: 400, 4100: 401, 4101: 403, 4200: 404, 4013: 429, 700012006: 401}
SERVER_TROUBLE = (4009, 5000, 720702222)

#: Which operator, what for, and the requests that start and watch its work.
CHAT = (CozeChatOperator, {"bot_id": ECHO_BOT, "message": "hello"}, "POST /v3/chat", "GET /v3/chat/retrieve")
RUN = (
    CozeWorkflowOperator,
    {"workflow_id": SLEEPER, "parameters": {"seconds": 5}, "execution_mode": "async"},
    "POST /v1/workflow/run",
    "GET /v1/workflows/*/run_histories/*",
)
KINDS = pytest.mark.parametrize("kind", [CHAT, RUN], ids=["chat", "workflow"])


def statuses(code: int) -> tuple[int, int]:
    return 200, PAIRS.get(code, 500 if code in SERVER_TROUBLE else 400)


#: What is sent again until its attempts are used up, because nothing was started.
PASSING = (4009, 4013, 4020)


def refused(run: Run, kind: Any, fault: scenarios.Fault, on: str, timeout: float = 40) -> e.CozeError:
    operator, arguments, *_ = kind
    run.coze.fresh()
    run.coze.script(fault, on=on, times=None)
    with pytest.raises(e.CozeError) as caught:
        run(operator, **arguments, timeout=timeout)
    return caught.value


@KINDS
@pytest.mark.parametrize("code", CODES)
def test_a_code_at_the_start_is_one_error_whatever_the_http_status_and_nothing_is_billed(
    coze: Coze, run: Run, kind: Any, code: int
) -> None:
    post = kind[2]
    for status in statuses(code):
        error = refused(run, kind, scenarios.error(code, status=status), post, timeout=400)
        if kind is RUN and code in (5000, 720702222):
            # Whether one was started cannot be told, and Coze lists no runs: not sent again.
            assert is_kind(error, e.CozeOutcomeUnknownError)
            assert is_kind(error.__cause__, CODES[code])  # type: ignore[arg-type]
            assert coze.asked(post) == 1
        else:
            assert is_kind(error, CODES[code]), f"HTTP {status}"
            assert (error.code, error.status) == (code, status)
            # A chat is sent again after its conversation showed no trace of it; a run only after what is no start.
            again = code in PASSING or (kind is CHAT and code in (5000, 720702222))
            assert (coze.asked(post) > 1) is again
        assert error.logid
        assert coze.ledger == []


@KINDS
@pytest.mark.parametrize("code", CODES)
def test_a_code_while_waiting_is_one_error_that_says_where_the_paid_work_is(
    coze: Coze, run: Run, kind: Any, code: int
) -> None:
    post, get = kind[2:]
    for status in statuses(code):
        error = refused(run, kind, scenarios.error(code, status=status), get)
        assert is_kind(error, CODES[code]), f"HTTP {status}"
        assert (error.code, error.status) == (code, status)
        assert error.logid
        assert coze.asked(post) == 1
        [billed] = coze.ledger
        assert billed.id in (error.chat_id, error.execute_id)
        assert (error.conversation_id, error.workflow_id) == (billed.conversation_id, billed.workflow_id)
        assert billed.id in str(error)


@KINDS
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, e.CozeRejectedError),
        (401, e.CozeAuthError),
        (403, e.CozePermissionError),
        (404, e.CozeNotFoundError),
        (429, e.CozeRateLimitedError),
        (500, e.CozeUnavailableError),
        (502, e.CozeUnavailableError),
    ],
)
def test_a_gateway_that_answers_without_a_code_is_told_by_its_status(
    coze: Coze, run: Run, kind: Any, status: int, expected: type[e.CozeAPIError]
) -> None:
    for on in kind[2:]:
        error = refused(run, kind, scenarios.answer(status, "<html>no</html>"), on, timeout=400)
        unknown = status >= 500 and kind is RUN and on == kind[2]
        assert is_kind(error, e.CozeOutcomeUnknownError if unknown else expected)
        if not unknown:
            assert (error.code, error.status) == (None, status)
        assert len(coze.ledger) == (on != kind[2])
        if on != kind[2] or 400 <= status < 429:
            assert coze.asked(kind[2]) == 1


@KINDS
def test_a_code_that_no_table_has_is_raised_with_its_number_and_not_waited_on(coze: Coze, run: Run, kind: Any) -> None:
    error = refused(run, kind, scenarios.error(720701999, "node 7 failed"), kind[3])
    assert is_kind(error, e.CozeAPIError)
    assert error.code == 720701999
    assert "node 7 failed" in str(error)
    assert coze.time.now < 1764849600.0 + 30
