"""Where records are kept: what all stores have in common, and how each of them fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.state.record import Intent, Submitted, encode
from airflow_provider_coze.state.stores import InMemory, ObjectStorage, Store, TaskStateStore, store_for
from tests import needs

INTENT = Intent("print", "key/1/print", 1.0, sent_to="100")
SUBMITTED = Submitted("print", "key/1/print", 2.0, {"conversation_id": "100", "chat_id": "2"})


class Accessor:
    """What Airflow 3.3 hands out as ``task_state_store``."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.retentions: list[Any] = []

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = json.loads(json.dumps(value))
        self.retentions.append(retention)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class Broken(Accessor):
    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError("supervisor said: postgresql://airflow:hunter2@db/airflow is away")

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        raise RuntimeError("hunter2")

    def delete(self, key: str) -> None:
        raise RuntimeError("hunter2")


@pytest.fixture(params=["memory", "task_state_store", "path", "file", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory://":
        needs.ANY_FILE_SYSTEM.or_skip()
    made: dict[str, Callable[[], Store]] = {
        "memory": InMemory,
        "task_state_store": lambda: TaskStateStore(Accessor()),
        "path": lambda: ObjectStorage(f"{tmp_path}/state", "key"),
        "file": lambda: ObjectStorage(f"file://{tmp_path}/state", "key"),
        "memory://": lambda: ObjectStorage(f"memory://{tmp_path}/state", "key"),
    }
    return made[request.param]()


def test_nothing_is_there_at_first(store: Store) -> None:
    assert store.read() is None
    store.clear()
    assert store.read() is None


def test_the_last_record_is_the_one_that_is_read(store: Store) -> None:
    store.write(INTENT)
    assert store.read() == INTENT
    store.write(SUBMITTED)
    assert store.read() == SUBMITTED
    store.clear()
    assert store.read() is None


def test_a_delivery_is_noted_in_the_record_of_what_was_bought(store: Store) -> None:
    store.write(SUBMITTED)
    store.deliver(3, {})
    record = store.read()
    assert isinstance(record, Submitted)
    assert record.delivered == 3


def test_a_delivery_of_nothing_leaves_no_trace(store: Store) -> None:
    store.deliver(3, {})
    assert store.read() is None
    store.write(INTENT)
    store.deliver(3, {})
    assert store.read() == INTENT


class TestTaskStateStore:
    def test_a_record_is_kept_as_long_as_its_dag_run(self) -> None:
        accessor = Accessor()
        TaskStateStore(accessor, "for ever").write(INTENT)
        assert accessor.retentions == ["for ever"]

    @pytest.mark.parametrize("attempt", ["read", "write", "clear", "deliver"])
    def test_a_store_that_fails_is_one_error_without_its_words(self, attempt: str) -> None:
        store = TaskStateStore(Broken())
        arguments: dict[str, tuple[Any, ...]] = {"write": (INTENT,), "deliver": (3, {})}
        with pytest.raises(CozeStateError, match=r"task state store \(RuntimeError\).*retry") as caught:
            getattr(store, attempt)(*arguments.get(attempt, ()))
        assert "hunter2" not in str(caught.value)

    def test_what_somebody_else_wrote_is_an_error(self) -> None:
        accessor = Accessor()
        accessor.set("coze", {"run_id": "7"})
        with pytest.raises(CozeStateError):
            TaskStateStore(accessor).read()


class TestObjectStorage:
    def test_task_instances_have_files_of_their_own(self, tmp_path: Path) -> None:
        ObjectStorage(str(tmp_path), "a").write(INTENT)
        assert ObjectStorage(str(tmp_path), "b").read() is None
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]

    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_a_process_that_dies_while_writing_leaves_the_record_before(self, tmp_path: Path, scheme: str) -> None:
        store = ObjectStorage(f"{scheme}{tmp_path}", "key")
        store.write(INTENT)
        (tmp_path / ".key.json.half").write_text(json.dumps(encode(SUBMITTED))[:20])
        assert store.read() == INTENT
        store.write(SUBMITTED)
        assert store.read() == SUBMITTED

    def test_a_broken_file_is_an_error_and_not_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "key.json").write_text("{")
        with pytest.raises(CozeStateError, match="could not be read"):
            ObjectStorage(f"file://{tmp_path}", "key").read()

    def test_a_place_that_cannot_be_written_is_an_error_that_names_it_without_its_password(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "taken").write_text("a file")
        with pytest.raises(CozeStateError, match="taken"):
            ObjectStorage(f"file://{tmp_path}/taken", "key").write(INTENT)
        with pytest.raises(CozeStateError, match="unheardof://bucket") as caught:
            ObjectStorage("unheardof://user:hunter2@bucket/state", "key").read()
        assert "hunter2" not in str(caught.value)


class TestStoreFor:
    def test_the_configured_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__COZE__STATE_PATH", str(tmp_path))
        store = store_for({"task_state_store": Accessor()}, "key")
        assert store is not None
        store.write(INTENT)
        assert (tmp_path / "key.json").exists()

    def test_airflows_own_store_comes_second(self) -> None:
        accessor = Accessor()
        store = store_for({"task_state_store": accessor}, "key")
        assert store is not None
        store.write(INTENT)
        assert accessor.values == {"coze": encode(INTENT)}

    @pytest.mark.parametrize("context", [{}, {"task_state_store": None}])
    def test_an_older_airflow_has_none(self, context: dict[str, Any]) -> None:
        assert store_for(context, "key") is None
