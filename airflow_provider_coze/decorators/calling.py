"""What decorated operators share: when the function is called and with what, and what becomes of something that it should not return."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.compat import DecoratedOperator, determine_kwargs
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.operators.fate import deciding

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CallingOperator", "fields", "renderers"]


def fields(operator: type[Any], returned: Sequence[str]) -> tuple[str, ...]:
    """Return the template fields of a decorated operator: the function's arguments, and the operator's own.

    What the function returns is data, and no template: braces in a customer's message mean nothing.

    :param returned: the fields that the function fills.
    """
    own = (field for field in operator.template_fields if field not in returned)
    return tuple(dict.fromkeys((*DecoratedOperator.template_fields, *own)))


def renderers(operator: type[Any], returned: Sequence[str]) -> dict[str, str]:
    """Return how Airflow shows the template fields of a decorated operator."""
    own = {name: kind for name, kind in operator.template_fields_renderers.items() if name not in returned}
    return {**DecoratedOperator.template_fields_renderers, **own}


class CallingOperator(DecoratedOperator):
    """Base of operators whose input a function returns. Not to be used by itself.

    It comes before the operator among the bases, and :meth:`execute` of the class calls :meth:`_called` before the operator's own.
    """

    #: The arguments of the operator that the function fills.
    returned: Sequence[str] = ()
    custom_operator_name = ""

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = [name for name in self.returned if kwargs.get(name) is not None]
        if given:
            raise TypeError(f"{self.custom_operator_name} takes no {', '.join(given)}: its function returns that")
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    @staticmethod
    def xcom_push(context: Any, key: str, value: Any, **_: Any) -> None:
        """Push an XCom, for Airflow itself: its ``DecoratedOperator`` asks for this in 3.0, whose operators no longer have it."""
        context["ti"].xcom_push(key=key, value=value)

    def _called(self, context: Context) -> Any:
        """Call the function as Airflow's own decorators do, and return what it returns.

        Its arguments do not stay in the context: templates would find them in this leg of the task, and not after a deferral.
        """
        given: Any = copy.copy(context)
        given.update(self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, given)
        returned = self.python_callable(*self.op_args, **kwargs)
        if inspect.iscoroutine(returned):
            returned.close()
            self._refuse_returned("a coroutine, because it is declared with `async def`", "a plain function")
        return returned

    def _refuse_returned(self, what: str, wanted: str) -> NoReturn:
        """Raise what a function that returns something else is told.

        :param what: what it returned, in words that quote nothing of it.
        """
        name = getattr(self.python_callable, "__name__", "")
        function = f"{name}()" if name.isidentifier() else "its function"
        with deciding(self):
            raise CozeInputError(
                f"Task {self.task_id!r} cannot be sent to Coze: {function} returned {what}, and {self.custom_operator_name} needs {wanted}."
                " Nothing was sent, so nothing is billed; a retry calls the function again, and fails the same way while it returns that."
            )
