"""Airflow's REST API as the tests need it; the only file here that knows /api/v1 from /api/v2."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

FINISHED = frozenset({"success", "failed"})
#: How often a read that the API server failed is repeated.
_PATIENCE = 5


@dataclass(frozen=True)
class Task:
    """One task instance as Airflow reports it."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started: datetime | None
    ended: datetime | None


class Rest:
    """A client of one API server."""

    def __init__(self, url: str, version: str) -> None:
        self.url, self.is_v1 = url, version.startswith("2.")
        self._base = f"{url}/api/v1" if self.is_v1 else f"{url}/api/v2"
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine is no way to its own loopback

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def health(self) -> dict[str, str | None]:
        """Return each component's status; an empty answer while the server is not up."""
        try:
            url = f"{self.url}/health" if self.is_v1 else f"{self._base}/monitor/health"
            answer = self._session.get(url, timeout=5)
        except requests.RequestException:
            return {}
        return {name: part["status"] for name, part in answer.json().items()} if answer.ok else {}

    def dag_ids(self) -> set[str]:
        """Return the DAGs Airflow has parsed."""
        return {dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]}

    def import_errors(self) -> list[str]:
        """Return the stack traces of DAG files that do not import."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a DAG run and return its id."""
        body: dict[str, Any] = {"conf": conf or {}}
        if not self.is_v1:
            body["logical_date"] = None
        run_id = str(self._json("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])
        deadline = time.monotonic() + 10
        while True:
            try:
                self.run_state(dag_id, run_id)
            except RuntimeError as failure:  # Airflow 3.0 answers before the run is in its database
                if "HTTP 404" not in str(failure) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return every task instance of a run, mapped ones too."""
        found: list[Task] = []
        while True:
            path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
            page = self.get(path, limit=100, offset=len(found))
            found += [_task(row) for row in page["task_instances"]]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return one XCom value as JSON."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(path, map_index=map_index, stringify="false", deserialize="false")["value"]

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return where the buttons on a task's page lead, by their names; None: a button that stays away."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        found = self.get(path, map_index=map_index)
        return dict(found if self.is_v1 else found["extra_links"])

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return a task's log as the UI shows it: both legs, and the trigger's lines."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        return str(self.get(path, map_index=map_index, full_content="true")["content"])

    def wait_run(
        self,
        dag_id: str,
        run_id: str,
        seconds: float,
        *,
        watch: Callable[[list[Task]], None] | None = None,
        every: float = 0.5,
        check: Callable[[], None] = lambda: None,
    ) -> str:
        """Wait until a run has ended and return its state; *watch* sees its tasks at every look."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.run_state(dag_id, run_id)
            if watch is not None:
                watch(self.tasks(dag_id, run_id))
            if state in FINISHED:
                return state
            check()
            if time.monotonic() > deadline:
                states = {(task.task_id, task.map_index): task.state for task in self.tasks(dag_id, run_id)}
                raise TimeoutError(f"{dag_id} {run_id} was still {state} after {seconds:g} s: {states}")
            time.sleep(every)

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as a person does in the UI."""
        self._json("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", json={"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, as a person does in the UI."""
        body = {"dag_run_id": run_id, "task_ids": [task_id], "dry_run": False, "only_failed": False}
        self._json("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def answer(self, dag_id: str, run_id: str, task_id: str, **fields: Any) -> None:
        """Fill in the form of a task that waits for people, and press the button."""
        body = {"chosen_options": ["Send"], "params_input": fields}
        self._json("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails", json=body)

    def get(self, path: str, **query: Any) -> Any:
        """GET *path* below the API's root and return the JSON body."""
        return self._json("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST *body* to *path* below the API's root and return the JSON body."""
        return self._json("POST", path, json=body)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Accept": "application/json"}
        answer = self._session.request(method, self._base + path, timeout=60, headers=headers, **options)
        for _ in range(_PATIENCE if method == "GET" else 0):
            if answer.status_code < 500:
                break
            time.sleep(
                1
            )  # two cores that run a dozen tasks let the API server wait for its database too long now and then
            answer = self._session.request(method, self._base + path, timeout=60, headers=headers, **options)
        if answer.status_code == 401 and not self.is_v1:
            # Below 3.2 "everyone is an admin" still wants to see the token that everyone may fetch.
            token = self._session.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
            self._session.headers["Authorization"] = f"Bearer {token}"
            answer = self._session.request(method, self._base + path, timeout=60, headers=headers, **options)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: HTTP {answer.status_code} {answer.text[:500]}")
        return answer.json()


def _task(row: dict[str, Any]) -> Task:
    started, ended = (datetime.fromisoformat(row[key]) if row[key] else None for key in ("start_date", "end_date"))
    return Task(row["task_id"], row["map_index"], row["state"], row["try_number"], started, ended)
