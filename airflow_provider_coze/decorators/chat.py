"""``@task.coze_chat``: a function returns the message, and the task returns the bot's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import task_decorator_factory
from airflow_provider_coze.decorators.calling import CallingOperator, fields, renderers
from airflow_provider_coze.operators.chat import CozeChatOperator

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CozeChatDecoratedOperator", "coze_chat_task"]

_RETURNED = ("message", "additional_messages")
_WANTED = "a text, which is the message, or a list of messages, which are the additional_messages"


class CozeChatDecoratedOperator(CallingOperator, CozeChatOperator):
    """:class:`~airflow_provider_coze.operators.chat.CozeChatOperator` whose message a function returns."""

    returned = _RETURNED
    custom_operator_name = "@task.coze_chat"
    template_fields = fields(CozeChatOperator, _RETURNED)
    template_fields_renderers = renderers(CozeChatOperator, _RETURNED)

    def execute(self, context: Context) -> Any:
        """Call the function, and ask the bot what it returns."""
        said = self._called(context)
        self.message = self.additional_messages = None
        if isinstance(said, str):
            if not said.strip():
                self._refuse_returned("a text with nothing in it", _WANTED)
            self.message = said
        elif isinstance(said, list | tuple):
            self.additional_messages = said
        else:
            hint = " (a list of one will do)" if isinstance(said, Mapping) else ""
            self._refuse_returned(f"{_kind(said)}{hint}", _WANTED)
        return super().execute(context)

    def _checked(self) -> dict[str, Any]:
        if self.message is not None or self.additional_messages is not None:
            return super()._checked()
        # The task was deferred, and now shows the bot what is wrong with its answer: that is what is sent then, and the function is
        # not asked again. Coze's trace of this chat says nothing of its message, as it is not known here.
        self.message = "of before the deferral"
        try:
            return super()._checked()
        finally:
            self.message = None


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"a value of type {type(value).__name__}"


def coze_chat_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> Any:
    """Make a function a task that asks a Coze bot what the function returns, and returns the bot's answer.

    The function returns the message as a text, or the ``additional_messages`` as a list; it is not rendered as a template. It has to
    return the same for the same arguments: a retry calls it again, and goes on with the chat of the try before only if that is what was
    sent. Otherwise a new chat is sent and paid for, and the log says so.

    :param multiple_outputs: push each key of an answer that is an object, by *output_type*, as an XCom of its own too. What the function
        is annotated to return has no part in this.
    :param kwargs: the arguments of :class:`~airflow_provider_coze.operators.chat.CozeChatOperator`, without ``message`` and
        ``additional_messages``, and Airflow's own.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=CozeChatDecoratedOperator,
        **kwargs,
    )
