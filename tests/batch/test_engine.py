"""What becomes of a row that has no answer, and when a batch stops; decided without a request."""

from __future__ import annotations

import itertools

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.batch.asks import Ask, Item
from airflow_provider_coze.batch.engine import Again, Engine, Limits, Record, Split, Stop, Terminal
from tests.driving import NOON


def asking(*indexes: int, tries: int = 0, waits: int = 0) -> Ask:
    return Ask(tuple(Item(index, "row", "row", f"h{index}") for index in indexes or (0,)), tries=tries, waits=waits)


def judged(error: e.CozeError, ask: Ask | None = None, *, spent: bool = False, **limits: object) -> object:
    return Engine(Limits(**limits)).judge(ask or asking(), error, NOON, spent=spent)  # type: ignore[arg-type]


RATE_LIMITED = e.CozeRateLimitedError("wait", code=4013)
FAILED = e.CozeChatFailedError("failed", code=5000)
UNKNOWN = e.CozeOutcomeUnknownError("nobody knows")
MISTYPED = e.CozeOutputTypeError("not a list")


class TestUnknown:
    def test_a_row_of_which_nobody_knows_is_recorded(self) -> None:
        assert judged(UNKNOWN, retries_per_row=5) == Record()
        assert judged(UNKNOWN, asking(1, 2), retries_per_row=5) == Record()

    def test_it_is_sent_again_if_that_is_asked_for(self) -> None:
        verdict = judged(UNKNOWN, asking(1, 2), resends=True)
        assert isinstance(verdict, Again)
        assert verdict.ask == asking(1, 2, tries=1)

    def test_not_for_ever_because_each_may_be_billed(self) -> None:
        ask, sent = asking(), 0
        while isinstance(verdict := judged(UNKNOWN, ask, resends=True), Again):
            ask, sent = verdict.ask, sent + 1
        assert verdict == Record()
        assert sent == 5

    @pytest.mark.parametrize("kind", [e.CozeChatTimeoutError, e.CozeRunTimeoutError])
    def test_what_may_go_on_is_not_asked_a_second_time(self, kind: type[e.CozeError]) -> None:
        assert judged(kind("still running"), spent=True, retries_per_row=5) == Record()


