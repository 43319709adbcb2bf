"""Who may import whom: the table of docs/explanation/architecture.md, held."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "airflow_provider_coze"
ROOT = Path(__file__).parents[1] / PACKAGE

#: layer → (what of the package it may import, what outside of it it must not).
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "": (set(), {"*"}),  # the package itself: Airflow's discovery imports it
    "get_provider_info": (set(), {"*"}),
    "errors": (set(), {"airflow", "requests", "aiohttp", "asyncio", "logging"}),
    "protocol": (
        {"errors", "protocol"},
        {"requests", "aiohttp", "airflow", "asyncio", "time", "threading", "os", "logging", "socket"},
    ),
    "settings": ({"errors", "settings"}, {"airflow", "requests", "aiohttp", "os", "pathlib", "logging"}),
    "transports": ({"errors", "settings", "protocol.messages", "transports"}, {"airflow"}),
    "hooks": (
        {"errors", "settings", "protocol", "transports", "observing", "compat", "hooks", "get_provider_info"},
        {"requests", "aiohttp"},
    ),
    "triggers": ({"errors", "protocol", "hooks", "compat", "triggers"}, {"requests", "aiohttp", "time"}),
    "triggers.batch_watching": (
        {"errors", "protocol", "hooks", "compat", "triggers", "batch.window"},
        {"requests", "aiohttp", "time"},
    ),
    "state": ({"errors", "protocol", "state"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "state.stores": ({"errors", "compat", "state"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "state.usage": ({"compat"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "batch": ({"errors", "protocol", "state", "batch"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "batch.files": ({"errors", "compat", "batch"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "observing": ({"errors", "protocol", "compat"}, {"requests", "aiohttp", "airflow", "opentelemetry"}),
    "observing.batch_metrics": (
        {"batch.stats", "compat", "observing"},
        {"requests", "aiohttp", "airflow", "opentelemetry", "time"},
    ),
    "operators": (
        {"errors", "protocol", "hooks", "triggers", "observing", "compat", "links", "state", "batch", "operators"},
        {"requests", "aiohttp", "airflow", "time"},
    ),
    "sensors": (
        {
            "errors",
            "protocol",
            "hooks",
            "triggers",
            "compat",
            "links",
            "operators.base",
            "operators.fate",
            "operators.linking",
            "sensors",
        },
        {"requests", "aiohttp", "airflow", "time"},
    ),
    "decorators": ({"errors", "compat", "operators", "decorators"}, {"requests", "aiohttp", "airflow", "time"}),
    "decorators.kept_rows": ({"errors", "batch"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "notifications": ({"errors", "protocol", "hooks", "compat", "notifications"}, {"requests", "aiohttp", "airflow"}),
    "agents": (
        {"errors", "protocol", "hooks", "compat", "operators.chat_end", "triggers.progress", "agents"},
        {"requests", "aiohttp", "airflow", "time"},
    ),
    "agents.contract": ({"compat"}, {"requests", "aiohttp", "time", "logging"}),
    "retry_policy": ({"errors", "protocol.policy", "compat"}, {"requests", "aiohttp", "airflow", "logging"}),
    "cli": ({"errors", "protocol", "hooks", "cli"}, {"requests", "aiohttp", "time", "logging"}),
    "cli.definition": (set(), {"requests", "aiohttp", "time", "logging"}),
    "links": ({"compat"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "assets": ({"compat"}, {"requests", "aiohttp", "airflow", "time", "logging"}),
    "compat": ({"compat"}, {"requests", "aiohttp"}),
    "emulator": ({"protocol.messages", "emulator"}, {"airflow", "requests"}),
}


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def _imports(path: Path) -> Iterator[str]:
    """Yield the absolute names a module imports, wherever in it; ``from a import b`` gives a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, layers: set[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def _layer(module: str) -> str:
    """Return the row of a module: its own if it has one, else that of its folder."""
    return module if module in TABLE else module.split(".")[0]


@pytest.mark.parametrize(
    ("module", "path"), list(_modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_module_imports_only_what_its_layer_may(module: str, path: Path) -> None:
    layer = _layer(module)
    assert layer in TABLE, f"{module} lives in no layer: give it a room in the table first"
    allowed, forbidden = TABLE[layer]
    for name in _imports(path):
        top, _, rest = name.partition(".")
        if top == PACKAGE:
            assert _within(rest, allowed), f"{layer} may not import {rest}"
        else:
            harmless = {"__future__", "typing", "importlib"} if "*" in forbidden else set()
            assert "*" not in forbidden or top in harmless, f"{layer} may import nothing, but has {name}"
            assert top not in forbidden, f"{layer} may not import {name}"


def test_the_table_has_no_layer_that_is_gone() -> None:
    assert {_layer(module) for module, _ in _modules()} == set(TABLE)
