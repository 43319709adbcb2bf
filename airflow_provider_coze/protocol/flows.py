"""What is done with Coze, step by step: generators that yield Send and Sleep, and nothing else.

Written once, performed by a worker (requests) and by the triggerer (aiohttp) alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from airflow_provider_coze.errors import CozeAlreadyEndedError, CozeError, CozeNotFoundError
from airflow_provider_coze.protocol import codes, outputs
from airflow_provider_coze.protocol.endpoints import chat as chats
from airflow_provider_coze.protocol.endpoints import workflow as workflows
from airflow_provider_coze.protocol.envelope import open_envelope, status_in
from airflow_provider_coze.protocol.messages import Call, Flow, JsonValue, Response, Send, Sleep
from airflow_provider_coze.protocol.models import Chat, Message, RunHistory, Usage, WorkflowRun
from airflow_provider_coze.protocol.outcomes import chat_error, run_error
from airflow_provider_coze.protocol.pacing import PollSchedule
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase, run_phase

__all__ = [
    "NOT_VISIBLE_SECONDS",
    "ChatAnswer",
    "RunResult",
    "Watch",
    "call",
    "cancel_chat",
    "chat_answer",
    "direct_result",
    "is_waiting",
    "needs_input",
    "read_chat",
    "read_run",
    "run_result",
    "watch_chat",
    "watch_run",
]

T = TypeVar("T")

#: A run's record may not be visible at once. Coze gives no figure; replication that takes longer than this is an error.
NOT_VISIBLE_SECONDS = 30.0
#: A paid chat or run is not given up because Coze cannot be read for a while: this long, then the error is raised.
_PATIENCE_SECONDS = 600.0


def call(what: Call[T], retry: RetryPolicy) -> Flow[T]:
    """Perform one operation, again where that is safe and may help.

    :raises CozeError: of the last attempt.
    """
    attempt, waited = 0, 0.0
    while True:
        attempt += 1
        try:
            response: Response = yield Send(what.request)
            return what.parse(open_envelope(response, what))
        except CozeError as error:
            wait = retry.next_wait(error, attempt, what.replay, waited)
            if wait is None:
                raise
        waited += wait
        yield Sleep(wait)


class Watch(msgspec.Struct, frozen=True):
    """How somebody waits: how often to look, until when, and whose clock counts."""

    polls: PollSchedule
    since: float  # Unix seconds: when the work began, which sets the rhythm
    until: float | None  # Unix seconds: the moment of the last look. None: no deadline.
    clock: Callable[[], float]  # Unix seconds
    not_before: float = 0.0  # Unix seconds: an earlier look would be of no use
    chance: Callable[[], float] = random.random

    def next_wait(self) -> float | None:
        """Return the seconds until the next look, or None when the time is up."""
        now = self.clock()
        if now < self.not_before:
            return self.not_before - now
        left = None if self.until is None else self.until - now
        return self.polls.wait(age=now - self.since, left=left, chance=self.chance())

    def left(self, wait: float) -> float | None:
        """Return the seconds until the last moment of a look that waits so long; None: it has none."""
        return None if self.until is None else max(wait, self.until - self.clock())

    def retry(self) -> RetryPolicy:
        """Return how failing looks are repeated: patiently, but not past the end of the watch."""
        left = _PATIENCE_SECONDS if self.until is None else self.until - self.clock()
        return RetryPolicy(attempts=1_000, budget_seconds=min(_PATIENCE_SECONDS, max(0.0, left)))


def watch_chat(chat: Chat, watch: Watch) -> Flow[Chat]:
    """Wait until the chat's status is another word, and return the chat; unchanged if the time is up first.

    One word at a time, so that whoever waits can say so in a log.

    :raises CozeError: it could not be read; the error carries the ids, because the chat goes on.
    """
    if chat_phase(chat.status) not in WAITING:
        return chat
    what = chats.retrieve_chat(conversation_id=chat.conversation_id, chat_id=chat.id)
    while True:
        wait = watch.next_wait()
        if wait is None:
            return chat
        try:
            seen = yield from _look(what, watch, wait, chat.status)
        except CozeError as error:
            _of_chat(error, chat)
            raise
        if seen is not None and seen.status != chat.status:
            return seen
        chat = seen or chat


def _look(what: Call[T], watch: Watch, wait: float, known: str | None) -> Flow[T | None]:
    """Look after a wait, patiently; None: the chat's status is still the *known* word, and then nothing else is read of it.

    :raises CozeError: of the last attempt.
    """
    by = watch.left(wait)
    if by is not None and by <= wait:
        known = None  # whoever reports the last look of all wants to know as much as there is
    effect, retry = Send(what.request, wait, by, looks=True), None
    attempt, waited = 0, 0.0
    while True:
        attempt += 1
        try:
            response: Response = yield effect
            if known and status_in(response) == known:
                return None
            return what.parse(open_envelope(response, what))
        except CozeError as error:
            retry = retry or watch.retry()
            pause = retry.next_wait(error, attempt, what.replay, waited)
            if pause is None:
                raise
        waited += pause
        yield Sleep(pause)
        effect = Send(what.request, looks=True)


def read_chat(chat: Chat, retry: RetryPolicy) -> Flow[Chat]:
    """Read how a chat stands.

    :raises CozeError: it could not be read; the error carries the ids, because the chat goes on.
    """
    try:
        return (yield from call(chats.retrieve_chat(conversation_id=chat.conversation_id, chat_id=chat.id), retry))
    except CozeError as error:
        _of_chat(error, chat)
        raise


def _of_chat(error: CozeError, chat: Chat) -> None:
    error.located(
        f"Chat {chat.id!r} in conversation {chat.conversation_id!r} was started and may go on in Coze, and is billed; "
        "a retry of the task goes on with it, unless durable is False.",
        chat_id=chat.id,
        conversation_id=chat.conversation_id,
    )


def cancel_chat(chat: Chat, retry: RetryPolicy) -> Flow[Chat]:
    """Cancel a chat and return how it ended: canceled, or as it had ended before."""
    ids = {"conversation_id": chat.conversation_id, "chat_id": chat.id}
    try:
        return (yield from call(chats.cancel_chat(**ids), retry))
    except CozeAlreadyEndedError:
        return (yield from call(chats.retrieve_chat(**ids), retry))


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a completed chat said."""

    chat: Chat
    text: str = field(repr=False)
    follow_ups: list[str] = field(repr=False)
    messages: tuple[Message, ...] = field(repr=False)


