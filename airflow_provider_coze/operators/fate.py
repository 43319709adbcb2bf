"""Make Airflow retry a task only where a retry can help: what ``protocol.policy`` says of an error, said to Airflow.

Whatever a DAG file imports, imports this; so it imports the policy when an error is there to be judged.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_coze.compat import AirflowFailException
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.observing.spans import WorkSpan

__all__ = ["decided", "deciding", "for_good"]

T = TypeVar("T")
P = ParamSpec("P")
#: An operator or sensor: it has a ``hook`` and a ``log``, and on Airflow 3.3 and later a ``retry_policy``.
Task = TypeVar("Task")

_FINAL: dict[type[CozeError], type[CozeError]] = {}


def decided(method: Callable[Concatenate[Task, P], T]) -> Callable[Concatenate[Task, P], T]:
    """Let ``execute`` or ``execute_complete`` of an operator fail for good where no retry can help; see :func:`deciding`."""

    @functools.wraps(method)
    def deciding_method(self: Task, /, *args: P.args, **kwargs: P.kwargs) -> T:
        context = args[0] if args else kwargs.get("context")  # Airflow hands it over by name
        with deciding(self), _linked(self, context, begins=method.__name__ == "execute"), _spanned(self, context):
            return method(self, *args, **kwargs)

    return deciding_method


def _linked(task: Any, context: Any, *, begins: bool) -> contextlib.AbstractContextManager[Any]:
    """Keep the links of a task up to date, where it has any."""
    if not getattr(task, "operator_extra_links", None) or context is None:
        return contextlib.nullcontext()
    from airflow_provider_coze.operators.linking import linked

    return linked(task, context, begins=begins)


def _spanned(task: Any, context: Any) -> contextlib.AbstractContextManager[Any]:
    """Make what an operator does a span, which it finds as ``_span``; a sensor's look is none."""
    if not getattr(task, "what", "") or context is None:
        return contextlib.nullcontext()
    task._span = WorkSpan(context, task.what)
    return task._span  # type: ignore[no-any-return]


@contextlib.contextmanager
def deciding(task: Any, *, only_looks: bool = False, asks_policy: bool = True) -> Iterator[None]:
    """Make an error that no retry can change one that Airflow does not retry. All others, and what is no ``CozeError``, pass.

    :param only_looks: the task starts nothing: a sensor.
    :param asks_policy: leave errors as they are where the task has a ``retry_policy``, which Airflow asks about each error
        that is no ``AirflowFailException``.
    :raises CozeError: the same class, words and facts; and an ``AirflowFailException`` as well if no retry can help.
    """
    try:
        yield
    except CozeError as error:
        if isinstance(error, AirflowFailException) or (asks_policy and getattr(task, "retry_policy", None) is not None):
            raise
        from airflow_provider_coze.protocol.policy import Action, has_spent, verdict

        found = verdict(error, spent=has_spent(error), now=task.hook.clock(), only_looks=only_looks)
        if found.action is not Action.FAIL:
            raise
        task.log.info("Not to be retried. %s", found.reason)
        raise for_good(error).with_traceback(error.__traceback__) from error.__cause__


def for_good(error: CozeError) -> CozeError:
    """Return *error* as an ``AirflowFailException`` too: same class to ``except`` and to ``isinstance``, same words, same facts."""
    return _copied(error, _final(type(error)))


def _final(kind: type[CozeError]) -> type[CozeError]:
    """Return the class of what is both; under the name of ours, which is what logs show and what crosses a deferral."""
    if kind not in _FINAL:

        def reduce(self: CozeError) -> tuple[Callable[[CozeError], CozeError], tuple[CozeError]]:
            return for_good, (_copied(self, kind),)  # pickle would look for this class under its name, and find ours

        facts = {"__doc__": kind.__doc__, "__module__": __name__, "__reduce__": reduce}
        _FINAL[kind] = type(kind.__name__, (kind, AirflowFailException), facts)
    return _FINAL[kind]


def _copied(error: CozeError, kind: type[CozeError]) -> CozeError:
    made = kind.__new__(kind)
    made.args = error.args
    made.__dict__.update(error.__dict__)
    return made
