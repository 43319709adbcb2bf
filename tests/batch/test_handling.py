"""One request of a batch: what is noted down before and after it, and what becomes of one whose reply is lost."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from airflow_provider_coze.batch.asks import Item
from airflow_provider_coze.batch.engine import Stop, Terminal
from airflow_provider_coze.emulator.definitions import Failure, Immediate, Interrupt, Tokens
from airflow_provider_coze.emulator.scenarios import (
    answer,
    bad_gateway,
    error,
    no_reply,
    rate_limited,
    reset,
    server_error,
    web_page,
)
from airflow_provider_coze.emulator.store import Message
from tests.batch.stage import CREATE, LISTED, MESSAGES, READ, RUN, SEND, Stage, rows


def runs(*words: str) -> list[Item]:
    return [Item(index, word, {"text": word}, f"h{index}") for index, word in enumerate(words)]


class TestTheOrder:
    def test_the_intent_is_there_before_the_request_and_the_result_comes_last(self, stage: Stage) -> None:
        seen: dict[str, list[str]] = {}
        stage.tampered = lambda name, request: seen.setdefault(name, stage.told())  # type: ignore[assignment, return-value]
        stage.play(rows(1))
        assert seen[CREATE] == []
        assert seen[SEND] == ["intent"]
        assert seen[READ] == ["intent", "bought"]
        assert seen[MESSAGES] == ["intent", "bought"]
        assert stage.told() == ["intent", "bought", "result"]

    def test_where_the_chat_will_be_is_part_of_the_intent(self, stage: Stage) -> None:
        stage.play(rows(1))
        intent, bought = stage.events[1:3]
        assert intent["conversation_id"] == bought["ids"]["conversation_id"] == stage.emulator.ledger[0].conversation_id

    def test_a_request_that_started_nothing_is_noted_as_that(self, stage: Stage) -> None:
        stage.script(error(4000), on=SEND)
        stage.play(rows(1), retries_per_row=3)
        assert stage.told() == ["intent", "nothing", "result"]
        assert stage.results[0]["tries"] == 0
        assert stage.past.tries(0) == 0

    def test_of_a_row_that_failed_the_journal_has_the_input_so_that_it_can_be_asked_again(self, stage: Stage) -> None:
        stage.play(rows("fail", "good"))
        assert stage.results[0]["input"] == "fail"
        assert "input" not in stage.results[1]
        assert stage.results[0]["ids"]["chat_id"] == stage.emulator.ledger[0].id

    def test_no_token_and_no_question_is_in_the_journal(self, stage: Stage) -> None:
        stage.play(rows("a secret question"))
        said = json.dumps([event for event in stage.events if event["t"] != "result"])
        assert "secret" not in said
        assert "pat_" not in json.dumps(stage.events)


class TestLostRepliesOfChats:
    @pytest.mark.parametrize("fault", [reset, bad_gateway, server_error, no_reply], ids=lambda fault: fault.__name__)
    def test_one_that_arrived_is_found_in_its_conversation_and_read(self, stage: Stage, fault: Any) -> None:
        stage.script(fault(after_commit=True), on=SEND, times=3)
        stage.play(rows(*["sleep 20"] * 5))
        assert stage.outputs == dict.fromkeys(range(5), "You said: sleep 20")
        assert stage.billed == 5
        assert stage.told() == ["intent", "bought", "result"]

    def test_one_that_never_arrived_is_sent_again(self, stage: Stage) -> None:
        stage.script(reset(), on=SEND, times=3)
        stage.play(rows(5))
        assert len(stage.outputs) == stage.billed == 5
        assert stage.told() == ["intent", "nothing", "intent", "bought", "result"]
        assert stage.results[0]["tries"] == 1

    def test_one_is_looked_for_long_enough_however_long_it_waited_to_be_sent(self, stage: Stage) -> None:
        stage.script(rate_limited(retry_after=20), on=SEND)
        stage.script(reset(), on=SEND)
        stage.play(rows(1))
        turned_away, lost, again = stage.times(SEND)
        assert lost - turned_away >= 20
        assert again - lost >= 5, "it might have been listed a moment later, and would be paid for twice"

    def test_if_none_ever_arrives_the_batch_gives_up_without_having_bought(self, stage: Stage) -> None:
        stage.script(reset(), on=SEND, times=None)
        stage.play(rows(2))
        assert stage.engine.stop is not None
        assert stage.engine.stop.reason is Terminal.REFUSED
        assert (stage.billed, stage.results, stage.past.open) == (0, {}, [])
        assert stage.asked(SEND) < 30

    def test_one_that_failed_without_an_answer_is_unknown(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=SEND)
        stage.play(rows("fail", "good"), patience=60.0, retries_per_row=3)
        assert stage.errors == {0: ("CozeOutcomeUnknownError", None)}
        assert stage.billed == 2

    def test_and_asked_again_if_that_is_asked_for(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=SEND)
        stage.bot.answer = lambda turn: _first_fails(stage)
        stage.play(rows("x"), patience=60.0, resends=True)
        assert stage.outputs == {0: "now"}
        assert stage.billed == 2

    def test_when_the_time_is_up_it_stays_open_for_the_next_try(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=SEND)
        stage.play(rows("sleep 100"), until=stage.time() + 50)
        assert stage.engine.stop == Stop(Terminal.TIMEOUT)
        assert stage.results == {}
        assert [submission.rows for submission in stage.past.open] == [(0,)]
        stage.play(rows("sleep 100"))
        assert len(stage.outputs) == stage.billed == 1

    def test_a_coze_that_cannot_be_asked_leaves_it_in_the_journal(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=SEND)
        stage.script(reset(), on="POST /v1/conversation/message/list", times=None)
        stage.play(rows(1))
        assert stage.engine.stop is not None
        assert stage.results == {}
        assert len(stage.past.open) == 1
        stage.emulator.clear_faults()
        stage.play(rows(1))
        assert len(stage.outputs) == stage.billed == 1


def _first_fails(stage: Stage) -> str:
    if stage.billed < 1:
        raise Failure(5000, "trouble")
    return "now"


class TestChatsWithoutConversationsOfTheirOwn:
    """Whether Coze lists the conversations that it makes is not documented, so one chat shows it."""

    @pytest.fixture
    def listed(self, stage: Stage) -> None:
        stage.emulator.world.made_conversations_listed = True

    def test_if_they_are_listed_one_chat_shows_it_and_the_others_need_none(self, stage: Stage, listed: None) -> None:
        stage.play(rows(20), probes=True, max_in_flight=2)
        assert len(stage.outputs) == stage.billed == 20
        assert stage.asked(CREATE) < 6
        assert stage.past.notes == {"shown": True}

    def test_if_not_each_gets_one(self, stage: Stage) -> None:
        stage.play(rows(20), probes=True, max_in_flight=2)
        assert len(stage.outputs) == stage.billed == 20
        assert stage.asked(CREATE) == 19
        assert stage.past.notes == {"shown": False}

    def test_what_is_known_is_not_found_out_again(self, stage: Stage, listed: None) -> None:
        stage.play(rows(1), probes=True)
        stage.play(rows(9), probes=True)
        assert stage.asked(CREATE) == 0
        assert stage.asked(LISTED) == 1

    def test_lost_ones_are_found_together(self, stage: Stage, listed: None) -> None:
        stage.play(rows("first"), probes=True)
        before = stage.asked(LISTED)
        stage.script(reset(after_commit=True), on=SEND, times=4)
        stage.script(reset(), on=SEND, skip=1, times=3)
        stage.play(rows("first", *["sleep 20"] * 12))
        assert len(stage.outputs) == stage.billed == 13
        assert stage.asked(LISTED) - before <= 3

    def test_they_are_looked_for_long_enough_however_long_one_waited_to_be_sent(
        self, stage: Stage, listed: None
    ) -> None:
        stage.play(rows("first"), probes=True)
        stage.script(rate_limited(retry_after=20), on=SEND)
        stage.script(reset(), on=SEND)
        stage.play(rows("first", "second"))
        _, turned_away, lost, again = stage.times(SEND)
        assert lost - turned_away >= 20
        assert again - lost >= 5

    def test_one_that_was_lost_before_it_was_shown_waits_for_the_proof(self, stage: Stage, listed: None) -> None:
        stage.script(reset(), on=SEND)  # the probe's own
        stage.play(rows(3), probes=True, max_in_flight=1)
        assert len(stage.outputs) == stage.billed == 3
        assert stage.told() == ["intent", "nothing", "intent", "bought", "result"]

    def test_without_a_proof_nobody_knows_and_it_is_not_forgotten(self, stage: Stage) -> None:
        stage.script(reset(), on=SEND)
        stage.play(rows(3), probes=True, max_in_flight=1)
        assert stage.errors == {0: ("CozeOutcomeUnknownError", None)}
        assert stage.billed == 2

    def test_also_if_no_chat_is_left_that_could_show_it(self, stage: Stage) -> None:
        stage.script(reset(), on=SEND)
        stage.play(rows(1), probes=True)
        assert stage.errors == {0: ("CozeOutcomeUnknownError", None)}

    def test_one_that_never_came_is_sent_again_if_that_is_asked_for(self, stage: Stage) -> None:
        stage.script(reset(), on=SEND)
        stage.play(rows(1), probes=True, resends=True)
        assert len(stage.outputs) == stage.billed == 1

    def test_a_probe_that_is_refused_leaves_it_to_the_next_chat(self, stage: Stage, listed: None) -> None:
        stage.script(error(4000), on=SEND)
        stage.play(rows(10), probes=True, max_in_flight=1)
        assert stage.errors == {0: ("CozeRejectedError", 4000)}
        assert stage.past.notes == {"shown": True}

    def test_it_is_shown_over_a_deferral_as_well(self, stage: Stage, listed: None) -> None:
        window = stage.play(rows(4), probes=True, waits=False, max_in_flight=2)
        stage.time.sleep(10)
        ended = [live.marker for live in window]
        stage.play(rows(4), probes=True, waits=False, max_in_flight=2, ended=ended)
        assert stage.past.notes == {"shown": True}

    def test_a_conversation_of_somebody_else_is_left_alone(self, stage: Stage, listed: None) -> None:
        stage.play(rows("first"), probes=True)
        stage.script(reset(), on=SEND)
        others = len(stage.emulator.store.conversations)

        def somebody(name: str, request: Any) -> None:
            if name == SEND and len(stage.emulator.store.conversations) == others:
                conversation = stage.emulator.store.new_conversation(
                    owner=f"{stage.emulator.world.user_id}/", bot_id=stage.bot.id
                )
                conversation.messages.append(_question(conversation))

        stage.tampered = somebody
        stage.play(rows("first", "second"))
        assert stage.outputs == {0: "You said: first", 1: "You said: second"}
        assert stage.billed == 2

    def test_if_it_cannot_be_found_out_each_gets_one(self, stage: Stage, listed: None) -> None:
        stage.script(error(4000), on=LISTED, times=None)
        stage.play(rows(6), probes=True, max_in_flight=1)
        assert len(stage.outputs) == stage.billed == 6
        assert stage.asked(CREATE) == 5
        assert stage.past.notes == {}


def _question(conversation: Any) -> Any:
    return Message(
        id="1",
        conversation_id=conversation.id,
        section_id="2",
        role="user",
        type="question",
        content="somebody's own question",
        content_type="text",
        created_at=conversation.created_at,
        updated_at=conversation.created_at,
        chat_id="3",
    )


class TestRuns:
    @pytest.mark.parametrize("fault", [reset, bad_gateway, server_error, no_reply], ids=lambda fault: fault.__name__)
    @pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "does not arrive"])
    def test_one_whose_reply_is_lost_is_recorded_as_unknown(self, stage: Stage, fault: Any, arrives: bool) -> None:
        stage.script(fault(after_commit=arrives), on=RUN)
        stage.play(runs("a", "b"), "run", retries_per_row=3)
        assert stage.errors == {0: ("CozeOutcomeUnknownError", None)}
        assert stage.billed == 1 + arrives
        assert stage.told() == ["intent", "result"]

    def test_or_sent_again_if_that_is_asked_for(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=RUN)
        stage.play(runs("a", "b"), "run", resends=True)
        assert len(stage.outputs) == 2
        assert stage.billed == 3

    def test_but_not_for_ever(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=RUN, times=None)
        stage.play(runs("a"), "run", resends=True)
        assert stage.errors == {0: ("CozeOutcomeUnknownError", None)}
        assert stage.billed == 6

    def test_the_error_says_what_happened_where_what_goes_on_and_what_a_retry_does(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=RUN)
        stage.play(runs("a"), "run")
        msg = stage.results[0]["error"]["msg"]
        assert "cannot be told" in msg
        assert "key.1.0.0" in msg
        assert "Nothing more was sent" in msg
        assert 'on_unknown="resend"' in msg

    def test_one_that_was_sent_by_a_process_that_died_is_unknown(self, stage: Stage) -> None:
        stage.tampered = _killed_at(RUN)
        with pytest.raises(KeyboardInterrupt):
            stage.play(runs("a"), "run")
        stage.tampered = lambda name, request: None
        stage.play(runs("a"), "run")
        assert stage.errors == {0: ("CozeOutcomeUnknownError", None)}

    def test_a_plan_without_asynchronous_runs_falls_back_to_synchronous_ones(self, stage: Stage) -> None:
        stage.emulator.world.plan = "personal_free"
        stage.workflow.duration = Immediate()
        stage.play(runs(*"abcde"), "run", max_in_flight=2)
        assert len(stage.outputs) == stage.billed == 5
        assert stage.asked(RUN) <= 5 + 2

    def test_but_not_if_the_mode_says_otherwise(self, stage: Stage) -> None:
        stage.emulator.world.plan = "personal_free"
        stage.play(runs("a"), "run", mode="async")
        assert stage.engine.stop is not None
        assert stage.engine.stop.error is not None
        assert stage.engine.stop.error.code == 6003

    def test_a_refusal_that_shows_a_run_is_one(self, stage: Stage) -> None:
        url = "https://www.coze.cn/work_flow?execute_id=77&space_id=1"
        stage.script(answer(200, {"code": 720701013, "msg": "a node failed", "debug_url": url}), on=RUN)
        stage.play(runs("a"), "run")
        assert stage.told() == ["intent", "bought", "result"]
        assert stage.results[0]["ids"] == {"execute_id": "77", "debug_url": url}
        assert stage.results[0]["tries"] == 1

    def test_one_that_asks_a_question_has_failed(self, stage: Stage) -> None:
        stage.workflow.interrupt = Interrupt("Which city?")
        stage.play(runs("a"), "run", retries_per_row=3)
        assert stage.errors == {0: ("CozeRunInterruptedError", None)}
        assert stage.billed == 1


def _killed_at(name: str) -> Any:
    def tampered(seen: str, request: Any) -> None:
        if seen == name:
            raise KeyboardInterrupt

    return tampered


class TestTime:
    def test_a_chat_that_takes_too_long_is_cancelled_and_has_failed(self, stage: Stage) -> None:
        stage.play(rows("sleep 500", "a"), row_timeout=60.0, retries_per_row=3)
        assert stage.errors == {0: ("CozeChatTimeoutError", None)}
        assert stage.asked("POST /v3/chat/cancel") == 1
        assert stage.billed == 2

    def test_one_that_ends_while_it_is_cancelled_is_read(self, stage: Stage) -> None:
        def ends(name: str, request: Any) -> None:
            if name == "POST /v3/chat/cancel":
                stage.time.sleep(100)

        stage.tampered = ends
        stage.play(rows("sleep 70"), row_timeout=60.0)
        assert stage.outputs == {0: "You said: sleep 70"}

    def test_a_run_that_takes_too_long_goes_on_and_is_recorded(self, stage: Stage) -> None:
        stage.play(runs("sleep 500", "a"), "run", row_timeout=60.0, retries_per_row=3)
        assert stage.errors == {0: ("CozeRunTimeoutError", None)}
        assert stage.billed == 2

    def test_what_an_earlier_try_sent_too_long_ago_is_looked_at_once(self, stage: Stage) -> None:
        stage.play(rows("sleep 50"), waits=False)
        stage.time.sleep(10_000)
        stage.play(rows("sleep 50"), row_timeout=60.0)
        assert stage.outputs == {0: "You said: sleep 50"}


class TestReading:
    def test_an_answer_that_cannot_be_read_for_a_while_is_read_later(self, stage: Stage) -> None:
        stage.script(web_page(), on=MESSAGES, times=2)
        stage.play(rows("a", "b"))
        assert len(stage.outputs) == stage.billed == 2

    def test_one_that_can_never_be_read_does_not_end_the_batch(self, stage: Stage) -> None:
        def refuses(name: str, request: Any) -> None:
            if name == MESSAGES and request.query["chat_id"] == stage.emulator.ledger[0].id:
                stage.script(error(4000), on=MESSAGES)

        stage.tampered = refuses
        stage.play(rows("a", "b", "c"), max_in_flight=1)
        assert stage.errors == {0: ("CozeRejectedError", 4000)}
        assert set(stage.outputs) == {1, 2}

    def test_coze_that_is_out_of_reach_stops_the_batch_and_a_retry_reads_what_it_has_bought(self, stage: Stage) -> None:
        stage.script(error(4100, status=401), on=MESSAGES, times=None)
        stage.play(rows("a", "b"))
        assert stage.engine.stop is not None
        assert len(stage.past.open) == stage.billed == 2
        stage.emulator.clear_faults()
        stage.play(rows("a", "b"))
        assert len(stage.outputs) == stage.billed == 2

    def test_a_chat_that_is_gone_has_failed(self, stage: Stage) -> None:
        stage.script(error(4001), on=READ)
        stage.play(rows("a"), retries_per_row=3)
        assert stage.errors == {0: ("CozeNotFoundError", 4001)}

    def test_an_output_of_a_wrong_type_is_asked_for_again_and_its_tokens_count(self, stage: Stage) -> None:
        stage.bot.tokens = Tokens(input=7, output=3)
        stage.bot.answer = lambda turn: "4" if stage.billed >= 1 else "four"
        stage.play(rows("a"), output_type=int, retries_per_row=1)
        assert stage.outputs == {0: 4}
        assert stage.engine.tokens == stage.past.usage.token_count == 20

    def test_one_that_stays_wrong_is_recorded_without_being_quoted(self, stage: Stage) -> None:
        stage.bot.answer = "a private answer"
        stage.play(rows("a"), output_type=Literal["yes", "no"], retries_per_row=1)
        assert stage.errors == {0: ("CozeOutputTypeError", None)}
        assert "private" not in json.dumps(stage.events)
        assert stage.results[0]["tries"] == stage.billed == 2


class TestPacked:
    @pytest.fixture(autouse=True)
    def answers_each(self, stage: Stage) -> None:
        stage.bot.tokens = Tokens(input=7, output=3)

        def each(turn: Any) -> str:
            if "poison" in turn:
                raise Failure(5000, "trouble")
            if "Inputs:" not in turn:
                return f"You said: {turn}"
            inputs = json.loads(turn.split("Inputs:\n")[1])
            return json.dumps([{"index": row["index"], "output": f"You said: {row['input']}"} for row in inputs])

        stage.bot.answer = each

    def test_rows_share_a_request_and_each_has_its_own_output(self, stage: Stage) -> None:
        stage.play(rows(7), rows_per_call=3)
        assert stage.outputs == {index: f"You said: row {index}" for index in range(7)}
        assert stage.billed == 3

    def test_usage_is_counted_once(self, stage: Stage) -> None:
        stage.play(rows(3), rows_per_call=3)
        assert stage.engine.tokens == stage.past.usage.token_count == 10
        assert [result["usage"] and result["usage"]["token_count"] for result in stage.results.values()] == [
            10,
            None,
            None,
        ]

    def test_one_bad_row_fails_alone(self, stage: Stage) -> None:
        stage.play(rows("a", "b", "poison", "c"), rows_per_call=4)
        assert stage.errors == {2: ("CozeChatFailedError", 5000)}
        assert set(stage.outputs) == {0, 1, 3}
        assert stage.billed == 5  # all four; two and two; the halves of the bad two
        assert stage.past.usage.token_count == sum(bill.tokens for bill in stage.emulator.ledger)

    def test_an_answer_that_cannot_be_taken_apart_is_split(self, stage: Stage) -> None:
        each = stage.bot.answer
        stage.bot.answer = lambda turn: "no list" if stage.billed < 1 else each(turn)  # type: ignore[operator]
        stage.play(rows(4), rows_per_call=4)
        assert len(stage.outputs) == 4
        assert stage.billed == 3

    def test_rows_whose_outputs_are_of_a_wrong_type_are_asked_again_and_the_others_not(self, stage: Stage) -> None:
        stage.play(rows("1", "b", "3"), rows_per_call=3, output_type=Literal["You said: 1", "You said: 3"])
        assert set(stage.outputs) == {0, 2}
        assert stage.errors == {1: ("CozeOutputTypeError", None)}
        assert stage.billed == 1

    def test_a_lost_request_is_found_with_all_its_rows(self, stage: Stage) -> None:
        stage.script(reset(after_commit=True), on=SEND)
        stage.play(rows(3), rows_per_call=3)
        assert len(stage.outputs) == 3
        assert stage.billed == 1

    def test_a_try_after_a_kill_adopts_it_with_all_its_rows(self, stage: Stage) -> None:
        stage.play(rows(5), rows_per_call=3, waits=False)
        stage.play(rows(5), rows_per_call=2)
        assert len(stage.outputs) == 5
        assert stage.billed == 2
