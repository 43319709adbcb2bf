"""``links``: what Airflow makes of them; where they lead is tests/protocol/test_pages.py, and when, tests/operators/test_linking.py."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_coze import links
from airflow_provider_coze.get_provider_info import get_provider_info

INFO = get_provider_info()
KINDS = [links.CozeBotLink, links.CozeRunLink, links.CozeWorkflowLink]
TI = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=3)


def operators() -> list[type[Any]]:
    """Return every operator and sensor that a DAG's author may use."""
    paths = [path for kind in ("operators", "sensors") for item in INFO[kind] for path in item["python-modules"]]
    found = [
        value
        for path in paths
        for name, value in vars(importlib.import_module(path)).items()
        if inspect.isclass(value) and issubclass(value, BaseOperator) and name.startswith("Coze")
    ]
    return [kind for kind in found if kind.__module__ in paths]


def test_every_link_that_an_operator_has_is_known_to_airflow_2() -> None:
    used = {type(link) for kind in operators() for link in kind.operator_extra_links}
    assert used == set(KINDS)
    assert sorted(f"{kind.__module__}.{kind.__name__}" for kind in used) == INFO["extra-links"]


def test_every_operator_links_to_what_its_arguments_name() -> None:
    for kind in operators():
        names = inspect.signature(kind.__init__).parameters
        linked = {type(link) for link in kind.operator_extra_links}
        assert (links.CozeWorkflowLink in linked) == ("workflow_id" in names), kind
        assert (links.CozeBotLink in linked) == ("bot_id" in names and "workflow_id" not in names), kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_survives_the_way_through_a_stored_dag(kind: type[links.CozeLink]) -> None:
    """Airflow 2 stores the class and its attrs fields, Airflow 3 the name and the key."""
    link = kind()
    assert attrs.asdict(link) == {}
    assert link == kind()
    assert link.xcom_key == kind.key == f"_link_{kind.__name__}"
    assert link.name.startswith("Coze ")


@pytest.mark.parametrize(
    ("found", "expected"), [("https://www.coze.cn/x", "https://www.coze.cn/x"), (None, ""), (1, "")]
)
def test_a_link_says_what_was_pushed_and_nothing_where_nothing_was(
    monkeypatch: pytest.MonkeyPatch, found: object, expected: str
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "airflow.providers.common.compat.sdk.XCom.get_value", lambda **given: asked.append(given) or found
    )
    assert links.CozeRunLink().get_link(None, ti_key=TI) == expected
    assert asked == [{"ti_key": TI, "key": "_link_CozeRunLink"}]


def test_the_buttons_have_names_of_their_own() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_link_is_in_the_reference(kind: type[links.CozeLink]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "operators.md").read_text(encoding="utf-8")
    assert f"| `{kind.__name__}` | {kind.name} | `{kind.key}` |" in page
