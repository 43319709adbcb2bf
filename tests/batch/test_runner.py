"""The loop of a batch: who is begun when, what is waited for, and that it ends."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.batch.asks import Item
from airflow_provider_coze.batch.engine import Stop, Terminal
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.emulator.definitions import Immediate, Tokens
from airflow_provider_coze.emulator.scenarios import error, rate_limited
from airflow_provider_coze.errors import CozeInputError, CozeQuotaError, CozeStateError
from tests.batch.stage import CREATE, READ, RUN, SEND, Stage, broken_after, rows, without_threads


@pytest.fixture(params=["chat", "run"])
def what(request: pytest.FixtureRequest) -> str:
    """Every test using this runs once with chats and once with runs."""
    return str(request.param)


def asked(what: str, *words: str) -> list[Item]:
    given = rows(*words)
    if what == "chat":
        return given
    return [Item(item.index, item.value, {"text": item.request}, item.hash) for item in given]


def said(what: str, word: str) -> Any:
    return f"You said: {word}" if what == "chat" else {"said": word}


def start(what: str) -> str:
    return SEND if what == "chat" else RUN


class TestEveryRow:
    def test_has_its_own_answer(self, stage: Stage, what: str) -> None:
        words = [f"sleep {3 + 7 * index % 11} {index}" for index in range(30)]
        assert stage.play(asked(what, *words), what) == []
        assert stage.outputs == {index: said(what, word) for index, word in enumerate(words)}
        assert stage.billed == 30
        assert stage.engine.goes_on

    def test_that_fails_never_stops_the_others(self, stage: Stage, what: str) -> None:
        stage.play(asked(what, "a", "fail", "b", "fail", "c"), what)
        code = 5000 if what == "chat" else 720701002
        kind = "CozeChatFailedError" if what == "chat" else "CozeRunFailedError"
        assert stage.errors == {1: (kind, code), 3: (kind, code)}
        assert set(stage.outputs) == {0, 2, 4}
        assert stage.billed == 5

    def test_that_cannot_be_asked_is_recorded_without_money(self, stage: Stage, what: str) -> None:
        good = asked(what, "a", "b")
        stage.play([good[0], BadRow(7, "empty", "there is nothing in it"), good[1]], what)
        assert stage.errors == {7: ("CozeInputError", "empty")}
        assert stage.billed == 2

    def test_is_asked_again_after_a_wait_and_as_often_as_is_allowed(self, stage: Stage, what: str) -> None:
        stage.play(asked(what, "fail"), what, retries_per_row=2)
        first, second, third = stage.times(start(what))
        assert second - first >= 4  # 2 s of work, and 2 s of waiting
        assert third - second >= 6
        assert stage.results[0]["tries"] == stage.billed == 3
        assert stage.told() == ["intent", "bought", "over"] * 2 + ["intent", "bought", "result"]

    def test_does_not_wait_for_others_that_wait(self, stage: Stage) -> None:
        stage.script(rate_limited(retry_after=55), on=SEND, times=1)
        stage.play(rows(3), max_in_flight=1)
        first, *others = stage.times(SEND)
        assert stage.outputs.keys() == {0, 1, 2}
        assert others[0] - first < 60

    def test_is_one_of_none_if_there_are_none(self, stage: Stage, what: str) -> None:
        assert stage.play([]) == []
        assert stage.plan.seen_all == 0
        assert stage.requests == []


class TestLimits:
    @pytest.mark.parametrize("most", [1, 7])
    def test_so_many_are_in_flight_and_never_more(self, stage: Stage, most: int) -> None:
        running = list[int]()
        stage.tampered = lambda name, request: running.append(stage.running()) if name == SEND else None
        stage.play(rows(*[f"sleep {3 + index % 5}" for index in range(30)]), max_in_flight=most)
        assert max(running) == most - 1  # one more is about to be
        assert len(stage.outputs) == 30

    @pytest.mark.parametrize(("mode", "bounded"), [("async", True), ("auto", True), ("sync", False)])
    def test_so_many_starts_wait_for_their_reply_unless_it_comes_with_the_output(
        self, stage: Stage, mode: str, bounded: bool
    ) -> None:
        stage.play(rows(30), "run", mode=mode, most_starts=3)
        waiting, most = set[str](), 0
        for event in stage.events:
            if event["t"] == "intent":
                waiting.add(event["marker"])
            elif event["t"] == "bought":
                waiting.discard(event["marker"])
            most = max(most, len(waiting))
        assert (most == 3) if bounded else (most > 3)
        assert len(stage.outputs) == 30

    def test_requests_per_minute_are_spaced(self, stage: Stage) -> None:
        stage.play(rows(10), requests_per_minute=20)
        assert stage.times(SEND) == [3.0 * index for index in range(10)]
        assert stage.stats.waits == 9

    def test_tries_count_among_them(self, stage: Stage) -> None:
        stage.play(rows("fail", "fail"), requests_per_minute=20, retries_per_row=1)
        times = stage.times(SEND)
        assert len(times) == 4
        assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(times))

    def test_a_batch_of_an_hour_takes_the_hour_and_no_longer(self, stage: Stage) -> None:
        stage.play(rows(61), requests_per_minute=1, commit_seconds=600.0)
        assert stage.times(SEND)[-1] == 3_600


class TestStopping:
    def test_rows_are_left_unasked_and_what_runs_is_collected(self, stage: Stage, what: str) -> None:
        words = ["fail", *["sleep 60"] * 4, *["never"] * 20]
        stage.play(asked(what, *words), what, max_in_flight=5, max_error_ratio=0.0)
        assert stage.engine.stop == Stop(Terminal.ERRORS)
        assert set(stage.outputs) == {1, 2, 3, 4}
        assert stage.billed == 5

    def test_a_refusal_of_all_rows_buys_nothing(self, stage: Stage, what: str) -> None:
        stage.script(error(4100, status=401), times=None)
        stage.play(asked(what, "a", "b", "c"), what, max_in_flight=1)
        assert stage.engine.stop is not None
        assert stage.engine.stop.reason is Terminal.REFUSED
        assert (stage.billed, stage.results) == (0, {})
        assert stage.past.open == []

    def test_a_quota_that_is_used_up_in_the_middle_leaves_the_rest_for_later(self, stage: Stage) -> None:
        stage.script(error(4028), on=SEND, skip=2, times=None)
        stage.play(rows(6), max_in_flight=1)
        assert stage.engine.stop is not None
        assert isinstance(stage.engine.stop.error, CozeQuotaError)
        assert set(stage.outputs) == {0, 1}
        assert stage.errors == {}

    def test_tokens_of_rows_that_failed_count_for_the_budget(self, stage: Stage) -> None:
        stage.bot.tokens = Tokens(input=7, output=3)
        stage.play(rows(*["fail"] * 20), max_in_flight=1, token_budget=30, retries_per_row=1)
        assert stage.engine.stop == Stop(Terminal.BUDGET)
        assert stage.engine.tokens == 30
        assert stage.past.usage.token_count == stage.engine.tokens == sum(bill.tokens for bill in stage.emulator.ledger)

    def test_when_its_time_is_up_it_leaves_what_runs_in_the_journal(self, stage: Stage, what: str) -> None:
        stage.play(asked(what, "a", "sleep 100", "b"), what, max_in_flight=2, until=stage.time() + 50)
        assert stage.engine.stop == Stop(Terminal.TIMEOUT)
        assert set(stage.outputs) == {0, 2}
        assert [submission.rows for submission in stage.past.open] == [(1,)]
        assert stage.time() - stage.requests[0][1] < 51
        stage.play(asked(what, "a", "sleep 100", "b"), what)
        assert len(stage.outputs) == stage.billed == 3

    def test_its_time_can_be_up_while_it_waits_for_its_quota(self, stage: Stage) -> None:
        stage.play(rows(10), requests_per_minute=1, until=stage.time() + 90)
        assert stage.billed == 2
        assert stage.engine.stop == Stop(Terminal.TIMEOUT)

    def test_nothing_is_sent_that_waited_for_the_journal_when_it_was_stopped(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        intended = Journal.intended

        async def stopped(journal: Journal, *args: Any, **named: Any) -> None:
            await intended(journal, *args, **named)
            stage.engine.halt(Stop(Terminal.KILLED))

        monkeypatch.setattr(Journal, "intended", stopped)
        stage.play(rows(3))
        assert stage.billed == 0
        assert stage.told() == ["intent", "nothing"]
        assert stage.past.open == []


class TestTrouble:
    @pytest.mark.parametrize("size", [0, 3, pytest.param(260, marks=pytest.mark.matrix)])
    def test_a_source_that_breaks_is_raised_when_what_runs_is_collected(
        self, stage: Stage, what: str, size: int
    ) -> None:
        given = asked(what, *["sleep 9"] * size)
        with pytest.raises(CozeInputError, match="broken"):
            stage.play(broken_after(given, CozeInputError("the file is broken")), what, max_in_flight=200)
        assert len(stage.outputs) == stage.billed
        assert stage.past.open == []

    def test_a_journal_that_cannot_be_written_stops_the_buying_at_once(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        intended = Journal.intended

        async def breaks(journal: Journal, rows: Any, **named: Any) -> None:
            if rows == (3,):
                await stage.clock.sleep(5)
                raise CozeStateError("the disk is full")
            await intended(journal, rows, **named)

        monkeypatch.setattr(Journal, "intended", breaks)
        with pytest.raises(CozeStateError, match="disk"):
            stage.play(rows(*["sleep 1000"] * 10), max_in_flight=4)
        assert stage.billed == 3
        assert stage.time() - stage.requests[0][1] == 5
        monkeypatch.undo()
        monkeypatch.setattr(asyncio, "to_thread", without_threads)
        stage.play(rows(*["sleep 1000"] * 10))
        assert len(stage.outputs) == stage.billed == 10

    def test_a_mistake_of_ours_leaves_nothing_that_runs_uncollected(self, stage: Stage) -> None:
        def wrong(name: str, request: Any) -> None:
            if name == SEND and stage.billed == 2:
                raise ZeroDivisionError

        stage.tampered = wrong
        with pytest.raises(ZeroDivisionError):
            stage.play(rows(*["sleep 30"] * 3))
        assert len(stage.outputs) == 2

    def test_a_kill_leaves_all_of_it_to_the_next_try(self, stage: Stage) -> None:
        async def killed() -> None:
            batch = asyncio.ensure_future(stage.aplay(rows(*["sleep 60"] * 10)))
            await stage.clock.sleep(30)
            batch.cancel()
            await asyncio.wait([batch])

        asyncio.run(killed())
        assert (stage.billed, stage.results) == (10, {})
        stage.play(rows(*["sleep 60"] * 10))
        assert len(stage.outputs) == stage.billed == 10


class TestBursts:
    """Deferred: a leg sends and reads, and somebody else waits."""

    def test_what_was_sent_is_handed_over(self, stage: Stage, what: str) -> None:
        window = stage.play(asked(what, *"abcdef"), what, waits=False, max_in_flight=4)
        assert [live.ask.indexes for live in window] == [(0,), (1,), (2,), (3,)]
        assert stage.asked(READ) == 0
        assert len(stage.past.open) == 4

    def test_what_has_ended_is_read_and_its_room_is_given_to_others(self, stage: Stage, what: str) -> None:
        window = stage.play(asked(what, *"abcdef"), what, waits=False, max_in_flight=4)
        stage.time.sleep(10)
        ended = [live.marker for live in window[1:3]]
        window = stage.play(asked(what, *"abcdef"), what, waits=False, max_in_flight=4, ended=ended)
        assert [live.ask.indexes for live in window] == [(0,), (3,), (4,), (5,)]
        assert set(stage.outputs) == {1, 2}
        ended = [live.marker for live in window]
        stage.time.sleep(10)
        assert stage.play(asked(what, *"abcdef"), what, waits=False, max_in_flight=4, ended=ended) == []
        assert len(stage.outputs) == stage.billed == 6

    def test_a_row_that_has_to_wait_for_long_does_not_keep_the_worker(self, stage: Stage) -> None:
        stage.script(error(4020), on=SEND, skip=1, times=4)  # after its own tries: a minute
        window = stage.play(rows(2), waits=False)
        assert [live.ask.indexes for live in window] == [(0,)]
        stage.time.sleep(60)
        window = stage.play(rows(2), waits=False, ended=[window[0].marker])
        assert [live.ask.indexes for live in window] == [(1,)]

    def test_it_is_waited_for_if_there_is_nothing_else_to_wait_for(self, stage: Stage) -> None:
        stage.script(error(4020), on=SEND, times=4)
        window = stage.play(rows(1), waits=False)
        assert [live.ask.indexes for live in window] == [(0,)]
        assert stage.times(SEND)[4] >= 60

    def test_answers_that_come_at_once_need_no_window(self, stage: Stage) -> None:
        stage.emulator.world.plan = "personal_free"  # no asynchronous runs
        stage.workflow.duration = Immediate()
        assert stage.play(asked("run", *"abc"), "run", waits=False) == []
        assert len(stage.outputs) == 3


class TestItEnds:
    def test_when_everything_has_to_wait(self, stage: Stage) -> None:
        stage.script(rate_limited(retry_after=50), on=SEND, times=40)
        stage.play(rows(8))
        assert len(stage.outputs) == 8

    def test_when_nothing_gets_through_at_all(self, stage: Stage) -> None:
        stage.script(rate_limited(), on=SEND, times=None)
        stage.play(rows(8))
        assert stage.engine.stop is not None
        assert stage.engine.stop.reason is Terminal.REFUSED
        assert stage.time() - stage.requests[0][1] < 3_600

    def test_when_all_conversations_are_refused(self, stage: Stage) -> None:
        stage.script(rate_limited(), on=CREATE, times=None)
        stage.play(rows(3), max_in_flight=2)
        assert stage.engine.stop is not None
        assert stage.asked(SEND) == 0

    def test_on_a_tick_progress_is_told_of(self, stage: Stage) -> None:
        stage.play(rows(5))
        assert (stage.stats.ok, stage.stats.in_flight) == (5, 0)


def test_the_journal_is_where_it_belongs(stage: Stage, tmp_path: Path) -> None:
    stage.play(rows(1))
    assert [path.name for path in tmp_path.joinpath("results", "batch").iterdir()] == ["_journal"]
