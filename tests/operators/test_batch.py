"""Batches from end to end, as Airflow runs them: on one worker, and deferred between worker and triggerer."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import re
from pathlib import Path
from typing import Any, Literal

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.definitions import Bot, Failure, Seconds, Tokens, Turn
from airflow_provider_coze.emulator.scenarios import error, rate_limited, reset
from tests.operators.batching import ECHO, Batches
from tests.tasks import TOKEN, Coze, is_kind

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

SEND, RUN, CREATE = "POST /v3/chat", "POST /v1/workflow/run", "POST /v1/conversation/create"


@pytest.fixture(params=["plain", "deferred"])
def batches(request: pytest.FixtureRequest, coze: Coze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """Every test using this runs once per way of waiting. No test may ask which."""
    return Batches(coze, tmp_path / "results", monkeypatch, defers=request.param == "deferred")


@pytest.fixture(params=["plain", pytest.param("deferred", marks=pytest.mark.matrix)])
def either(request: pytest.FixtureRequest, coze: Coze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """For what is about the tries of a task more than about its waiting: the quick suite is content with one way."""
    return Batches(coze, tmp_path / "results", monkeypatch, defers=request.param == "deferred")


@pytest.fixture
def plain(coze: Coze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """For what does not depend on the way of waiting."""
    return Batches(coze, tmp_path / "results", monkeypatch, defers=False)


@pytest.fixture
def moody(coze: Coze) -> Bot:
    """A bot that fails at what says so, for as long as its answer is not replaced; 3 s and 10 tokens each."""
    return coze.emulator.add_bot(name="moody", answer=_mood, duration=Seconds(3), tokens=Tokens(input=7, output=3))


def _mood(turn: Turn) -> str:
    if "fail" in turn:
        raise Failure(5000, "the bot's own trouble")
    return f"You said: {turn}"


class TestResults:
    def test_each_row_has_its_answer_in_the_order_of_the_input(self, batches: Batches) -> None:
        batches.chats([{"text": f"row {index}"} for index in range(12)], message="{{ row.text }}?", max_in_flight=5)
        assert [line["index"] for line in batches.lines()] == list(range(12))
        assert batches.outputs == {index: f"You said: row {index}?" for index in range(12)}
        assert len(batches.coze.ledger) == 12

    def test_a_run_returns_what_its_end_node_does(self, batches: Batches) -> None:
        batches.runs([{"text": "a"}, {"text": "b"}], parameters={"said": "{{ row.text }}", "number": "{{ index }}"})
        assert [bill.marker["parameters"] for bill in batches.coze.ledger] == [
            {"said": "a", "number": 0},
            {"said": "b", "number": 1},
        ]
        assert "a" in str(batches.outputs[0])

    def test_a_line_has_all_that_is_known_of_its_row(self, batches: Batches, moody: Bot) -> None:
        batches.chats(["a", "fail"], bot_id=moody.id, retries_per_row=0)
        good, bad = batches.lines()
        bill = batches.coze.ledger[0]
        assert good["ids"] == {"chat_id": bill.id, "conversation_id": bill.conversation_id}
        assert good["usage"] == {"token_count": 10, "input_count": 7, "output_count": 3}
        assert (good["error"], good["tries"]) == (None, 1)
        assert good["seconds"] >= 3
        assert bad["output"] is None
        assert bad["error"]["type"] == "CozeChatFailedError"
        assert (bad["error"]["code"], bad["error"]["msg"]) == (5000, "the bot's own trouble")

    def test_the_manifest_says_how_it_went_and_is_the_xcom(self, batches: Batches, moody: Bot) -> None:
        manifest = batches.chats(["a", "fail", ""], bot_id=moody.id, retries_per_row=1)
        assert manifest["request_count"] == 3
        assert manifest["counts"] == {
            "succeeded": 1,
            "errored": 2,
            "invalid_output": 0,
            "expired": 0,
            "cancelled": 0,
            "unknown": 0,
            "missing": 0,
        }
        assert manifest["usage"]["token_count"] == sum(bill.tokens for bill in batches.coze.ledger) == 30
        assert manifest["terminal_reason"] == "partial"
        assert manifest == batches.manifest
        assert json.loads(Path(batches.folder, manifest["batch_id"], "manifest.json").read_text()) == manifest

    def test_no_rows_are_an_empty_batch(self, batches: Batches) -> None:
        manifest = batches.chats([])
        assert (manifest["request_count"], manifest["failed_uri"]) == (0, None)
        assert batches.lines() == []
        assert batches.coze.seen == []

    def test_typed_outputs_are_asked_for_again_until_they_are_right(self, batches: Batches, moody: Bot) -> None:
        moody.answer = lambda turn: "good" if len(batches.coze.ledger) >= 2 else "I think it is good"
        batches.chats(["a"], bot_id=moody.id, output_type=Literal["good", "bad"], retries_per_row=2)
        assert batches.outputs == {0: "good"}

    def test_rows_can_share_a_request(self, batches: Batches, moody: Bot) -> None:
        def each(turn: Turn) -> str:
            rows = json.loads(turn.split("Inputs:\n")[1])
            return json.dumps([{"index": row["index"], "output": row["input"].upper()} for row in rows])

        moody.answer = each
        manifest = batches.chats(list("abcdef"), bot_id=moody.id, rows_per_call=3, max_in_flight=1)
        assert batches.outputs == dict(enumerate("ABCDEF"))
        assert manifest["usage"]["token_count"] == 20

    def test_a_report_is_written_next_to_them(self, plain: Batches) -> None:
        manifest = plain.chats(["a", "b"], report=True)
        assert "<html" in Path(manifest["report_uri"]).read_text()


class TestWhatFailed:
    def test_failed_uri_asks_only_that_again_with_the_same_indexes(self, either: Batches, moody: Bot) -> None:
        manifest = either.chats(["a", "fail 1", "b", "fail 3"], bot_id=moody.id, retries_per_row=0)
        moody.answer = "now"
        again = either.chats(manifest["failed_uri"], bot_id=moody.id, task_id="again", reuse="never")
        assert either.outputs == {1: "now", 3: "now"}
        assert again["request_count"] == 2
        assert again["failed_uri"] is None
        assert len(either.coze.ledger) == 6

    def test_of_a_batch_without_failures_it_is_an_empty_batch(self, either: Batches) -> None:
        manifest = either.chats(["a"])
        again = either.chats(manifest["failed_uri"], reuse="never")
        assert again["request_count"] == 0
        assert len(either.coze.ledger) == 1

    def test_on_error_fail_asks_all_and_then_fails_and_a_retry_asks_only_what_failed(
        self, either: Batches, moody: Bot
    ) -> None:
        arguments: dict[str, Any] = {"bot_id": moody.id, "retries_per_row": 1, "on_error": "fail"}
        with pytest.raises(e.CozeBatchFailedError, match="2 of 5 rows") as caught:
            either.chats(["a", "fail", "b", "", "c"], **arguments)
        assert caught.value.failed_uri == either.manifest["failed_uri"]
        assert len(either.coze.ledger) == 5
        with pytest.raises(e.CozeBatchFailedError, match="2 of 5 rows"):
            either.chats(["a", "fail", "b", "", "c"], try_number=2, **arguments)
        assert len(either.coze.ledger) == 7  # the row has all of its tries again
        assert either.errors == {1: 5000, 3: "empty"}  # and the empty row is not forgotten
        moody.answer = "now"
        with pytest.raises(e.CozeBatchFailedError, match="1 of 5 rows"):
            either.chats(["a", "fail", "b", "", "c"], try_number=3, **arguments)
        assert either.outputs == {0: "You said: a", 1: "now", 2: "You said: b", 4: "You said: c"}

    def test_too_many_errors_stop_it_and_a_retry_goes_on(self, either: Batches, moody: Bot) -> None:
        arguments: dict[str, Any] = {"bot_id": moody.id, "retries_per_row": 0, "max_error_ratio": 0, "max_in_flight": 2}
        rows = ["a", "fail", *"bcdefgh"]
        with pytest.raises(e.CozeBatchFailedError, match="max_error_ratio"):
            either.chats(rows, **arguments)
        bought = len(either.coze.ledger)
        assert bought < 9
        assert either.manifest["terminal_reason"] == "too_many_errors"
        moody.answer = "now"
        either.chats(rows, try_number=2, **arguments)
        assert len(either.outputs) == 9
        assert len(either.coze.ledger) == 9 + 1

    def test_a_token_budget_stops_it_for_good(self, either: Batches, moody: Bot) -> None:
        with pytest.raises(e.CozeTokenBudgetError) as caught:
            either.chats(list("abcdefgh"), bot_id=moody.id, token_budget=25, max_in_flight=1)
        assert is_kind(caught.value, e.CozeTokenBudgetError)
        assert len(either.coze.ledger) == 3
        either.chats(list("abcdefgh"), bot_id=moody.id, token_budget=1_000, try_number=2)
        assert len(either.outputs) == len(either.coze.ledger) == 8

    def test_a_timeout_leaves_what_runs_for_the_retry(self, either: Batches, moody: Bot) -> None:
        moody.duration = Seconds(100)
        with pytest.raises(e.CozeBatchTimeoutError, match="not over after its timeout"):
            either.chats(["a", "b"], bot_id=moody.id, timeout=50)
        assert either.manifest["counts"]["missing"] == 2
        either.chats(["a", "b"], bot_id=moody.id, try_number=2)
        assert len(either.outputs) == len(either.coze.ledger) == 2

    def test_a_row_that_takes_too_long_is_recorded(self, either: Batches, moody: Bot) -> None:
        moody.duration = lambda turn: Seconds(500 if "slow" in turn else 3)
        manifest = either.chats(["a", "slow"], bot_id=moody.id, row_timeout=60)
        assert manifest["counts"]["expired"] == 1
        assert either.outputs == {0: "You said: a"}


class TestStoppedByCoze:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (4100, e.CozeAuthError),
            (4101, e.CozePermissionError),
            (4028, e.CozeQuotaError),
            (4200, e.CozeNotFoundError),
            (4015, e.CozeRejectedError),
        ],
    )
    def test_a_refusal_that_all_rows_would_meet_fails_the_task(
        self, either: Batches, code: int, kind: type[e.CozeError]
    ) -> None:
        either.coze.script(error(code), on=SEND, times=None)
        with pytest.raises(kind, match="every row would meet it") as caught:
            either.chats(["a", "b", "c"], max_in_flight=1)
        assert is_kind(caught.value, kind)
        assert either.manifest["terminal_reason"] == "refused"
        assert (either.coze.ledger, either.outputs) == ([], {})
        either.coze.emulator.clear_faults()
        either.chats(["a", "b", "c"], try_number=2)
        assert len(either.outputs) == len(either.coze.ledger) == 3

    def test_limits_are_waited_for_and_cost_nothing(self, either: Batches) -> None:
        either.coze.script(rate_limited(retry_after=30), on=SEND, times=20)
        either.chats(list("abcde"))
        assert len(either.outputs) == len(either.coze.ledger) == 5


class TestLostReplies:
    def test_chats_are_found_and_never_paid_for_twice(self, batches: Batches) -> None:
        batches.coze.script(reset(after_commit=True), on=SEND, times=3)
        batches.chats(list("abcdefgh"))
        assert len(batches.outputs) == len(batches.coze.ledger) == 8

    def test_one_that_waits_for_a_proof_is_not_forgotten_when_the_batch_is_stopped(
        self, plain: Batches, moody: Bot
    ) -> None:
        plain.coze.script(reset(), on=SEND)
        moody.duration = Seconds(30)
        with pytest.raises(e.CozeTokenBudgetError):
            plain.chats((word for word in "ab"), bot_id=moody.id, token_budget=1)
        plain.coze.world.made_conversations_listed = True
        plain.chats((word for word in "abc"), bot_id=moody.id, try_number=2)
        assert len(plain.outputs) == len(plain.coze.ledger) == 3

    def test_runs_are_recorded_as_unknown(self, batches: Batches) -> None:
        batches.coze.script(reset(after_commit=True), on=RUN, times=2)
        manifest = batches.runs([{"text": word} for word in "abcdef"])
        assert manifest["counts"]["unknown"] == 2
        assert len(batches.outputs) == 4
        assert len(batches.coze.ledger) == 6

    def test_or_sent_again_if_that_is_asked_for(self, batches: Batches) -> None:
        batches.coze.script(reset(after_commit=True), on=RUN, times=2)
        batches.runs([{"text": word} for word in "abcdef"], on_unknown="resend")
        assert len(batches.outputs) == 6
        assert len(batches.coze.ledger) == 8


class TestLaterTries:
    def test_a_clear_by_hand_of_a_task_that_succeeded_asks_anew(self, either: Batches) -> None:
        first = either.chats(["a"])
        either.max_tries = 3
        second = either.chats(["a"], try_number=2)
        assert len(either.coze.ledger) == 2
        assert first["batch_id"] != second["batch_id"]

    def test_a_clear_by_hand_of_one_that_failed_of_its_rows_asks_only_those(self, either: Batches, moody: Bot) -> None:
        arguments: dict[str, Any] = {"bot_id": moody.id, "retries_per_row": 0, "on_error": "fail"}
        with pytest.raises(e.CozeBatchFailedError, match="1 of 2 rows"):
            either.chats(["a", "fail"], **arguments)
        moody.answer, either.max_tries = "now", 3
        either.chats(["a", "fail"], try_number=2, **arguments)
        assert either.outputs == {0: "You said: a", 1: "now"}
        assert len(either.coze.ledger) == 3

    def test_unless_it_is_to_reuse_what_it_has(self, either: Batches) -> None:
        either.chats(["a"])
        either.max_tries = 3
        either.chats(["a", "b"], try_number=2, reuse="always")
        assert len(either.outputs) == len(either.coze.ledger) == 2

    def test_never_means_that_even_a_retry_asks_anew(self, either: Batches) -> None:
        for number in (1, 2, 3):
            either.chats(["a"], try_number=number, reuse="never")
        assert len(either.coze.ledger) == 3

    def test_a_row_that_has_changed_is_asked_anew(self, either: Batches, caplog: pytest.LogCaptureFixture) -> None:
        either.chats(["a", "b"], on_error="fail")
        either.chats(["a", "c"], on_error="fail", try_number=2)
        assert either.outputs == {0: "You said: a", 1: "You said: c"}
        assert len(either.coze.ledger) == 3
        assert "1 rows is not what an earlier try sent" in caplog.text

    def test_rows_that_are_gone_are_not_among_the_results(self, either: Batches) -> None:
        either.chats(["a", "b", "c"])
        manifest = either.chats(["a"], try_number=2)
        assert either.outputs == {0: "You said: a"}
        assert (manifest["request_count"], manifest["counts"]["missing"]) == (1, 0)

    def test_another_bot_is_another_question(self, either: Batches, moody: Bot) -> None:
        either.chats(["a"])
        either.chats(["a"], try_number=2, bot_id=moody.id)
        assert len(either.coze.ledger) == 2


class TestBadRows:
    def test_each_is_recorded_and_costs_nothing(self, either: Batches, tmp_path: Path) -> None:
        lines = ['{"text": "a"}', "{broken", '""', json.dumps({"text": "x" * 1_100_000}), "7", '{"text": "b"}']
        (tmp_path / "rows.jsonl").write_text("\n".join(lines))
        either.chats(str(tmp_path / "rows.jsonl"), message="{{ row.text }}")
        assert either.errors == {1: "undecodable", 2: "empty", 3: "too_large", 4: "template"}
        assert either.outputs == {0: "You said: a", 5: "You said: b"}
        assert len(either.coze.ledger) == 2

    def test_one_of_a_wrong_type_too(self, plain: Batches) -> None:
        plain.chats(["a", {"text": "b"}])
        assert plain.errors == {1: "wrong_type"}

    def test_and_one_that_comes_twice(self, plain: Batches, tmp_path: Path) -> None:
        failed = {"index": 7, "input": "a", "error": {"code": 5000}}
        (tmp_path / "failed.jsonl").write_text(f"{json.dumps(failed)}\n{json.dumps(failed)}\n")
        plain.chats(str(tmp_path / "failed.jsonl"))
        assert plain.outputs == {7: "You said: a"}
        assert plain.errors == {-1: "duplicate"}
        assert len(plain.coze.ledger) == 1


class TestFoundBeforeAnythingIsSent:
    def refused(self, batches: Batches, words: str, inputs: Any = ("a",), **arguments: Any) -> None:
        inputs = list(inputs) if isinstance(inputs, tuple) else inputs
        with pytest.raises(e.CozeInputError, match=words) as caught:
            batches.chats(inputs, **arguments)
        assert is_kind(caught.value, e.CozeInputError)
        assert re.search("Nothing (of it )?was sent", str(caught.value))
        assert (batches.coze.seen, batches.coze.ledger) == ([], [])

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"max_in_flight": 0}, "max_in_flight"),
            ({"rows_per_call": True}, "rows_per_call"),
            ({"requests_per_minute": -1}, "requests_per_minute"),
            ({"retries_per_row": -1}, "retries_per_row"),
            ({"max_error_ratio": 2}, "max_error_ratio"),
            ({"token_budget": 0}, "token_budget"),
            ({"timeout": 0}, "timeout"),
            ({"on_error": "ignore"}, "on_error"),
            ({"on_unknown": "guess"}, "on_unknown"),
            ({"reuse": "sometimes"}, "reuse"),
            ({"result_path": "None"}, "result_path"),
            ({"output_type": "list"}, "output_type"),
            ({"bot_id": ""}, "bot_id"),
            ({"message": " "}, "message"),
            ({"message": "{{ row.text"}, "message is no template"),
        ],
    )
    def test_arguments_that_are_wrong(self, plain: Batches, arguments: dict[str, Any], words: str) -> None:
        self.refused(plain, words, **arguments)

    def test_all_of_them_in_one_error(self, plain: Batches) -> None:
        self.refused(plain, "max_in_flight.*rows_per_call.*on_error", max_in_flight=0, rows_per_call=0, on_error="")

    def test_a_file_that_is_not_there(self, plain: Batches, tmp_path: Path) -> None:
        self.refused(plain, "does not exist", inputs=str(tmp_path / "none.jsonl"))

    def test_a_file_that_was_half_written(self, plain: Batches, tmp_path: Path) -> None:
        (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'"a row"' * 1_000)[:-20])
        self.refused(plain, "rows.jsonl.gz", inputs=str(tmp_path / "rows.jsonl.gz"))

    def test_a_folder_that_cannot_be_written(self, plain: Batches, tmp_path: Path) -> None:
        (tmp_path / "a file").write_text("")
        self.refused(plain, "cannot be written", result_path=str(tmp_path / "a file"))

    @pytest.mark.parametrize("inputs", ["", "None", {"text": "a"}, 7, {"a", "b"}])
    def test_what_has_no_rows(self, plain: Batches, inputs: Any) -> None:
        self.refused(plain, "inputs", inputs=inputs)

    def test_a_workflows_arguments_as_well(self, plain: Batches) -> None:
        with pytest.raises(e.CozeInputError, match=r"execution_mode.*packed_parameter"):
            plain.runs([{}], execution_mode="later", packed_parameter="")
        with pytest.raises(e.CozeInputError, match="parameters"):
            plain.runs([{}], parameters={"text": "{{ row.text"})
        assert plain.coze.seen == []


@pytest.mark.matrix
def test_an_input_that_breaks_while_it_is_read_fails_the_task_and_a_retry_goes_on(plain: Batches) -> None:
    def breaking() -> Any:
        yield from (f"row {index}" for index in range(260))
        raise OSError("the network drive is gone")

    with pytest.raises(OSError, match="network drive"):
        plain.chats(breaking(), max_in_flight=300)
    assert 0 < len(plain.coze.ledger) <= 256
    plain.chats([f"row {index}" for index in range(270)], try_number=2, max_in_flight=300)
    assert len(plain.outputs) == len(plain.coze.ledger) == 270


def test_while_it_runs_garbage_is_looked_for_less_often_and_afterwards_as_before(plain: Batches) -> None:
    before, seen = gc.get_threshold(), []

    def looking() -> Any:
        seen.append(gc.get_threshold()[0])
        yield "row"

    plain.chats(looking())
    assert seen[-1] > before[0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


class TestWords:
    """An error says what happened, where, what Coze does now, and what a retry does."""

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            ({"on_error": "fail"}, ("1 of 3 rows", "Results are in", "Nothing is running any more", "A retry")),
            ({"timeout": 2}, ("not over after its timeout", "Results are in", "goes on in Coze", "A retry")),
            ({"token_budget": 5, "max_in_flight": 1}, ("token_budget of 5", "Results are in", "Nothing more", "clear")),
            (
                {"max_error_ratio": 0, "max_in_flight": 1},
                ("max_error_ratio=0", "Results are in", "Nothing more was sent", "A retry"),
            ),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_of_a_batch_that_did_not_end_well(
        self, plain: Batches, moody: Bot, arguments: dict[str, Any], parts: tuple[str, ...]
    ) -> None:
        with pytest.raises(e.CozeError) as caught:
            plain.chats(["fail", "a", "b"], bot_id=moody.id, retries_per_row=0, **arguments)
        for part in parts:
            assert part in str(caught.value)
        assert str(plain.folder) in str(caught.value)


class TestUnknownInWords:
    def test_rows_that_may_be_running_are_not_said_to_be_asked_again(self, plain: Batches) -> None:
        plain.coze.script(reset(after_commit=True), on=RUN)
        with pytest.raises(e.CozeBatchFailedError) as caught:
            plain.runs([{"text": "a"}], on_error="fail")
        assert "unknown 1" in str(caught.value)
        assert 'stay so unless on_unknown is "resend"' in str(caught.value)
        assert "Nothing is running any more" not in str(caught.value)


class TestSecrets:
    def test_no_token_is_written_and_no_word_of_a_row_or_an_answer_logged(
        self, batches: Batches, moody: Bot, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        moody.answer = lambda turn: _mood(turn) if "fail" in turn else "TANGERINE"
        rows = [{"text": "PINEAPPLE"}, {"text": "PINEAPPLE fail"}, {"other": "PINEAPPLE"}, {"text": "PINEAPPLE"}]
        batches.coze.script(reset(after_commit=True), on=SEND)
        batches.chats(rows, bot_id=moody.id, message="{{ row.text }}", report=True)
        batches.coze.script(reset(after_commit=True), on=RUN)
        batches.runs([{"text": "PINEAPPLE"}] * 2, workflow_id=ECHO, task_id="run", reuse="never")
        told = [record.getMessage() for record in caplog.records if not record.name.startswith("asyncio")]
        assert any("Results" in line for line in told)
        for secret in (TOKEN, "PINEAPPLE", "TANGERINE"):
            assert secret not in "\n".join(told)
        assert TOKEN not in batches.everything_written()
        assert TOKEN not in json.dumps(batches.xcoms)
        assert "PINEAPPLE" not in json.dumps(batches.xcoms)
        for name in ("window.json", "stats.json", "report.html", "manifest.json", "owner.json"):
            for path in batches.folder.rglob(name):
                assert "PINEAPPLE" not in path.read_text()
                assert "TANGERINE" not in path.read_text()


class TestOnKill:
    def test_it_sends_nothing_more_and_says_what_goes_on(
        self, plain: Batches, moody: Bot, caplog: pytest.LogCaptureFixture
    ) -> None:
        task = plain.task(_operator(), inputs=[f"row {index}" for index in range(20)], bot_id=moody.id, max_in_flight=2)
        plain.coze.time.after(5, task.on_kill)
        with pytest.raises(e.CozeBatchFailedError, match=r"ended by a kill.*A retry goes on"):
            task.execute({"ti": plain.ti, "task": task})
        assert 2 <= len(plain.coze.ledger) < 10
        assert "nothing more is sent" in caplog.text
        plain.chats([f"row {index}" for index in range(20)], bot_id=moody.id, try_number=2)
        assert len(plain.outputs) == len(plain.coze.ledger) == 20

    def test_before_it_has_begun_there_is_nothing_to_say(self, plain: Batches) -> None:
        plain.task(_operator(), inputs=[], bot_id="7").on_kill()


def _operator() -> type:
    from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator

    return CozeChatBatchOperator
