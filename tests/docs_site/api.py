"""Write the pages of the API from signatures and docstrings, in Sphinx's Python domain.

Nothing of the package is imported: griffe reads its source, so that the site needs no Airflow. Sphinx then reads the docstrings as
reStructuredText, with every warning an error: a parameter list that is not one, or a name that is not there, fails ``make docs``.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from pathlib import Path

import griffe

from tests.docs_site.public import PACKAGE, PAGES, Page

ROOT = Path(__file__).parents[2]
#: Of a class that Airflow calls, people need the arguments; methods are for whoever writes a class of the same kind.
_CALLED_BY_AIRFLOW = ("operators", "decorators", "sensors", "triggers", "notifications", "links")
_EVENTS = "triggers.events"
#: How the hook makes a method of an operation.
_VERB = re.compile(r"_verb\((\w+)\.(\w+)\)")


def pages() -> dict[str, str]:
    """Return the text of each page, in reStructuredText, by its path in the site."""
    found = {f"reference/api/{page.name}.rst": _page(page) for page in PAGES}
    return found | {"reference/api/index.rst": _index()}


def _index() -> str:
    entries = "\n".join(f"   {page.name}" for page in PAGES)
    return (
        f"{_titled('API')}\n\nWhat the docstrings say of every public name. What is not here is the package's own, and may change.\n\n"
        f".. toctree::\n\n{entries}\n"
    )


def _page(page: Page) -> str:
    parts, begun = [_titled(page.title), page.text], set[str]()
    for listed in page.names:
        module, _, name = listed.partition(":")
        # Names that docstrings and signatures leave without their module are looked for in this one first.
        parts.append(f".. py:{'currentmodule' if module in begun else 'module'}:: {PACKAGE}.{module}")
        begun.add(module)
        parts += [_entry(_found(module, each), module) for each in ([name] if name else exported(module))]
    return "\n\n".join(parts) + "\n"


def _titled(title: str) -> str:
    return f"{title}\n{'=' * (len(title) + 8)}"


def exported(module: str) -> list[str]:
    """Return a module's public names; of one without ``__all__``, those of its classes."""
    found = _package()[module]
    if found.exports is not None:
        return [str(name) for name in found.exports]
    return [name for name, member in found.members.items() if isinstance(member, griffe.Class) and name[0] != "_"]


@functools.cache
def _package() -> griffe.Module:
    found = griffe.load(PACKAGE, search_paths=[ROOT], allow_inspection=False)
    if not isinstance(found, griffe.Module):
        raise TypeError(f"{PACKAGE} is {type(found).__name__}, not a package")
    return found


def _found(module: str, name: str) -> griffe.Object:
    """Return what stands behind a public name: also behind one that a package only hands on, with types in a stub."""
    home = _package()[module]
    found = home.members.get(name)
    if found is None or (found.docstring is None and home.is_package and not found.is_attribute):
        found = next(part.members[name] for part in home.modules.values() if name in part.members)
    return found.final_target if found.is_alias else found


def _entry(found: griffe.Object, module: str) -> str:
    if isinstance(found, griffe.Class):
        return _class(found, module)
    if isinstance(found, griffe.Function):
        return _function(found, found.name)
    return _attribute(found, found.name, "data")


def _class(found: griffe.Class, module: str) -> str:
    made = _made_with(found)
    kind = "exception" if module == "errors" else "class"
    parts = [_directive(kind, found.name + made, _told(found))]
    own = module == _EVENTS or module.split(".")[0] not in _CALLED_BY_AIRFLOW
    for name, member in found.members.items():
        if name.startswith("_") or member.is_alias:
            continue
        if isinstance(member, griffe.Function):
            if own and member.docstring:
                parts.append(textwrap.indent(_function(member, name, "method"), "   "))
        elif isinstance(member, griffe.Attribute) and (own or "property" in member.labels):
            explained = member.docstring or _comment(member) or _VERB.fullmatch(str(member.value))
            if explained or "dataclass" in found.labels or module == "errors":
                parts.append(textwrap.indent(_member(member, name), "   "))
    return "\n\n".join(parts)


def _made_with(found: griffe.Class) -> str:
    """Return the signature of a class, or nothing where it is made the way its base is."""
    init = found.members.get("__init__")
    if isinstance(init, griffe.Function):
        return _signature(init, returns=False)
    return ""


def _member(member: griffe.Attribute, name: str) -> str:
    """Return an attribute, a property, or a method that is made of an operation."""
    verb = _VERB.fullmatch(str(member.value))
    if verb:
        operation = _package()[f"protocol.endpoints.{verb[1]}.{verb[2]}"]
        return _directive("method", name + _signature(operation), _told(operation))
    if "property" in member.labels:
        annotation = f":type: {member.annotation}\n\n" if member.annotation else ""
        return _directive("property", name, annotation + _told(member), options=bool(annotation))
    return _attribute(member, name, "attribute")


def _attribute(found: griffe.Object, path: str, kind: str) -> str:
    options = f":type: {found.annotation}\n" if getattr(found, "annotation", None) else ""
    if kind == "data":
        options = f":value: {found.value}\n"
    return _directive(kind, path, f"{options}\n{_told(found) or _comment(found)}", options=bool(options))


def _function(found: griffe.Function, path: str, kind: str = "function") -> str:
    labels = {label for label in ("classmethod", "staticmethod") if label in found.labels}
    prefix = "async " if "async" in found.labels else ""
    options = "".join(f":{label}:\n" for label in labels) + (":async:\n" if prefix else "")
    return _directive(kind, path + _signature(found), f"{options}\n{_told(found)}", options=bool(options))


def _signature(found: griffe.Function, *, returns: bool = True) -> str:
    """Return a signature in one line; a default that is a constant as its value, as people have to know it."""
    text = found.signature(return_type=returns).removeprefix(found.name)
    text = re.sub(r"^\((?:self|cls)(?:, (?:/, )?)?", "(", text)
    text = re.sub(r"(?<== )([A-Z_]{3,})\b", lambda name: _value(found, name[1]), text)
    return re.sub(r"-> Call\[(.*)\]$", r"-> \1", " ".join(text.split()))


def _value(found: griffe.Object, name: str) -> str:
    value = str(getattr(found.module.members.get(name), "value", name))
    try:
        return repr(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return "…" if name.startswith("_") else name


def _told(found: griffe.Object) -> str:
    return found.docstring.value if found.docstring else ""


def _comment(found: griffe.Object) -> str:
    """Return the comment behind a field, which is what explains one."""
    if not isinstance(found.filepath, Path) or found.lineno is None:
        return ""
    line = found.filepath.read_text(encoding="utf-8").splitlines()[(found.endlineno or found.lineno) - 1]
    comment = re.sub(r"([*|\\])", r"\\\1", line.partition("  # ")[2])  # a comment is no reStructuredText
    return comment[:1].upper() + comment[1:] + "." * (not comment.endswith(".") and bool(comment))


def _directive(kind: str, what: str, text: str, *, options: bool = False) -> str:
    body = textwrap.indent(text.strip("\n") if options else "\n" + text, "   ")
    return f".. py:{kind}:: {what}\n{body}".rstrip()
