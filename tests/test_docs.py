"""The documentation is a contract: what the code has is on its page, and what a page names is in the code."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze import errors
from airflow_provider_coze.batch.manifest import Manifest
from airflow_provider_coze.batch.results import BUCKETS, RowError, RowResult, bucket_of
from airflow_provider_coze.batch.rows import CODES
from airflow_provider_coze.get_provider_info import get_provider_info
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.notifications.coze import CozeNotifier
from airflow_provider_coze.operators.base import CozeOperator
from airflow_provider_coze.operators.batch import BatchOperator
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.operators.file import CozeFileUploadOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator
from airflow_provider_coze.protocol.endpoints import account, chat, conversation, workflow
from airflow_provider_coze.protocol.models import Chat, RunHistory, Usage
from airflow_provider_coze.sensors.coze import CozeChatSensor, CozeWorkflowSensor
from airflow_provider_coze.triggers.batch import CozeBatchTrigger
from airflow_provider_coze.triggers.chat import CozeChatTrigger
from airflow_provider_coze.triggers.events import BatchEvent, ChatEvent, RunEvent
from airflow_provider_coze.triggers.question import CozeQuestionTrigger
from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger
from tests import docs_parts, needs, test_layers

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = docs_parts.pages()
HOWTOS = sorted((DOCS / "howto").glob("*.md"))


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else ""


def _read(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# --- what a page says


def _prose(text: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)


def _blocks(text: str) -> list[tuple[str, str]]:
    """Return the language and the text of every code block."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [(language, body) for _, language, body in found]


def _headings(text: str) -> list[tuple[int, str]]:
    return [(len(marks), title) for marks, title in re.findall(r"^(#+) (.+)$", _prose(text), re.MULTILINE)]


def _slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    return {_slug(title) for _, title in _headings(page.read_text(encoding="utf-8"))}


def _links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", _prose(text))


def _section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no section {title!r}"
    return found[1]


