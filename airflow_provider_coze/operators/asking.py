"""What a bot operator does between sending a chat and returning its answer: waiting, tools, questions, repairs.

A task is one chat, and further ones where its answer has to be asked for again. Each is paid for once by itself, so whatever happens in
between is found again by the next try, which goes through the same steps and pays for none of them twice.

What only a run needs is imported where it is used; see the package.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.errors import CozeError, CozeOutputTypeError, CozeToolError, CozeTriggerEventError
from airflow_provider_coze.operators.may_ask import Asking
from airflow_provider_coze.operators.sending import SendingOperator
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.operators.asked import Answered, Asker
    from airflow_provider_coze.operators.tools import ToolBox
    from airflow_provider_coze.protocol.models import Chat
    from airflow_provider_coze.protocol.typed_output import Mismatch

__all__ = ["AskingOperator"]


class AskingOperator(Asking, SendingOperator):
    """Base of operators whose work is a chat. Not to be used by itself."""

    message: str | None
    bot_version: str | None
    cancel_on_timeout: bool
    cancel_on_kill: bool
    tools: Mapping[str, Callable[..., Any]] | None
    max_tool_rounds: int
    on_tool_error: str
    max_repairs: int

    @cached_property
    def _toolbox(self) -> ToolBox:
        from airflow_provider_coze.operators.tools import ToolBox

        return ToolBox(self.tools or {}, on_error=self.on_tool_error, log=self.log, clock=self.hook.clock)

    @abc.abstractmethod
    def _checked(self) -> dict[str, Any]:
        """Return the arguments of the chat, all checked, now that templates are rendered."""

    # --- waiting

    def _waited(self, context: Context, chat: Chat, started_at: float) -> Any:
        """Wait for the chat, here or in the triggerer, and return its answer."""
        if self.deferrable:
            try:
                chat = self._watch(chat, started_at, until=self._grace_ends())
            except CozeError as error:
                if not self._is_for_the_triggerer(error):
                    raise
                chat = self._running or chat
            if chat_phase(chat.status) in WAITING and not self._is_late():
                self._wait_in_triggerer(chat, started_at)
        else:
            chat = self._watch(chat, started_at, until=self._deadline_at)
        return self._finish(context, chat, started_at)

    def _waited_anew(self, context: Context, error: CozeTriggerEventError) -> Any:
        """Wait again for a chat whose trigger sent nothing of use: its ids are in the record, or in this task's XComs."""
        from airflow_provider_coze.protocol.models import Chat
        from airflow_provider_coze.state.record import Submitted

        record = self._purchase.recorded() if self._purchase is not None else None
        ids = dict(record.ids) if isinstance(record, Submitted) else self._pulled(context, "chat_id", "conversation_id")
        if not ids.get("chat_id") or not ids.get("conversation_id"):
            raise error
        self.log.warning("%s Reading chat %s itself", error, ids["chat_id"])
        known = Chat(id=ids["chat_id"], conversation_id=ids["conversation_id"], bot_id=self.bot_id, status="")
        self._set_deadline(context)
        chat = self._running = self._read(known)
        return self._waited(context, chat, record.at if isinstance(record, Submitted) else self.hook.clock())

    def _read(self, chat: Chat) -> Chat:
        """Look at the chat once."""
        from airflow_provider_coze.protocol import flows

        return self.hook.perform(flows.read_chat(chat, self.hook.retry))

    def _watch(self, chat: Chat, started_at: float, *, until: float | None) -> Chat:
        """Look at the chat until it has ended or the time is up."""
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.pacing import TASK_POLLS
        from airflow_provider_coze.triggers.progress import log_chat

        watch = flows.Watch(
            polls=TASK_POLLS.below(self.poll_interval), since=started_at, until=until, clock=self.hook.clock
        )
        while chat_phase(chat.status) in WAITING:
            seen = chat.status
            chat = self._running = self.hook.perform(flows.watch_chat(chat, watch))
            if chat.status == seen:
                break
            log_chat(self.log, chat, self.hook.clock() - started_at)
        return chat

    def _wait_in_triggerer(self, chat: Chat, started_at: float) -> NoReturn:
        from airflow_provider_coze.triggers.chat import CozeChatTrigger

        self._running = None
        self.log.info("Chat %s: %s; waiting for it in the triggerer", chat.id, chat.status)
        self._push(context=self._context, usage=self._ledger.to_xcom())
        self.defer(
            trigger=CozeChatTrigger(
                conversation_id=chat.conversation_id,
                chat_id=chat.id,
                started_at=started_at,
                coze_conn_id=self.coze_conn_id,
                bot_id=chat.bot_id,
                status=chat.status,
                deadline=self._deadline_at,
                not_before=self._not_before(),
                poll_interval=self.poll_interval,
                cancel_on_kill=self.cancel_on_kill,
                turn=self._turn.to_payload(),
            ),
            method_name="execute_complete",
        )

    # --- ending

    def _finish(self, context: Context, chat: Chat, started_at: float) -> Any:
        """Do what a chat that has stopped needs, and return the answer in the end."""
        from airflow_provider_coze.operators.chat_end import end_late
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.typed_output import Mismatch

        waited, self._running = self.hook.clock() - started_at, None
        phase = chat_phase(chat.status)
        if phase in WAITING:
            chat = end_late(self.hook, self.log, chat, waited=waited, cancel=self.cancel_on_timeout)
        elif phase is Phase.NEEDS_INPUT:
            self._running = chat
            return self._answered(context, chat, waited)
        if chat_phase(chat.status) is not Phase.DONE:
            self._ledger.add(chat.usage, self._turn.what, chat.id)
        answer = self.hook.perform(flows.chat_answer(chat, self.hook.retry, waited=waited))
        self.log.info("Chat %s answered after %.0f s", chat.id, waited)
        self._ledger.add(chat.usage, self._turn.what, chat.id)
        facts = {"bot_id": self.bot_id, "bot_version": self.bot_version}
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        self._tell_span(since=started_at, asked=self.message, answered=answer.text, logid=chat.logid, **facts, **ids)
        self._push(
            context,
            **ids,
            usage=self._ledger.to_xcom(),
            follow_ups=answer.follow_ups,
            logid=chat.logid,
        )
        wrong: Mismatch | None = None
        try:
            value = self._typed(answer.text)
        except Mismatch as mismatch:
            wrong = mismatch
        if wrong is not None:  # not within `except`: what it tells the bot must be in no error's context
            return self._repaired(context, chat, wrong)
        result = self._stored(value, **ids)
        if self._purchase is not None:
            self._purchase.delivered(**ids)
        return result

    def _answered(self, context: Context, chat: Chat, waited: float) -> Any:
        """Give the chat what it waits for, and wait on."""
        from airflow_provider_coze.protocol.outcomes import chat_error
        from airflow_provider_coze.protocol.questions import Question

        self._ledger.add(chat.usage, self._turn.what, chat.id)
        questions = self._toolbox.questions(chat.tool_calls)
        is_for_tools = len(questions) < len(chat.tool_calls)
        has_nobody = self._answering.fails or (len(questions) > 1 and self.on_interrupt == "hitl")  # a form asks one
        if not chat.tool_calls or (questions and has_nobody) or (is_for_tools and not self.tools):
            raise chat_error(chat, waited=waited)
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        if self._turn.tool_rounds >= self.max_tool_rounds:
            raise CozeToolError(
                f"Chat {chat.id!r} in conversation {chat.conversation_id!r} asks for {'tools' if is_for_tools else 'an answer'} once more "
                f"after {self._turn.tool_rounds} rounds, which is max_tool_rounds. No outputs were submitted: it waits for them, and is "
                "billed as far as it went. A retry of this task goes on with it and counts its rounds anew; raise max_tool_rounds if it "
                "needs more.",
                **ids,
            )
        self._ledger.check("the outputs of its tools", **ids)
        known: dict[str, str] = {}
        for call in questions:
            question = Question.from_tool_call(chat.id, call)
            known[str(call.get("id"))] = self._answering.ask(self._asker(context, chat), question).data
        return self._submitted(context, chat, known)

    def _submitted(self, context: Context, chat: Chat, known: Mapping[str, str]) -> Any:
        """Run the tools, submit their outputs and the answers that are *known*, and wait on."""
        from airflow_provider_coze.protocol.tool_rounds import submit_once

        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        try:
            outputs = self._toolbox.answers(chat.tool_calls, known)
        except CozeToolError as error:
            raise error.located(
                f"It is chat {chat.id!r} in conversation {chat.conversation_id!r}.", **ids
            ) from error.__cause__
        # Tools answer in their order, questions after them: Coze knows both by their ids.
        outputs += [{"tool_call_id": each, "output": text} for each, text in known.items()]
        self._set_deadline(context)  # tools and people take what they take; from here on the bot answers
        chat = self.hook.perform(submit_once(chat, outputs, self.hook.retry))
        self._turn = replace(self._turn, tool_rounds=self._turn.tool_rounds + 1)
        self.log.info("Chat %s: %s with %d output(s)", chat.id, chat.status, len(outputs))
        return self._waited(context, chat, self.hook.clock())

    # --- questions

    def _asker(self, context: Context, chat: Chat | None) -> Asker:
        from airflow_provider_coze.operators.asked import Asker

        ids = {} if chat is None else {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        return Asker(
            context,
            self,
            "",
            "execute_answered",
            notes=self._purchase if self._purchase is not None and self._purchase.is_kept else None,
            kwargs={**ids, "turn": self._turn.to_payload()},
            bot_id=self.bot_id,
        )

    def _answered_by_people(self, context: Context, answered: Answered, chat: Chat) -> Any:
        """Go on with a chat whose question people have answered, unless it has gone on already."""
        from airflow_provider_coze.protocol.questions import Question

        chat = self._read(chat)
        waiting = {
            Question.from_tool_call(chat.id, call).event_id: call for call in self._toolbox.questions(chat.tool_calls)
        }
        call = waiting.get(answered.question.event_id)
        if chat_phase(chat.status) is not Phase.NEEDS_INPUT or call is None:
            self._set_deadline(context)
            return self._waited(context, chat, self.hook.clock())
        return self._submitted(context, chat, {str(call.get("id")): answered.data})

    def _repaired(self, context: Context, chat: Chat, mismatch: Mismatch) -> Any:
        """Show the bot in the same conversation what is wrong with its answer, and wait for a better one."""
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        if self._turn.repairs >= self.max_repairs:
            tries = f" after {self._turn.repairs} repair(s)" if self._turn.repairs else ""
            raise CozeOutputTypeError(
                f"The answer of chat {chat.id!r} in conversation {chat.conversation_id!r} is not of the output_type{tries}: "
                f"{mismatch}. It is paid for, and can be read in Coze. A retry of this task reads the same answers again; to ask, and pay, "
                'anew, run it once with reuse="never".',
                **ids,
            )
        self._ledger.check("a repair turn", **ids)
        self._turn = replace(
            self._turn, repairs=self._turn.repairs + 1, tool_rounds=0, conversation_id=chat.conversation_id
        )
        self.log.warning(
            "The answer of chat %s is not of the output_type (%s); asking the bot to repair it (%d of %d)",
            chat.id,
            mismatch,
            self._turn.repairs,
            self.max_repairs,
        )
        arguments = {
            **self._checked(),
            "conversation_id": chat.conversation_id,
            "additional_messages": [{"role": "user", "content_type": "text", "content": mismatch.repair}],
        }
        self._set_deadline(context)
        started = self._started(context, arguments)
        return self._waited(context, self._noted(context, started), started.since)
