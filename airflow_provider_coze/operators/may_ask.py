"""What operators whose work may ask have in common. Who answers is for ``questions``, which a DAG file needs nothing of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_coze.operators.questions import Answering
    from airflow_provider_coze.protocol.answers import Answer
    from airflow_provider_coze.protocol.questions import Question

__all__ = ["Asking"]


class Asking:
    """The arguments of an operator that say who answers."""

    on_interrupt: str | Callable[[Question], Answer]
    hitl_users: Sequence[str | Mapping[str, str]] | None
    hitl_notifiers: Any
    hitl_timeout: float | timedelta | None
    hitl_default: Answer | Callable[[Question], Answer] | None

    @cached_property
    def _answering(self) -> Answering:
        from airflow_provider_coze.operators.questions import Answering

        return Answering(
            self.on_interrupt,
            users=self.hitl_users,
            notifiers=self.hitl_notifiers,
            timeout=self.hitl_timeout,
            default=self.hitl_default,
        )
