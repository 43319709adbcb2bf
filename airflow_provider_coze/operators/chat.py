"""Ask a bot and return its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.errors import CozeError, CozeTriggerEventError
from airflow_provider_coze.operators.base import CozeOperator, restore_texts
from airflow_provider_coze.operators.chat_end import end_killed, end_late
from airflow_provider_coze.operators.chat_start import ChatStart, StartedChat
from airflow_provider_coze.operators.conversation_store import ConversationStore
from airflow_provider_coze.operators.fate import decided
from airflow_provider_coze.operators.purchase import began
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.inputs import chat_problems
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.pacing import CHAT_POLLS
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase
from airflow_provider_coze.state.record import Submitted
from airflow_provider_coze.state.stores import Store
from airflow_provider_coze.triggers.chat import CozeChatTrigger
from airflow_provider_coze.triggers.events import ChatEvent
from airflow_provider_coze.triggers.progress import log_chat

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CozeChatOperator"]

#: Most bots answer within seconds; a bot with slow tools needs more.
_TIMEOUT_SECONDS = 300.0
#: Pairs of meta_data that a durable chat needs of Coze's 16: its marker and, in a user's own conversation, its note.
_OWN_META_DATA = 2
_TEXTS = (
    "bot_id",
    "message",
    "additional_messages",
    "user_id",
    "conversation_id",
    "custom_variables",
    "meta_data",
    "extra_params",
    "bot_version",
)


class CozeChatOperator(CozeOperator):
    """Send a message to a Coze bot and return its answer.

    Returns the text of all its answers, oldest first. XComs beside it: ``chat_id``, ``conversation_id``, ``usage`` (tokens and
    try_number), ``follow_ups`` and ``logid``. Without a *conversation_id* every chat gets a conversation of its own, in which it is found
    again if a process or a reply is lost.

    Arguments have Coze's names and meanings: https://www.coze.cn/open/docs/developer_guides/chat_v3.

    :param bot_id: the bot, published to the API channel: the number after ``/bot/`` in its URL, as a string.
    :param message: the question, as plain text. Or, instead:
    :param additional_messages: the messages of this turn, ``{"role", "content", "content_type", "meta_data"}`` each; the last one
        is the question. role and content_type default to ``user`` and ``text``.
    :param user_id: who asks; separates the bot's memory. None: ``airflow:<dag_id>.<task_id>``.
    :param conversation_id: go on with this conversation, which must have no chat in progress.
    :param custom_variables: values of the variables in the bot's prompt, strings to strings.
    :param meta_data: kept with the chat, strings to strings, at most 16.
    :param parameters: inputs of a bot in chatflow mode.
    :param extra_params: ``latitude`` and ``longitude``, as strings.
    :param shortcut_command: ``{"command_id", "parameters"}`` of a shortcut of the bot.
    :param bot_version: a published version of the bot instead of the newest.
    :param publish_status: ``published_online`` or ``unpublished_draft``.
    :param auto_save_history: must be True, as Coze keeps no answer to fetch otherwise.
    :param timeout: seconds to wait for the answer; 300 by default. None: without end.
    :param cancel_on_timeout: whether the chat is then cancelled. What it used is billed either way.
    :param cancel_on_kill: whether the chat is cancelled when the task is killed; while deferred, from Airflow 3.3 on.

    The parameters of all Coze operators, such as *deferrable*, are described at
    :class:`~airflow_provider_coze.operators.base.CozeOperator`.

    :raises CozeInputError: arguments are wrong; nothing was sent.
    :raises CozeAPIError: Coze refused the chat.
    :raises CozeOutcomeUnknownError: an earlier request may have been billed, and *on_unknown* is ``fail``.
    :raises CozeStateError: the record of earlier tries cannot be read or written; nothing was sent.
    :raises CozeOutcomeError: the chat ended without an answer, or not in time.
    """

    template_fields: Sequence[str] = (
        "bot_id",
        "message",
        "additional_messages",
        "user_id",
        "conversation_id",
        "custom_variables",
        "meta_data",
        "parameters",
        "extra_params",
        "shortcut_command",
        "bot_version",
        "publish_status",
        "auto_save_history",
        "reuse",
        "on_unknown",
        "coze_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012 - as Airflow declares it
        "message": "md",
        "additional_messages": "json",
        "custom_variables": "json",
        "meta_data": "json",
        "parameters": "json",
        "extra_params": "json",
        "shortcut_command": "json",
    }
    what = "chat"
    ui_color = "#d9e4ff"

    def __init__(
        self,
        *,
        bot_id: str,
        message: str | None = None,
        additional_messages: Sequence[Mapping[str, Any]] | None = None,
        user_id: str | None = None,
        conversation_id: str | None = None,
        custom_variables: Mapping[str, str] | None = None,
        meta_data: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        extra_params: Mapping[str, str] | None = None,
        shortcut_command: Mapping[str, Any] | None = None,
        bot_version: str | None = None,
        publish_status: str | None = None,
        auto_save_history: bool = True,
        timeout: float | None = _TIMEOUT_SECONDS,
        cancel_on_timeout: bool = True,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.bot_id = bot_id
        self.message = message
        self.additional_messages = additional_messages
        self.user_id = user_id
        self.conversation_id = conversation_id
        self.custom_variables = custom_variables
        self.meta_data = meta_data
        self.parameters = parameters
        self.extra_params = extra_params
        self.shortcut_command = shortcut_command
        self.bot_version = bot_version
        self.publish_status = publish_status
        self.auto_save_history = auto_save_history
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self._running: Chat | None = None

    @decided
    def execute(self, context: Context) -> Any:
        """Start the chat, or go on with the one of an earlier try, and wait for it here or in the triggerer."""
        arguments = self._checked()
        self._set_deadline(context)
        started = self._started(context, arguments)
        self._set_deadline(context)  # the time for the answer; finding or starting the work had as much
        chat = self._running = started.chat
        self.log.info(
            "Chat %s in conversation %s: %s (logid %s)", chat.id, chat.conversation_id, chat.status, chat.logid
        )
        self._push(context, chat_id=chat.id, conversation_id=chat.conversation_id, logid=chat.logid)
        if not self.wait_for_completion:
            self._running = None
            self._delivered(chat)
            return {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        return self._waited(context, chat, started.since)

    @decided
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after a deferral.

        :raises CozeTriggerEventError: the triggerer sent something that is not ours, and the chat's ids are nowhere to be found.
        """
        restore_texts(self, _TEXTS)
        self._purchase = self._purchase_of(context)
        try:
            ended = ChatEvent.from_payload(event)
        except CozeTriggerEventError as error:
            return self._waited_anew(context, error)
        if ended.error is not None:
            raise ended.error
        chat = ended.chat
        self.log.info("Chat %s: %s when the triggerer handed it back", chat.id, chat.status)
        if chat_phase(chat.status) not in WAITING | {Phase.DONE}:
            # Why it failed, or what it asks for, is not for a trigger's event.
            chat = self.hook.perform(flows.read_chat(chat, self.hook.retry))
        return self._finish(context, chat, ended.started_at)

    def on_kill(self) -> None:
        """Cancel the chat, within the seconds that a worker has left, if a person ended the task."""
        chat, self._running = self._running, None
        if chat is None:
            return
        if not self.cancel_on_kill:
            self.log.warning("Chat %s is left running: cancel_on_kill is off. It goes on, and is billed", chat.id)
            return
        if self._goes_on():
            self.log.warning(
                "Chat %s is left running: a person did not end this task, and a retry goes on with it", chat.id
            )
            return
        end_killed(self.hook, self.log, chat)

    def _started(self, context: Context, arguments: dict[str, Any]) -> StartedChat:
        """Return the chat of an earlier try, or a new one."""
        self._purchase = self._purchase_of(context)
        if self._purchase is None:
            chat = self.hook.create_chat(**arguments)
            return StartedChat(chat, self.hook.clock())
        start = ChatStart(self.hook, self._purchase, self.log, on_unknown=self.on_unknown, until=self._deadline_at)
        return start.chat(arguments)

    def _store_in_coze(self, context: Context, key: str) -> Store | None:
        return ConversationStore(
            self.hook,
            key=key,
            bot_id=self.bot_id,
            conversation_id=self.conversation_id,
            since=began(context),
            has_past=context["ti"].try_number > 1,
        )

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
        record = self._purchase.recorded() if self._purchase is not None else None
        ids = dict(record.ids) if isinstance(record, Submitted) else self._pulled(context, "chat_id", "conversation_id")
        if not ids.get("chat_id") or not ids.get("conversation_id"):
            raise error
        self.log.warning("%s Reading chat %s itself", error, ids["chat_id"])
        known = Chat(id=ids["chat_id"], conversation_id=ids["conversation_id"], bot_id=self.bot_id, status="")
        self._set_deadline(context)
        chat = self._running = self.hook.perform(flows.read_chat(known, self.hook.retry))
        return self._waited(context, chat, record.at if isinstance(record, Submitted) else self.hook.clock())

    def _checked(self) -> dict[str, Any]:
        """Return the arguments of the chat, all checked, now that templates are rendered."""
        restore_texts(self, _TEXTS)
        options: dict[str, JsonValue] = {
            "custom_variables": self.custom_variables,
            "meta_data": self.meta_data,
            "parameters": self.parameters,
            "extra_params": self.extra_params,
            "shortcut_command": self.shortcut_command,
            "bot_version": self.bot_version,
            "publish_status": self.publish_status,
        }
        user_id = f"airflow:{self.dag_id}.{self.task_id}" if self.user_id is None else self.user_id
        self._refuse(
            self._waiting_problems()
            + chat_problems(
                bot_id=self.bot_id,
                user_id=user_id,
                message=self.message,
                additional_messages=self.additional_messages,
                conversation_id=self.conversation_id,
                auto_save_history=self.auto_save_history,
                options=options,
                reserved=_OWN_META_DATA if self.durable else 0,
            )
        )
        return {
            "bot_id": self.bot_id,
            "user_id": user_id,
            "additional_messages": [_message(m) for m in self.additional_messages or [{"content": self.message}]],
            "conversation_id": self.conversation_id,
            "auto_save_history": self.auto_save_history,
            "options": options,
        }

    def _watch(self, chat: Chat, started_at: float, *, until: float | None) -> Chat:
        """Look at the chat until it has ended or the time is up."""
        watch = flows.Watch(
            polls=CHAT_POLLS.below(self.poll_interval), since=started_at, until=until, clock=self.hook.clock
        )
        while chat_phase(chat.status) in WAITING:
            seen = chat.status
            chat = self._running = self.hook.perform(flows.watch_chat(chat, watch))
            if chat.status == seen:
                break
            log_chat(self.log, chat, self.hook.clock() - started_at)
        return chat

    def _wait_in_triggerer(self, chat: Chat, started_at: float) -> NoReturn:
        self._running = None
        self.log.info("Chat %s: %s; waiting for it in the triggerer", chat.id, chat.status)
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
            ),
            method_name="execute_complete",
        )

    def _finish(self, context: Context, chat: Chat, started_at: float) -> str:
        """Return the answer of a chat that has ended; cancel one that has not."""
        waited, self._running = self.hook.clock() - started_at, None
        if chat_phase(chat.status) in WAITING:
            chat = end_late(self.hook, self.log, chat, waited=waited, cancel=self.cancel_on_timeout)
        answer = self.hook.perform(flows.chat_answer(chat, self.hook.retry, waited=waited))
        self.log.info("Chat %s answered after %.0f s", chat.id, waited)
        self._push(
            context,
            chat_id=chat.id,
            conversation_id=chat.conversation_id,
            usage=self._usage(context, chat.usage),
            follow_ups=answer.follow_ups,
            logid=chat.logid,
        )
        self._delivered(chat)
        return answer.text

    def _delivered(self, chat: Chat) -> None:
        if self._purchase is not None:
            self._purchase.delivered(conversation_id=chat.conversation_id, chat_id=chat.id)


def _message(message: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {"role": "user", "content_type": "text", **message}
