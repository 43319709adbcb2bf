"""What becomes of a task that failed: one verdict per error, before and after something was paid for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze import errors as e
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.policy import BY_ERROR, Action, Verdict, has_spent, verdict

NOW = datetime(2025, 12, 4, 12, tzinfo=UTC).timestamp()
CHINA = timezone(timedelta(hours=8))
CN, COM = "https://api.coze.cn", "https://api.coze.com"


def of(error: e.CozeError, **how: Any) -> Verdict:
    return verdict(error, **{"spent": has_spent(error), "now": NOW, **how})


def _kinds(kind: type[e.CozeError] = e.CozeError) -> Iterator[type[e.CozeError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == e.__name__:
            yield from _kinds(child)


#: Written down a second time: a class that is lost or changed in the package fails here.
RETRIED = {
    e.CozeError,
    e.CozeConnectionUnreadableError,
    e.CozeTransportError,
    e.CozeStreamTimeoutError,
    e.CozeProtocolError,
    e.CozeAPIError,
    e.CozeRateLimitedError,
    e.CozeUnavailableError,
    e.CozeConversationBusyError,
    e.CozeAlreadyEndedError,
    e.CozeRiskControlError,
    e.CozeOutcomeError,
    e.CozeChatFailedError,
    e.CozeChatCanceledError,
    e.CozeToolError,
    e.CozeChatTimeoutError,
    e.CozeRunFailedError,
    e.CozeRunCanceledError,
    e.CozeRunTimeoutError,
    e.CozeBatchFailedError,
    e.CozeBatchTimeoutError,
    e.CozeOutcomeUnknownError,
    e.CozeStateError,
    e.CozeTriggerEventError,
}
FAILED_FOR_GOOD = {
    e.CozeConnectionConfigError,
    e.CozeInputError,
    e.CozeAuthError,
    e.CozePermissionError,
    e.CozeNotFoundError,
    e.CozeRejectedError,
    e.CozePlanError,
    e.CozeQuotaError,
    e.CozeChatRequiresActionError,
    e.CozeRunInterruptedError,
    e.CozeOutputTypeError,
    e.CozeTokenBudgetError,
}


def test_every_class_of_errors_has_a_verdict_of_its_own() -> None:
    assert set(_kinds()) == RETRIED | FAILED_FOR_GOOD == set(BY_ERROR)


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
def test_a_class_without_a_code_is_retried_or_failed_for_good_with_a_reason(kind: type[e.CozeError]) -> None:
    found = of(kind("no"))
    assert found.action is (Action.RETRY if kind in RETRIED else Action.FAIL)
    assert kind.__name__ in found.reason
    assert BY_ERROR[kind].why in found.reason


@pytest.mark.parametrize("code", codes.BY_CODE)
def test_a_refusal_with_a_code_gets_the_verdict_of_its_row(code: int) -> None:
    row = codes.BY_CODE[code]
    found = of(row.error("no", code=code, status=200))
    assert found.action is (Action.FAIL if row.fate.later is codes.Later.NEVER else Action.RETRY)
    assert f"code {code}" in found.reason
    assert row.meaning in found.reason
    assert row.fate.why in found.reason


@pytest.mark.parametrize("code", codes.BY_CODE)
@pytest.mark.parametrize("kind", [e.CozeChatFailedError, e.CozeRunFailedError])
def test_work_that_failed_with_a_code_gets_the_verdict_of_that_code(kind: type[e.CozeError], code: int) -> None:
    later = codes.BY_CODE[code].fate.later
    expected = Action.FAIL if later is codes.Later.NEVER else Action.RETRY
    if code == codes.NOT_VISIBLE_YET:
        expected = Action.RETRY
    assert of(kind("failed", code=code, chat_id="1")).action is expected


def test_a_used_up_quota_inside_a_chat_is_final_and_a_fault_of_coze_is_tried_again() -> None:
    broke = of(e.CozeChatFailedError("failed", code=4028, chat_id="1"))
    assert broke.action is Action.FAIL
    assert "billed" in broke.reason
    trouble = of(e.CozeChatFailedError("failed", code=5000, chat_id="1"))
    assert (trouble.action, trouble.wait_seconds) == (Action.RETRY, None)
    assert "pays for, another" in trouble.reason


def test_a_fault_that_no_table_has_is_tried_again() -> None:
    assert of(e.CozeRunFailedError("failed", code=720701999, execute_id="1")).action is Action.RETRY
    assert of(e.CozeAPIError("no", code=987654, status=200)).action is Action.RETRY


@pytest.mark.parametrize(
    ("status", "kind", "action"),
    [
        (400, e.CozeRejectedError, Action.FAIL),
        (401, e.CozeAuthError, Action.FAIL),
        (403, e.CozePermissionError, Action.FAIL),
        (404, e.CozeNotFoundError, Action.FAIL),
        (408, e.CozeUnavailableError, Action.RETRY),
        (413, e.CozeRejectedError, Action.FAIL),
        (429, e.CozeRateLimitedError, Action.RETRY),
        (302, e.CozeAPIError, Action.FAIL),
        (418, e.CozeAPIError, Action.RETRY),
        (502, e.CozeUnavailableError, Action.RETRY),
    ],
)
def test_an_answer_without_a_code_goes_by_its_status(status: int, kind: type[e.CozeError], action: Action) -> None:
    assert of(kind("no", status=status)).action is action
    assert f"HTTP {status}" in of(kind("no", status=status)).reason


def test_a_token_that_is_refused_in_words_goes_by_its_class() -> None:
    # The token endpoint of OAuth has words instead of codes, and HTTP 400.
    found = of(e.CozeAuthError("invalid_client", status=400, never_sent=True))
    assert found.action is Action.FAIL
    assert BY_ERROR[e.CozeAuthError].why in found.reason


# --- after how long


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (e.CozeRateLimitedError("x", code=4020, status=200), 60.0),
        (e.CozeRateLimitedError("x", code=4020, status=200, retry_after=7.0), 60.0),
        (e.CozeRateLimitedError("x", code=4020, status=200, retry_after=90.0), 90.0),
        (e.CozeRiskControlError("x", code=4102, status=200), 300.0),
        (e.CozeUnavailableError("x", code=720702222, status=200), 300.0),
        (e.CozeRunFailedError("x", code=720702222, execute_id="1"), 300.0),
        (e.CozeRateLimitedError("x", code=4013, status=200), None),
        (e.CozeRateLimitedError("x", status=429), None),
        (e.CozeRateLimitedError("x", status=429, retry_after=7.0), 7.0),
        (e.CozeUnavailableError("x", status=503, retry_after=1_800.0), 1_800.0),
        (e.CozeUnavailableError("x", status=503, retry_after=1e12), 86_400.0),
        (e.CozeUnavailableError("x", code=5000, status=200), None),
        (e.CozeTransportError("x", never_sent=False), None),
    ],
)
def test_a_retry_comes_when_it_can_help_and_no_earlier_than_coze_asked(
    error: e.CozeError, seconds: float | None
) -> None:
    assert of(error) == Verdict(Action.RETRY, seconds, of(error).reason)


def test_what_fails_for_good_waits_for_nothing_whatever_the_server_asks() -> None:
    assert of(e.CozeQuotaError("x", code=4011, status=429, retry_after=5.0)).wait_seconds is None


@given(st.floats(1_700_000_000, 2_000_000_000))
def test_a_daily_limit_of_coze_cn_is_tried_again_just_after_midnight_in_china(now: float) -> None:
    wait = of(e.CozeQuotaError("x", code=4008, status=200, origin=CN), now=now).wait_seconds
    assert wait is not None
    then, again = datetime.fromtimestamp(now, CHINA), datetime.fromtimestamp(now + wait, CHINA)
    assert again.date() == then.date() + timedelta(days=1)
    assert 299 <= (again - again.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() <= 301


@pytest.mark.parametrize("origin", [COM, None, "http://127.0.0.1:8888", "https://api.coze.cn.example.com"])
def test_a_daily_limit_of_any_other_site_is_tried_again_a_day_later(origin: str | None) -> None:
    assert of(e.CozeQuotaError("x", code=4008, status=200, origin=origin)).wait_seconds == 86_400.0


# --- before and after something was paid for


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (e.CozeUnavailableError("x", status=502), False),
        (e.CozeUnavailableError("x", status=502, chat_id="1"), True),
        (e.CozeUnavailableError("x", status=502, execute_id="1"), True),
        (e.CozeRejectedError("x", code=4000, debug_url="https://www.coze.cn/work_flow?execute_id=1"), True),
        (e.CozeConversationBusyError("x", code=4016, conversation_id="1"), False),
        (e.CozeRejectedError("x", code=4000, workflow_id="1", bot_id="2"), False),
        (e.CozeChatFailedError("x"), True),
        (e.CozeTriggerEventError("x"), True),
        (e.CozeInputError("x"), False),
    ],
)
def test_a_chat_or_run_was_paid_for_when_it_has_an_id(error: e.CozeError, spent: bool) -> None:
    assert has_spent(error) is spent


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (e.CozeInputError("x"), "A retry would fail the same way."),
        (e.CozeAuthError("x", code=4100, chat_id="1"), "What was started is billed."),
        (e.CozeConnectionUnreadableError("x"), "Nothing was started"),
        (e.CozeStateError("x"), "Nothing was started"),
        (e.CozeTransportError("x", never_sent=True), "Nothing was started"),
        (e.CozeRateLimitedError("x", code=4013, status=429), "Nothing was started"),
        (e.CozeConversationBusyError("x", code=4016), "Nothing was started"),
        (e.CozeUnavailableError("x", code=5000, status=200), "may be billed a second time"),
        (e.CozeTransportError("x", never_sent=False), "may be billed a second time"),
        (e.CozeUnavailableError("x", status=502), "may be billed a second time"),
        (e.CozeTransportError("x", never_sent=True, chat_id="1"), "What was started is billed; a retry"),
        (e.CozeChatTimeoutError("x", chat_id="1"), "What was started is billed; a retry"),
        (e.CozeOutcomeUnknownError("x", conversation_id="1"), "sends nothing"),
    ],
)
def test_the_reason_says_what_a_retry_costs(error: e.CozeError, says: str) -> None:
    assert says in of(error).reason


def test_a_record_of_a_run_that_is_not_there_is_looked_for_again_only_if_the_run_was_started() -> None:
    missing = e.CozeNotFoundError("x", code=4314, status=200, execute_id="1")
    assert of(missing, spent=True).action is Action.RETRY
    assert of(missing, spent=False).action is Action.FAIL
    assert of(missing, spent=True, only_looks=True).action is Action.FAIL


def test_a_run_that_may_have_been_started_is_for_a_person_and_a_chat_is_looked_for_again() -> None:
    assert of(e.CozeOutcomeUnknownError("x", workflow_id="1")).action is Action.FAIL
    assert of(e.CozeOutcomeUnknownError("x", conversation_id="1")).action is Action.RETRY


# --- who only looks


@pytest.mark.parametrize(
    "error",
    [
        e.CozeChatFailedError("x", code=5000, chat_id="1"),
        e.CozeChatFailedError("x", code=4008, chat_id="1"),
        e.CozeChatCanceledError("x", chat_id="1"),
        e.CozeChatRequiresActionError("x", chat_id="1"),
        e.CozeRunFailedError("x", code=720702222, execute_id="1"),
        e.CozeRunCanceledError("x", execute_id="1"),
        e.CozeRunInterruptedError("x", execute_id="1"),
    ],
)
def test_an_end_is_not_looked_at_again(error: e.CozeError) -> None:
    assert of(error, only_looks=True).action is Action.FAIL


@pytest.mark.parametrize(
    "error",
    [
        e.CozeTransportError("x", never_sent=False, chat_id="1"),
        e.CozeUnavailableError("x", status=502, chat_id="1"),
        e.CozeChatTimeoutError("x", chat_id="1"),
        e.CozeRunTimeoutError("x", execute_id="1"),
        e.CozeTriggerEventError("x"),
    ],
)
def test_a_look_that_failed_is_repeated_and_costs_nothing(error: e.CozeError) -> None:
    found = of(error, only_looks=True)
    assert found.action is Action.RETRY
    assert "costs nothing" in found.reason


# --- words


def _everything() -> Iterator[e.CozeError]:
    for kind in BY_ERROR:
        yield kind("x" * 5_000, msg="y" * 500, origin=CN)
    for code, row in codes.BY_CODE.items():
        yield row.error("x" * 5_000, code=code, status=200, chat_id="1", origin=CN)


@pytest.mark.parametrize("error", list(_everything()), ids=lambda error: f"{type(error).__name__}-{error.code}")
@pytest.mark.parametrize("only_looks", [False, True])
def test_a_reason_is_whole_sentences_that_airflow_has_room_for_and_quotes_nothing(
    error: e.CozeError, only_looks: bool
) -> None:
    reason = of(error, only_looks=only_looks).reason
    assert len(reason) <= 500
    assert reason[-1] == "."
    assert "xx" not in reason
    assert "yy" not in reason


def test_an_error_derived_elsewhere_has_the_verdict_of_ours() -> None:
    class Derived(e.CozeAuthError):
        pass

    found = of(Derived("x", code=4100, status=401))
    assert found.action is Action.FAIL
    assert "CozeAuthError, code 4100" in found.reason
