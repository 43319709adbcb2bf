"""Where records are kept: Airflow's task state store, object storage, memory. No deciding.

A store that cannot be read is an error and never "nothing there", because "nothing there" means: buy.
"""

from __future__ import annotations

import abc
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_coze.compat import conf, never_expire, object_storage_path
from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.state.record import Record, Submitted, decode, delivered, encode

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["InMemory", "ObjectStorage", "Store", "TaskStateStore", "store_for"]

#: The record's name among the states of a task instance.
STATE_KEY = "coze"
#: Protocols of paths on this machine; a path without a scheme has none.
_LOCAL = ("", "file", "local")


class Store(Protocol):
    """One record: that of one task instance."""

    def read(self) -> Record | None:
        """Return the record, or None if there certainly is none.

        :raises CozeStateError: it cannot be told.
        """

    def write(self, record: Record) -> None:
        """Put the record in the place of the one before.

        :raises CozeStateError: it is not certain that it is there.
        """

    def clear(self) -> None:
        """Remove the record.

        :raises CozeStateError: it is not certain that it is gone.
        """

    def deliver(self, generation: int, ids: Mapping[str, str]) -> None:
        """Note that the answer is about to be handed to Airflow by a try of this ``max_tries``.

        :param ids: of the chat or run, by Coze's names.
        :raises CozeStateError: it could not be noted. A clear by hand then gets the old answer again instead of asking anew.
        """


class _Kept(abc.ABC):
    """What stores that keep the record itself have in common."""

    @abc.abstractmethod
    def read(self) -> Record | None: ...

    @abc.abstractmethod
    def write(self, record: Record) -> None: ...

    def deliver(self, generation: int, ids: Mapping[str, str]) -> None:
        """Note in the record that its answer is about to be handed over."""
        record = self.read()
        if isinstance(record, Submitted):
            self.write(delivered(record, generation))


class InMemory(_Kept):
    """A record that ends with the process: for flows that are driven without Airflow."""

    def __init__(self) -> None:
        self._value: dict[str, Any] | None = None

    def read(self) -> Record | None:
        """Return the record."""
        return None if self._value is None else decode(self._value)

    def write(self, record: Record) -> None:
        """Keep the record."""
        self._value = encode(record)

    def clear(self) -> None:
        """Forget the record."""
        self._value = None


class TaskStateStore(_Kept):
    """Airflow's own store of task instances (3.3 and later): it outlives tries and clears, and ends with the DAG run.

    :param accessor: ``context["task_state_store"]``.
    :param never_expire: Airflow's word for a record that no clean-up removes; a long retry_delay must not lose it.
    :param part: which of several records of the task instance.
    """

    def __init__(self, accessor: Any, never_expire: Any = None, part: str = "") -> None:
        self._accessor, self._never_expire = accessor, never_expire
        self._name = f"{STATE_KEY}_{part}" if part else STATE_KEY

    def read(self) -> Record | None:
        """Return the record."""
        with _explained("read", "Airflow's task state store"):
            value = self._accessor.get(self._name)
        return None if value is None else decode(value)

    def write(self, record: Record) -> None:
        """Keep the record."""
        with _explained("written", "Airflow's task state store"):
            self._accessor.set(self._name, encode(record), retention=self._never_expire)

    def clear(self) -> None:
        """Forget the record."""
        with _explained("removed", "Airflow's task state store"):
            self._accessor.delete(self._name)


class ObjectStorage(_Kept):
    """One small JSON file for each task instance, on anything that fsspec reaches.

    :param root: ``[coze] state_path``.
    :param key: the identity of the task instance.
    """

    def __init__(self, root: str, key: str) -> None:
        self._root, self._name = root, f"{key}.json"

    def read(self) -> Record | None:
        """Return the record."""
        with _explained("read", self._root):
            path = object_storage_path(self._root) / self._name
            try:
                text = path.read_text(encoding="utf-8")
            except FileNotFoundError:
                return None
            value = json.loads(text)
        return decode(value)

    def write(self, record: Record) -> None:
        """Keep the record. A reader sees the old one or the new one, never a half."""
        with _explained("written", self._root):
            folder = object_storage_path(self._root)
            path, text = folder / self._name, json.dumps(encode(record))
            if path.protocol not in _LOCAL:  # an object is put whole or not at all
                path.write_text(text, encoding="utf-8")
                return
            folder.mkdir(parents=True, exist_ok=True)
            half = folder / f".{self._name}.half"
            half.write_text(text, encoding="utf-8")
            half.fs.mv(half.path, path.path)

    def clear(self) -> None:
        """Forget the record."""
        with _explained("removed", self._root):
            try:
                (object_storage_path(self._root) / self._name).unlink()
            except FileNotFoundError:
                return


def store_for(context: Context | Mapping[str, Any], key: str, part: str = "") -> Store | None:
    """Return the store of a task instance: ``[coze] state_path`` if it is set, else Airflow's own; None: there is neither.

    :param key: the identity of the task instance.
    :param part: which of several records of it; the key differs with it.
    """
    root = str(conf.get("coze", "state_path", fallback="") or "").strip()
    if root:
        return ObjectStorage(root, key)
    accessor = context.get("task_state_store")
    if accessor is None:  # Airflow < 3.3
        return None
    return TaskStateStore(accessor, never_expire(), part)


@contextlib.contextmanager
def _explained(verb: str, where: str) -> Iterator[None]:
    """Make one error of all the ways in which a store can fail; its own words may hold credentials, so only its type is told."""
    try:
        yield
    except CozeStateError:
        raise
    except Exception as error:
        raise CozeStateError(
            f"What this task has bought from Coze could not be {verb} in {_without_login(where)} ({type(error).__name__}). "
            "A try that cannot know it does not buy, because a chat or run may be going on and be paid for; a retry tries again."
        ) from error


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url