def _tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Yield every table as rows by column."""
    for block in re.findall(r"(?:^ *\|.*\n?)+", _prose(text), re.MULTILINE):
        lines = [[cell.strip() for cell in _cells(line)] for line in block.strip().splitlines()]
        yield [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def _cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line.strip().strip("|"))


def _table(text: str, first_column: str) -> list[dict[str, str]]:
    """Return the rows of all tables whose first column has this name."""
    rows = [row for table in _tables(text) for row in table if next(iter(row)) == first_column]
    assert rows, f"there is no table of {first_column}"
    return rows


def _ticked(cell: str) -> str:
    found = re.search(r"`([^`]+)`", cell)
    assert found, f"{cell!r} names nothing in backticks"
    return found[1]


# --- every page


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_parts_made_from_code_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert docs_parts.refreshed(text) == text, "run: python -m tests.docs_parts --write"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        exists = target.exists() and target.is_relative_to(ROOT)
        if not exists or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_row_of_a_table_has_its_columns(page: Path) -> None:
    for table in re.findall(r"(?:^ *\|.*\n?)+", _prose(page.read_text(encoding="utf-8")), re.MULTILINE):
        widths = {len(_cells(line)): line for line in table.strip().splitlines()}
        assert len(widths) == 1, list(widths.values())[1]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_shell_blocks_use_make_targets_that_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", _read("Makefile"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = {name for _, body in _blocks(text) for name in re.findall(r"^\s*make ([a-z-]+)", body, re.MULTILINE)}
    named |= set(re.findall(r"`make ([a-z-]+)", _prose(text)))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_dags_are_cut_from_files_that_tests_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    cuts = [docs_parts.cut(path, name) + "\n" for path, name in re.findall(r"<!-- cut: (\S+) (\S+) -->", text)]
    loose = [body for language, body in _blocks(text) if "Operator(" in body and body not in cuts]
    assert not loose


def test_modules_that_pages_import_from_exist() -> None:
    for page in PAGES:
        for module, names in re.findall(
            r"^from (airflow_provider_coze\S*) import ([^#\n]+)", page.read_text(), re.MULTILINE
        ):
            for name in names.split(","):
                if module.endswith(".retry_policy") and not needs.RETRY_POLICIES.has():
                    continue  # tests/test_compat.py: importing it says so
                if ".agents." in module:
                    continue  # tests/agents/test_examples.py runs that code, where common.ai is
                found = importlib.import_module(module)
                if not hasattr(found, name.strip()):
                    importlib.import_module(f"{module}.{name.strip()}")


def test_the_indexes_list_every_page() -> None:
    indexes = [DOCS / "index.md", DOCS / "zh" / "index.md"]
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for index in indexes
        for link in _links(index.read_text(encoding="utf-8"))
    }
    assert {page.resolve() for page in DOCS.rglob("*.md")} - linked == set()


@pytest.mark.parametrize("page", HOWTOS, ids=_name)
def test_a_howto_page_has_the_sections_of_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    titles = [title for level, title in _headings(text) if level == 2]
    wanted = ["When you need this", "Before you start", "Steps", "If it fails", "See also"]
    assert [title for title in titles if title in wanted] == wanted
    steps = re.split(r"^### ", _section(text, "Steps"), flags=re.MULTILINE)[1:]
    blind = [step.splitlines()[0] for step in steps if "You should see" not in step]
    assert not blind, "these steps do not say what you should see"


# --- READMEs


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_permissions_of_the_readme_are_those_that_are_used(page: str) -> None:
    ids = {"conversation_id": "1", "chat_id": "2"}
    used = [
        {
            call.permission
            for call in (
                chat.create_chat(bot_id="1", user_id="u", additional_messages=[]),
                chat.retrieve_chat(**ids),
                chat.chat_messages(**ids),
                chat.cancel_chat(**ids),
                conversation.create_conversation(bot_id="1"),
            )
        },
        {
            conversation.list_conversations(bot_id="1").permission,
            conversation.rename_conversation(conversation_id="1", name="n").permission,
        },
        {
            workflow.run_workflow(workflow_id="1", parameters={}, is_async=True).permission,
            workflow.run_history(workflow_id="1", execute_id="2").permission,
        },
        {account.list_workspaces().permission},
    ]
    rows = next(table for table in _tables(_read(page)) if "`getChat`" in str(table))
    assert [set(re.findall(r"`(\w+)`", list(row.values())[1])) for row in rows] == used


# --- reference: operators

REFERENCE = "docs/reference/operators.md"
OPERATORS = (
    CozeOperator,
    CozeChatOperator,
    CozeWorkflowOperator,
    CozeChatflowOperator,
    CozeFileUploadOperator,
    BatchOperator,
    CozeChatBatchOperator,
    CozeWorkflowBatchOperator,
)
#: What is no operator by itself says no fields; those of its parameters are marked as its subclasses have them.
BASES: dict[type, Any] = {CozeOperator: CozeChatOperator, BatchOperator: CozeChatBatchOperator}
SENSORS = (CozeChatSensor, CozeWorkflowSensor)
NOTIFIERS = (CozeNotifier,)
TRIGGERS = (CozeChatTrigger, CozeWorkflowTrigger, CozeBatchTrigger, CozeQuestionTrigger)


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Return the parameters that a class has of its own; a sensor's include those both sensors share."""
    kinds = [k for k in kind.__mro__ if k.__module__ == kind.__module__] if kind in SENSORS else [kind]
    found: dict[str, inspect.Parameter] = {}
    for each in reversed(kinds):
        found |= inspect.signature(each.__init__).parameters  # type: ignore[misc]
    return {name: parameter for name, parameter in found.items() if name not in ("self", "kwargs")}


def _default(parameter: inspect.Parameter) -> str:
    return "required" if parameter.default is inspect.Parameter.empty else f"`{parameter.default!r}`"


