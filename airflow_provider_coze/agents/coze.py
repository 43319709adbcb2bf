"""``CozeManagedAgentHook``: a bot as a managed agent of ``apache-airflow-providers-common-ai``. Imports without it fail, and say why.

A worker's, over requests: common.ai calls it in a thread of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from airflow_provider_coze.agents.asking import chat_arguments, seconds_of
from airflow_provider_coze.agents.contract import (
    BaseManagedAgentHook,
    ManagedAgentCapabilities,
    ManagedAgentRef,
    ManagedAgentRejected,
    ManagedAgentRequest,
    ManagedAgentResponse,
    ManagedAgentUsage,
)
from airflow_provider_coze.agents.failures import sorted_out
from airflow_provider_coze.compat import talking
from airflow_provider_coze.errors import CozeError, CozeInputError, CozeOutcomeUnknownError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.chat_end import end_killed, end_late
from airflow_provider_coze.protocol import flows, recovery
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.inputs import id_problems
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Call, Flow, Response, Send, changed
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.pacing import TASK_POLLS
from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, chat_phase
from airflow_provider_coze.triggers.progress import log_chat

__all__ = ["CozeManagedAgentHook"]

T = TypeVar("T")

#: A request is not cut shorter than this by the end of the caller's time: what is read is mostly the answer that was waited for.
_LEAST_READ_SECONDS = 1.0


@dataclass
class _Asking:
    """How far one consultation has come."""

    asked: bool = False  # whether the bot may have been asked, and something is billed
    chat: Chat | None = None


class CozeManagedAgentHook(CozeHook, BaseManagedAgentHook):
    """Let Airflow's agents, and Python, consult Coze bots through common.ai's contract for managed agents.

    ``CozeManagedAgentHook("coze_default").agent(bot_id)`` is what ``ManagedAgentToolset`` takes. Each consultation is one chat, and is
    billed; without a ``session_id`` it gets a conversation of its own. When the reply to it is lost, its chat is looked for before
    anything is sent again. Everything else that a :class:`~airflow_provider_coze.hooks.coze.CozeHook` can do, this can.

    :param coze_conn_id: the connection.
    :param retry: how failing requests are repeated. Billed ones never are, unless nothing can have been started.
    :param user_id: who asks; separates the bot's memory. ``vendor_options`` of a request may say another.
    """

    agent_platform = "coze.bot"

    def __init__(
        self,
        coze_conn_id: str = CozeHook.default_conn_name,
        *,
        retry: RetryPolicy | None = None,
        user_id: str = "airflow",
    ) -> None:
        super().__init__(coze_conn_id, retry=retry)
        self.user_id = user_id

    def resolve_agent(self, agent: str) -> ManagedAgentRef:
        """Return what a bot is called: by its id.

        :raises CozeInputError: that is none.
        """
        if problems := id_problems("bot_id", agent):
            raise CozeInputError(f"{problems[0]}. Nothing was sent, so nothing is billed; a retry fails the same way.")
        return ManagedAgentRef(platform=self.agent_platform, name=agent)

    def get_agent_capabilities(self, agent: str) -> ManagedAgentCapabilities:
        """Return what every bot can do: keep a conversation, tell its tokens, and be found again in Coze."""
        return ManagedAgentCapabilities(sessions=True, structured_output=False, usage=True, trace=True)

    def invoke_agent(self, agent: str, request: ManagedAgentRequest) -> ManagedAgentResponse:
        """Ask the bot, and wait for its answer.

        ``session_id`` is a conversation's; ``trace_ref`` is the chat's; ``raw`` is a
        :class:`~airflow_provider_coze.protocol.flows.ChatAnswer`, with all ids, messages and follow-ups.

        :param agent: the bot's id. It has to be published to the API channel.
        :raises ManagedAgentRejected: the bot cannot do with the question; another wording can help. What it used is billed.
        :raises CozeError: everything else. A ``ManagedAgentInvocationError`` as well where no retry can help, and a
            :class:`~airflow_provider_coze.agents.failures.CozeAgentNotAskedError` where the bot was certainly not asked.
        """
        state = _Asking()
        try:
            return self._consulted(agent, request, state)
        except CozeError as error:
            raised = sorted_out(error, asked=state.asked, now=self.clock())
            if isinstance(raised, ManagedAgentRejected):
                self.log.info("Bot %s wants the question put otherwise (%s, code %s)", agent, _name(error), error.code)
                raise raised from error
            if raised is error:
                raise
            raise raised.with_traceback(error.__traceback__) from error.__cause__
        except Exception:
            raise
        except BaseException:  # the task's time is up, or somebody interrupts: a retry would not find the chat again
            if state.chat is not None and chat_phase(state.chat.status) in WAITING:
                end_killed(self, self.log, state.chat)
            raise

    def _consulted(self, agent: str, request: ManagedAgentRequest, state: _Asking) -> ManagedAgentResponse:
        arguments = chat_arguments(agent, request, user_id=self.user_id)
        timeout = seconds_of(request)
        with talking():  # a model may call several tools at once, each in a thread
            self.get_conn()  # reads the connection, and keeps it
        chat = self._ask(arguments, request.session_id, state, until=self.clock() + timeout)
        since = self.clock()  # the time for the answer; sending the question had as much
        chat = self._waited(chat, state, since, until=since + timeout)
        waited = self.clock() - since
        answer = self._perform(
            flows.chat_answer(chat, self.retry, waited=waited), until=since + timeout + _LEAST_READ_SECONDS
        )
        used = chat.usage
        self.log.info(
            "Chat %s answered after %.0f s: %s tokens", chat.id, waited, "?" if used is None else used.token_count
        )
        return ManagedAgentResponse(
            text=answer.text,
            raw=answer,
            session_id=chat.conversation_id,
            usage=None if used is None else ManagedAgentUsage(used.input_count, used.output_count),
            trace_ref=chat.id,
        )

    # --- asking, once

    def _ask(self, arguments: Mapping[str, Any], session_id: str | None, state: _Asking, *, until: float) -> Chat:
        """Send the question so that its chat can be found, and find that if the reply is lost."""
        marker = f"agent/{uuid.uuid4().hex}"
        retry = replace(self.retry, budget_seconds=min(self.retry.budget_seconds, until - self.clock()))
        conversation_id = session_id or self._new_conversation(arguments["bot_id"], marker, retry, until)
        call = create_chat(**_with_marker(arguments, marker), conversation_id=conversation_id)
        try:
            chat = self._perform(flows.call(call, retry), until)
        except CozeError as error:
            state.asked = recovery.may_have_started(error)
            if not state.asked or not recovery.is_worth_repeating(error) or self.clock() >= until:
                raise
            self.log.warning(
                "The reply of bot %s was lost (%s); looking for its chat in conversation %s",
                arguments["bot_id"],
                _name(error),
                conversation_id,
            )
            search = recovery.Search(
                conversation_id=conversation_id,
                marker=marker,
                dedicated=session_id is None,
                sent_at=self.clock(),  # or before; it may have waited for its turn, or for a site with too many requests
                clock=self.clock,
                until=until,
            )
            chat = self._found(call, search, retry, until)
        state.asked, state.chat = True, chat
        self.log.info("Bot %s was asked, in chat %s of conversation %s", arguments["bot_id"], chat.id, conversation_id)
        return chat

    def _new_conversation(self, bot_id: str, marker: str, retry: RetryPolicy, until: float) -> str:
        flow = recovery.open_conversation(bot_id=bot_id, meta_data={MARKER_FIELD: marker}, retry=retry)
        return self._perform(flow, until).id

    def _found(self, call: Call[Chat], search: recovery.Search, retry: RetryPolicy, until: float) -> Chat:
        """Find the chat whose reply was lost, or send it again if it never arrived."""
        try:
            return self._perform(recovery.send_chat(call, search, retry, in_doubt=True), until)
        except CozeOutcomeUnknownError as error:
            raise CozeOutcomeUnknownError(
                f"A question was sent in conversation {search.conversation_id!r}, the reply was lost, and the conversation names no chat: "
                "it failed, was cancelled, or goes on in Coze, and is billed as far as it went. Nothing more was sent.",
                conversation_id=search.conversation_id,
            ) from error

    # --- waiting

    def _waited(self, chat: Chat, state: _Asking, since: float, *, until: float) -> Chat:
        """Wait for the end of the chat, and cancel it when the time is up.

        :raises CozeChatTimeoutError: it had no answer in time.
        """
        watch = flows.Watch(TASK_POLLS, since=since, until=until, clock=self.clock)
        while chat_phase(chat.status) in WAITING:
            seen = chat.status
            chat = state.chat = self._perform(flows.watch_chat(chat, watch), until)
            if chat.status == seen:
                return end_late(self, self.log, chat, waited=self.clock() - since, cancel=True)
            log_chat(self.log, chat, self.clock() - since)
        return chat

    def _perform(self, flow: Flow[T], until: float) -> T:
        """Perform a flow whose requests take no longer than there is time."""

        def bounded(effect: Send) -> Flow[Response]:
            left = max(_LEAST_READ_SECONDS, until - self.clock())
            usual = effect.request.read_seconds or self.settings.read_seconds
            response: Response = yield effect.of(changed(effect.request, read_seconds=min(usual, left)))
            return response

        return self.perform(through(flow, bounded))


def _with_marker(arguments: Mapping[str, Any], marker: str) -> dict[str, Any]:
    options = arguments["options"]
    return {
        **arguments,
        "additional_messages": recovery.marked(arguments["additional_messages"], marker),
        "options": {**options, "meta_data": {**(options["meta_data"] or {}), MARKER_FIELD: marker}},
    }


def _name(error: CozeError) -> str:
    return type(error).__name__
