"""Ask a bot one question for each of many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.links import CozeBotLink
from airflow_provider_coze.operators.batch import BatchOperator

if TYPE_CHECKING:
    from airflow_provider_coze.batch.chats import Chats

__all__ = ["CozeChatBatchOperator"]

_ROW_TIMEOUT_SECONDS = 300.0


class CozeChatBatchOperator(BatchOperator):
    """Ask a Coze bot one question for each of many rows, each in a conversation of its own.

    The output of a row is the text of the bot's answer, or what it is as *output_type*. A chat whose reply is lost, with a process or
    on the way, is looked for in Coze before its row is asked again.

    :param bot_id: the bot, published to the API channel: the number after ``/bot/`` in its URL, as a string.
    :param message: what is asked for each row: a template in which ``row`` is the row and ``index`` its place, beside all that Airflow's
        templates know, such as ``"Classify: {{ row.text }}"``. None: each row is a text, and asked as it is.
    :param user_id: who asks; separates the bot's memory. None: ``airflow:<dag_id>.<task_id>``.
    :param custom_variables: values of the variables in the bot's prompt, strings to strings.
    :param meta_data: kept with each chat, strings to strings, at most 15.
    :param parameters: inputs of a bot in chatflow mode.
    :param bot_version: a published version of the bot instead of the newest.
    :param publish_status: ``published_online`` or ``unpublished_draft``.
    :param pack_instruction: with *rows_per_call* over 1: what the bot is told to do with each of the rows that share a message. None: the
        messages of the rows say it themselves.
    :param row_timeout: seconds that one chat is waited for, 300 by default; then it is cancelled, and its row fails. None: without end.

    The parameters of both batch operators, such as *inputs*, are described at
    :class:`~airflow_provider_coze.operators.batch.BatchOperator`.

    :raises CozeInputError: arguments are wrong, *inputs* cannot be read or *result_path* cannot be written; nothing was sent.
    :raises CozeBatchFailedError: more rows failed than may.
    :raises CozeBatchTimeoutError: it was not over in time.
    :raises CozeTokenBudgetError: *token_budget* is used up.
    :raises CozeStateError: what was bought cannot be written down or read.
    :raises CozeAPIError: Coze refused what every row would meet: the token, a permission, the bot, the plan.
    """

    what = "chat"
    template_fields: Sequence[str] = (
        "inputs",
        "result_path",
        "bot_id",
        "user_id",
        "custom_variables",
        "meta_data",
        "parameters",
        "bot_version",
        "publish_status",
        "on_unknown",
        "reuse",
        "coze_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012 - as Airflow declares it
        "custom_variables": "json",
        "meta_data": "json",
        "parameters": "json",
    }
    ui_color = "#d9e4ff"
    operator_extra_links = (CozeBotLink(),)
    _texts = ("bot_id", "user_id", "custom_variables", "meta_data", "bot_version")

    def __init__(
        self,
        *,
        bot_id: str,
        message: str | None = None,
        user_id: str | None = None,
        custom_variables: Mapping[str, str] | None = None,
        meta_data: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        bot_version: str | None = None,
        publish_status: str | None = None,
        pack_instruction: str | None = None,
        row_timeout: float | None = _ROW_TIMEOUT_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(row_timeout=row_timeout, **kwargs)
        self.bot_id = bot_id
        self.message = message
        self.user_id = user_id
        self.custom_variables = custom_variables
        self.meta_data = meta_data
        self.parameters = parameters
        self.bot_version = bot_version
        self.publish_status = publish_status
        self.pack_instruction = pack_instruction

    def _options(self) -> dict[str, Any]:
        return {
            "custom_variables": self.custom_variables,
            "meta_data": self.meta_data,
            "parameters": self.parameters,
            "bot_version": self.bot_version,
            "publish_status": self.publish_status,
        }

    def _whose(self) -> str:
        return f"airflow:{self.dag_id}.{self.task_id}" if self.user_id is None else self.user_id

    def _problems(self) -> list[str]:
        from airflow_provider_coze.protocol.inputs import chat_problems

        problems = chat_problems(
            bot_id=self.bot_id,
            user_id=self._whose(),
            message="a row's",
            additional_messages=None,
            conversation_id=None,
            auto_save_history=True,
            options=self._options(),
            reserved=1,
        )
        if self.message is not None and not (isinstance(self.message, str) and self.message.strip()):
            problems.append(f"message must be a template, or None, not {self.message!r}")
        return problems

    def _kind(self, until: float | None) -> Chats:
        from airflow_provider_coze.batch.chats import Chats
        from airflow_provider_coze.batch.reading import Reader
        from airflow_provider_coze.batch.rhythm import Rhythm
        from airflow_provider_coze.protocol.pacing import SEARCH_POLLS
        from airflow_provider_coze.protocol.typed_output import OutputType

        return Chats(
            bot_id=self.bot_id,
            user_id=self._whose(),
            options=self._options(),
            reader=Reader(None if self.output_type is None else OutputType(self.output_type)),
            retry=self.hook.retry,
            rhythm=Rhythm(SEARCH_POLLS.below(self.poll_interval)),
            clock=self.hook.clock,
            row_timeout=self.row_timeout,
            until=until,
            instruction=self.pack_instruction,
        )

    def _templates(self) -> Mapping[str, Any]:
        return {"message": self.message}

    def _common(self) -> Mapping[str, Any]:
        return {"bot_id": self.bot_id, "user_id": self._whose(), **self._options()}