@pytest.mark.parametrize("kind", [*OPERATORS, *SENSORS, *NOTIFIERS, *TRIGGERS], ids=lambda kind: kind.__name__)
def test_parameters_and_defaults_are_those_of_the_code(kind: type) -> None:
    rows = _table(_section(_read(REFERENCE), kind.__name__), "parameter")
    documented = {_ticked(row["parameter"]): row["default"] for row in rows}
    assert documented == {name: _default(parameter) for name, parameter in _parameters(kind).items()}


@pytest.mark.parametrize("kind", [*OPERATORS, *SENSORS, *NOTIFIERS], ids=lambda kind: kind.__name__)
def test_templated_parameters_are_marked(kind: Any) -> None:
    rows = _table(_section(_read(REFERENCE), kind.__name__), "parameter")
    templated = {_ticked(row["parameter"]) for row in rows if row["templated"] == "yes"}
    fields = BASES.get(kind, kind).template_fields
    assert templated == set(fields) & set(_parameters(kind))


@pytest.mark.parametrize(
    ("title", "event"),
    [
        ("ChatEvent", ChatEvent(Chat(id="1", conversation_id="2", status="completed"), 0.0)),
        ("RunEvent", RunEvent(RunHistory(execute_id="1", execute_status="Success"), "2", 0.0)),
        ("BatchEvent", BatchEvent("folder", 0.0)),
    ],
)
def test_fields_of_events_are_those_of_the_code(title: str, event: ChatEvent | RunEvent | BatchEvent) -> None:
    rows = _table(_section(_read(REFERENCE), title), "field")
    assert [_ticked(row["field"]) for row in rows] == list(event.to_payload())


def test_methods_of_the_hook_are_those_of_the_code() -> None:
    rows = _table(_section(_read(REFERENCE), "CozeHook"), "method")
    own = {
        name
        for name, value in vars(CozeHook).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, classmethod | property))
    }
    assert {_ticked(row["method"]) for row in rows} == own


@pytest.mark.parametrize(
    "kind", [*OPERATORS, *SENSORS, *NOTIFIERS, *TRIGGERS, CozeHook], ids=lambda kind: kind.__name__
)
def test_classes_are_where_the_page_says(kind: type) -> None:
    assert f"`{kind.__module__}.{kind.__name__}" in _section(_read(REFERENCE), kind.__name__)


def test_every_module_airflow_is_told_about_is_documented() -> None:
    info = get_provider_info()
    modules = [m for part in ("operators", "sensors", "triggers", "hooks") for m in info[part][0]["python-modules"]]
    assert [module for module in modules if f"`{module}." not in _read(REFERENCE)] == []


# --- reference: errors, options, connection


def _kinds(kind: type[errors.CozeError] = errors.CozeError, depth: int = 0) -> Iterator[tuple[str, int]]:
    yield kind.__name__, depth
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _kinds(child, depth + 1)


def test_errors_and_their_inheritance_are_those_of_the_code() -> None:
    rows = _table(_section(_read("docs/reference/errors.md"), "The classes"), "error")
    assert [(_ticked(row["error"]), row["error"].count("·")) for row in rows] == list(_kinds())


def test_attributes_of_errors_are_those_of_the_code() -> None:
    rows = _table(_section(_read("docs/reference/errors.md"), "The attributes"), "attribute")
    special = ["tool_calls", "interrupt", "result_uri", "failed_uri"]
    assert [_ticked(row["attribute"]) for row in rows] == [*errors.CozeError._fields(), *special]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_errors_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"\bCoze\w+Error\b", page.read_text(encoding="utf-8")))
    # What stands beside an error of ours where common.ai is, and is none by itself: airflow_provider_coze.agents.failures.
    assert named <= {name for name, _ in _kinds()} | {"CozeAgentNotAskedError"}