def chat_answer(chat: Chat, retry: RetryPolicy, *, waited: float) -> Flow[ChatAnswer]:
    """Fetch the answer of a chat that has ended.

    :param waited: seconds since the wait began, for the error's words.
    :raises CozeOutcomeError: it ended without an answer, or has not ended.
    """
    if chat_phase(chat.status) is not Phase.DONE:
        raise chat_error(chat, waited=waited)
    try:
        said = yield from call(chats.chat_messages(conversation_id=chat.conversation_id, chat_id=chat.id), retry)
    except CozeError as error:
        error.located(
            f"Chat {chat.id!r} in conversation {chat.conversation_id!r} is completed and paid for; its answer stays in Coze "
            "and can be read there. A retry of the task reads it, unless durable is False.",
            chat_id=chat.id,
            conversation_id=chat.conversation_id,
        )
        raise
    return ChatAnswer(chat, outputs.answer_text(said), outputs.follow_ups(said), said)


def watch_run(history: RunHistory, watch: Watch, *, workflow_id: str) -> Flow[RunHistory]:
    """Wait until the run's status is another word, and return its record; unchanged if the time is up first.

    :raises CozeError: it could not be read; the error carries the ids, because the run goes on.
    """
    if not is_waiting(history):
        return history
    what = workflows.run_history(workflow_id=workflow_id, execute_id=history.execute_id)
    while True:
        wait = watch.next_wait()
        if wait is None:
            return history
        try:
            record = yield from _look(what, watch, wait, None)
        except CozeError as error:
            _of_run(error, history, workflow_id)
            not_yet = isinstance(error, CozeNotFoundError) and error.code == codes.NOT_VISIBLE_YET
            if not not_yet or watch.clock() - watch.since >= NOT_VISIBLE_SECONDS:
                raise
            continue
        seen = history.execute_status
        history = _known_of(record, history)
        if history.execute_status != seen or not is_waiting(history):
            return history


