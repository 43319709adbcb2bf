"""What triggers do between their start and their event.

Kept out of the triggers' modules, which Airflow imports on its event loop: this one brings the protocol along, and is loaded in
a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_coze.errors import CozeError, CozeInputError
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.inputs import id_problems
from airflow_provider_coze.protocol.models import Chat, RunHistory
from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS, SEARCH_POLLS, PollSchedule
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, chat_phase
from airflow_provider_coze.triggers.events import ChatEvent, RunEvent, Turn
from airflow_provider_coze.triggers.progress import log_chat, log_run

if TYPE_CHECKING:
    from airflow_provider_coze.triggers.base import CozeTrigger
    from airflow_provider_coze.triggers.chat import CozeChatTrigger
    from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger

__all__ = ["cancel_chat", "watch_chat", "watch_run"]


async def watch_chat(trigger: CozeChatTrigger) -> ChatEvent:
    """Watch a chat until there is something to report, and it may be reported."""
    hook, chat, failure = trigger.hook, _chat(trigger, trigger.status), None
    polls = CHAT_POLLS if trigger.lasts is None else SEARCH_POLLS  # nobody knows how old a chat of somebody else is
    try:
        _refuse_no_ids(trigger, "conversation_id", "chat_id")
        async with hook.pooled():
            while chat_phase(chat.status) in WAITING:
                seen = chat.status
                chat = await hook.aperform(flows.watch_chat(chat, _watch(trigger, polls)))
                if chat.status == seen:
                    break  # the deadline
                log_chat(trigger.log, chat, hook.clock() - trigger.started_at)
    except CozeError as error:
        failure = error
    await _not_too_early(trigger)
    return ChatEvent(chat, trigger.started_at, failure, Turn.from_payload(trigger.turn))


async def watch_run(trigger: CozeWorkflowTrigger) -> RunEvent:
    """Watch a run until there is something to report, and it may be reported."""
    hook, failure = trigger.hook, None
    history = RunHistory(execute_id=trigger.execute_id, execute_status=trigger.status, debug_url=trigger.debug_url)
    try:
        _refuse_no_ids(trigger, "workflow_id", "execute_id")
        async with hook.pooled():
            while flows.is_waiting(history):
                seen, watch = history.execute_status, _watch(trigger, RUN_POLLS)
                history = await hook.aperform(flows.watch_run(history, watch, workflow_id=trigger.workflow_id))
                if history.execute_status == seen and flows.is_waiting(history):
                    break  # the deadline
                log_run(trigger.log, history, hook.clock() - trigger.started_at)
    except CozeError as error:
        failure = error
    await _not_too_early(trigger)
    return RunEvent(history, trigger.workflow_id, trigger.started_at, failure)


async def cancel_chat(trigger: CozeChatTrigger) -> Chat:
    """Cancel the chat; one that is over stays as it is.

    :raises CozeError: it may go on.
    """
    return await trigger.hook.aperform(flows.cancel_chat(_chat(trigger), RetryPolicy(attempts=2)))


def _refuse_no_ids(trigger: CozeTrigger, *names: str) -> None:
    """Ask Coze nothing where a template gave no id. A task that began on a worker has looked there."""
    if trigger.lasts is not None:
        problems = [problem for name in names for problem in id_problems(name, getattr(trigger, name))]
        if problems:
            raise CozeInputError(f"Coze cannot be asked: {'; '.join(problems)}. Nothing was sent.")


def _chat(trigger: CozeChatTrigger, status: str = "") -> Chat:
    return Chat(id=trigger.chat_id, conversation_id=trigger.conversation_id, bot_id=trigger.bot_id, status=status)


def _watch(trigger: CozeTrigger, polls: PollSchedule) -> flows.Watch:
    return flows.Watch(
        polls=polls.below(trigger.poll_interval),
        since=trigger.started_at,
        until=trigger.deadline,
        not_before=trigger.not_before,
        clock=trigger.hook.clock,
    )


async def _not_too_early(trigger: CozeTrigger) -> None:
    """Wait until a report is safe; what failed at once waits as well."""
    await trigger.hook.asleep(max(0.0, trigger.not_before - trigger.hook.clock()))