class TestTurnedAway:
    @pytest.mark.parametrize(
        "error",
        [
            RATE_LIMITED,
            e.CozeUnavailableError("trouble", status=503),
            e.CozeTransportError("no network", never_sent=True),
            e.CozeConversationBusyError("busy", code=4016),
            e.CozeProtocolError("a page of HTML"),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("rows", [(0,), (0, 1, 2)], ids=["one row", "packed"])
    def test_it_waits_and_does_not_count(self, error: e.CozeError, rows: tuple[int, ...]) -> None:
        verdict = judged(error, asking(*rows), retries_per_row=0)
        assert isinstance(verdict, Again)
        assert verdict.ask == asking(*rows, waits=1)
        assert verdict.wait >= 1

    def test_the_waits_grow_up_to_a_minute_and_then_the_batch_stops(self) -> None:
        ask, waits = asking(), list[float]()
        while isinstance(verdict := judged(RATE_LIMITED, ask), Again):
            ask = verdict.ask
            waits.append(verdict.wait)
        assert verdict == Stop(Terminal.REFUSED, RATE_LIMITED)
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]

    def test_it_waits_what_coze_asks_for(self) -> None:
        verdict = judged(e.CozeRateLimitedError("wait", code=4013, retry_after=45.0))
        assert isinstance(verdict, Again)
        assert verdict.wait == 45

    def test_but_not_for_a_day(self) -> None:
        verdict = judged(e.CozeRateLimitedError("wait", code=4013, retry_after=86_400.0))
        assert isinstance(verdict, Again)
        assert verdict.wait == 600

    def test_a_minute_for_a_limit_per_minute(self) -> None:
        verdict = judged(e.CozeRateLimitedError("wait", code=4020))
        assert isinstance(verdict, Again)
        assert verdict.wait == 60


class TestRefused:
    @pytest.mark.parametrize(
        "error",
        [
            e.CozeAuthError("token", code=4100),
            e.CozePermissionError("permission", code=4101),
            e.CozePlanError("plan", code=6003),
            e.CozeQuotaError("quota", code=4008),
            e.CozeNotFoundError("no bot", code=4200),
            e.CozeConnectionConfigError("host"),
            e.CozeStateError("journal"),
            e.CozeRejectedError("not published", code=4015),
            e.CozeRejectedError("retired model", code=4012),
            e.CozeAPIError("redirected", status=302),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("rows", [(0,), (0, 1, 2)], ids=["one row", "packed"])
    def test_what_every_row_would_meet_stops_the_batch(self, error: e.CozeError, rows: tuple[int, ...]) -> None:
        assert judged(error, asking(*rows), retries_per_row=3) == Stop(Terminal.REFUSED, error)

    @pytest.mark.parametrize("kind", [e.CozeChatFailedError, e.CozeRunFailedError])
    @pytest.mark.parametrize("code", [4008, 4011, 4019, 4022, 4028, 4012])
    def test_also_if_a_chat_or_run_has_failed_of_it(self, kind: type[e.CozeError], code: int) -> None:
        error = kind("failed", code=code)
        assert judged(error, spent=True, retries_per_row=3) == Stop(Terminal.REFUSED, error)

    def test_a_chat_that_is_gone_is_the_matter_of_its_row(self) -> None:
        assert judged(e.CozeNotFoundError("no chat", code=4001), spent=True, retries_per_row=3) == Record()

    @pytest.mark.parametrize(
        "error", [e.CozeRejectedError("bad", code=4000), e.CozeRejectedError("too long", code=4010)], ids=str
    )
    def test_a_request_that_is_wrong_in_itself_is_not_sent_again(self, error: e.CozeError) -> None:
        assert judged(error, retries_per_row=3) == Record()

    @pytest.mark.parametrize(
        "error",
        [e.CozeRiskControlError("no", code=4102), e.CozeAPIError("a code of next year", code=4999)],
        ids=str,
    )
    def test_what_may_be_the_fault_of_one_row_never_stops_the_others(self, error: e.CozeError) -> None:
        ask, sent = asking(), 1
        while isinstance(verdict := judged(error, ask, retries_per_row=2), Again):
            ask, sent = verdict.ask, sent + 1
        assert (verdict, sent) == (Record(), 3)
        assert isinstance(judged(error, asking(1, 2), retries_per_row=2), Split)


class TestFailed:
    def test_a_row_is_asked_again_as_often_as_is_allowed_with_growing_waits(self) -> None:
        ask, waits = asking(), list[float]()
        while isinstance(verdict := judged(FAILED, ask, spent=True, retries_per_row=3), Again):
            ask = verdict.ask
            waits.append(verdict.wait)
        assert verdict == Record()
        assert waits == [2, 4, 8]
        assert ask.tries == 3

    def test_it_is_not_asked_again_by_itself(self) -> None:
        assert judged(FAILED, spent=True) == Record()

    def test_what_fails_the_same_way_again_is_not_asked_again(self) -> None:
        asks = e.CozeRunInterruptedError("a question")
        assert judged(asks, spent=True, retries_per_row=3) == Record()

    def test_an_output_of_a_wrong_type_is_asked_for_again(self) -> None:
        assert isinstance(judged(MISTYPED, spent=True, retries_per_row=1), Again)
        assert judged(MISTYPED, asking(tries=1), spent=True, retries_per_row=1) == Record()

    @pytest.mark.parametrize(
        "error", [FAILED, MISTYPED, e.CozeRejectedError("bad", code=4000)], ids=lambda error: type(error).__name__
    )
    def test_a_request_with_several_rows_is_split_down_to_single_ones(self, error: e.CozeError) -> None:
        pending, singles, requests = [asking(*range(5))], list[int](), 0
        while pending:
            ask, requests = pending.pop(), requests + 1
            verdict = judged(error, ask, spent=True)
            if isinstance(verdict, Split):
                pending += verdict.asks
            else:
                assert verdict == Record()
                singles += ask.indexes
        assert sorted(singles) == [0, 1, 2, 3, 4]
        assert requests == 9

    def test_the_halves_have_what_was_spent_on_the_whole_among_their_tries(self) -> None:
        verdict = judged(FAILED, asking(1, 2, 3, waits=4), spent=True)
        assert verdict == Split((asking(1, 2, tries=1), asking(3, tries=1)))


class TestStopping:
    def test_the_first_reason_counts(self) -> None:
        engine = Engine(Limits(until=NOON))
        engine.halt(Stop(Terminal.KILLED))
        assert not engine.check(NOON + 1)
        assert engine.stop == Stop(Terminal.KILLED)

    def test_its_time_is_up_at_the_very_moment(self) -> None:
        engine = Engine(Limits(until=NOON))
        assert engine.check(NOON - 0.001)
        assert not engine.check(NOON)
        assert engine.stop == Stop(Terminal.TIMEOUT)

    def test_a_budget_of_tokens_is_used_up_when_it_is_reached(self) -> None:
        engine = Engine(Limits(token_budget=100))
        engine.count(ok=True, tokens=60)
        assert engine.check(NOON)
        engine.count(ok=False, tokens=40)
        assert not engine.check(NOON)
        assert engine.stop == Stop(Terminal.BUDGET)

    def test_any_number_may_fail_unless_a_ratio_is_given(self) -> None:
        engine = Engine(Limits(), total=1_000)
        for _ in range(1_000):
            engine.count(ok=False)
        assert engine.goes_on

    @pytest.mark.parametrize("total", [None, 10_000])
    def test_none_may_fail_with_a_ratio_of_0(self, total: int | None) -> None:
        engine = Engine(Limits(max_error_ratio=0), total=total)
        engine.count(ok=True)
        assert engine.goes_on
        engine.count(ok=False)
        assert engine.stop == Stop(Terminal.ERRORS)

    @pytest.mark.parametrize("total", [None, 10_000])
    def test_a_ratio_is_judged_from_100_rows_on(self, total: int | None) -> None:
        engine = Engine(Limits(max_error_ratio=0.1), total=total)
        for _ in range(99):
            engine.count(ok=False)
        assert engine.goes_on
        engine.count(ok=False)
        assert not engine.goes_on

    def test_of_few_rows_it_is_judged_when_no_other_row_can_change_it(self) -> None:
        engine = Engine(Limits(max_error_ratio=0.5), total=6)
        for _ in range(3):
            engine.count(ok=False)
        assert engine.goes_on
        engine.count(ok=False)
        assert not engine.goes_on

    def test_a_ratio_that_is_just_kept_is_kept(self) -> None:
        engine = Engine(Limits(max_error_ratio=0.1), total=1_000)
        for ok in itertools.islice(itertools.cycle([True] * 9 + [False]), 1_000):
            engine.count(ok=ok)
        assert engine.goes_on


class TestRequestsPerMinute:
    def test_they_are_spaced_and_idle_time_is_not_made_up_for(self) -> None:
        engine = Engine(Limits(requests_per_minute=30))
        assert [engine.book(NOON) for _ in range(3)] == [0, 2, 4]
        assert [engine.book(NOON + 100) for _ in range(2)] == [0, 2]

    def test_without_a_limit_nobody_waits(self) -> None:
        engine = Engine(Limits())
        assert [engine.book(NOON) for _ in range(3)] == [0, 0, 0]
