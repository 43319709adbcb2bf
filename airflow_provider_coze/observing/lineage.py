"""What OpenLineage gets to know of a task: which bot or workflow, ids, tokens, and where a batch put its results. No question, no answer.

All of it is read from XComs of the task, because after a deferral another instance of the operator has ended it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_coze.compat import openlineage_classes

__all__ = ["HasLineage", "dataset_of", "lineage_of"]

#: Fields of the facet ``coze_run``: each is an XCom of an operator, or a key of a batch's manifest. All are texts but the counts.
_RUN_FIELDS = ("chat_id", "conversation_id", "execute_id", "debug_url", "logid", "batch_id")
_ROW_FIELDS = ("request_count", "counts")
#: Of the facet ``coze_usage``. Tokens are as Coze reports them.
_USAGE_FIELDS = ("token_count", "input_count", "output_count")


class HasLineage:
    """An operator that OpenLineage can ask; asked only where Airflow's provider for it is installed."""

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what is known of a task that has ended; of one that failed, too."""
        return lineage_of(self, task_instance)


def lineage_of(task: Any, ti: Any) -> Any:
    """Return an ``OperatorLineage``: the bot or workflow as an input, and the facets ``coze_run`` and ``coze_usage``.

    :param ti: the task instance.
    """
    classes = openlineage_classes()
    manifest = _pulled(task, ti, "manifest")
    manifest = manifest if isinstance(manifest, Mapping) else {}
    usage = manifest.get("usage") or _pulled(task, ti, "usage")
    known: dict[str, Any] = {name: manifest.get(name) or _pulled(task, ti, name) for name in _RUN_FIELDS}
    known |= {name: manifest.get(name) for name in _ROW_FIELDS}
    facts = {name: value for name, value in known.items() if value is not None}
    tokens = {name: usage[name] for name in _USAGE_FIELDS if name in usage} if isinstance(usage, Mapping) else {}
    run_facets = {}
    if facts:
        run_facets["coze_run"] = _facets(classes.RunFacet)["run"](**facts)
    if tokens:
        run_facets["coze_usage"] = _facets(classes.RunFacet)["usage"](**tokens)
    return classes.OperatorLineage(
        inputs=[classes.Dataset(namespace="coze", name=name) for name in _subjects(task)],
        outputs=[classes.Dataset(*dataset_of(uri)) for uri in (manifest.get("result_uri"),) if uri],
        run_facets=run_facets,
    )


def dataset_of(uri: str) -> tuple[str, str]:
    """Return the namespace and the name that OpenLineage has for a file: ``s3://bucket`` and ``folder/file``, or ``file`` and a path.

    A user, a password or a connection's id in the URI is left out.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.lstrip("/")


def _subjects(task: Any) -> Iterator[str]:
    """Yield the names of what a task asks, as in an asset's URI."""
    for kind in ("bot", "workflow"):
        if isinstance(identity := getattr(task, f"{kind}_id", None), str):
            yield f"{kind}/{identity}"


def _pulled(task: Any, ti: Any, key: str) -> Any:
    with contextlib.suppress(Exception):  # lineage without a fact is better than a warning in every task's log
        return ti.xcom_pull(task_ids=task.task_id, key=key, map_indexes=getattr(ti, "map_index", None))
    return None


@functools.cache
def _facets(base: type) -> Mapping[str, type]:
    import attrs

    def facet(name: str, fields: tuple[str, ...]) -> type:
        optional = {field: attrs.field(default=None) for field in fields}
        made: type = attrs.make_class(name, optional, bases=(base,), kw_only=True, slots=False)
        return made

    return {
        "run": facet("CozeRunFacet", (*_RUN_FIELDS, *_ROW_FIELDS)),
        "usage": facet("CozeUsageFacet", _USAGE_FIELDS),
    }
