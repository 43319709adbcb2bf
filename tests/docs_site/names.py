"""Tables of every public name, and of every field of what is public, for a page that GitHub shows as well.

Read from the source, as text: nothing is imported, so that the page is the same beside every Airflow. The site has the whole docstrings.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs_site.public import PACKAGE, PAGES, Page

_ROOT = Path(__file__).parents[2]
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Name(NamedTuple):
    """A public name and where it is defined, which a package may only hand on."""

    page: Page
    module: str
    name: str
    home: str
    node: ast.stmt


def names() -> Iterator[Name]:
    """Yield everything public, in the order of its pages."""
    for page in PAGES:
        for listed in page.names:
            module, _, name = listed.partition(":")
            for each in [name] if name else _exported(module):
                home, node = _defined(module, each)
                yield Name(page, module, each, home, node)


def names_table() -> str:
    """Return a table for each page of the API: what there is, where it is imported from, and its first sentence."""
    parts = []
    for page in PAGES:
        rows = [
            f"| `{found.name}` | `{PACKAGE}.{found.module}` | {_sentence(found)} |"
            for found in names()
            if found.page is page
        ]
        parts.append("\n".join([f"### {page.title}", "", "| name | in | what it is |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def fields_table() -> str:
    """Return a row for each field of each public dataclass, with its type and the comment behind it."""
    rows = []
    for found in names():
        if isinstance(found.node, ast.ClassDef) and _is_dataclass(found.node):
            rows += [f"| `{found.name}.{name}` | `{kind}` | {words} |" for name, kind, words in _fields(found)]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows, ""])


@functools.cache
def _source(module: str) -> tuple[ast.Module, list[str]]:
    path = _ROOT / PACKAGE / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    return ast.parse(text), text.splitlines()


def _exported(module: str) -> list[str]:
    """Return a module's ``__all__``, or the classes of one that has none."""
    tree, _ = _source(module)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]


def _defined(module: str, name: str) -> tuple[str, ast.stmt]:
    for node in _source(module)[0].body:
        if isinstance(node, _Definition) and node.name == name:
            return module, node
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and target.id == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and any(each.name == name for each in node.names):
            return _defined((node.module or "").removeprefix(f"{PACKAGE}."), name)
    parts = sorted((_ROOT / PACKAGE / module).glob("*.py"))
    homes = [
        f"{module}.{part.stem}"
        for part in parts
        if name in _exported(f"{module}.{part.stem}") and part.stem != "__init__"
    ]
    if not homes:
        raise LookupError(f"{PACKAGE}.{module} has no {name}")
    return _defined(homes[0], name)


def _sentence(found: Name) -> str:
    """Return what a docstring, or the comment above a constant, says first, as Markdown."""
    if isinstance(found.node, _Definition):
        told = ast.get_docstring(found.node) or ""
    else:
        told = _source(found.home)[1][found.node.lineno - 2].removeprefix("#: ")
    paragraph = " ".join(told.split("\n\n")[0].split())
    paragraph = re.sub(r":\w+:`(?:~?[\w.]*\.)?(\w+)`", r"`\1`", paragraph.replace("``", "`"))
    return re.sub(r"(?<![*\w])\*(\w+)\*", r"`\1`", paragraph).replace("|", "\\|")


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(each).startswith("dataclass") for each in node.decorator_list)


def _fields(found: Name) -> Iterator[tuple[str, str, str]]:
    assert isinstance(found.node, ast.ClassDef)
    lines = _source(found.home)[1]
    for node in found.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
            comment = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")[2]
            yield node.target.id, _escaped(ast.unparse(node.annotation)), _escaped(comment).replace("<", "&lt;")
        elif isinstance(node, ast.FunctionDef) and any(ast.unparse(each) == "property" for each in node.decorator_list):
            kind = ast.unparse(node.returns) if node.returns else ""
            told = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split()).replace("``", "`")
            yield node.name, _escaped(kind), _escaped(told)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
