"""Tell a Coze bot what has happened, for the callbacks of Airflow: once, within seconds, and so that no task ever fails of it.

DAG files import this, and a triggerer on its event loop: what only a notification needs is imported where it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import BaseNotifier, redact
from airflow_provider_coze.errors import CozeError, CozeInputError, CozeTransportError
from airflow_provider_coze.notifications.wording import what_happened

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.hooks.coze import CozeHook
    from airflow_provider_coze.protocol.flows import ChatAnswer
    from airflow_provider_coze.protocol.messages import Call, Flow
    from airflow_provider_coze.protocol.models import Chat

__all__ = ["CozeNotifier"]

_TIMEOUT_SECONDS = 5.0
#: An answer is for people to read in a log.
_MOST_OF_AN_ANSWER = 2_000
#: The last look for an answer comes so much before the end, as a part of the time: reading it takes time as well.
_LAST_LOOK = 0.8


@dataclass
class _Attempt:
    """How far a notification has come."""

    chat: Chat | None = None
    error: Exception | None = None


class CozeNotifier(BaseNotifier):
    """Send a Coze bot a message about what has happened to a task or a DAG.

    For ``on_failure_callback``, ``on_success_callback``, ``on_retry_callback`` and the like of tasks and DAGs, and for deadlines of DAGs
    (``DeadlineAlert``, Airflow 3.1 and later). It cannot fail a task or DAG, and holds it up for *timeout* at most: whatever goes wrong is
    one warning in the log. The message is sent once, and never again: neither when Coze refuses it nor when no answer comes. Each is one
    chat, and is billed.

    :param bot_id: the bot, published to the API channel.
    :param message: what it is told, a template. ``{{ what_happened }}`` in it is some lines about the task or DAG, its run, its state, the
        beginning of the error and the address of the log, without secrets; beside all that Airflow's templates know there.
    :param user_id: who tells it; separates the bot's memory. None: ``airflow:<dag_id>``.
    :param conversation_id: tell it in this conversation. None: each time in a new one.
    :param coze_conn_id: the connection, of type ``coze``.
    :param log_answer: wait for the bot's answer, as long as *timeout* allows, and write it into the log.
    :param timeout: seconds that all of it may take.
    :param context: given by Airflow for a deadline.
    """

    template_fields: Sequence[str] = ("bot_id", "message", "user_id", "conversation_id", "coze_conn_id")

    def __init__(
        self,
        *,
        bot_id: str,
        message: str = "{{ what_happened }}",
        user_id: str | None = None,
        conversation_id: str | None = None,
        coze_conn_id: str = "coze_default",
        log_answer: bool = False,
        timeout: float = _TIMEOUT_SECONDS,
        context: Context | None = None,
    ) -> None:
        super().__init__()
        self.context: Any = context or {}
        self.bot_id = bot_id
        self.message = message
        self.user_id = user_id
        self.conversation_id = conversation_id
        self.coze_conn_id = coze_conn_id
        self.log_answer = log_answer
        self.timeout = timeout

    @cached_property
    def hook(self) -> CozeHook:
        """The hook of the notifier's connection."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    def __call__(self, *args: Any) -> None:
        """Render the message and send it. Never raises."""
        try:
            # One notifier may serve many tasks, and rendering leaves nothing of a template: each call has a copy of its own, and the
            # task's context gets nothing from us.
            own = copy.copy(self)
            super(CozeNotifier, own).__call__(*(copy.copy(args) if len(args) > 1 else [copy.copy(args[0])]))
        except Exception as error:
            self._say(_Attempt(error=error))

    def __await__(self) -> Generator[Any, None, None]:
        """Do the same on an event loop, for a deadline. Never raises."""
        return self._awaited().__await__()

    def notify(self, context: Context) -> None:
        """Send the message as it is now. Never raises."""
        attempt = _Attempt()
        # In a thread, because finding an address, and asking Airflow for the connection, take what they take.
        sending = threading.Thread(target=self._send, args=(context, attempt), name="coze-notifier", daemon=True)
        sending.start()
        sending.join(self.timeout)
        if sending.is_alive():
            attempt = _Attempt(attempt.chat, TimeoutError())
        self._say(attempt)

    async def async_notify(self, context: Context) -> None:
        """Send the message as it is now, from an event loop. Never raises."""
        attempt = _Attempt()
        try:
            await asyncio.wait_for(self._asend(context, attempt), self.timeout)
        except Exception as error:
            attempt.error = error
        self._say(attempt)

    async def _awaited(self) -> None:
        try:
            own, given = copy.copy(self), copy.copy(self.context)
            own._update_context(given)
            own.render_template_fields(given)
        except Exception as error:
            self._say(_Attempt(error=error))
        else:
            await own.async_notify(given)

    def _update_context(self, context: Any) -> Any:
        context["what_happened"] = what_happened(context, lambda text: str(redact(text)))
        return super()._update_context(context)

    def _request(self, context: Any) -> Call[Chat]:
        """Return the request for the chat.

        :raises CozeInputError: there is something wrong with it.
        """
        from airflow_provider_coze.protocol.endpoints.chat import create_chat
        from airflow_provider_coze.protocol.inputs import chat_problems

        bot_id, message, user_id, conversation_id = map(
            _text, (self.bot_id, self.message, self.user_id, self.conversation_id)
        )
        if user_id is None:
            dag_id = getattr(context.get("dag"), "dag_id", None) if isinstance(context, Mapping) else None
            user_id = f"airflow:{dag_id}" if dag_id else "airflow"
        problems = chat_problems(
            bot_id=bot_id,
            user_id=user_id,
            message=message,
            additional_messages=None,
            conversation_id=conversation_id,
            auto_save_history=True,
            options={},
        )
        if problems:
            raise CozeInputError("; ".join(problems))
        return create_chat(
            bot_id=bot_id,
            user_id=user_id,
            additional_messages=[{"role": "user", "content_type": "text", "content": message}],
            conversation_id=conversation_id,
        )

    # --- sending, once

    def _steps(self, context: Any, attempt: _Attempt) -> Generator[Flow[Any] | float, Any, None]:
        """Yield what is to be done, one after the other: a flow to perform, or seconds to wait. No request of it is repeated."""
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.pacing import SEARCH_POLLS
        from airflow_provider_coze.protocol.retry import RetryPolicy
        from airflow_provider_coze.protocol.statuses import WAITING, chat_phase

        once, clock = RetryPolicy(attempts=1), self.hook.clock
        since = clock()
        chat: Chat = yield flows.call(self._request(context), once)
        attempt.chat = chat
        self.log.info("Bot %s was told, in chat %s of conversation %s", self.bot_id, chat.id, chat.conversation_id)
        if not self.log_answer:
            return
        watch = flows.Watch(SEARCH_POLLS, since=since, until=since + _LAST_LOOK * self.timeout, clock=clock)
        while chat_phase(chat.status) in WAITING:
            wait = watch.next_wait()
            if wait is None:
                raise TimeoutError
            yield wait
            chat = yield flows.read_chat(chat, once)
        answer: ChatAnswer = yield flows.chat_answer(chat, once, waited=clock() - since)
        text = answer.text if len(answer.text) <= _MOST_OF_AN_ANSWER else f"{answer.text[:_MOST_OF_AN_ANSWER]}…"
        self.log.info("Bot %s answered in chat %s: %s", self.bot_id, chat.id, text)

    def _send(self, context: Any, attempt: _Attempt) -> None:
        try:
            steps, done = self._steps(context, attempt), None
            with contextlib.suppress(StopIteration):
                while True:
                    step = steps.send(done)
                    # In a hurry: the connection's budget is not waited for, and no request takes longer than some seconds.
                    done = self.hook.sleep(step) if isinstance(step, float) else self.hook.perform(step, hurry=True)
        except Exception as error:
            attempt.error = error

    async def _asend(self, context: Any, attempt: _Attempt) -> None:
        from airflow_provider_coze.hooks.loading import load

        await load("airflow_provider_coze.hooks.coze")
        steps, done = self._steps(context, attempt), None
        with contextlib.suppress(StopIteration):
            while True:
                step = steps.send(done)
                done = await (self.hook.asleep(step) if isinstance(step, float) else self.hook.aperform(step))

    def _say(self, attempt: _Attempt) -> None:
        """Write the one warning, if anything went wrong."""
        error = attempt.error
        if error is None:
            return
        # Words of others can hold anything, such as an address with its password.
        words = str(error) if isinstance(error, CozeError) else f"a {type(error).__name__}"
        if isinstance(error, TimeoutError):
            words = f"it was not over after {self.timeout:g} s"
        if attempt.chat is not None:
            what = f"has been told, in chat {attempt.chat.id}, and its answer could not be read"
        elif isinstance(error, TimeoutError) or (isinstance(error, CozeTransportError) and not error.never_sent):
            what = "may or may not have been told what happened"
        else:
            what = "was not told what happened"
        self.log.warning(
            "Bot %s %s: %s. Nothing is sent again; the task goes on as it would have",
            self.bot_id,
            what,
            words.rstrip("."),
        )


def _text(value: Any) -> Any:
    """Return the text of which native rendering has made a number, as it does of ids."""
    return str(value) if type(value) in (int, float) else value
