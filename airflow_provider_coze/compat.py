"""The only file that knows that Airflow has versions. Names move here; nothing behaves here.

Most of it is ``apache-airflow-providers-common-compat``, which resolves each name for the Airflow that is installed. Names that take
milliseconds to import are resolved when somebody asks for them: every DAG file with an operator of ours imports this module, and so does
a triggerer, on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import sys
import uuid
from collections.abc import Coroutine, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowOptionalProviderFeatureException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
)
from airflow.providers.common.compat.sdk import mask_secret as _mask_secret

try:
    from airflow.sdk.exceptions import TaskAwaitingInput
except ImportError:  # Airflow < 3.3: whoever waits for a person waits in the triggerer
    TaskAwaitingInput = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.providers.common.compat.connection import get_async_connection
    from airflow.providers.common.compat.sdk import (
        Asset,
        BaseHook,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        DecoratedOperator,
        PokeReturnValue,
        RetryDecision,
        RetryPolicy,
        determine_kwargs,
        redact,
        task_decorator_factory,
    )
    from airflow.triggers.base import BaseTrigger, TriggerEvent

__all__ = [
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowOptionalProviderFeatureException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "Asset",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "Connection",
    "Context",
    "DecoratedOperator",
    "PokeReturnValue",
    "RetryDecision",
    "RetryPolicy",
    "TaskAwaitingInput",
    "TriggerEvent",
    "aform_answer",
    "ais_wanted",
    "ask_people",
    "conf",
    "determine_kwargs",
    "get_async_connection",
    "has_forms",
    "is_wanted",
    "link_in_xcom",
    "mask_secret",
    "metrics",
    "metrics_tagged",
    "never_expire",
    "object_storage_path",
    "openlineage_classes",
    "redact",
    "renders_natively",
    "task_decorator_factory",
]

_SDK = "airflow.providers.common.compat.sdk"
#: Name → the module that has it, imported when it is asked for.
_LATER = dict.fromkeys(
    (
        *("Asset", "BaseHook", "BaseNotifier", "BaseOperator", "BaseOperatorLink", "BaseSensorOperator"),
        *("DecoratedOperator", "PokeReturnValue", "RetryDecision", "RetryPolicy"),
        *("determine_kwargs", "redact", "task_decorator_factory"),
    ),
    _SDK,
) | {
    "BaseTrigger": "airflow.triggers.base",
    "TriggerEvent": "airflow.triggers.base",
    "get_async_connection": "airflow.providers.common.compat.connection",
}
#: None on an Airflow before 3.3.
_MAY_BE_MISSING = ("RetryDecision", "RetryPolicy")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(importlib.import_module(_LATER[name]), name)
    except (AttributeError, ImportError):
        if name not in _MAY_BE_MISSING:
            raise
        found = None
    globals()[name] = found
    return found


#: Keeps the tasks of mask_secret alive until they are done; a loop holds its tasks only weakly.
_MASKING: set[asyncio.Task[None]] = set()


def mask_secret(secret: str) -> None:
    """Make Airflow write ``***`` for *secret* in all logs from here on, on a worker or on the triggerer's event loop.

    Masking talks to the supervisor of the process. On an event loop that must not be done synchronously (it raises, or on
    3.1 and 3.2 can stop the loop), so there it is handed to Airflow's own coroutine (3.3.2) or to a thread.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        with contextlib.suppress(Exception):  # outside of any task there is no supervisor to tell
            _mask_secret(secret)
        return
    task = loop.create_task(_mask_on_loop(secret))
    _MASKING.add(task)
    task.add_done_callback(_MASKING.discard)


def renders_natively(task: Any) -> bool:
    """Tell whether the templates of an operator are rendered to Python objects instead of text."""
    own = getattr(task, "render_template_as_native_obj", None)  # Airflow >= 3.2
    if own is not None:
        return bool(own)
    return task.has_dag() and bool(task.dag.render_template_as_native_obj)