def read_run(history: RunHistory, retry: RetryPolicy, *, workflow_id: str) -> Flow[RunHistory]:
    """Read the record of a run.

    :raises CozeError: it could not be read; the error carries the ids, because the run goes on.
    """
    try:
        what = workflows.run_history(workflow_id=workflow_id, execute_id=history.execute_id)
        record = yield from call(what, retry)
    except CozeError as error:
        _of_run(error, history, workflow_id)
        raise
    return _known_of(record, history)


def _of_run(error: CozeError, history: RunHistory, workflow_id: str) -> None:
    error.located(
        f"Run {history.execute_id!r} of workflow {workflow_id!r} was started and may go on in Coze, and is billed; "
        "a retry of the task goes on with it, unless durable is False.",
        workflow_id=workflow_id,
        execute_id=history.execute_id,
        debug_url=history.debug_url,
    )


def _known_of(record: RunHistory | None, before: RunHistory) -> RunHistory:
    """Return a record with the ids of the one before, where it leaves them out."""
    if record is None:
        return before
    if record.execute_id and (record.debug_url or not before.debug_url):
        return record
    return replace(
        record, execute_id=record.execute_id or before.execute_id, debug_url=record.debug_url or before.debug_url
    )


def is_waiting(history: RunHistory) -> bool:
    """Tell whether a run has neither ended nor asked a question."""
    return run_phase(history.execute_status, interrupted=history.interrupt is not None) in WAITING


def needs_input(history: RunHistory) -> bool:
    """Tell whether a run waits for the answer to a question."""
    return run_phase(history.execute_status, interrupted=history.interrupt is not None) is Phase.NEEDS_INPUT


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a successful run returned."""

    output: JsonValue = field(repr=False)
    execute_id: str
    debug_url: str | None
    usage: Usage | None
    logid: str | None
    is_output_trimmed: bool = False


def run_result(history: RunHistory, *, workflow_id: str, waited: float) -> RunResult:
    """Return the result of a run that has ended.

    :raises CozeOutcomeError: it ended without a result, or has not ended.
    """
    if run_phase(history.execute_status, interrupted=history.interrupt is not None) is not Phase.DONE:
        raise run_error(history, workflow_id=workflow_id, waited=waited)
    return RunResult(
        output=None if history.output is None else outputs.history_output(history.output),
        execute_id=history.execute_id,
        debug_url=history.debug_url,
        usage=history.usage,
        logid=history.logid,
        is_output_trimmed=history.is_output_trimmed,
    )


def direct_result(run: WorkflowRun, *, workflow_id: str, waited: float) -> RunResult:
    """Return the result that the answer to a synchronous start holds.

    :raises CozeOutcomeError: it holds a question, or nothing.
    """
    if run.interrupt is not None or run.data is None:
        asked = RunHistory(
            execute_id=run.execute_id,
            execute_status="Running",
            debug_url=run.debug_url,
            interrupt=run.interrupt,
            logid=run.logid,
        )
        raise run_error(asked, workflow_id=workflow_id, waited=waited)
    return RunResult(
        output=outputs.run_output(run.data),
        execute_id=run.execute_id,
        debug_url=run.debug_url,
        usage=run.usage,
        logid=run.logid,
    )
