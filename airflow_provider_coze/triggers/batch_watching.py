"""What a batch's trigger does between its start and its event. Loaded in a thread, as ``watching`` is."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from airflow_provider_coze.batch.window import Watched, read_window
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.models import Chat, RunHistory
from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS
from airflow_provider_coze.protocol.statuses import WAITING, chat_phase
from airflow_provider_coze.triggers.events import BatchEvent

if TYPE_CHECKING:
    from airflow_provider_coze.triggers.batch import CozeBatchTrigger

__all__ = ["watch_batch"]

#: How long what has ended waits for more to end, while a worker could send more rows.
_READY_SECONDS = 60.0


async def watch_batch(trigger: CozeBatchTrigger) -> BatchEvent:
    """Watch a batch until enough of it has ended to be worth a worker's time, and it may be reported."""
    failure: CozeError | None = None
    ended: list[str] = []
    try:
        window = await asyncio.to_thread(read_window, trigger.window_uri)
        trigger.log.info("Watching %d %s", len(window), "runs" if trigger.workflow_id else "chats")
        async with trigger.hook.pooled():
            ended = await _enough(trigger, window)
        trigger.log.info("%d of %d have ended", len(ended), len(window))
    except CozeError as error:
        failure = error
    await trigger.hook.asleep(max(0.0, trigger.not_before - trigger.hook.clock()))
    return BatchEvent(
        folder=trigger.folder,
        started_at=trigger.started_at,
        deadline=trigger.deadline,
        ended=tuple(ended),
        error=failure,
    )


async def _enough(trigger: CozeBatchTrigger, window: list[Watched]) -> list[str]:
    """Return the markers of what has ended, once that is enough, or has waited for more to end for long enough."""
    watch = _watch_run if trigger.workflow_id else _watch_chat
    enough = min(trigger.enough, len(window))
    ended, mistakes, changed = list[str](), list[BaseException](), asyncio.Event()

    def note(marker: str, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None or isinstance(error, CozeError):
            ended.append(marker)
        else:
            mistakes.append(error)
        changed.set()

    # With a callback each: asyncio.wait would go through all of the window whenever one of it ends.
    watching = [asyncio.create_task(watch(trigger, each)) for each in window]
    for task, each in zip(watching, window, strict=True):
        task.add_done_callback(functools.partial(note, each.marker))
    ready: asyncio.Task[None] | None = None
    try:
        while len(ended) < enough and not mistakes and not (ready and ready.done()):
            await changed.wait()
            changed.clear()
            if ready is None and enough < len(window):
                ready = asyncio.create_task(_after(trigger, _READY_SECONDS))
                ready.add_done_callback(lambda _: changed.set())
    finally:
        others = [task for task in (*watching, ready) if task is not None and not task.done()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    if mistakes:
        raise mistakes[0]
    return ended


async def _after(trigger: CozeBatchTrigger, seconds: float) -> None:
    await trigger.hook.asleep(seconds)


async def _watch_chat(trigger: CozeBatchTrigger, watched: Watched) -> None:
    """Return when the chat has ended, or its time or the batch's is up. What cannot be read is for the worker to tell."""
    chat = Chat(id=watched.id, conversation_id=watched.conversation_id, status="in_progress")
    watch = _watch(trigger, watched, runs=False)
    while chat_phase(chat.status) in WAITING:
        seen = chat.status
        chat = await trigger.hook.aperform(flows.watch_chat(chat, watch))
        if chat.status == seen:
            return


async def _watch_run(trigger: CozeBatchTrigger, watched: Watched) -> None:
    history = RunHistory(execute_id=watched.id, execute_status="Running")
    watch = _watch(trigger, watched, runs=True)
    while flows.is_waiting(history):
        seen = history.execute_status
        history = await trigger.hook.aperform(flows.watch_run(history, watch, workflow_id=trigger.workflow_id))
        if history.execute_status == seen:
            return


def _watch(trigger: CozeBatchTrigger, watched: Watched, *, runs: bool) -> flows.Watch:
    limit = None if trigger.row_timeout is None else watched.at + trigger.row_timeout
    ends = [end for end in (limit, trigger.deadline) if end is not None]
    return flows.Watch(
        polls=(RUN_POLLS if runs else CHAT_POLLS).below(trigger.poll_interval),
        since=watched.at,
        until=min(ends, default=None),
        clock=trigger.hook.clock,
    )
