"""Ask a bot and return its answer. What only a run needs is imported where it is used; see the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeTriggerEventError
from airflow_provider_coze.links import CozeBotLink
from airflow_provider_coze.operators.asking import AskingOperator
from airflow_provider_coze.operators.base import restore_texts
from airflow_provider_coze.operators.fate import decided
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.protocol.answers import Answer
    from airflow_provider_coze.protocol.messages import JsonValue
    from airflow_provider_coze.protocol.questions import Question

__all__ = ["CozeChatOperator"]

#: Most bots answer within seconds; a bot with slow tools needs more.
_TIMEOUT_SECONDS = 300.0
#: Pairs of meta_data that a durable chat needs of Coze's 16: its marker and, in a user's own conversation, its note.
_OWN_META_DATA = 2
#: A bot that asks more often goes in circles more often than it gets anywhere.
_MAX_TOOL_ROUNDS = 5
#: What one repair does not bring, a second one seldom does; each is billed.
_MAX_REPAIRS = 1
_TEXTS = (
    "bot_id",
    "message",
    "additional_messages",
    "user_id",
    "conversation_id",
    "conversation",
    "custom_variables",
    "meta_data",
    "extra_params",
    "bot_version",
)


class CozeChatOperator(AskingOperator):
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
    :param conversation_id: go on with this conversation.
    :param conversation: without *conversation_id*: ``new``, ``dag_run`` (shared by the chats of the DAG run with this bot), ``task`` (by
        all runs of this task), or the id of one.
    :param on_busy: when the conversation has a chat in progress: ``wait`` for it, ask in a ``new`` one, ``cancel`` it, or ``fail``.
    :param custom_variables: values of the variables in the bot's prompt, strings to strings.
    :param meta_data: kept with the chat, strings to strings, at most 16.
    :param parameters: inputs of a bot in chatflow mode.
    :param extra_params: ``latitude`` and ``longitude``, as strings.
    :param shortcut_command: ``{"command_id", "parameters"}`` of a shortcut of the bot.
    :param bot_version: a published version of the bot instead of the newest.
    :param publish_status: ``published_online`` or ``unpublished_draft``.
    :param auto_save_history: must be True, as Coze keeps no answer to fetch otherwise.
    :param stream: show the answer in the log as it grows; the worker reads it, also with *deferrable*. The result is the same.
    :param tools: functions that the bot may call, by the names of its local plugin's tools; they run on the worker.
    :param max_tool_rounds: how often one chat may ask for tools or answers.
    :param on_tool_error: ``output``: the bot is told of a tool's failure, and goes on; ``fail``: the task fails.
    :param on_interrupt: who answers when the bot asks (a pause of the type ``reply_message``): ``fail`` (nobody, the task fails), ``hitl``
        (people, through Airflow 3.1 and later; no worker waits), or a function that gets the
        :class:`~airflow_provider_coze.protocol.questions.Question` and returns the answer, a text.
    :param hitl_users: who may answer: ids of users, or ``{"id", "name"}``. None: everybody who may edit the task.
    :param hitl_notifiers: notifiers of Airflow, run once for each question, with ``coze_question`` in their context.
    :param hitl_timeout: seconds, or a timedelta, that people have for each question. None: no end.
    :param hitl_default: the answer when nobody answers in time, or a function of the question that returns it. None: the task fails.
    :param max_repairs: how often the bot is shown what is wrong with an answer that is not of the *output_type*; each is a further chat
        in the same conversation, and is billed.
    :param timeout: seconds to wait for the answer; 300 by default. None: without end.
    :param cancel_on_timeout: whether the chat is then cancelled. What it used is billed either way.
    :param cancel_on_kill: whether the chat is cancelled when the task is killed; while deferred, from Airflow 3.3 on.

    The parameters of all Coze operators, such as *deferrable*, are described at
    :class:`~airflow_provider_coze.operators.base.CozeOperator`.

    :raises CozeInputError: arguments are wrong; nothing was sent.
    :raises CozeAPIError: Coze refused the chat.
    :raises CozeOutcomeUnknownError: an earlier request may have been billed, and *on_unknown* is ``fail``.
    :raises CozeStateError: the record of earlier tries cannot be read or written; nothing was sent.
    :raises CozeOutcomeError: the chat ended without an answer (of the *output_type*), or not in time.
    :raises CozeTokenBudgetError: *token_budget* is used up.
    """

    template_fields: Sequence[str] = (
        "bot_id",
        "message",
        "additional_messages",
        "user_id",
        "conversation_id",
        "conversation",
        "custom_variables",
        "meta_data",
        "parameters",
        "extra_params",
        "shortcut_command",
        "bot_version",
        "publish_status",
        "auto_save_history",
        "on_busy",
        "reuse",
        "on_unknown",
        "output_path",
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
    ui_color = "#d9e4ff"
    operator_extra_links = (CozeBotLink(),)

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
        conversation: str = "new",
        on_busy: str = "wait",
        stream: bool = False,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        max_tool_rounds: int = _MAX_TOOL_ROUNDS,
        on_tool_error: str = "output",
        max_repairs: int = _MAX_REPAIRS,
        on_interrupt: str | Callable[[Question], Answer] = "fail",
        hitl_users: Sequence[str | Mapping[str, str]] | None = None,
        hitl_notifiers: Any = None,
        hitl_timeout: float | timedelta | None = None,
        hitl_default: Answer | Callable[[Question], Answer] | None = None,
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
        self.conversation = conversation
        self.on_busy = on_busy
        self.stream = stream
        self.tools = tools
        self.max_tool_rounds = max_tool_rounds
        self.on_tool_error = on_tool_error
        self.max_repairs = max_repairs
        self.on_interrupt = on_interrupt
        self.hitl_users = hitl_users
        self.hitl_notifiers = hitl_notifiers
        self.hitl_timeout = hitl_timeout
        self.hitl_default = hitl_default
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill

    @decided
    def execute(self, context: Context) -> Any:
        """Start the chat, or go on with the one of an earlier try, and wait for it here or in the triggerer."""
        self._begin(context, resumed=False)
        arguments = self._checked()
        self._set_deadline(context)
        started = self._started(context, arguments)
        self._set_deadline(context)  # the time for the answer; finding or starting the work had as much
        chat = self._noted(context, started)
        if not self.wait_for_completion:
            self._running = None
            if self._purchase is not None:
                self._purchase.delivered(conversation_id=chat.conversation_id, chat_id=chat.id)
            return {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        return self._waited(context, chat, started.since)

    @decided
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after a deferral.

        :raises CozeTriggerEventError: the triggerer sent something that is not ours, and the chat's ids are nowhere to be found.
        """
        from airflow_provider_coze.triggers.events import ChatEvent

        self._begin(context, resumed=True)
        restore_texts(self, _TEXTS)
        try:
            ended = ChatEvent.from_payload(event)
        except CozeTriggerEventError as error:
            self._purchase = self._purchase_of(context)
            return self._waited_anew(context, error)
        if self.conversation != "new":
            self.conversation_id = ended.chat.conversation_id
        self._purchase = self._purchase_of(context)
        self._turn = ended.turn
        if ended.error is not None:
            raise ended.error
        chat = ended.chat
        self.log.info("Chat %s: %s when the triggerer handed it back", chat.id, chat.status)
        if chat_phase(chat.status) not in (*WAITING, Phase.DONE):
            # Why it failed, or what it asks for, is not for a trigger's event.
            chat = self._read(chat)
        return self._finish(context, chat, ended.started_at)

    @decided
    def execute_answered(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        asked: Any = None,
        chat_id: str | None = None,
        conversation_id: str | None = None,
        turn: Any = None,
    ) -> Any:
        """Go on when people have answered, or their time is up.

        :raises CozeChatRequiresActionError: nobody has answered, and there is no default.
        """
        from airflow_provider_coze.protocol.models import Chat
        from airflow_provider_coze.triggers.events import Turn

        self._begin(context, resumed=True)
        restore_texts(self, _TEXTS)
        self._turn = Turn.from_payload(turn)
        ids = {"chat_id": chat_id, "conversation_id": conversation_id}
        if not all(ids.values()):  # dag.test() does not hand them on
            ids = {**ids, **self._pulled(context, *ids)}
        if self.conversation != "new":
            self.conversation_id = ids["conversation_id"]
        self._purchase = self._purchase_of(context)
        chat = Chat(id=str(ids["chat_id"]), conversation_id=str(ids["conversation_id"]), status="", bot_id=self.bot_id)
        answered = self._answering.answer_of(self._asker(context, chat), event, asked)
        return self._answered_by_people(context, answered, chat)

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
        from airflow_provider_coze.operators.chat_end import end_killed

        end_killed(self.hook, self.log, chat)

    def _checked(self) -> dict[str, Any]:
        """Return the arguments of the chat, all checked, now that templates are rendered."""
        from airflow_provider_coze.operators.file_inputs import stand_ins, stand_ins_in_messages
        from airflow_provider_coze.protocol.endpoints.chat import OPTIONS
        from airflow_provider_coze.protocol.inputs import chat_problems

        restore_texts(self, _TEXTS)
        options: dict[str, JsonValue] = {name: getattr(self, name) for name in OPTIONS}
        user_id = f"airflow:{self.dag_id}.{self.task_id}" if self.user_id is None else self.user_id
        self._refuse(
            self._waiting_problems()
            + self._turn_problems()
            + chat_problems(
                bot_id=self.bot_id,
                user_id=user_id,
                message=self.message,
                additional_messages=stand_ins_in_messages(self.additional_messages),
                conversation_id=self.conversation_id,
                auto_save_history=self.auto_save_history,
                options={**options, "parameters": stand_ins(self.parameters)},
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

    def _turn_problems(self) -> list[str]:
        from airflow_provider_coze.operators.conversations import ConversationChoice
        from airflow_provider_coze.operators.file_inputs import FileInputs
        from airflow_provider_coze.protocol.busy import ON_BUSY

        problems = self._toolbox.problems() + self._answering.problems()
        if self.tools and self.hook.settings.dialect == "studio":
            problems.append("tools cannot be used with Coze Studio, which takes no outputs of them")
        problems += [
            f"{name} must be a whole number, 0 or more, not {value!r}"
            for name, value in (("max_tool_rounds", self.max_tool_rounds), ("max_repairs", self.max_repairs))
            if not isinstance(value, int) or isinstance(value, bool) or value < 0
        ]
        if self.on_busy not in ON_BUSY:
            problems.append(f"on_busy must be one of {ON_BUSY}, not {self.on_busy!r}")
        if self.conversation_id is not None and self.conversation != "new" and not self._turn.part:
            problems.append("conversation_id and conversation exclude each other")
        problems += ConversationChoice(self.conversation, self._context, bot_id=self.bot_id).problems()
        files = FileInputs(self.hook, self.log)
        problems += files.message_problems(self.additional_messages, look=False)
        problems += files.problems(self.parameters, look=False)
        if self.stream and not self.wait_for_completion:
            problems.append("wait_for_completion=False has nothing to show of a stream: leave stream out")
        return problems


def _message(message: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {"role": "user", "content_type": "text", **message}
