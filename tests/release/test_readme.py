"""The README of an index: the same text, with addresses where paths were."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.env.bootstrap import ROOT


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``hatch_build.py``; what hatchling has of it is not installed beside Airflow."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[page](docs/a.md#b)", "[page](https://x.org/s/blob/v1/docs/a.md#b)"),
        ("![grid](docs/a.png)", "![grid](https://x.org/s/raw/v1/docs/a.png)"),
        ("[`[coze] x`](docs/a.md)", "[`[coze] x`](https://x.org/s/blob/v1/docs/a.md)"),
        ("[![grid](a.png)](a.md)", "[![grid](https://x.org/s/raw/v1/a.png)](https://x.org/s/blob/v1/a.md)"),
        ("[there](https://y.org/)", "[there](https://y.org/)"),
        ("[below](#what-is-in-it)", "[below](#what-is-in-it)"),
        ("```python\nrows[0](a)\n```", "```python\nrows[0](a)\n```"),
    ],
)
def test_links_into_the_repository_become_addresses_of_this_version(hook: Any, text: str, expected: str) -> None:
    assert hook.with_addresses(text, "https://x.org/s", "v1") == expected


def test_the_readme_is_the_description(hook: Any) -> None:
    readme = hook.Readme()
    readme.root = ROOT
    metadata = {"version": "1", "urls": {"Source": "https://x.org/s"}}
    readme.update(metadata)
    assert metadata["readme"]["content-type"] == "text/markdown"
    assert metadata["readme"]["text"].count("https://x.org/s/blob/v1/docs/") > 10
