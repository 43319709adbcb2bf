"""What a batch's trigger does between its start and its event. Loaded in a thread, as ``watching`` is."""

from __future__ import annotations

import asyncio
import contextlib
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
    watching = {
        asyncio.create_task(_watch_run(trigger, each) if trigger.workflow_id else _watch_chat(trigger, each)): each
        for each in window
    }
    pending, ended = set(watching), list[str]()
    ready_at: float | None = None
    try:
        while pending and len(ended) < trigger.enough:
            left = (
                None
                if ready_at is None or trigger.enough >= len(window)
                else ready_at + _READY_SECONDS - trigger.hook.clock()
            )
            if left is not None and left <= 0:
                break
            done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            ended += [watching[task].marker for task in done]
            if done and ready_at is None:
                ready_at = trigger.hook.clock()
        for task in watching.keys() - pending:
            if isinstance(error := task.exception(), Exception) and not isinstance(error, CozeError):
                raise error
        ended += [watching[task].marker for task in pending if task.done()]
    finally:
        for task in pending:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*pending, return_exceptions=True)
    return ended


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
