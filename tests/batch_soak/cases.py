"""What is soaked: one batch each, how it is run, and what goes wrong meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_coze.emulator.default_world import SLEEPER, SLEEPER_BOT
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator

__all__ = ["Case", "TaskInstance"]


class Bucket(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store that outlives processes: objects appear whole or not at all, and do not grow."""

    protocol = "bucket"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("bucket://")))

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        place = Path(self._strip_protocol(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        half = place.with_name(f".{place.name}.half")
        half.write_bytes(value)
        half.replace(place)


fsspec.register_implementation("bucket", Bucket, clobber=True)


class TaskInstance:
    """As much of a task instance as the operators touch."""

    dag_id, run_id, task_id, map_index, start_date, max_tries = "soak", "manual", "ask", -1, None, 99

    def __init__(self, try_number: int) -> None:
        self.try_number = try_number

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)

    def xcom_pull(self, **_: Any) -> None:
        return None


@dataclass(frozen=True)
class Case:
    """One batch.

    :ivar kind: ``chat`` or ``run``.
    :ivar kills: of the worker; one of the worker together with the triggerer comes on top, and if deferred one of the triggerer alone.
    :ivar lost: workers that Airflow loses sight of, so that it starts another try while they go on.
    :ivar listed: whether Coze lists the conversations that it makes itself.
    :ivar resend: ``on_unknown="resend"``.
    :ivar store: keep the batch in what objects are put into, and not in a folder.
    :ivar hurries: wait no longer than this Coze needs, where ours waits for one that lists late.
    :ivar shortest, longest: seconds of a chat or run.
    """

    kind: str = "chat"
    deferred: bool = False
    rows: int = 5000
    kills: int = 10
    lost: int = 0
    faults: bool = False
    listed: bool = False
    resend: bool = False
    store: bool = False
    seed: int = 1
    shortest: float = 1.0
    longest: float = 3.0
    in_flight: int = 200
    commit_seconds: float = 2.0
    poll_interval: float = 10.0
    hurries: bool = False

    @property
    def name(self) -> str:
        """What it is, in words."""
        words = [name for name in ("faults", "listed", "resend", "store", "lost") if getattr(self, name)]
        return " ".join([self.kind, "deferred" if self.deferred else "plain", *words])

    def write_rows(self, folder: Path) -> None:
        """Write the input."""
        with (folder / "rows.jsonl").open("w") as file:
            for number in range(self.rows):
                seconds = round(self.shortest + (self.longest - self.shortest) * (number % 13) / 12, 3)
                file.write(json.dumps({"seconds": seconds, "value": self.value(number)}) + "\n")

    def value(self, number: int) -> str:
        """Return what distinguishes a row from all others; also what its chat answers."""
        return f"answer {number}"

    def output(self, number: int) -> Any:
        """Return the right output of a row."""
        return self.value(number) if self.kind == "chat" else {"output": self.value(number)}

    def result_path(self, folder: Path) -> str:
        """Return where the batch is kept."""
        return f"bucket://{folder}/batches" if self.store else f"{folder}/batches"

    def operator(self, folder: Path) -> Any:
        """Return the task, as a new process makes it."""
        options: dict[str, Any] = {
            "task_id": TaskInstance.task_id,
            "inputs": f"{folder}/rows.jsonl",
            "result_path": self.result_path(folder),
            "deferrable": self.deferred,
            "max_in_flight": self.in_flight,
            "commit_seconds": self.commit_seconds,
            "poll_interval": self.poll_interval,
            "on_unknown": "resend" if self.resend else "fail",
        }
        if self.kind == "chat":
            message = "sleep {{ row.seconds }}: {{ row.value }}"
            return CozeChatBatchOperator(bot_id=SLEEPER_BOT, message=message, **options)
        parameters = {"seconds": "{{ row.seconds }}", "value": "{{ row.value }}"}
        return CozeWorkflowBatchOperator(workflow_id=SLEEPER, parameters=parameters, **options)
