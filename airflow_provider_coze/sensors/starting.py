"""Begin a sensor in the triggerer, without a worker, where Airflow can do that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_provider_coze.compat import triggers_render_templates

__all__ = ["begin_in_triggerer"]

#: What a template may speak of. Measured on 3.3.2: whatever has to be asked for, such as ``ti.xcom_pull`` and the run before, is asked in
#: words that the triggerer does not know, never answered, and the task hangs until its timeout.
_AT_HAND = frozenset({"params", "dag_run", "run_id", "ds", "ds_nodash", "ts", "ts_nodash", "logical_date"})


def begin_in_triggerer(task: Any, trigger: str, ids: tuple[str, ...], **more: Any) -> None:
    """Have the scheduler give a task to the triggerer at once, where that can be done.

    It cannot, and the task begins on a worker, before Airflow 3.3; in a mapped task group; with an *execution_timeout*, because Airflow
    would end the task itself at that moment, without our error; with an id that can only be found out on a worker; and in a DAG whose
    templates have filters or brackets of its own, which its serialised form lacks.

    :param trigger: the path of its class.
    :param ids: fields of the task, and arguments of the trigger.
    :param more: further arguments of the trigger. All of them are kept in the DAG's serialised form, in clear text.
    """
    if (
        not triggers_render_templates()
        or task.execution_timeout is not None
        or _is_mapped(task)
        or _has_own_words(task)
    ):
        return
    found = {name: _template(getattr(task, name)) for name in (*ids, "coze_conn_id")}
    if None in found.values():
        return
    from airflow_provider_coze.compat import StartTriggerArgs
    from airflow_provider_coze.triggers.base import NET_SECONDS

    # The triggerer finds out when it began; and as no worker has to be let go of first, the wait may be as short as it likes.
    kwargs = {**found, **more, "started_at": 0.0, "poll_interval": task.poke_interval, "lasts": float(task.timeout)}
    task.start_trigger_args = StartTriggerArgs(
        trigger_cls=trigger,
        trigger_kwargs=kwargs,
        next_method="execute_complete",
        timeout=timedelta(seconds=task.timeout + NET_SECONDS),
    )
    task.start_from_trigger = True


def _template(value: Any) -> str | None:
    """Return what renders to the value in the triggerer; None: nothing does."""
    if not isinstance(value, str):
        return _output(value)
    if "{" not in value:
        return value
    from jinja2 import Environment, TemplateSyntaxError, meta

    try:
        tree = Environment(autoescape=True).parse(value)
        named = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError:  # the worker says what is wrong with it
        return None
    takes_a_file_in = any(True for _ in meta.find_referenced_templates(tree))
    return value if named <= _AT_HAND and not takes_a_file_in else None


def _output(value: Any) -> str | None:
    """Return how to get the output of a task. Only with an index does Airflow ask for it in words that the triggerer knows."""
    operator, key = getattr(value, "operator", None), getattr(value, "key", None)
    if operator is None or not isinstance(key, str) or _is_mapped(operator):
        return None
    names = f"task_ids={operator.task_id!r}, dag_id={operator.dag_id!r}, key={key!r}, map_indexes=-1"
    return f"{{{{ task_instance.xcom_pull({names}) }}}}"


def _has_own_words(task: Any) -> bool:
    dag = task.get_dag()
    return dag is not None and bool(dag.jinja_environment_kwargs or dag.user_defined_filters)


def _is_mapped(task: Any) -> bool:
    return bool(task.is_mapped) or task.get_closest_mapped_task_group() is not None
