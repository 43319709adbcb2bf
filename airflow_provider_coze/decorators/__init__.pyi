"""Types of the decorators, for editors and type checkers. ``tests/decorators/test_types.py`` holds them against the operators.

``**kwargs`` are Airflow's own arguments of a task: ``task_id``, ``retries``, ``pool``, …
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, ParamSpec, TypeVar, overload

from airflow.sdk.bases.decorator import Task

from airflow_provider_coze.protocol.answers import Answer
from airflow_provider_coze.protocol.questions import Question

__all__ = ["coze_batch_task", "coze_chat_task", "coze_workflow_task"]

P = ParamSpec("P")
#: What the function returns: a message, or messages; parameters; rows, or the place of files of rows.
Said = TypeVar("Said", bound=str | Sequence[Mapping[str, Any]])
Given = TypeVar("Given", bound=Mapping[str, Any] | None)
Rows = TypeVar("Rows", bound=Iterable[Any] | PathLike[str])

def coze_chat_task(
    *,
    bot_id: str,
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
    max_tool_rounds: int = 5,
    on_tool_error: str = "output",
    max_repairs: int = 1,
    on_interrupt: str | Callable[[Question], Answer] = "fail",
    hitl_users: Sequence[str | Mapping[str, str]] | None = None,
    hitl_notifiers: Any = None,
    hitl_timeout: float | timedelta | None = None,
    hitl_default: Answer | Callable[[Question], Answer] | None = None,
    timeout: float | None = 300.0,
    cancel_on_timeout: bool = True,
    cancel_on_kill: bool = True,
    coze_conn_id: str = "coze_default",
    wait_for_completion: bool = True,
    deferrable: bool | None = None,
    poll_interval: float | None = None,
    deferral_grace: float = 5.0,
    durable: bool = True,
    reuse: str = "unfinished",
    on_unknown: str = "fail",
    output_type: Any = None,
    output_path: str | None = None,
    token_budget: int | None = None,
    multiple_outputs: bool = False,
    **kwargs: Any,
) -> Callable[[Callable[P, Said]], Task[P, Said]]: ...
def coze_workflow_task(
    *,
    workflow_id: str,
    bot_id: str | None = None,
    app_id: str | None = None,
    ext: Mapping[str, str] | None = None,
    workflow_version: str | None = None,
    connector_id: str | None = None,
    execution_mode: str = "auto",
    check_parameters: bool = True,
    marker_parameter: str | None = None,
    on_interrupt: str | Callable[[Question], Answer] = "fail",
    hitl_users: Sequence[str | Mapping[str, str]] | None = None,
    hitl_notifiers: Any = None,
    hitl_timeout: float | timedelta | None = None,
    hitl_default: Answer | Callable[[Question], Answer] | None = None,
    timeout: float | None = 3600.0,
    coze_conn_id: str = "coze_default",
    wait_for_completion: bool = True,
    deferrable: bool | None = None,
    poll_interval: float | None = None,
    deferral_grace: float = 5.0,
    durable: bool = True,
    reuse: str = "unfinished",
    on_unknown: str = "fail",
    output_type: Any = None,
    output_path: str | None = None,
    token_budget: int | None = None,
    multiple_outputs: bool = False,
    **kwargs: Any,
) -> Callable[[Callable[P, Given]], Task[P, Given]]: ...
@overload
def coze_batch_task(
    *,
    bot_id: str,
    result_path: str,
    message: str | None = None,
    user_id: str | None = None,
    custom_variables: Mapping[str, str] | None = None,
    meta_data: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    bot_version: str | None = None,
    publish_status: str | None = None,
    pack_instruction: str | None = None,
    row_timeout: float | None = 300.0,
    coze_conn_id: str = "coze_default",
    max_in_flight: int | None = None,
    requests_per_minute: float | None = None,
    rows_per_call: int = 1,
    retries_per_row: int = 1,
    output_type: Any = None,
    on_error: str = "record",
    max_error_ratio: float | None = None,
    token_budget: int | None = None,
    timeout: float | None = 86400.0,
    ordered: bool = True,
    report: bool = False,
    deferrable: bool | None = None,
    poll_interval: float | None = None,
    on_unknown: str = "fail",
    reuse: str = "unfinished",
    commit_seconds: float = 2.0,
    multiple_outputs: bool = True,
    **kwargs: Any,
) -> Callable[[Callable[P, Rows]], Task[P, Rows]]: ...
@overload
def coze_batch_task(
    *,
    workflow_id: str,
    result_path: str,
    parameters: Mapping[str, Any] | None = None,
    packed_parameter: str = "rows",
    bot_id: str | None = None,
    app_id: str | None = None,
    ext: Mapping[str, str] | None = None,
    workflow_version: str | None = None,
    connector_id: str | None = None,
    execution_mode: str = "auto",
    row_timeout: float | None = 3600.0,
    coze_conn_id: str = "coze_default",
    max_in_flight: int | None = None,
    requests_per_minute: float | None = None,
    rows_per_call: int = 1,
    retries_per_row: int = 1,
    output_type: Any = None,
    on_error: str = "record",
    max_error_ratio: float | None = None,
    token_budget: int | None = None,
    timeout: float | None = 86400.0,
    ordered: bool = True,
    report: bool = False,
    deferrable: bool | None = None,
    poll_interval: float | None = None,
    on_unknown: str = "fail",
    reuse: str = "unfinished",
    commit_seconds: float = 2.0,
    multiple_outputs: bool = True,
    **kwargs: Any,
) -> Callable[[Callable[P, Rows]], Task[P, Rows]]: ...
