"""``@task.coze_batch``: a function returns the rows, and the task returns the manifest of their batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import task_decorator_factory
from airflow_provider_coze.decorators.calling import CallingOperator, fields, renderers
from airflow_provider_coze.operators.batch import BatchOperator, batch_name
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.operators.batch_leg import Over

__all__ = ["CozeChatBatchDecoratedOperator", "CozeWorkflowBatchDecoratedOperator", "coze_batch_task"]

_RETURNED = ("inputs",)


class _RowsReturned(CallingOperator, BatchOperator):
    """What both have in common.

    A deferred batch reads its rows anew in each of its legs. The function is not called for that: what it returned is kept beside the
    results until the batch is over, so that it may be a generator, or a query whose rows change while the batch goes on.
    """

    returned = _RETURNED
    custom_operator_name = "@task.coze_batch"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"inputs": None, **kwargs})
        self._name = ""

    def execute(self, context: Context) -> Any:
        """Call the function, and ask Coze about the rows that it returns."""
        rows = self._called(context)
        if rows is None:
            self._refuse_returned("nothing (None)", "the rows, or [] where there are none")
        self.inputs, self._name = rows, _name(context)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after a deferral, with the rows that were kept."""
        from airflow_provider_coze.decorators.kept_rows import kept

        self._name = _name(context)
        self.inputs = kept(self.result_path, self._name)
        return super().execute_complete(context, event)

    def _check(self) -> None:
        super()._check()
        if self.deferrable:
            from airflow_provider_coze.decorators.kept_rows import keep

            self.inputs = keep(self.result_path, self._name, self.inputs)

    def _end(self, context: Context, over: Over) -> Any:
        if self.deferrable:
            from airflow_provider_coze.decorators.kept_rows import forget

            forget(self.result_path, self._name, self.log)
        return super()._end(context, over)


class CozeChatBatchDecoratedOperator(_RowsReturned, CozeChatBatchOperator):
    """:class:`~airflow_provider_coze.operators.chat_batch.CozeChatBatchOperator` whose rows a function returns."""

    template_fields = fields(CozeChatBatchOperator, _RETURNED)
    template_fields_renderers = renderers(CozeChatBatchOperator, _RETURNED)


class CozeWorkflowBatchDecoratedOperator(_RowsReturned, CozeWorkflowBatchOperator):
    """:class:`~airflow_provider_coze.operators.workflow_batch.CozeWorkflowBatchOperator` whose rows a function returns."""

    template_fields = fields(CozeWorkflowBatchOperator, _RETURNED)
    template_fields_renderers = renderers(CozeWorkflowBatchOperator, _RETURNED)


def _name(context: Context | Mapping[str, Any]) -> str:
    """Return the name of the task instance's batches."""
    from airflow_provider_coze.operators.purchase import identity_of

    return batch_name(context["ti"], identity_of(context))


def coze_batch_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = True, **kwargs: Any
) -> Any:
    """Make a function a task that asks Coze about each of the rows that the function returns, and returns the batch's manifest.

    With *workflow_id* a workflow is run for each row, otherwise a bot is asked. The function returns a list, anything else that yields the
    rows, or the place of files as a text; it is called once in each try. It has to return the same rows in the same order for the same
    arguments: a retry calls it again and asks no row twice, but a row that is not what was sent in its place is asked, and paid for, anew,
    and the log says how many were.

    :param multiple_outputs: push each key of the manifest as an XCom of its own too.
    :param kwargs: the arguments of :class:`~airflow_provider_coze.operators.chat_batch.CozeChatBatchOperator` or
        :class:`~airflow_provider_coze.operators.workflow_batch.CozeWorkflowBatchOperator`, without ``inputs``, and Airflow's own.
    """
    is_workflow = kwargs.get("workflow_id") is not None
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=CozeWorkflowBatchDecoratedOperator if is_workflow else CozeChatBatchDecoratedOperator,
        **kwargs,
    )
