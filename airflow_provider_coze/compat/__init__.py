"""The only room that knows that Airflow has versions. Names move here; nothing behaves here.

Most of it is ``apache-airflow-providers-common-compat``, which resolves each name for the Airflow that is installed. Names that take
milliseconds to import are resolved when somebody asks for them: every DAG file with an operator of ours imports this module, and so does
a triggerer, on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import os
import sys
import threading
from collections.abc import Coroutine
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

from airflow_provider_coze.compat.people import aform_answer, ais_wanted, ask_people, has_forms, is_wanted

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
    from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TriggerEvent

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
    "StartTriggerArgs",
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
    "talking",
    "task_decorator_factory",
    "triggers_render_templates",
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
    "StartTriggerArgs": "airflow.triggers.base",
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


#: Threads of one task talk to Airflow through one channel, which is not safe for that in all versions: 3.1.8 has no lock on it, 3.2.2 has.
_TALKING = threading.RLock()


def talking() -> threading.RLock:
    """Return the lock for whoever asks or tells Airflow something in a task where several threads may."""
    return _TALKING


def _talk_anew() -> None:
    global _TALKING
    _TALKING = threading.RLock()


# One that another thread holds while a process forks would stay locked in the child.
os.register_at_fork(after_in_child=_talk_anew)


def mask_secret(secret: str) -> None:
    """Make Airflow write ``***`` for *secret* in all logs from here on, on a worker or on the triggerer's event loop.

    Masking talks to the supervisor of the process. On an event loop that must not be done synchronously (it raises, or on
    3.1 and 3.2 can stop the loop), so there it is handed to Airflow's own coroutine (3.3.2) or to a thread.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        with _TALKING, contextlib.suppress(Exception):  # outside of any task there is no supervisor to tell
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


def triggers_render_templates() -> bool:
    """Tell whether a task that begins in the triggerer has its templates rendered there: since Airflow 3.3.

    2.11 and 3.0 hand a trigger the templates as they stand in the DAG, 3.1 and 3.2 begin every task on a worker.
    """
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "render_template_fields")


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
