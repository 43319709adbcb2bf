"""The fixtures of ``tests.tasks``, for the tests of sensors, and a way to run one in each of its modes."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import TaskDeferred

from tests import needs, tasks
from tests.tasks import Coze, TaskInstance, fire

coze_site, coze, studio = tasks.coze_site, tasks.coze, tasks.studio


class Watch:
    """Run a sensor to its end; afterwards tell what it left behind."""

    def __init__(self, coze: Coze, mode: str) -> None:
        self.coze = coze
        self.mode = mode
        self.ti = TaskInstance()
        self.rounds = 0  # how often it gave its worker back

    def __call__(self, kind: type, **arguments: Any) -> Any:
        self.ti = TaskInstance()
        first: list[datetime] = []
        self.ti.get_first_reschedule_date = lambda context: first[0] if first else None  # type: ignore[method-assign]
        self.first_of_airflow_2 = lambda **_: first[0] if first else None
        if self.mode == "triggered" and (begins := self.sensor(kind, **arguments)).start_from_trigger:
            return self._from_the_trigger(begins.start_trigger_args, kind, **arguments)
        while True:
            sensor = self.sensor(kind, **arguments)
            try:
                return sensor.execute({"ti": self.ti, "task": sensor})
            except AirflowRescheduleException as later:
                self.rounds += 1
                first = first or [self.now()]
                self.coze.time.sleep(later.reschedule_date.timestamp() - self.coze.time())
            except TaskDeferred as deferral:
                self.rounds += 1
                event = fire(self.coze, deferral.trigger)
                resumed = self.sensor(kind, **arguments)
                return resumed.resume_execution(
                    deferral.method_name, {"event": event}, {"ti": self.ti, "task": resumed}
                )

    def _from_the_trigger(self, begins: Any, kind: type, **arguments: Any) -> Any:
        """Do what Airflow does with a task that begins in the triggerer, whose arguments are then what the DAG's serialised form has."""
        trigger = import_string(begins.trigger_cls)(**json.loads(json.dumps(begins.trigger_kwargs)))
        trigger.timeout_after = self.now() + begins.timeout
        self.rounds += 1
        [event] = asyncio.run(_events(self.coze.prepared(trigger)))
        resumed = self.sensor(kind, **arguments)
        return resumed.resume_execution(begins.next_method, {"event": event}, {"ti": self.ti, "task": resumed})

    def sensor(self, kind: type, **arguments: Any) -> Any:
        modes = {"deferred": {"deferrable": True}, "triggered": {"deferrable": True, "start_from_trigger": True}}
        mode = modes.get(self.mode, {"deferrable": False, "mode": self.mode})
        return self.coze.prepared(kind(**{"task_id": "wait", **mode, **arguments}))

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.coze.time(), UTC)

    @property
    def xcoms(self) -> dict[str, Any]:
        return self.ti.xcoms


#: For what a sensor does that a worker has first.
WORKER_FIRST = pytest.mark.parametrize("watch", ["poke", "reschedule", "deferred"], indirect=True)


async def _events(trigger: Any) -> list[Any]:
    return [json.loads(json.dumps(event.payload)) async for event in trigger.run()]


@pytest.fixture(params=["poke", "reschedule", "deferred", pytest.param("triggered", marks=needs.STARTS.mark)])
def watch(request: pytest.FixtureRequest, coze: Coze, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Every test using this runs once per way of waiting. No test may ask which."""
    made = Watch(coze, request.param)
    # Airflow's own loop of a sensor knows one time only.
    airflow_time = SimpleNamespace(sleep=coze.time.sleep, monotonic=coze.time)
    module = "airflow.sdk.bases.sensor" if needs.TASK_SDK.has() else "airflow.sensors.base"
    if not needs.TASK_SDK.has():  # it asks its database, and not the task instance
        monkeypatch.setattr(f"{module}._orig_start_date", lambda **which: made.first_of_airflow_2(**which))
    monkeypatch.setattr(f"{module}.time", airflow_time)
    monkeypatch.setattr(f"{module}.timezone", SimpleNamespace(utcnow=made.now, utc=UTC))
    return made
