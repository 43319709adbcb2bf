"""What is public is on a page: every name, parameter and field; and what pages and examples use of the package is public."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_coze.batch.stats import Figures
from airflow_provider_coze.get_provider_info import get_provider_info
from airflow_provider_coze.observing import batch_metrics, metrics
from airflow_provider_coze.protocol.models import Usage
from tests.docs_site import names
from tests.docs_site.public import PACKAGE, PAGES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NAMES = list(names.names())
PUBLIC = {(found.module, found.name) for found in NAMES}
REFERENCE = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md")}


def test_everything_airflow_is_told_of_is_public() -> None:
    info = get_provider_info()
    told = {
        module
        for kind in ("operators", "sensors", "triggers", "hooks")
        for each in info[kind]
        for module in each["python-modules"]
    }
    told |= {path.rpartition(".")[0] for path in [*info["notifications"], *info["extra-links"]]}
    assert told - {f"{PACKAGE}.{module}" for module, _ in PUBLIC} == set()
    decorators = {each["class-name"].rpartition(".")[2] for each in info["task-decorators"]}
    assert decorators == {name for module, name in PUBLIC if module == "decorators"}


def _imported() -> Iterator[tuple[str, str]]:
    """Yield the module and the name of what the code on pages and the example DAGs import of the package."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in [*ROOT.glob("README*.md"), *DOCS.rglob("*.md")])
    shown = re.findall(r"^```python\n(.*?)^```$", pages, re.DOTALL | re.MULTILINE)
    for text in [*shown, *(path.read_text(encoding="utf-8") for path in (ROOT / "example_dags").rglob("*.py"))]:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
                module = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
                yield from ((module, name.name) for name in node.names)


def test_what_pages_and_examples_import_is_public() -> None:
    modules = {module for module, _ in PUBLIC}
    assert {(module, name) for module, name in _imported() if f"{module}.{name}" not in modules} - PUBLIC == set()


def test_the_page_of_names_has_all_of_them() -> None:
    for table in ("names", "fields"):
        assert f"<!-- table: {table} -->" in REFERENCE["names"]  # that it is current is a test of all tables
    for found in NAMES:
        assert f"| `{found.name}` | `{PACKAGE}.{found.module}` | " in REFERENCE["names"]


def test_a_public_name_says_in_a_sentence_what_it_is() -> None:
    assert [found.name for found in NAMES if not names._sentence(found).endswith((".", "。"))] == []


# --- parameters

#: Where the parameters of a page's names are described, if not in their docstrings.
PAGE_OF = {"emulator": "emulator", "assets": "operators"}
#: Handed over by Python or Airflow, and by nobody who reads.
NOT_GIVEN = {"self", "cls", "args", "kwargs", "python_callable", "asset", "lineage_context", "uri"}


def _parameters(found: names.Name) -> set[str]:
    node = found.node
    if isinstance(node, ast.ClassDef):
        node = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), node)
    if found.page.name == "errors":  # the package makes them; their attributes are on their page
        return set()
    if not isinstance(node, ast.FunctionDef) or any("fixture" in ast.unparse(each) for each in node.decorator_list):
        return set()
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return {each.arg for each in given} - NOT_GIVEN


@pytest.mark.parametrize("found", [found for found in NAMES if _parameters(found)], ids=lambda found: found.name)
def test_every_parameter_is_described(found: names.Name) -> None:
    assert isinstance(found.node, ast.ClassDef | ast.FunctionDef)
    told = ast.get_docstring(found.node) or ""
    page = REFERENCE[PAGE_OF[found.page.name]] if found.page.name in PAGE_OF else ""
    missing = {
        name
        for name in _parameters(found)
        if not re.search(rf":param {name}:|\*{name}\*|``{name}``", told) and not re.search(rf"\b{name}\b", page)
    }
    assert missing == set()


def test_every_method_of_a_public_class_says_what_it_does() -> None:
    methods = [
        (found.name, each)
        for found in NAMES
        if isinstance(found.node, ast.ClassDef)
        for each in found.node.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name[0] != "_"
    ]
    assert [f"{name}.{each.name}" for name, each in methods if not ast.get_docstring(each)] == []


