"""The trigger of a batch: what it watches, when it reports, and what it leaves to the worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.batch.asks import Ask, Item, Live
from airflow_provider_coze.batch.window import write_window
from airflow_provider_coze.emulator.definitions import Bot, Seconds, Workflow
from airflow_provider_coze.emulator.scenarios import error
from airflow_provider_coze.errors import CozeStateError, CozeTriggerEventError
from airflow_provider_coze.transports.aio import AioTransport
from airflow_provider_coze.triggers.batch import CozeBatchTrigger
from airflow_provider_coze.triggers.events import BatchEvent
from tests.driving import NOON
from tests.loop_time import LoopTime
from tests.tasks import TOKEN, Coze, fire, stored

READ = "GET /v3/chat/retrieve"
ITEM = Item(0, "row", "row", "h")


@pytest.fixture(autouse=True)
def clock(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    clock = LoopTime(coze.time)
    send = AioTransport.send

    async def counted(transport: AioTransport, request: Any) -> Any:
        with clock.busy():
            return await send(transport, request)

    monkeypatch.setattr(asyncio, "to_thread", clock.counted(asyncio.to_thread))
    monkeypatch.setattr(AioTransport, "send", counted)
    coze.time.asleep = clock.sleep  # type: ignore[method-assign]
    return clock


@pytest.fixture
def bot(coze: Coze) -> Bot:
    return coze.emulator.add_bot(duration=lambda turn: Seconds(float(turn)))


def chats(coze: Coze, bot: Bot, *seconds: int) -> list[Live]:
    """Send chats that take so long."""
    started = []
    for number, each in enumerate(seconds):
        message: Any = {"role": "user", "content_type": "text", "content": str(each)}
        chat = coze.hook().create_chat(bot_id=bot.id, user_id="u", additional_messages=[message])
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        started.append(Live(Ask((ITEM,)), f"m{number}", coze.time(), ids))
    return started


def watched(coze: Coze, folder: Path, window: Sequence[Live], **options: Any) -> BatchEvent:
    """Have a trigger watch, as Airflow does, and return what it reports."""
    uri = write_window(str(folder), window)
    given = {"enough": len(window), "started_at": coze.time(), **options}
    return BatchEvent.from_payload(fire(coze, CozeBatchTrigger(folder=str(folder), window_uri=uri, **given)))


def test_it_reports_when_enough_have_ended(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    event = watched(coze, tmp_path, chats(coze, bot, 10, 500, 20, 400), enough=2)
    assert set(event.ended) == {"m0", "m2"}
    assert coze.time() - NOON < 30
    assert event.error is None


def test_what_has_ended_does_not_wait_for_ever_for_more(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    event = watched(coze, tmp_path, chats(coze, bot, 10, 500, 510, 520), enough=2)
    assert event.ended == ("m0",)
    assert 70 <= coze.time() - NOON < 75


def test_but_for_all_of_it_if_nothing_else_is_to_be_sent(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    event = watched(coze, tmp_path, chats(coze, bot, 10, 500))
    assert set(event.ended) == {"m0", "m1"}
    assert 500 <= coze.time() - NOON < 515


def test_runs_are_watched_as_well(coze: Coze, tmp_path: Path) -> None:
    workflow: Workflow = coze.emulator.add_workflow(output="x", duration=Seconds(50))
    run = coze.hook().run_workflow(workflow_id=workflow.id, parameters={}, is_async=True)
    live = Live(Ask((ITEM,)), "m", coze.time(), {"execute_id": run.execute_id})
    event = watched(coze, tmp_path, [live], workflow_id=workflow.id)
    assert event.ended == ("m",)
    assert coze.time() - NOON >= 50


def test_one_that_takes_too_long_is_reported_all_the_same(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    event = watched(coze, tmp_path, chats(coze, bot, 500), row_timeout=60.0)
    assert event.ended == ("m0",)
    assert coze.time() - NOON == 60


def test_when_the_batchs_time_is_up_the_worker_is_told(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    event = watched(coze, tmp_path, chats(coze, bot, 500, 500), deadline=NOON + 30)
    assert event.deadline == NOON + 30
    assert coze.time() - NOON == 30


def test_nothing_is_reported_before_airflow_can_take_it(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    watched(coze, tmp_path, chats(coze, bot, 1), not_before=NOON + 40)
    assert coze.time() - NOON == 40


def test_what_cannot_be_read_is_for_the_worker_to_tell(coze: Coze, bot: Bot, tmp_path: Path) -> None:
    coze.script(error(4001), on=READ, times=None)
    event = watched(coze, tmp_path, chats(coze, bot, 10))
    assert (event.ended, event.error) == (("m0",), None)


def test_an_empty_window_is_over_at_once(coze: Coze, tmp_path: Path) -> None:
    assert watched(coze, tmp_path, []).ended == ()


def test_a_window_that_cannot_be_read_is_an_error_of_the_event(coze: Coze, tmp_path: Path) -> None:
    trigger = CozeBatchTrigger(folder=str(tmp_path), window_uri=f"{tmp_path}/none.json", enough=1, started_at=NOON)
    event = BatchEvent.from_payload(fire(coze, trigger))
    assert isinstance(event.error, CozeStateError)
    assert event.ended == ()


def test_a_mistake_of_ours_is_raised_and_nobody_waits_on(
    coze: Coze, bot: Bot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = chats(coze, bot, 500, 500)
    uri = write_window(str(tmp_path), window)
    trigger = stored(coze, CozeBatchTrigger(folder=str(tmp_path), window_uri=uri, enough=2, started_at=NOON))

    async def wrong(flow: Any) -> Any:
        raise ZeroDivisionError

    trigger.hook.aperform = wrong
    with pytest.raises(ZeroDivisionError):
        asyncio.run(_events(trigger))


def test_when_it_is_ended_it_leaves_no_task_behind(
    coze: Coze, bot: Bot, tmp_path: Path, clock: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    uri = write_window(str(tmp_path), chats(coze, bot, 500, 500))
    trigger = stored(coze, CozeBatchTrigger(folder=str(tmp_path), window_uri=uri, enough=2, started_at=NOON))

    async def ended() -> int:
        running = asyncio.ensure_future(_events(trigger))
        await clock.sleep(30)
        running.cancel()
        await asyncio.wait([running])
        names = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
        await trigger.on_kill()
        return sum("close-coze-connections" not in name for name in names) - 1

    assert asyncio.run(ended()) == 0
    assert "not cancelled, and is billed" in caplog.text


async def _events(trigger: CozeBatchTrigger) -> list[Any]:
    return [event async for event in trigger.run()]


def test_a_window_of_thousands_ends_as_fast_as_it_is_read(coze: Coze, tmp_path: Path) -> None:
    window = [
        Live(Ask((ITEM,)), f"m{number}", NOON, {"chat_id": str(number), "conversation_id": "1"})
        for number in range(3_000)
    ]
    uri = write_window(str(tmp_path), window)
    trigger = stored(coze, CozeBatchTrigger(folder=str(tmp_path), window_uri=uri, enough=1_500, started_at=NOON))

    async def one_after_the_other(flow: Any) -> Any:
        flow.close()
        trigger.seen = number = getattr(trigger, "seen", 0) + 1
        await trigger.hook.asleep(number * 0.01)
        from airflow_provider_coze.protocol.models import Chat

        return Chat(id="1", conversation_id="1", status="completed")

    trigger.hook.aperform = one_after_the_other
    [event] = asyncio.run(_events(trigger))
    assert 1_500 <= len(event.payload["ended"]) < 1_600


class TestWhatAirflowKeeps:
    """It stores the trigger's arguments and its event in clear text."""

    def test_neither_holds_a_secret_nor_grows_with_the_batch(self, coze: Coze, tmp_path: Path) -> None:
        path, arguments = CozeBatchTrigger(
            folder=str(tmp_path), window_uri=f"{tmp_path}/w.json", enough=3, started_at=NOON
        ).serialize()
        assert path == "airflow_provider_coze.triggers.batch.CozeBatchTrigger"
        assert TOKEN not in json.dumps(arguments)
        assert len(json.dumps(arguments)) < 1_000

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {},
            {"folder": "", "started_at": NOON, "ended": []},
            {"folder": "f", "started_at": "noon", "ended": []},
            {"folder": "f", "started_at": NOON, "ended": "m1"},
            {"folder": "f", "started_at": float("nan"), "ended": []},
            "done",
        ],
    )
    def test_an_event_that_is_none_of_ours_is_one_error(self, event: object) -> None:
        with pytest.raises(CozeTriggerEventError, match=r"goes on in Coze, and is billed.*A retry of the task"):
            BatchEvent.from_payload(event)

    def test_an_event_comes_back_as_it_was_sent(self) -> None:
        event = BatchEvent("f", NOON, NOON + 1, ("m1", "m2"), None)
        assert BatchEvent.from_payload(json.loads(json.dumps(event.to_payload()))) == event