def link_in_xcom(ti_key: Any, key: str) -> str:
    """Return the address that a task instance has pushed; "": none. On Airflow 2 in its web server, later on the worker."""
    from airflow.providers.common.compat.sdk import XCom

    found = XCom.get_value(ti_key=ti_key, key=key)
    return found if isinstance(found, str) else ""


def openlineage_classes() -> Any:
    """Return ``OperatorLineage``, ``Dataset`` and ``RunFacet``, by name, of the OpenLineage that is installed.

    :raises ImportError: none is.
    """
    extractors = importlib.import_module("airflow.providers.openlineage.extractors")
    base = importlib.import_module("openlineage.client.generated.base")
    return SimpleNamespace(OperatorLineage=extractors.OperatorLineage, Dataset=base.Dataset, RunFacet=base.RunFacet)


def object_storage_path(url: str) -> Any:
    """Return Airflow's path object for a URL that fsspec reaches, or for a local path."""
    try:
        from airflow.sdk import ObjectStoragePath
    except ImportError:  # Airflow 2.11
        from airflow.io.path import ObjectStoragePath  # type: ignore[no-redef,import-not-found]
    return ObjectStoragePath(url)


def never_expire() -> Any:
    """Return what tells Airflow's task state store (3.3 and later) to keep a value as long as the DAG run; None before."""
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:
        return None
    return NEVER_EXPIRE


_STATS = (
    "airflow.sdk._shared.observability.metrics.stats",
    "airflow._shared.observability.metrics.stats",
)


@functools.cache
def metrics_tagged() -> bool | None:
    """Tell whether the tags of a metric reach whoever gets it: `[metrics]` of Airflow. None: there are no metrics."""

    def is_on(name: str) -> bool:
        with contextlib.suppress(Exception):  # a value that is no bool; Airflow complains of it itself
            return bool(conf.getboolean("metrics", name, fallback=False))
        return False

    if is_on("statsd_datadog_enabled"):
        return True
    if is_on("statsd_on"):
        return is_on("statsd_influxdb_enabled")
    return True if is_on("otel_on") else None


def metrics() -> Any | None:
    """Return what metrics of this process go to: something with ``incr``, ``timing`` (ms) and ``gauge``, each ``(name, value, tags=)``.

    :returns: None where there are none, because they are off or, as in ``dag.test()``, nobody has set them up.
    """
    if metrics_tagged() is None:
        return None
    # Airflow 3.3 has one for tasks and one for its own processes, a triggerer among them. One that is set up has been imported.
    found = [module for name in _STATS if (module := sys.modules.get(name)) is not None]
    for module in found:
        if getattr(module, "_factory", module) is not None:
            return module.Stats
    if found:
        return None
    from airflow.stats import Stats  # Airflow < 3.3: sets itself up

    return Stats


def has_forms() -> bool:
    """Tell whether this Airflow can ask people (human in the loop): 3.1 and later."""
    try:
        import airflow.sdk.execution_time.hitl  # noqa: F401
    except ImportError:
        return False
    return True


def ask_people(
    ti: Any, *, subject: str, body: str, options: list[str], params: dict[str, Any], users: list[dict[str, str]]
) -> dict[str, Any]:
    """Put a question into the form of a task instance, and take the answer out that is in it.

    A task instance has one form in all its tries. Up to 3.3 Airflow leaves in it what was asked first, and removes only the answer
    (measured on 3.1.8 and 3.3.2), which ``upsert_hitl_detail`` of its SDK does not tell: hence its message.

    :returns: subject, body and params that the form has now.
    """
    from airflow.sdk.api.datamodels._generated import HITLUser
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    message = CreateHITLDetailPayload(
        ti_id=ti.id,
        options=options,
        subject=subject,
        body=body,
        params=params,
        multiple=False,
        assigned_users=[HITLUser(id=user["id"], name=user["name"]) for user in users],
    )
    kept: Any = SUPERVISOR_COMMS.send(message)
    return {name: getattr(kept, name, None) for name in ("subject", "body", "params")}


