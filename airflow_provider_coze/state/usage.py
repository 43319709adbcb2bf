"""Where the tokens of earlier tries are kept: beside the record of what they bought, in the same store. No deciding, no counting.

Unlike the record this is a note for people and budgets: what cannot be read is not known, and buys nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_coze.compat import conf, never_expire, object_storage_path

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["UsageStore", "usage_store_for"]

#: Its name among the states of a task instance.
STATE_KEY = "coze_usage"


class UsageStore(Protocol):
    """A list of JSON objects for one task instance. Both methods raise whatever its keeper does."""

    def read(self) -> Any:
        """Return what was written; None: nothing yet."""

    def write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Put *entries* in the place of those before."""


class _InTaskStateStore:
    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def read(self) -> Any:
        return self._accessor.get(STATE_KEY)

    def write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._accessor.set(STATE_KEY, [dict(entry) for entry in entries], retention=never_expire())


class _InObjectStorage:
    def __init__(self, root: str, key: str) -> None:
        self._root, self._name = root, f"{key}.usage.json"

    def read(self) -> Any:
        try:
            text = (object_storage_path(self._root) / self._name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return json.loads(text)

    def write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        folder = object_storage_path(self._root)
        if folder.protocol in ("file", "local"):
            folder.mkdir(parents=True, exist_ok=True)
        (folder / self._name).write_text(json.dumps([dict(entry) for entry in entries]), encoding="utf-8")


def usage_store_for(context: Context | Mapping[str, Any], key: str) -> UsageStore | None:
    """Return the store of a task instance: ``[coze] state_path`` if it is set, else Airflow's own (3.3); None: there is neither.

    :param key: the identity of the task instance.
    """
    root = str(conf.get("coze", "state_path", fallback="") or "").strip()
    if root:
        return _InObjectStorage(root, key)
    accessor = context.get("task_state_store")
    return None if accessor is None else _InTaskStateStore(accessor)
