"""What a chat needs beyond its question: tools that run here, answers that have to be asked for again, a budget, a stream."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.compat import TaskAwaitingInput
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER_BOT, TOOL_BOT
from airflow_provider_coze.emulator.definitions import Failure, Seconds, Template, Tokens, ToolCall, Turn
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.protocol.questions import Question
from tests import tries
from tests.tasks import Coze, Run, is_kind
from tests.tries import CHAT, Deaths, Task

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

defers, kept, deaths = tries.defers, tries.kept, tries.deaths

SUBMIT = "POST /v3/chat/submit_tool_outputs"


def ask(run: Run, bot_id: str = ECHO_BOT, **arguments: Any) -> Any:
    return run(CozeChatOperator, **{"bot_id": bot_id, "message": "hello", **arguments})


def read_sensor(room: str) -> dict[str, Any]:
    return {"room": room, "degrees": 21}


def in_rounds(rounds: int) -> Any:
    """A bot that asks for a tool so often, each time for another one, and then answers."""

    def calls(turn: Turn) -> list[ToolCall]:
        done = len(turn.tool_outputs)
        return [ToolCall(f"read_{done}", {"room": f"B{done}"})] if done < rounds else []

    return calls


def sensors(count: int, tool: Any = read_sensor) -> dict[str, Any]:
    return {f"read_{number}": tool for number in range(count)}


# --- tools


def test_a_tool_runs_here_and_the_bot_answers_with_what_it_returned(coze: Coze, run: Run) -> None:
    assert ask(run, TOOL_BOT, tools={"read_sensor": read_sensor}) == 'Sensor B2 says: {"room":"B2","degrees":21}'
    assert coze.asked(SUBMIT) == 1
    assert [entry.kind for entry in coze.ledger].count("chat") == 1


def test_a_bot_may_ask_several_times_and_the_task_defers_in_between(coze: Coze, run: Run) -> None:
    bot = coze.emulator.add_bot(tool_calls=in_rounds(3), answer="enough", duration=Seconds(30))
    seen: list[str] = []
    tools = sensors(3, lambda room: seen.append(room) or "warm")
    assert ask(run, bot.id, tools=tools) == "enough"
    assert seen == ["B0", "B1", "B2"]
    assert run.deferrals == (4 if run.defers else 0)


def test_a_bot_that_does_not_stop_asking_is_stopped(coze: Coze, run: Run) -> None:
    bot = coze.emulator.add_bot(tool_calls=in_rounds(9))
    with pytest.raises(e.CozeToolError, match="after 2 rounds, which is max_tool_rounds") as caught:
        ask(run, bot.id, tools=sensors(9), max_tool_rounds=2)
    assert caught.value.chat_id == coze.ledger[0].id
    assert coze.asked(SUBMIT) == 2


def test_without_tools_the_chat_that_waits_is_an_error_as_ever(run: Run) -> None:
    with pytest.raises(e.CozeChatRequiresActionError, match="read_sensor"):
        ask(run, TOOL_BOT)


@pytest.mark.parametrize("after_commit", [False, True])
def test_outputs_whose_reply_is_lost_are_taken_once(coze: Coze, run: Run, after_commit: bool) -> None:
    coze.script(scenarios.reset(after_commit=after_commit), on=SUBMIT)
    assert ask(run, TOOL_BOT, tools={"read_sensor": read_sensor}).startswith("Sensor B2 says")
    assert coze.asked(SUBMIT) == (1 if after_commit else 2)


def test_a_worker_that_dies_with_the_outputs_sent_pays_for_nothing_twice(kept: Task, deaths: Deaths) -> None:
    given = {"bot_id": TOOL_BOT, "message": "hello", "tools": {"read_sensor": read_sensor}}
    deaths.sending("POST /v3/chat/submit_tool_outputs", after=True)
    kept.killed(**given)
    assert kept.attempt(**given).startswith("Sensor B2 says")
    assert (kept.coze.asked(CHAT), kept.coze.asked(SUBMIT)) == (1, 1)


def test_wrong_tools_are_refused_before_anything_is_sent(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeInputError, match="must be a function") as caught:
        ask(run, TOOL_BOT, tools={"read_sensor": "B2"}, max_tool_rounds=-1)
    assert "max_tool_rounds must be a whole number" in str(caught.value)
    assert coze.seen == []


# --- typed answers


@dataclasses.dataclass
class Verdict:
    label: Literal["good", "bad"]
    score: float


def corrected(*answers: str) -> Any:
    """A bot that answers so, one after the other, in one conversation."""
    left = list(answers)

    def answer(turn: Turn) -> str:
        return left.pop(0)

    return answer


def test_an_answer_is_returned_as_its_type(coze: Coze, run: Run) -> None:
    bot = coze.emulator.add_bot(answer='Here you are:\n```json\n{"label": "good", "score": "0.5"}\n```')
    assert ask(run, bot.id, output_type=Verdict) == {"label": "good", "score": 0.5}


def test_a_bot_is_shown_what_is_wrong_and_gets_another_chance(coze: Coze, run: Run) -> None:
    answers = corrected('{"label": "nice", "score": 1}', '{"label": "good", "score": 1}')
    bot = coze.emulator.add_bot(answer=answers, tokens=Tokens(100, 10), duration=Seconds(20))
    assert ask(run, bot.id, output_type=Verdict) == {"label": "good", "score": 1.0}
    first, second = coze.ledger
    assert first.conversation_id == second.conversation_id
    assert "label" in coze.bodies(CHAT)[1]["additional_messages"][0]["content"]
    usage = run.xcoms["usage"]
    assert usage["token_count"] == 220
    assert [(piece["what"], piece["id"]) for piece in usage["attempts"]] == [
        ("chat", first.id),
        ("repair turn", second.id),
    ]
    assert run.deferrals == (2 if run.defers else 0)


def test_repairs_have_an_end_and_the_answers_are_not_quoted(coze: Coze, run: Run) -> None:
    bot = coze.emulator.add_bot(answer='{"label": "confidential", "score": 1}')
    with pytest.raises(e.CozeOutputTypeError, match=r"after 2 repair\(s\): label") as caught:
        ask(run, bot.id, output_type=Verdict, max_repairs=2)
    assert is_kind(caught.value, e.CozeOutputTypeError)
    assert "confidential" not in str(caught.value)
    assert len(coze.ledger) == 3


@pytest.mark.parametrize("where", ["before the repair", "repair sent", "repair noted", "before delivery", "delivered"])
def test_a_worker_that_dies_around_a_repair_pays_for_each_turn_once(kept: Task, deaths: Deaths, where: str) -> None:
    answers = corrected('{"label": "nice"}', '{"label": "good", "score": 1}')
    bot = kept.coze.emulator.add_bot(answer=answers, duration=Seconds(20))
    given = {"bot_id": bot.id, "message": "hello", "output_type": Verdict}
    asked: list[str] = []
    is_second = lambda *_: asked.append("") or len(asked) == 2  # noqa: E731
    match where:
        case "before the repair":
            deaths.once(CozeChatOperator, "_repaired")
        case "repair sent":
            deaths.once(tries.SyncTransport, "send", lambda _, r: r.path == "/v3/chat" and is_second(), after=True)
        case "repair noted":
            deaths.once(tries.Purchase, "bought", lambda *_, **__: is_second(), after=True)
        case "before delivery":
            deaths.once(tries.Purchase, "delivered")
        case "delivered":
            deaths.once(tries.Purchase, "delivered", after=True)
    kept.killed(**given)
    assert kept.attempt(**given) == {"label": "good", "score": 1.0}
    assert len(kept.coze.ledger) == 2


# --- budget


def test_a_budget_that_is_used_up_stops_before_the_next_turn(coze: Coze, run: Run) -> None:
    bot = coze.emulator.add_bot(answer="no JSON", tokens=Tokens(900, 200))
    with pytest.raises(e.CozeTokenBudgetError, match="A repair turn was not sent"):
        ask(run, bot.id, output_type=Verdict, token_budget=1000, max_repairs=3)
    assert len(coze.ledger) == 1


# --- streams


def test_a_streamed_answer_is_the_same_and_the_log_shows_it_grow(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    text = "第一行 😀\nsecond line\nthird"
    bot = coze.emulator.add_bot(answer=text, tokens=Tokens(5, 7), follow_ups=("And?",))
    assert ask(run, bot.id, stream=True) == text
    assert "The bot says: 第一行 😀" in caplog.text
    assert (run.xcoms["follow_ups"], run.xcoms["usage"]["token_count"]) == (["And?"], 12)
    assert coze.bodies(CHAT)[0]["stream"] is True
    assert len(coze.ledger) == 1


@pytest.mark.parametrize("after_events", [0, 1, 3])
def test_a_stream_that_breaks_off_is_gone_on_with_by_polling(coze: Coze, run: Run, after_events: int) -> None:
    bot = coze.emulator.add_bot(answer="one\ntwo\nthree", duration=Seconds(20))
    coze.script(scenarios.stream_cut(after_events=after_events), on=CHAT)
    assert ask(run, bot.id, stream=True) == "one\ntwo\nthree"
    assert len(coze.ledger) == 1


def test_a_stream_that_is_lost_before_it_begins_is_looked_for_long_enough_however_long_it_waited_to_be_sent(
    coze: Coze, run: Run
) -> None:
    coze.script(scenarios.rate_limited(retry_after=20), on=CHAT)
    coze.script(scenarios.reset(), on=CHAT)
    bot = coze.emulator.add_bot(answer="one")
    assert ask(run, bot.id, stream=True) == "one"
    turned_away, lost, again = coze.times(CHAT)
    assert lost - turned_away >= 20
    assert again - lost >= 5, "it might have been listed a moment later, and would be paid for twice"


def test_a_stream_that_is_refused_is_refused(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeNotFoundError):
        ask(run, "7511000000000000999", stream=True)
    assert coze.ledger == []


def test_a_worker_that_dies_while_it_reads_a_stream_is_followed_by_one_that_goes_on(kept: Task, deaths: Deaths) -> None:
    bot = kept.coze.emulator.add_bot(answer="one\ntwo", duration=Seconds(20))
    given = {"bot_id": bot.id, "message": "hello", "stream": True}
    deaths.once(tries.Purchase, "bought", after=True)
    kept.killed(**given)
    assert kept.attempt(**given) == "one\ntwo"
    assert len(kept.coze.ledger) == 1


# --- questions of bots


def asking_bot(coze: Coze, **more: Any) -> str:
    """A bot that asks which city, and answers with what it was told."""
    question = ToolCall("ask", {"question": "Which city?"}, type="reply_message")
    return coze.emulator.add_bot(
        tool_calls=(question,), answer=Template("Off to {tool_outputs[ask]}."), duration=Seconds(20), **more
    ).id


def test_a_function_answers_what_a_bot_asks(coze: Coze, run: Run) -> None:
    seen: list[Question] = []
    bot = asking_bot(coze)
    assert ask(run, bot, on_interrupt=lambda question: seen.append(question) or "Hangzhou") == "Off to Hangzhou."
    assert [(question.text, question.execute_id) for question in seen] == [("Which city?", coze.ledger[0].id)]
    assert (coze.asked(SUBMIT), len(coze.ledger)) == (1, 1)


def test_nobody_answers_a_bot_unless_told_to(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeChatRequiresActionError):
        ask(run, asking_bot(coze), tools={"read_sensor": read_sensor})
    assert coze.asked(SUBMIT) == 0


def test_people_answer_a_bot_without_a_worker(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_coze.operators.questions.ask_people", lambda _, **form: form)
    run = Run(coze, defers=False)
    given = {"bot_id": asking_bot(coze), "message": "hello", "on_interrupt": "hitl"}
    with pytest.raises(TaskAwaitingInput) as parked:
        run(CozeChatOperator, **given)
    assert run.xcoms["question"]["text"] == "Which city?"
    event = {"chosen_options": ["Send"], "params_input": {"question_number": 1, "answer": "Hangzhou"}}
    task = run.task(CozeChatOperator, **given)
    kwargs = json.loads(json.dumps(parked.value.kwargs))
    assert (
        getattr(task, parked.value.method_name)({"ti": run.ti, "task": task}, event=event, **kwargs)
        == "Off to Hangzhou."
    )
    assert (coze.asked(SUBMIT), len(coze.ledger)) == (1, 1)


# --- conversations that are shared


def test_the_tasks_of_a_dag_run_go_on_in_one_conversation(coze: Coze, run: Run) -> None:
    for _ in range(2):
        ask(run, conversation="dag_run")
    first, second = coze.ledger
    assert first.conversation_id == second.conversation_id
    ask(run)
    assert coze.ledger[2].conversation_id != first.conversation_id


@pytest.mark.parametrize("point", ["sent", "noted", "before delivery"])
def test_a_later_try_finds_its_chat_although_the_dag_run_has_another_conversation_by_then(
    kept: Task, deaths: Deaths, point: str
) -> None:
    match point:
        case "sent":
            deaths.sending(CHAT, after=True)
        case "noted":
            deaths.once(tries.Purchase, "bought", after=True)
        case _:
            deaths.once(tries.Purchase, "delivered")
    kept.killed(conversation="dag_run")
    store = kept.coze.emulator.store
    [used] = {entry.conversation_id for entry in kept.coze.ledger}
    store.conversations[used].meta_data = {}  # as if somebody had taken its marker away
    assert kept.attempt(conversation="dag_run") == kept.right
    assert kept.billed == 1


def test_a_budget_that_earlier_tries_have_used_up_buys_no_new_chat(kept: Task) -> None:
    bot = kept.coze.emulator.add_bot(failure=Failure(5000, "trouble"), tokens=Tokens(900, 200))
    given = {"bot_id": bot.id, "message": "hello", "token_budget": 1000}
    with pytest.raises(e.CozeChatFailedError):
        kept.attempt(**given)
    with pytest.raises(e.CozeTokenBudgetError, match="A new chat was not sent"):
        kept.attempt(**given)
    assert kept.billed == 1


@pytest.mark.parametrize("on_busy", ["fail", "wait", "new", "cancel"])
def test_a_lost_chat_in_the_users_own_conversation_is_not_forgotten_because_it_is_what_is_in_the_way(
    kept: Task, on_busy: str
) -> None:
    coze = kept.coze
    coze.world.question_listed_at_once = False
    own = coze.hook().create_conversation(bot_id=SLEEPER_BOT).id
    given = {"message": "sleep 100: rested", "conversation_id": own, "on_busy": on_busy, "timeout": 20}
    coze.script(scenarios.reset(after_commit=True), on=CHAT)
    with pytest.raises(e.CozeError):
        kept.attempt(**given)
    coze.time.sleep(100)
    assert kept.attempt(**given) == kept.right
    assert kept.billed == 1


def test_several_questions_at_once_are_for_a_function(coze: Coze, run: Run) -> None:
    calls = tuple(ToolCall(name, {"question": f"{name}?"}, type="reply_message") for name in ("where", "when"))
    bot = coze.emulator.add_bot(tool_calls=calls, answer=Template("{tool_outputs[where]}, {tool_outputs[when]}."))
    with pytest.raises(e.CozeChatRequiresActionError):
        ask(run, bot.id, on_interrupt="hitl")
    assert ask(run, bot.id, on_interrupt=lambda question: question.text.upper()) == "WHERE?, WHEN?."
