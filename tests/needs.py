"""What a test needs of the Airflow it runs on: asked of ``compat``, and held against the version that has it first.

A test says ``@needs.FORMS.mark``, or ``needs.FORMS.or_skip()`` in its midst. ``tests/test_compat.py`` fails if an Airflow of that version
or later does not have it: what ought to work is never skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from packaging.version import Version

from airflow_provider_coze import compat

#: What runs here.
AIRFLOW = Version(version("apache-airflow"))


@dataclass(frozen=True)
class Need:
    """Something that Airflow has from one version on."""

    since: str  #: as people write it
    what: str
    has: Callable[[], bool] = field(repr=False)  #: whether this Airflow does, by its looks and not by its number

    @property
    def expected(self) -> bool:
        """Whether an Airflow of this version ought to have it."""
        return Version(self.since) <= AIRFLOW

    @property
    def reason(self) -> str:
        """What a skipped test says; ``tests.versions`` reads the version from it."""
        return f"needs Airflow {self.since}: {self.what}"

    @property
    def mark(self) -> pytest.MarkDecorator:
        return pytest.mark.skipif(not self.has(), reason=self.reason)

    def or_skip(self, *, module: bool = False) -> None:
        """Skip the test that is running, or the *module* that is being imported, unless this Airflow has it."""
        if not self.has():
            pytest.skip(self.reason, allow_module_level=module)


def _module(name: str) -> Callable[[], bool]:
    def has() -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:  # nor the package that it would be in
            return False

    return has


def _any_file_system() -> bool:
    try:
        compat.object_storage_path("memory:///x").exists()
    except ValueError:
        return False
    return True


def _masks_on_loops() -> bool:
    return _module("airflow.sdk.log")() and hasattr(importlib.import_module("airflow.sdk.log"), "amask_secret")


def _schema_says(word: str) -> Callable[[], bool]:
    def has() -> bool:
        home = Path(importlib.import_module("airflow").__path__[0])
        return f'"{word}"' in (home / "provider.yaml.schema.json").read_text(encoding="utf-8")

    return has


TASK_SDK = Need("3.0", "the task SDK", _module("airflow.sdk"))
REACT_FORM = Need("3.1", "a connection form that needs no flask-appbuilder", lambda: compat.has_forms())
FORMS = Need("3.1", "forms that people answer", compat.has_forms)
DEADLINES = Need("3.1", "deadlines", _module("airflow.sdk.definitions.deadline"))
ASYNC_CONNECTIONS = Need("3.1", "connections read by a coroutine", lambda: hasattr(BaseHook, "aget_connection"))
FORM_METADATA = Need("3.2", "connection forms made from metadata", _schema_says("conn-fields"))
ANY_FILE_SYSTEM = Need("3.2", "any file system of fsspec", _any_file_system)
PROVIDER_COMMANDS = Need("3.2", "commands of providers", _schema_says("cli"))
RUNTIME_MANAGER = Need("3.2", "a providers manager of the task SDK", _module("airflow.sdk.providers_manager_runtime"))
AWAITING_INPUT = Need("3.3", "tasks that await input without a triggerer", lambda: compat.TaskAwaitingInput is not None)
RETRY_POLICIES = Need("3.3", "retry policies", lambda: compat.RetryPolicy is not None)
TRIGGER_KILLS = Need("3.3", "triggers that hear of a person's wish", lambda: hasattr(compat.BaseTrigger, "on_kill"))
STATE_STORE = Need("3.3", "the task state store", lambda: compat.never_expire() is not None)
STARTS = Need("3.3", "tasks that begin in the triggerer with templates", compat.triggers_render_templates)
EXECUTOR_CALLBACKS = Need("3.3", "callbacks in executors", _module("airflow.sdk.execution_time.callback_supervisor"))
MASKS_ON_LOOPS = Need("3.3.2", "secrets masked by a coroutine", _masks_on_loops)

#: Everything above, by name.
ALL: dict[str, Need] = {name: each for name, each in dict(globals()).items() if isinstance(each, Need)}


def parked() -> tuple[type[BaseException], ...]:
    """Return how a task says that it waits for a person: on Airflow 3.3 without a triggerer, before with one."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    found: list[Any] = [TaskDeferred, compat.TaskAwaitingInput]
    return tuple(kind for kind in found if kind is not None)
