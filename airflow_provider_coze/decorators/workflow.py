"""``@task.coze_workflow``: a function returns the parameters, and the task returns the workflow's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import task_decorator_factory
from airflow_provider_coze.decorators.calling import CallingOperator, fields, renderers
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CozeWorkflowDecoratedOperator", "coze_workflow_task"]

_RETURNED = ("parameters",)


class CozeWorkflowDecoratedOperator(CallingOperator, CozeWorkflowOperator):
    """:class:`~airflow_provider_coze.operators.workflow.CozeWorkflowOperator` whose parameters a function returns."""

    returned = _RETURNED
    custom_operator_name = "@task.coze_workflow"
    template_fields = fields(CozeWorkflowOperator, _RETURNED)
    template_fields_renderers = renderers(CozeWorkflowOperator, _RETURNED)

    def execute(self, context: Context) -> Any:
        """Call the function, and run the workflow with what it returns."""
        parameters = self._called(context)
        if parameters is not None and not isinstance(parameters, Mapping):
            wanted = "the parameters as a mapping, by their names, or None where the workflow has none"
            self._refuse_returned(f"a value of type {type(parameters).__name__}", wanted)
        self.parameters = parameters
        return super().execute(context)


def coze_workflow_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> Any:
    """Make a function a task that runs a Coze workflow with what the function returns, and returns the workflow's output.

    The function returns the parameters as a mapping, or None; they are not rendered as templates. It has to return the same for the same
    arguments: a retry calls it again, and goes on with the run of the try before only if that is what was sent. Otherwise a new run is
    started and paid for, and the log says so.

    :param multiple_outputs: push each key of an output that is an object as an XCom of its own too. What the function is annotated to
        return has no part in this.
    :param kwargs: the arguments of :class:`~airflow_provider_coze.operators.workflow.CozeWorkflowOperator`, without ``parameters``, and
        Airflow's own.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=CozeWorkflowDecoratedOperator,
        **kwargs,
    )
