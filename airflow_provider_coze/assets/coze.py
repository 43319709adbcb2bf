"""Assets ``coze://bot/<id>``, ``coze://workflow/<id>`` and ``coze://dataset/<id>``: what such an address may be, and making one.

Airflow imports this for every DAG file that names one. Nothing emits an asset by itself: a DAG says ``outlets=[…]``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from airflow_provider_coze import compat

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Asset

__all__ = [
    "KINDS",
    "convert_asset_to_openlineage",
    "create_asset",
    "create_bot_asset",
    "create_dataset_asset",
    "create_workflow_asset",
    "sanitize_uri",
]

#: What may stand after ``coze://``. A dataset is what Coze's pages call a knowledge base (知识库).
KINDS = ("bot", "workflow", "dataset")
_ID = re.compile(r"[0-9]{1,20}")


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check the address of an asset; Airflow has taken a fragment and slashes at its end away.

    :returns: the one way to write it.
    :raises ValueError: it is none of ours. Nothing of it is repeated, as whoever mistakes one part may have pasted a token.
    """
    if "@" in uri.netloc:
        raise ValueError(_wrong("there is a user or password in it, which everybody who sees the DAG can read"))
    if uri.query:
        raise ValueError(_wrong("it has a query, and what follows ? names nothing in Coze"))
    if uri.netloc not in KINDS:
        raise ValueError(_wrong(f"what follows coze:// is none of {', '.join(KINDS)}, in small letters"))
    if not _ID.fullmatch(uri.path.removeprefix("/")):
        raise ValueError(_wrong("its id is not 1 to 20 digits; a template, too, is none, as Airflow renders none here"))
    return uri


def create_bot_asset(bot_id: str, *, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a bot.

    :raises ValueError: it is no id.
    """
    return create_asset(kind="bot", id=bot_id, extra=extra)


def create_workflow_asset(workflow_id: str, *, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a workflow.

    :raises ValueError: it is no id.
    """
    return create_asset(kind="workflow", id=workflow_id, extra=extra)


def create_dataset_asset(dataset_id: str, *, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a knowledge base.

    :raises ValueError: it is no id.
    """
    return create_asset(kind="dataset", id=dataset_id, extra=extra)


def create_asset(*, kind: str, id: str, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of one of the :data:`KINDS`; a dataset to Airflow 2.

    :raises ValueError: there is no such kind, or it is no id.
    """
    checked = sanitize_uri(SplitResult("coze", str(kind), f"/{id}", "", ""))
    made: Asset = compat.Asset(checked.geturl(), extra=extra)
    return made


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Any:
    """Return an asset as OpenLineage names it: namespace ``coze``, name ``bot/<id>``. Asked for by Airflow's own provider of it."""
    return compat.openlineage_classes().Dataset(namespace="coze", name=asset.uri.removeprefix("coze://"))


def _wrong(problem: str) -> str:
    return (
        f"The address of an asset of Coze is wrong: {problem}. It has to be coze://bot/<id>, coze://workflow/<id> or "
        "coze://dataset/<id>, with the id that Coze shows. Coze was not asked, and nothing is billed. Airflow 3 does not load "
        "the DAG until the address is changed."
    )
