"""Whether a request is made again, and when: arithmetic, so nothing here waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze import errors
from airflow_provider_coze.errors import CozeAPIError, CozeError, CozeTransportError
from airflow_provider_coze.protocol.messages import Replay
from airflow_provider_coze.protocol.retry import RetryPolicy

READ, BILLED = Replay.ALWAYS, Replay.IF_NEVER_SENT

LOST = CozeTransportError("reset", never_sent=False)
NEVER_SENT = CozeTransportError("refused", never_sent=True)
LIMITED = errors.CozeRateLimitedError("wait", code=4013, status=429)
TROUBLE = errors.CozeUnavailableError("trouble", code=720702222, status=200)

policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 2_000),
    base_seconds=st.floats(0.01, 60),
    cap_seconds=st.floats(0.01, 300),
    budget_seconds=st.floats(0, 5_000),
)
passing = st.sampled_from(
    [
        LOST,
        NEVER_SENT,
        LIMITED,
        TROUBLE,
        errors.CozeUnavailableError("bad gateway", status=502),
        errors.CozeRateLimitedError("wait 7", code=4013, retry_after=7.0),
        errors.CozeRateLimitedError("wait long", code=4013, retry_after=86_400.0),
    ]
)


@given(policies, passing, st.integers(1, 3_000), st.floats(0, 6_000))
def test_a_wait_is_neither_negative_nor_over_its_bounds(
    policy: RetryPolicy, error: CozeError, attempt: int, waited: float
) -> None:
    wait = policy.next_wait(error, attempt, READ, waited)
    if wait is None:
        return
    assert attempt < policy.attempts
    assert waited + wait <= policy.budget_seconds
    if error.retry_after:
        assert wait == min(error.retry_after, 60.0)
    elif error is TROUBLE:
        assert 30.0 <= wait <= 30.0 + policy.cap_seconds
    else:
        assert 0.0 <= wait <= min(policy.cap_seconds, policy.base_seconds * 2 ** min(attempt - 1, 30))


@given(policies, passing, st.sampled_from([READ, BILLED]))
def test_all_waits_of_a_request_together_stay_within_its_budget_and_its_attempts(
    policy: RetryPolicy, error: CozeError, replay: Replay
) -> None:
    waited, attempts = 0.0, 1
    while attempts <= 50 and (wait := policy.next_wait(error, attempts, replay, waited)) is not None:
        waited += wait
        attempts += 1
    assert attempts <= max(policy.attempts, 1)
    assert waited <= policy.budget_seconds


#: Answers after which something may be running on Coze.
api_errors = st.builds(
    lambda kind, **facts: kind("no", **{k: v for k, v in facts.items() if v is not None}),
    st.sampled_from([CozeAPIError, *CozeAPIError.__subclasses__()]),
    code=st.none() | st.sampled_from([5000, 720702222, 4102, 1]),
    status=st.sampled_from([200, 408, 500, 502, 503]),
    retry_after=st.none() | st.floats(0, 100),
)


@given(policies, st.one_of(api_errors, st.just(LOST), st.just(CozeTransportError("unknown"))), st.integers(1, 10))
def test_a_billed_request_is_never_sent_again_once_it_may_have_arrived(
    policy: RetryPolicy, error: CozeError, attempt: int
) -> None:
    assert policy.next_wait(error, attempt, BILLED) is None


@pytest.mark.parametrize("replay", [READ, BILLED])
def test_what_provably_never_left_is_sent_again_even_if_it_is_billed(replay: Replay) -> None:
    assert RetryPolicy().next_wait(NEVER_SENT, 1, replay) is not None


@pytest.mark.parametrize("code", [4009, 4013, 4020])
def test_a_start_that_was_turned_away_by_its_code_is_sent_again_unless_a_run_exists(code: int) -> None:
    assert RetryPolicy().next_wait(CozeAPIError("no", code=code, status=200), 1, BILLED) is not None
    started = CozeAPIError("no", code=code, status=200, debug_url="https://www.coze.cn/work_flow?execute_id=1")
    assert RetryPolicy().next_wait(started, 1, BILLED) is None


@pytest.mark.parametrize("replay", [READ, BILLED])
@pytest.mark.parametrize("code", [None, 4009, 4013, 4020, 5000, 987654])
def test_what_http_429_turned_away_is_sent_again_even_if_it_is_billed(replay: Replay, code: int | None) -> None:
    limited = CozeAPIError("no", status=429, **({} if code is None else {"code": code}))
    assert RetryPolicy().next_wait(limited, 1, replay) is not None


def test_a_start_that_was_turned_away_waits_what_the_server_asks_for_and_ends_with_its_attempts() -> None:
    asked = errors.CozeRateLimitedError("x", code=4013, status=429, retry_after=7.0)
    assert RetryPolicy(attempts=3).next_wait(asked, 2, BILLED) == 7.0
    assert RetryPolicy(attempts=3).next_wait(asked, 3, BILLED) is None


@pytest.mark.parametrize("code", [4000, 4008, 4011, 4028, 4100])
def test_http_429_does_not_make_a_refusal_pass_that_does_not(code: int) -> None:
    assert RetryPolicy().next_wait(CozeAPIError("no", code=code, status=429), 1, BILLED) is None


def test_a_run_that_exists_is_not_started_again_whatever_the_status_says() -> None:
    run = errors.CozeRateLimitedError(
        "x", code=4013, status=429, debug_url="https://www.coze.cn/work_flow?execute_id=1"
    )
    assert RetryPolicy().next_wait(run, 1, BILLED) is None


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (LOST, True),
        (LIMITED, True),
        (errors.CozeUnavailableError("x", status=502), True),
        (errors.CozeRateLimitedError("x", status=429), True),
        (errors.CozeUnavailableError("x", code=5000, status=200), True),
        (errors.CozeRejectedError("x", code=4000, status=500), False),  # the code speaks first
        (errors.CozeAuthError("x", status=401), False),
        (errors.CozeQuotaError("x", code=4011, status=429), False),
        (CozeAPIError("x", code=987654, status=200), False),
        (errors.CozeProtocolError("x", status=200), False),
        (errors.CozeRunFailedError("x", code=4013), False),
        (errors.CozeConnectionConfigError("x"), False),
    ],
)
def test_a_read_is_repeated_when_the_failure_can_pass_and_only_then(error: CozeError, again: bool) -> None:
    assert (RetryPolicy().next_wait(error, 1, READ) is not None) is again


def test_waits_are_drawn_from_nothing_up_to_twice_the_last_bound() -> None:
    policy = RetryPolicy(attempts=10, base_seconds=1.0, cap_seconds=8.0, budget_seconds=1e9)
    for attempt, bound in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (9, 8.0)]:
        drawn = [policy.next_wait(LIMITED, attempt, READ) or 0.0 for _ in range(300)]
        assert max(drawn) <= bound
        assert max(drawn) > 0.8 * bound  # 300 draws all below: once in 10 ** 29
        assert min(drawn) < 0.2 * bound


def test_coze_in_trouble_for_minutes_is_left_alone_for_30_s_first() -> None:
    waits = [RetryPolicy().next_wait(TROUBLE, 1, READ) for _ in range(50)]
    assert all(wait is not None and 30.0 <= wait <= 31.0 for wait in waits)


def test_what_the_server_asks_for_is_waited_out_exactly() -> None:
    asked = errors.CozeRateLimitedError("x", code=4013, retry_after=7.0)
    assert RetryPolicy().next_wait(asked, 1, READ) == 7.0
    slowly = errors.CozeUnavailableError("x", code=720702222, retry_after=2.0)
    assert RetryPolicy().next_wait(slowly, 1, READ) == 2.0


def test_a_server_that_asks_for_an_hour_gets_a_minute() -> None:
    asked = errors.CozeRateLimitedError("x", code=4013, retry_after=3_600.0)
    assert RetryPolicy().next_wait(asked, 1, READ) == 60.0


def test_a_server_that_asks_for_no_wait_gets_the_usual_one() -> None:
    asked = errors.CozeRateLimitedError("x", code=4013, retry_after=0.0)
    assert any(RetryPolicy().next_wait(asked, 2, READ) for _ in range(50))


def test_the_budget_ends_it_before_the_attempts_do() -> None:
    asked = errors.CozeRateLimitedError("x", code=4013, retry_after=7.0)
    policy = RetryPolicy(attempts=100, budget_seconds=20.0)
    assert policy.next_wait(asked, 2, READ, waited=13.0) == 7.0
    assert policy.next_wait(asked, 3, READ, waited=13.1) is None


def test_the_last_attempt_is_the_last() -> None:
    policy = RetryPolicy(attempts=3)
    assert policy.next_wait(LIMITED, 2, READ) is not None
    assert policy.next_wait(LIMITED, 3, READ) is None
