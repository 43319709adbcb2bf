"""What the operators share: the hook, the clock of a wait, and when it is worth deferring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import BaseOperator, conf, renders_natively
from airflow_provider_coze.errors import CozeError, CozeInputError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol.messages import Replay
from airflow_provider_coze.protocol.models import Usage
from airflow_provider_coze.protocol.retry import RetryPolicy

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CozeOperator", "default_deferrable", "min_deferral_seconds", "restore_texts"]

#: A deferral that ends within about 5 s can make Airflow's scheduler fail the try under LocalExecutor: it takes the worker's clean
#: exit for a death once the trigger has queued the task again. Measured on 3.3.2: 15 to 45 % of runs at 0 to 5 s, none at 8 s.
#: https://github.com/apache/airflow/issues/66374
_MIN_DEFERRAL_SECONDS = 8.0
#: Most chats end within this, and then there is nothing to defer.
_DEFERRAL_GRACE_SECONDS = 5.0


def min_deferral_seconds() -> float:
    """Return how long a deferral lasts at least: ``[coze] min_deferral_seconds``."""
    return float(conf.getfloat("coze", "min_deferral_seconds", fallback=_MIN_DEFERRAL_SECONDS))


def default_deferrable() -> bool:
    """Return Airflow's own default: ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def restore_texts(task: Any, names: Iterable[str]) -> None:
    """Give a task the texts back that native rendering has made numbers of.

    With ``render_template_as_native_obj`` Jinja reads every text as Python, also one without a template in it, and ids are digits.
    """
    if renders_natively(task):
        for name in names:
            setattr(task, name, _as_text(getattr(task, name)))


def _as_text(value: Any) -> Any:
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _as_text(item) for key, item in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else value


class CozeOperator(BaseOperator):
    """Start something on Coze and wait for it. Use one of the subclasses.

    :param coze_conn_id: the connection, of type ``coze``.
    :param wait_for_completion: False returns the ids as soon as Coze has accepted the work.
    :param deferrable: wait in the triggerer and free the worker; Airflow's ``[operators] default_deferrable`` by default.
    :param poll_interval: the longest time between two looks, in seconds. Looks come faster while the work is young, and never
        faster than one a second.
    :param timeout: seconds to wait for an answer. None: without end.
    :param deferral_grace: seconds that the worker waits before it defers. A very short deferral can make Airflow fail the try
        (see ``[coze] min_deferral_seconds``), and costs more than it saves.
    """

    def __init__(
        self,
        *,
        coze_conn_id: str = CozeHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float | None = None,
        timeout: float | None = None,
        deferral_grace: float = _DEFERRAL_GRACE_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.coze_conn_id = coze_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferral_grace = deferral_grace

    @cached_property
    def hook(self) -> CozeHook:
        """The hook of the operator's connection."""
        return CozeHook(self.coze_conn_id)

    def _waiting_problems(self) -> list[str]:
        problems = [
            f"{name} must be a number of seconds over 0, not {value!r}"
            for name, value in (("poll_interval", self.poll_interval), ("timeout", self.timeout))
            if value is not None and not _is_positive(value)
        ]
        if not _is_positive(self.deferral_grace) and self.deferral_grace != 0:
            problems.append(f"deferral_grace must be a number of seconds, 0 or more, not {self.deferral_grace!r}")
        return problems

    def _refuse(self, problems: Sequence[str]) -> None:
        """Raise one error that lists every problem, before anything is sent."""
        if not problems:
            return
        listed = "; ".join(problems)
        raise CozeInputError(
            f"Task {self.task_id!r} cannot be sent to Coze: {listed}. Nothing was sent, so nothing is billed; a retry without a "
            "change fails the same way."
        )

    def _deadline(self, started_at: float) -> float | None:
        return None if self.timeout is None else started_at + self.timeout

    def _is_late(self, started_at: float) -> bool:
        deadline = self._deadline(started_at)
        return deadline is not None and self.hook.clock() >= deadline

    def _grace_ends(self, started_at: float) -> float:
        """When the worker stops looking for itself: after the grace, or at the deadline if that comes first."""
        grace = started_at + self.deferral_grace
        deadline = self._deadline(started_at)
        return grace if deadline is None else min(grace, deadline)

    def _is_for_the_triggerer(self, error: CozeError, started_at: float) -> bool:
        """Tell whether a look that failed within the grace should be repeated by the triggerer, which has more patience."""
        return RetryPolicy().next_wait(error, 1, Replay.ALWAYS) is not None and not self._is_late(started_at)

    def _not_before(self) -> float:
        return self.hook.clock() + min_deferral_seconds()

    def _push(self, context: Context, **values: Any) -> None:
        """Push side results under their names, where pushing is on."""
        if not self.do_xcom_push:
            return
        for key, value in values.items():
            if value is not None:
                context["ti"].xcom_push(key=key, value=value)

    def _usage(self, context: Context, usage: Usage | None) -> dict[str, int] | None:
        """Return what the work used, with the try it was used in: tries are billed one by one."""
        return None if usage is None else {**usage.to_dict(), "try_number": context["ti"].try_number}


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