def test_the_page_of_the_emulator_has_all_that_a_test_can_use() -> None:
    (server,) = [found.node for found in NAMES if found.name == "Server"]
    assert isinstance(server, ast.ClassDef)
    methods = {each.name for each in server.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_"}
    faults = {
        found.name for found in NAMES if found.home == "emulator.scenarios" or found.module == "emulator.scenarios"
    }
    made_by_others = {"start", "stop"}  # the fixture, and serve()
    wanted = (methods - made_by_others) | (faults - {"Fault", "Script"})
    assert {name for name in wanted if not re.search(rf"`{name}\b", REFERENCE["emulator"])} == set()


def test_what_the_hook_returns_is_public() -> None:
    """An endpoint's result has its fields on the page of names, or is a page of them."""
    results = set()
    for path in (ROOT / PACKAGE / "protocol" / "endpoints").glob("*.py"):
        results |= set(re.findall(r"-> Call\[(?:tuple\[)?(\w+)", path.read_text(encoding="utf-8")))
    known = {found.name for found in NAMES} | {"Mapping"}
    assert {name for name in results if not name.endswith("Page")} - known == set()
    assert len({page.name for page in PAGES}) == len(PAGES)


# --- metrics

_KINDS = {"incr": "counter", "timing": "timing", "gauge": "gauge"}


def _metrics_of_the_page() -> dict[str, tuple[str, str, frozenset[str]]]:
    """Return the kind, the name with plain StatsD and the tags of each metric."""
    found = {}
    for line in re.findall(r"^\| `coze\..*$", REFERENCE["metrics"], re.MULTILINE):
        metric, plain, kind, *_ = [cell.strip() for cell in line.strip("|").split("|")]
        if kind.partition(",")[0] not in _KINDS.values():  # an attribute of a span
            continue
        name, *tags = re.findall(r"`([^`]+)`", metric)
        found[name] = (kind.partition(",")[0], name if plain == "the same" else plain.strip("`"), frozenset(tags))
    return found


def test_metrics_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, tuple[str, str, frozenset[str]]] = {}

    def tagged(how: str, name: str, value: float, parts: dict[str, str], more: dict[str, str] | None = None) -> None:
        plain = ".".join(("coze", name, *(f"<{part}>" for part in parts)))
        sent[f"coze.{name}"] = (_KINDS[how], plain, frozenset({**parts, **(more or {})}))

    for module in (metrics, batch_metrics):
        monkeypatch.setattr(module, "metrics_tagged", lambda: True)
        monkeypatch.setattr(module, "send", tagged)
    metrics._METER.called("create_chat", "rate_limited", 1.0)
    metrics._METER.retried("create_chat")
    metrics._METER.waited("poll", 1.0)
    metrics.count_tokens(Usage(3, 1, 2), what="chat", dag_id="d", task_id="t")
    meter = batch_metrics.BatchMeter(dag_id="d", task_id="t")
    meter.tell(
        Figures(
            total=9,
            done=5,
            ok=3,
            failed=2,
            rate=1.0,
            in_flight=1,
            queue=1,
            eta=4.0,
            retried=1,
            tokens_in=1,
            tokens_out=1,
            waiting=0.5,
            elapsed=5.0,
        )
    )
    # The page says once, above its table, that all metrics of a batch have these tags.
    of_all = {"dag_id", "task_id"}
    assert "All have the tags `dag_id` and `task_id`" in REFERENCE["metrics"]
    told = {
        name: (kind, plain, tags | of_all if name.startswith("coze.batch.") else tags)
        for name, (kind, plain, tags) in _metrics_of_the_page().items()
    }
    assert told == sent


def test_metrics_are_sent_from_where_that_test_looks() -> None:
    senders = {
        path.name
        for path in (ROOT / PACKAGE).rglob("*.py")
        if re.search(r'\bsend\(\s*"(incr|timing|gauge)"', path.read_text(encoding="utf-8"))
    }
    assert senders == {"metrics.py", "batch_metrics.py"}
