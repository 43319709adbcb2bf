"""``CozeChatTrigger`` and ``CozeWorkflowTrigger``: one event, on time, whatever happens to the triggerer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ASKING, BROKE_BOT, BROKEN, SLEEPER, SLEEPER_BOT, TOOL_BOT
from airflow_provider_coze.emulator.definitions import Polls
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.triggers.chat import CozeChatTrigger
from airflow_provider_coze.triggers.events import ChatEvent, RunEvent
from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger
from tests.tasks import NOON, TOKEN, Airflow, Coze, afire, fire, stored

CANCEL = "POST /v3/chat/cancel"


@dataclass
class Chats:
    """Triggers of chats, and what they look for."""

    coze: Coze
    needed = ("conversation_id", "chat_id", "started_at")
    done, failed, paused, waiting = "completed", "failed", "requires_action", "in_progress"
    ceiling = 10
    failing, asking = BROKE_BOT, TOOL_BOT
    read = ChatEvent.from_payload

    def of(self, bot_id: str, message: str = "confidential question", **options: Any) -> CozeChatTrigger:
        question = {"role": "user", "content": message, "content_type": "text"}
        chat = self.coze.hook().create_chat(bot_id=bot_id, user_id="u", additional_messages=[question])
        ids = {"conversation_id": chat.conversation_id, "chat_id": chat.id}
        trigger: CozeChatTrigger = self.coze.prepared(CozeChatTrigger(**{**ids, "started_at": NOON, **options}))
        return trigger

    def taking(self, seconds: float, **options: Any) -> CozeChatTrigger:
        return self.of(SLEEPER_BOT, f"sleep {seconds}: the secret recipe", **options)


@dataclass
class Runs:
    """Triggers of runs, and what they look for."""

    coze: Coze
    needed = ("workflow_id", "execute_id", "started_at")
    done, failed, paused, waiting = "Success", "Fail", "Running", "Running"
    ceiling = 30
    failing, asking = BROKEN, ASKING
    read = RunEvent.from_payload

    def of(self, workflow_id: str, parameters: dict[str, Any] | None = None, **options: Any) -> CozeWorkflowTrigger:
        run = self.coze.hook().run_workflow(workflow_id=workflow_id, parameters=parameters or {}, is_async=True)
        ids = {"workflow_id": workflow_id, "execute_id": run.execute_id}
        trigger: CozeWorkflowTrigger = self.coze.prepared(CozeWorkflowTrigger(**{**ids, "started_at": NOON, **options}))
        return trigger

    def taking(self, seconds: float, **options: Any) -> CozeWorkflowTrigger:
        return self.of(SLEEPER, {"seconds": seconds, "value": "the secret recipe"}, **options)


@pytest.fixture(params=[Chats, Runs], ids=["chat", "run"])
def work(request: pytest.FixtureRequest, coze: Coze) -> Any:
    """Every test using this is about both triggers."""
    return request.param(coze)


def looks(coze: Coze) -> list[float]:
    return [at - NOON for name, _, at in coze.seen if name.startswith("GET ")]


# --- one event


def test_the_end_is_reported_once_with_ids_and_status(coze: Coze, work: Any) -> None:
    event = fire(coze, work.taking(20))  # fire() asserts that there is one
    assert event["status"] == work.done
    assert event["error"] is None
    assert coze.ledger[0].id in event.values()
    assert 20 <= coze.time.now - NOON <= 30


def test_run_returns_right_after_its_event(coze: Coze, work: Any) -> None:
    async def after_the_event() -> float:
        runs = work.taking(2).run()
        await anext(runs)
        began = time.monotonic()
        with pytest.raises(StopAsyncIteration):
            await anext(runs)
        return time.monotonic() - began

    assert asyncio.run(after_the_event()) < 0.05
    assert coze.time.now < NOON + 10


def test_a_failure_is_reported_as_a_status(coze: Coze, work: Any) -> None:
    assert fire(coze, work.of(work.failing))["status"] == work.failed


def test_a_pause_is_reported_and_not_waited_on(coze: Coze, work: Any) -> None:
    assert fire(coze, work.of(work.asking))["status"] == work.paused
    assert coze.time.now < NOON + 10


def test_at_the_deadline_the_work_is_reported_as_it_stands(coze: Coze, work: Any) -> None:
    event = fire(coze, work.taking(600, deadline=NOON + 33))
    assert event["status"] == work.waiting
    assert event["error"] is None
    assert coze.time.now == NOON + 33
    assert looks(coze)[-1] == 33, "the last look is made at the deadline"


def test_a_deadline_that_passed_while_no_triggerer_ran_is_reported_at_once(coze: Coze, work: Any) -> None:
    trigger = work.taking(600, deadline=NOON + 33)
    coze.time.now = NOON + 500
    assert fire(coze, trigger)["status"] in ("", work.waiting)
    assert coze.time.now == NOON + 500


# --- looking


def test_looks_begin_at_once_and_slow_down_to_the_ceiling(coze: Coze, work: Any) -> None:
    fire(coze, work.taking(600))
    gaps = [later - earlier for earlier, later in itertools.pairwise([0.0, *looks(coze)])]
    assert gaps[0] <= 4
    assert all(gap >= 1 for gap in gaps)
    assert max(gaps) <= work.ceiling
    assert all(0.9 * work.ceiling <= gap for gap in gaps[-4:-1])
    assert sorted(gaps[:3]) <= gaps[-4:-1]


def test_poll_interval_is_the_ceiling_and_never_under_a_second(coze: Coze, work: Any) -> None:
    fire(coze, work.taking(60, poll_interval=0.2))
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks(coze))]
    assert {1.0} == {round(gap, 6) for gap in gaps}


def test_triggers_that_began_together_do_not_look_together(coze: Coze, work: Any) -> None:
    triggers = [work.taking(300) for _ in range(2)]
    seen = []
    for trigger in triggers:
        coze.time.now = NOON
        coze.seen.clear()
        fire(coze, trigger)
        seen.append(looks(coze)[-5:])
    assert seen[0] != seen[1]


def test_looking_only_reads(coze: Coze, work: Any) -> None:
    trigger = work.taking(60)
    coze.seen.clear()
    fire(coze, trigger)
    assert {name.partition(" ")[0] for name, _, _ in coze.seen} == {"GET"}
    assert not any("message/list" in name for name, _, _ in coze.seen), "the answer is fetched on the worker"


def test_a_word_that_nobody_knows_is_logged_once_and_waited_on(
    coze: Coze, work: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = work.taking(20)
    chat, record = {"status": "pondering"}, [{"execute_status": "pondering"}]
    body = {"code": 0, "data": chat if isinstance(work, Chats) else record}
    coze.script(scenarios.answer(200, body), on="GET /v*", times=3)
    assert fire(coze, trigger)["status"] == work.done
    assert [r.levelname for r in caplog.records if "pondering" in r.getMessage()] == ["WARNING"]


# --- not too early


def test_nothing_is_reported_before_its_time(coze: Coze, work: Any) -> None:
    fire(coze, work.taking(1, not_before=NOON + 8))
    assert coze.time.now == NOON + 8
    assert looks(coze) == [8.0], "an earlier look would be of no use"


def lost(coze: Coze, monkeypatch: pytest.MonkeyPatch, how: str) -> type[CozeError]:
    """Break the way to Coze; return what that is called."""
    match how:
        case "refused":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                host = f"http://127.0.0.1:{listener.getsockname()[1]}"
            monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(host=host))
            return e.CozeTransportError
        case "wrong connection":
            monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(verify="maybe"))
            return e.CozeConnectionConfigError
        case "no connection":
            monkeypatch.delenv("AIRFLOW_CONN_COZE_DEFAULT")
            return e.CozeConnectionUnreadableError
        case "revoked":
            coze.script(scenarios.error(4100, status=401), times=None)
            return e.CozeAuthError
    raise ValueError(how)


@pytest.mark.parametrize("how", ["refused", "wrong connection", "no connection", "revoked"])
def test_not_even_a_broken_connection_is_reported_before_its_time(
    coze: Coze, work: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    trigger = work.taking(60, not_before=NOON + 8, deadline=NOON + 20)
    expected = lost(coze, monkeypatch, how)
    event = fire(coze, trigger)
    assert coze.time.now >= NOON + 8
    error = work.read(event).error
    assert type(error) is expected
    assert coze.ledger[0].id in (error.chat_id, error.execute_id)
    assert TOKEN not in json.dumps(event)


def test_an_outage_is_waited_out_and_not_reported(coze: Coze, work: Any) -> None:
    trigger = work.taking(10)
    coze.script(scenarios.bad_gateway(), on="GET /v*", times=6)
    event = fire(coze, trigger)
    assert (event["status"], event["error"]) == (work.done, None)


def test_an_outage_of_ten_minutes_is_reported_with_the_ids(coze: Coze, work: Any) -> None:
    trigger = work.taking(10)
    coze.script(scenarios.bad_gateway(), on="GET /v*", times=None)
    error = work.read(fire(coze, trigger)).error
    assert type(error) is e.CozeUnavailableError
    assert coze.ledger[0].id in str(error)
    assert NOON + 500 < coze.time.now < NOON + 700


# --- a triggerer that stops


def test_a_trigger_that_starts_again_from_the_top_ends_the_same(coze: Coze, work: Any) -> None:
    trigger = work.taking(100, deadline=NOON + 300)

    async def stopped_half_way() -> None:
        async def watch() -> None:
            async for _ in stored(coze, trigger).run():
                raise AssertionError("there is nothing to report yet")

        task = asyncio.ensure_future(watch())
        coze.time.after(50, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(stopped_half_way())
    assert coze.asked(CANCEL) == 0, "only a user's kill cancels"
    event = fire(coze, trigger)
    assert event["status"] == work.done
    assert event["started_at"] == NOON
    assert NOON + 100 <= coze.time.now <= NOON + 100 + work.ceiling
    assert len(coze.ledger) == 1


def test_a_deadline_is_of_the_clock_and_not_of_the_trigger(coze: Coze, work: Any) -> None:
    trigger = work.taking(600, deadline=NOON + 100)
    coze.time.now = NOON + 70  # another triggerer took over
    fire(coze, trigger)
    assert coze.time.now == NOON + 100


def test_two_copies_at_once_do_no_harm(coze: Coze, work: Any) -> None:
    trigger = work.taking(30)

    async def both() -> list[dict[str, Any]]:
        return list(await asyncio.gather(afire(coze, trigger), afire(coze, trigger)))

    first, second = asyncio.run(both())
    assert (first["status"], second["status"]) == (work.done, work.done)
    assert len(coze.ledger) == 1
    assert coze.asked(CANCEL) == 0


def test_many_triggers_share_the_connections_of_their_loop(coze: Coze, work: Any) -> None:
    coze.emulator.add_bot(id="5", duration=Polls(4))
    coze.emulator.add_workflow(id="5", duration=Polls(4))
    triggers = [work.of("5") for _ in range(30)]
    before = coze.emulator.connections_accepted

    async def all_of_them() -> None:
        await asyncio.gather(*(afire(coze, trigger) for trigger in triggers))

    asyncio.run(all_of_them())
    assert len(looks(coze)) == 150
    assert coze.emulator.connections_accepted - before <= 30


# --- what Airflow keeps


def test_arguments_survive_the_database_and_name_a_class_that_can_be_imported(coze: Coze, work: Any) -> None:
    trigger = work.taking(5, deadline=NOON + 9, not_before=NOON + 1, poll_interval=2.5)
    path, arguments = trigger.serialize()
    assert import_string(path) is type(trigger)
    assert json.loads(json.dumps(arguments)) == arguments
    assert import_string(path)(**arguments).serialize() == (path, arguments)


def test_all_arguments_are_kept(coze: Coze, work: Any) -> None:
    import inspect

    trigger = work.taking(5)
    assert trigger.serialize()[1].keys() == inspect.signature(type(trigger).__init__).parameters.keys() - {"self"}


def test_rows_of_the_first_version_can_still_be_inflated(coze: Coze, work: Any) -> None:
    import inspect

    needed = {
        name
        for name, parameter in inspect.signature(type(work.taking(1)).__init__).parameters.items()
        if parameter.default is parameter.empty and name != "self"
    }
    assert needed == set(work.needed), "a new argument has to have a default: rows of older versions lack it"


def test_events_and_arguments_hold_neither_token_nor_question_nor_answer(coze: Coze, work: Any) -> None:
    for trigger in (work.taking(5), work.of(work.failing), work.of(work.asking)):
        kept = json.dumps([trigger.serialize(), fire(coze, trigger)])
        for secret in (TOKEN, "confidential question", "secret recipe", "read_sensor", "Which city"):
            assert secret not in kept
        assert TOKEN not in f"{trigger!r} {trigger}"


def test_an_event_is_read_back_as_it_was_sent(coze: Coze, work: Any) -> None:
    event = fire(coze, work.taking(5))
    assert work.read(event).to_payload() == event
    assert work.read({**event, "of a later version": 1}).to_payload() == event


# --- a user who ends the task (Airflow 3.3 and later call on_kill)


@pytest.mark.usefixtures("airflow")
def test_a_kill_cancels_the_chat(coze: Coze, caplog: pytest.LogCaptureFixture) -> None:
    trigger = Chats(coze).taking(600)
    asyncio.run(stored(coze, trigger).on_kill())
    assert coze.emulator.store.chats[trigger.chat_id].status == "canceled"
    assert f"Chat {trigger.chat_id} is canceled" in caplog.text


def test_a_kill_leaves_a_chat_that_is_not_to_be_cancelled(coze: Coze, caplog: pytest.LogCaptureFixture) -> None:
    trigger = Chats(coze).taking(600, cancel_on_kill=False)
    asyncio.run(stored(coze, trigger).on_kill())
    assert coze.asked(CANCEL) == 0
    assert f"Chat {trigger.chat_id} is left running" in caplog.text


@pytest.mark.parametrize("wanted", [True, None], ids=["moved", "nobody knows"])
def test_a_trigger_that_no_person_ended_cancels_nothing(
    coze: Coze, airflow: Airflow, caplog: pytest.LogCaptureFixture, wanted: bool | None
) -> None:
    """Airflow 3.3.2 kills triggers too whose triggerer was slow, and which another triggerer goes on with."""
    airflow.wanted = wanted
    trigger = Chats(coze).taking(600)
    asyncio.run(stored(coze, trigger).on_kill())
    assert coze.asked(CANCEL) == 0
    assert f"Chat {trigger.chat_id} is left running: its task was not ended by a person" in caplog.text


@pytest.mark.usefixtures("airflow")
def test_a_kill_of_a_chat_that_is_over_changes_nothing(coze: Coze, caplog: pytest.LogCaptureFixture) -> None:
    trigger = Chats(coze).taking(1)
    coze.time.now += 5
    asyncio.run(stored(coze, trigger).on_kill())
    assert coze.emulator.store.chats[trigger.chat_id].status == "completed"
    assert f"Chat {trigger.chat_id} is completed" in caplog.text


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize("how", ["refused", "wrong connection", "no connection", "revoked"])
def test_a_kill_that_fails_says_so_and_does_not_raise(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    trigger = Chats(coze).taking(600)
    lost(coze, monkeypatch, how)
    asyncio.run(stored(coze, trigger).on_kill())
    assert f"Chat {trigger.chat_id} could not be cancelled and may go on" in caplog.text
    assert coze.time.now <= NOON + 30, "Airflow gives it 30 s"


def test_a_kill_of_a_run_says_that_it_goes_on(coze: Coze, caplog: pytest.LogCaptureFixture) -> None:
    trigger = Runs(coze).taking(600, debug_url="https://www.coze.cn/work_flow?x=1")
    seen = len(coze.seen)
    asyncio.run(stored(coze, trigger).on_kill())
    for words in (trigger.execute_id, SLEEPER, "cannot cancel", "https://www.coze.cn/work_flow?x=1"):
        assert words in caplog.text
    assert len(coze.seen) == seen


def test_cleanup_cancels_nothing(coze: Coze, work: Any) -> None:
    """Airflow calls it on every exit, restarts of the triggerer included."""
    trigger = work.taking(600)
    asyncio.run(trigger.cleanup())
    assert coze.asked(CANCEL) == 0


# --- the event loop that a thousand others share


def test_the_event_loop_is_never_blocked(coze: Coze, work: Any, caplog: pytest.LogCaptureFixture) -> None:
    fire(coze, work.taking(1))  # imports, certificates

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.1
        await afire(coze, work.taking(60))

    blocked: list[list[str]] = []
    # A busy machine takes the processor away for 0.1 s now and then. What we do ourselves, we do each time.
    while len(blocked) < 3 and (not blocked or blocked[-1]):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            asyncio.run(watched())
        blocked.append([record.getMessage() for record in caplog.records if record.name == "asyncio"])
    assert blocked[-1] == []


def test_waiting_is_done_by_the_event_loop(coze: Coze, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def blocking(*_: Any) -> None:
        raise AssertionError("a trigger blocks the event loop")

    trigger = work.taking(30)
    monkeypatch.setattr(time, "sleep", blocking)
    monkeypatch.setattr("airflow_provider_coze.transports.sync.SyncTransport.send", blocking)
    assert fire(coze, trigger)["status"] == work.done


def test_a_triggerer_needs_no_requests(coze: Coze) -> None:
    """The worker's HTTP library: an import that every triggerer would pay for on its event loop."""
    trigger = Chats(coze).taking(0)
    source = f"""
        import asyncio, sys
        import airflow.triggers.base
        import airflow.providers.common.compat.connection, airflow.providers.common.compat.sdk as sdk
        sdk.BaseHook, sdk.BaseOperator, sdk.mask_secret, sdk.conf
        before = "requests" in sys.modules
        from airflow_provider_coze.triggers.chat import CozeChatTrigger
        from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger
        trigger = CozeChatTrigger(**{trigger.serialize()[1]!r})
        now = {NOON!r}
        async def asleep(seconds):
            global now
            now += seconds
        trigger.hook.clock, trigger.hook.asleep = lambda: now, asleep
        async def run():
            return [event async for event in trigger.run()]
        [event] = asyncio.run(run())
        assert event.payload["status"] == "completed", event
        assert "airflow_provider_coze.transports.sync" not in sys.modules
        assert before or "requests" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