async def aform_answer(ti_id: str) -> dict[str, Any] | None:
    """Read the answer in the form of a task instance, on a triggerer's event loop: Airflow lets no worker read it.

    :returns: as the event that an answer resumes a task with; None: nobody has answered.
    :raises LookupError: the task instance has no form.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import GetHITLDetailResponse
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        found: Any = await SUPERVISOR_COMMS.asend(GetHITLDetailResponse(ti_id=uuid.UUID(ti_id)))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == 404:
            raise LookupError(ti_id) from error
        raise
    if not (found.response_received and found.chosen_options):
        return None
    return {"chosen_options": list(found.chosen_options), "params_input": dict(found.params_input or {})}


#: A trigger's on_kill has 30 s for everything; the first question to a triggerer's Execution API takes 2 to 6 s (measured on 3.3.2).
_ANSWER_SECONDS = 20.0
#: States in which Airflow still wants what the task does; any other one means that a person ended it.
_WANTED_STATES = ("running", "deferred", "queued", "scheduled", "up_for_retry", "restarting")


def is_wanted(ti: Any) -> bool | None:
    """Ask Airflow whether it still wants a task instance's work: whether a kill is a restart, and not a person's wish.

    Triggerers and workers are stopped, moved and lost for many reasons, and the next try or triggerer goes on; a person who marks or
    clears a task changes its state first. A cleared task has no state. Blocking, and not for the main thread of a task or for an
    event loop: both may be in the midst of talking to Airflow themselves.

    :returns: None when Airflow cannot be asked.
    """
    try:
        state = _state_of(ti)
    except Exception:
        return None
    return state in _WANTED_STATES


async def ais_wanted(ti: Any) -> bool | None:
    """Ask the same from the event loop of a triggerer of Airflow 3.3, the first that has a reason to.

    By its own coroutine: asking from a thread waits for the loop, and on 3.3.2 the two then wait for each other for ever.
    """
    try:
        from airflow.sdk.execution_time.comms import GetTaskStates
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        asked = GetTaskStates(**_which(ti))
        answer: Any = await asyncio.wait_for(SUPERVISOR_COMMS.asend(asked), _ANSWER_SECONDS)
        return _state_in(answer.task_states, ti) in _WANTED_STATES
    except Exception:
        return None


def _state_of(ti: Any) -> str | None:
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2.11: its tasks reach the database
        from airflow.models.taskinstance import TaskInstance

        key = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
        found = TaskInstance.get_task_instance(**key)
        return None if found is None else str(found.state)
    return _state_in(RuntimeTaskInstance.get_task_states(**_which(ti)), ti)


def _which(ti: Any) -> dict[str, Any]:
    """Return the question about the state of a task instance; an index is asked for only where there is one."""
    index = ti.map_index if _is_mapped(ti) else None
    return {"dag_id": ti.dag_id, "task_ids": [ti.task_id], "run_ids": [ti.run_id], "map_index": index}


def _state_in(states: Mapping[str, Mapping[str, Any]], ti: Any) -> str | None:
    """Read the answer: states by run and, within, by task, whose index follows its name."""
    name = f"{ti.task_id}_{ti.map_index}" if _is_mapped(ti) else ti.task_id
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))


def _is_mapped(ti: Any) -> bool:
    return ti.map_index is not None and ti.map_index >= 0


async def _mask_on_loop(secret: str) -> None:
    with contextlib.suppress(Exception):
        await _masking(secret)


def _masking(secret: str) -> Coroutine[Any, Any, None]:
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # Airflow < 3.3.2
        from asgiref.sync import sync_to_async

        return sync_to_async(_mask_secret)(secret)
    coroutine: Coroutine[Any, Any, None] = amask_secret(secret)
    return coroutine