def test_options_are_those_of_the_code() -> None:
    text = _read("docs/reference/configuration.md")
    for section, described in get_provider_info()["config"].items():
        rows = _table(_section(text, f"`[{section}]`"), "option")
        documented = {
            _ticked(row["option"]): (
                _ticked(row["environment variable"]),
                "" if row["default"] == "empty" else _ticked(row["default"]),
            )
            for row in rows
        }
        assert documented == {
            name: (f"AIRFLOW__{section.upper()}__{name.upper()}", option["default"])
            for name, option in described["options"].items()
        }


def test_fields_of_the_connection_are_those_of_the_code() -> None:
    connection = get_provider_info()["connection-types"][0]
    text = _read("docs/reference/connection.md")
    assert [_ticked(row["field"]) for row in _table(_section(text, "Extra fields"), "field")] == list(
        connection["conn-fields"]
    )
    standard = {_ticked(row["field"]) for row in _table(_section(text, "Standard fields"), "field")}
    assert standard == {"host", "password", "schema", "port", "login"}


# --- reference: the files of a batch

FILES = "docs/reference/batch-files.md"


def test_keys_of_a_manifest_are_those_of_the_code() -> None:
    manifest = Manifest("b", "1", "r", None, 1, 0, 0, {}, Usage(), True, "succeeded")
    rows = _table(_section(_read(FILES), "The manifest"), "key")
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row["key"])]
    assert documented == [*manifest.to_dict(), "report_uri"]


def test_keys_of_a_result_are_those_of_the_code() -> None:
    failed = RowResult(0, "h", None, RowError("CozeRunFailedError", 5000, "m"))
    rows = _table(_section(_read(FILES), "A result"), "key")
    assert [_ticked(row["key"]) for row in rows] == list(json.loads(failed.to_line()))


def test_ends_of_rows_are_those_of_the_code() -> None:
    rows = _table(_section(_read(FILES), "A result"), "`counts` has")
    assert [_ticked(row["`counts` has"]) for row in rows] == list(BUCKETS)
    for row in rows:
        named = re.findall(r"`(Coze\w+)`", row["`error.type`"])
        assert {bucket_of(name) for name in named} <= {_ticked(row["`counts` has"])}


def test_codes_of_rows_that_are_not_sent_are_those_of_the_code() -> None:
    rows = _table(_section(_read(FILES), "A result"), "code")
    assert [_ticked(row["code"]) for row in rows] == list(CODES)


# --- explanation: architecture

ARCHITECTURE = "docs/explanation/architecture.md"


def test_the_import_table_is_the_one_that_is_enforced() -> None:
    documented = {}
    for row in _table(_read(ARCHITECTURE), "layer"):
        layer = "" if row["layer"] == "the package itself" else _ticked(row["layer"])
        may = set(re.findall(r"`([^`]+)`", row["may import, of the package"]))
        must_not = (
            {"*"} if row["must not import"] == "anything" else set(re.findall(r"`(\w+)`", row["must not import"]))
        )
        documented[layer] = (may, must_not)
    assert documented == test_layers.TABLE


def test_the_tree_shows_every_file_of_the_package() -> None:
    tree = next(body for _, body in _blocks(_read(ARCHITECTURE)) if body.startswith("airflow_provider_coze/\n"))
    shown, folders = set(), [""]
    for line in tree.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = folders[: depth + 1]
        if name.endswith("/"):
            folders.append(folders[-1] + name)
        else:
            shown.add(folders[-1] + name)
    # An __init__ that holds nothing needs no line.
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "airflow_provider_coze").rglob("*.py")
        if path.name != "__init__.py" or len(path.read_text(encoding="utf-8").splitlines()) > 10
    }
    assert shown == package


def test_what_is_said_to_stand_beside_the_package_exists() -> None:
    rows = _table(_section(_read(ARCHITECTURE), "The files"), "path")
    assert [row["path"] for row in rows if not (ROOT / _ticked(row["path"])).exists()] == []
