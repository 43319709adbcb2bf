"""Assets ``coze://…``: how they are written, what Airflow makes of them, and that a wrong one says what is wrong and no more."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_coze import compat
from airflow_provider_coze.assets.coze import (
    KINDS,
    convert_asset_to_openlineage,
    create_asset,
    create_bot_asset,
    create_dataset_asset,
    create_workflow_asset,
    sanitize_uri,
)
from airflow_provider_coze.get_provider_info import get_provider_info
from tests import needs

ID = "7511000000000000001"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_factory_and_an_address(kind: str) -> None:
    made = {"bot": create_bot_asset, "workflow": create_workflow_asset, "dataset": create_dataset_asset}[kind](ID)
    assert made.uri == create_asset(kind=kind, id=ID).uri == f"coze://{kind}/{ID}"


def test_what_an_asset_is_told_beside_its_address_stays_with_it() -> None:
    assert create_bot_asset(ID, extra={"team": "reports"}).extra == {"team": "reports"}


@pytest.mark.parametrize("written", [f"COZE://bot/{ID}", f"coze://bot/{ID}/", f"coze://bot/{ID}#top"])
def test_there_is_one_way_to_write_it(written: str) -> None:
    assert Asset(written).uri == f"coze://bot/{ID}"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (f"coze://Bot/{ID}", "what follows coze:// is none of bot, workflow, dataset, in small letters"),
        (f"coze://chat/{ID}", "what follows coze:// is none of"),
        (f"coze:///{ID}", "what follows coze:// is none of"),
        (f"coze://bot:80/{ID}", "what follows coze:// is none of"),
        ("coze://bot", "its id is not 1 to 20 digits"),
        ("coze://bot/my-bot", "its id is not 1 to 20 digits"),
        ("coze://bot/{{ params.bot_id }}", "a template, too, is none"),
        (f"coze://bot/{ID}/{ID}", "its id is not 1 to 20 digits"),
        (f"coze://bot//{ID}", "its id is not 1 to 20 digits"),
        ("coze://bot/１２", "its id is not 1 to 20 digits"),
        ("coze://bot/" + "1" * 21, "its id is not 1 to 20 digits"),
        (f"coze://bot/{ID}?version=1", "it has a query"),
        (f"coze://somebody@bot/{ID}", "there is a user or password in it"),
    ],
)
def test_a_wrong_address_is_refused_in_words(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match="It has to be coze://bot/<id>, coze://workflow/<id> or") as caught:
        sanitize_uri(urlsplit(written))
    assert problem in str(caught.value)


@pytest.mark.parametrize("written", ["coze://{}/1", "coze://bot/{}", "coze://{}@bot/1", "coze://bot/1?{}"])
def test_what_was_pasted_by_mistake_is_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="address of an asset") as caught:
        sanitize_uri(urlsplit(written.format("pat_SECRET")))
    assert "SECRET" not in str(caught.value)


def test_airflow_3_and_airflow_2_are_told_the_same() -> None:
    info = get_provider_info()
    assert info["asset-uris"] == info["dataset-uris"]


@needs.RUNTIME_MANAGER.mark
def test_airflow_asks_us_about_our_scheme() -> None:
    runtime = importlib.import_module("airflow.sdk.providers_manager_runtime")
    made: Any = runtime.ProvidersManagerTaskRuntime().asset_factories["coze"](kind="bot", id=ID, extra=None)
    assert made.uri == f"coze://bot/{ID}"
    with pytest.raises(ValueError, match="its id is not"):
        Asset("coze://bot/my-bot")


def test_openlineage_gets_a_namespace_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "openlineage_classes", lambda: SimpleNamespace(Dataset=lambda **facts: facts))
    found = convert_asset_to_openlineage(create_bot_asset(ID), lineage_context=None)
    assert found == {"namespace": "coze", "name": f"bot/{ID}"}
