"""Run a chatflow, which answers like a bot and is a workflow. What only a run needs is imported where it is used; see the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import (
    CozeError,
    CozeNotFoundError,
    CozeOutcomeUnknownError,
    CozeOutputTypeError,
    CozePermissionError,
)
from airflow_provider_coze.links import CozeRunLink, CozeWorkflowLink
from airflow_provider_coze.operators.base import CozeOperator, restore_texts
from airflow_provider_coze.operators.fate import decided
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase
from airflow_provider_coze.protocol.wording import in_brackets

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.protocol.messages import JsonValue
    from airflow_provider_coze.protocol.models import Chat
    from airflow_provider_coze.protocol.streams import ChatflowFold
    from airflow_provider_coze.state.reattach import Remote
    from airflow_provider_coze.state.record import Intent, Submitted

__all__ = ["CozeChatflowOperator"]

_TIMEOUT_SECONDS = 3600.0
_TEXTS = (
    "workflow_id",
    "message",
    "additional_messages",
    "bot_id",
    "app_id",
    "conversation_id",
    "ext",
    "workflow_version",
    "connector_id",
)


class CozeChatflowOperator(CozeOperator):
    """Send a message to a published chatflow and return its answer.

    Coze answers a chatflow in a stream only, so the worker reads it, also with *deferrable*; the log shows the answer as it grows.
    Returns the text of all its answers, oldest first. XComs beside it: ``chat_id``, ``conversation_id``, ``execute_id`` and ``debug_url``
    (valid for 7 days; both are named by the end of the stream alone), ``usage``, ``follow_ups`` and ``logid``. A chatflow that asks a
    question is answered by a further task with the same *conversation_id*.

    Arguments have Coze's names and meanings: https://www.coze.cn/open/docs/developer_guides/workflow_chat.

    :param workflow_id: the chatflow, published, as a string.
    :param message: what is said to it, as plain text. Or, instead:
    :param additional_messages: the messages of this turn, ``{"role", "content"}`` each, texts only, 50 at most; the last one is the
        question.
    :param parameters: inputs of its start node, by name; ``CONVERSATION_NAME`` names the conversation in an app.
    :param bot_id: the bot that the chatflow is bound to. Or, instead:
    :param app_id: the app that it belongs to. One of the two is needed.
    :param conversation_id: go on with this conversation. None: with *bot_id* it gets one of its own.
    :param ext: ``latitude``, ``longitude`` and ``user_id``, as strings.
    :param workflow_version: a version such as ``v0.0.5`` instead of the newest.
    :param connector_id: the channel the run counts for; Coze's default is the API channel, 1024.
    :param timeout: seconds to wait for the answer; 3,600 by default. None: without end. A chatflow cannot be cancelled.

    The parameters of all Coze operators are described at :class:`~airflow_provider_coze.operators.base.CozeOperator`;
    *wait_for_completion*, *deferrable*, *poll_interval* and *deferral_grace* have no effect but after a stream that broke off.

    :raises CozeInputError: arguments are wrong; nothing was sent.
    :raises CozeAPIError: Coze refused it.
    :raises CozeOutcomeUnknownError: an earlier request may have been billed, and *on_unknown* is ``fail``.
    :raises CozeOutcomeError: it ended without an answer (of the *output_type*), or not in time.
    """

    template_fields: Sequence[str] = (
        "workflow_id",
        "message",
        "additional_messages",
        "parameters",
        "bot_id",
        "app_id",
        "conversation_id",
        "ext",
        "workflow_version",
        "connector_id",
        "reuse",
        "on_unknown",
        "output_path",
        "coze_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012 - as Airflow declares it
        "message": "md",
        "additional_messages": "json",
        "parameters": "json",
        "ext": "json",
    }
    what = "run"
    ui_color = "#d9e4ff"
    operator_extra_links = (CozeRunLink(), CozeWorkflowLink())
    _fold: ChatflowFold  # what the stream has said; there from `execute` on

    def __init__(
        self,
        *,
        workflow_id: str,
        message: str | None = None,
        additional_messages: Sequence[Mapping[str, Any]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        bot_id: str | None = None,
        app_id: str | None = None,
        conversation_id: str | None = None,
        ext: Mapping[str, str] | None = None,
        workflow_version: str | None = None,
        connector_id: str | None = None,
        timeout: float | None = _TIMEOUT_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.workflow_id = workflow_id
        self.message = message
        self.additional_messages = additional_messages
        self.parameters = parameters
        self.bot_id = bot_id
        self.app_id = app_id
        self.conversation_id = conversation_id
        self.ext = ext
        self.workflow_version = workflow_version
        self.connector_id = connector_id
        self._going: Chat | None = None  # what Coze is answering, as far as it is named

    @decided
    def execute(self, context: Context) -> Any:
        """Run the chatflow, or go on with the chat of an earlier try, and return its answer."""
        from airflow_provider_coze.protocol.streams import ChatflowFold

        self._begin(context, resumed=False)
        arguments = self._checked()
        self._set_deadline(context)
        begun = self.hook.clock()
        self._purchase, self._fold = self._purchase_of(context), ChatflowFold()
        self._going = self._of_an_earlier_try(arguments)
        chat = self._sent(arguments, begun) if self._going is None else self._watched(self._going, begun)
        return self._finish(context, self._fold.explained(chat), self.hook.clock() - begun)

    def on_kill(self) -> None:
        """Say what goes on: Coze has no way to cancel a chatflow."""
        if self._going is not None and not self._fold.ended:
            self.log.warning(
                "Chat %s of chatflow %s goes on and is billed: Coze cannot cancel it", self._going.id, self.workflow_id
            )

    def _of_an_earlier_try(self, arguments: Mapping[str, Any]) -> Chat | None:
        from airflow_provider_coze.operators.purchase import remote_of
        from airflow_provider_coze.state.reattach import Attach, Remote, Unknown
        from airflow_provider_coze.state.record import Intent, Submitted

        if self._purchase is None:
            return None
        seen: list[Chat] = []

        def look(record: Submitted) -> Remote:
            try:
                seen.append(self._read(record.ids))
            except (CozeNotFoundError, CozePermissionError):
                return Remote.GONE
            return remote_of(chat_phase(seen[-1].status))

        decision, record = self._purchase.decided(arguments, look)
        match decision, record:
            case Attach(), Submitted():
                return seen[-1]
            case Unknown(reason), Intent() | Submitted() if self.on_unknown == "fail":
                raise self._unknown(reason, **(record.ids if isinstance(record, Submitted) else {}))
        return None

    def _read(self, ids: Mapping[str, str]) -> Chat:
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.models import Chat

        known = Chat(id=ids.get("chat_id", ""), conversation_id=ids.get("conversation_id", ""), status="")
        return self.hook.perform(flows.read_chat(known, self.hook.retry))

    def _sent(self, arguments: Mapping[str, Any], begun: float) -> Chat:
        """Send the message, and wait for the end of its chat; once more only if *on_unknown* allows for paying twice."""
        self._ledger.check("a new message to the chatflow")
        intent = None if self._purchase is None else self._purchase.intend()
        try:
            return self._sent_once(arguments, intent, begun)
        except CozeOutcomeUnknownError as error:
            if self.on_unknown == "fail" or self._is_late():
                raise
            self.log.warning(
                'Whether the chatflow runs cannot be told%s. It is sent again, because on_unknown is "resend"',
                in_brackets(error.logid),
            )
        return self._sent_once(arguments, intent, begun, again=True)

    def _sent_once(
        self, arguments: Mapping[str, Any], intent: Intent | None, begun: float, *, again: bool = False
    ) -> Chat:
        """Send the message, read the stream as far as it goes, and wait for what it left going on.

        :raises CozeOutcomeUnknownError: Coze named no chat, or does not show the one that it named.
        """
        from airflow_provider_coze.operators.chat_stream import streamed_chat
        from airflow_provider_coze.protocol.endpoints.workflow import stream_chatflow
        from airflow_provider_coze.protocol.recovery import may_have_started
        from airflow_provider_coze.protocol.streams import ChatflowFold

        def named(chat: Chat) -> None:
            self._going = chat
            if self._purchase is not None and intent is not None:
                self._purchase.bought(intent, conversation_id=chat.conversation_id, chat_id=chat.id)

        self._going, self._fold = None, ChatflowFold(conversation_id=self.conversation_id or "")
        call = stream_chatflow(**arguments)
        try:
            chat = streamed_chat(self.hook, call, self._fold, log=self.log, named=named, until=self._deadline_at)
        except CozeError as error:
            if self._going is not None and not self._fold.ended:
                if isinstance(error, CozeNotFoundError):
                    raise self._not_shown(self._going, error) from error
                raise  # it goes on, and could not be read
            # What a first request may have started is not forgotten because a second one was refused.
            if self._purchase is not None and (self._fold.ended or not (again or may_have_started(error))):
                self._purchase.nothing_bought()
            raise
        if chat is None:
            raise self._unknown("its stream broke off before it named the chat", logid=self._fold.logid)
        return chat if self._fold.ended else self._watched(chat, begun)

    def _watched(self, chat: Chat, begun: float) -> Chat:
        """Wait for a chat whose stream is not at hand (any more)."""
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.pacing import CHAT_POLLS

        watch = flows.Watch(
            polls=CHAT_POLLS.below(self.poll_interval), since=begun, until=self._deadline_at, clock=self.hook.clock
        )
        try:
            if self._fold.chat is not None:
                chat = self.hook.perform(flows.read_chat(chat, self.hook.retry))
            while chat_phase(chat.status) in WAITING:
                seen = chat.status
                self.log.info("Chat %s of chatflow %s: %s", chat.id, self.workflow_id, seen)
                chat = self.hook.perform(flows.watch_chat(chat, watch))
                if chat.status == seen:
                    break
        except CozeNotFoundError as error:
            raise self._not_shown(chat, error) from error
        return chat

    def _not_shown(self, chat: Chat, error: CozeNotFoundError) -> CozeOutcomeUnknownError:
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        return self._unknown(
            "Coze does not show the chat of a chatflow whose stream broke off", **ids, logid=error.logid
        )

    def _finish(self, context: Context, chat: Chat, waited: float) -> JsonValue:
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.outcomes import chat_error
        from airflow_provider_coze.protocol.typed_output import Mismatch

        self._going = None
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        run = {"execute_id": self._fold.execute_id or None, "debug_url": self._fold.debug_url}
        self._ledger.add(chat.usage, "run", chat.id)
        self._push(context, **ids, **run, usage=self._ledger.to_xcom(), logid=chat.logid)
        phase = chat_phase(chat.status)
        if phase is not Phase.DONE:
            if self._purchase is not None and phase in (Phase.FAILED, Phase.CANCELLED):
                self._purchase.nothing_bought()  # so that a retry asks anew
            raise chat_error(chat, waited=waited)
        if self._fold.ended and self._fold.is_whole:
            answer = self._fold.answer()
        else:
            answer = self.hook.perform(flows.chat_answer(chat, self.hook.retry, waited=waited))
        self.log.info("Chatflow %s answered in chat %s after %.0f s", self.workflow_id, chat.id, waited)
        self._push(context, follow_ups=answer.follow_ups)
        self._tell_span(
            since=self.hook.clock() - waited,
            asked=self.message,
            answered=answer.text,
            workflow_id=self.workflow_id,
            execute_id=run["execute_id"],
            logid=chat.logid,
            **ids,
        )
        wrong = ""
        try:
            value = self._typed(answer.text)
        except Mismatch as mismatch:
            wrong = str(mismatch)
        if wrong:  # not within `except`: the mismatch holds words for the bot, which must be in no error's context
            raise CozeOutputTypeError(
                f"The answer of chat {chat.id!r} in conversation {chat.conversation_id!r} (chatflow {self.workflow_id!r}) is not of the "
                f"output_type: {wrong}. It is paid for. A retry of this task reads the same answer again where Coze shows it; to ask, "
                'and pay, anew, run it once with reuse="never".',
                workflow_id=self.workflow_id,
                **ids,
            )
        result = self._stored(value, **ids)
        if self._purchase is not None:
            self._purchase.delivered(**ids)
        return result

    def _unknown(self, reason: str, **facts: str | None) -> CozeOutcomeUnknownError:
        known = {name: facts.get(name) or None for name in ("chat_id", "conversation_id", "logid")}
        anew = "clear the task"
        if self.on_unknown == "fail":
            anew = 'run the task once with on_unknown="resend" or reuse="never"'
        return CozeOutcomeUnknownError(
            f"Whether chatflow {self.workflow_id!r} is running, and billed, cannot be told: {reason.rstrip('.')}. Nothing more was sent, "
            f"and no retry sends anything. Look at the conversation in Coze; to ask, and pay, anew, {anew}.",
            workflow_id=self.workflow_id,
            **known,
        )

    def _checked(self) -> dict[str, Any]:
        """Return the arguments, all checked, now that templates are rendered."""
        from airflow_provider_coze.protocol.inputs import chatflow_problems

        restore_texts(self, _TEXTS)
        names = ("bot_id", "app_id", "ext", "workflow_version", "connector_id")
        options: dict[str, JsonValue] = {name: getattr(self, name) for name in names}
        self._refuse(
            self._waiting_problems()
            + chatflow_problems(
                workflow_id=self.workflow_id,
                message=self.message,
                additional_messages=self.additional_messages,
                parameters=self.parameters,
                conversation_id=self.conversation_id,
                options=options,
            )
        )
        messages = self.additional_messages or [{"content": self.message}]
        return {
            "workflow_id": self.workflow_id,
            "additional_messages": [{"role": "user", "content_type": "text", **message} for message in messages],
            "parameters": self.parameters or {},
            "conversation_id": self.conversation_id,
            "options": options,
        }
