"""Lay the Markdown of the repository out as the source of a site, so that each link holds in both.

GitHub shows ``README.md`` at the root and the rest under ``docs``; the site has them in one tree. A link to another page becomes the way to
it there, a link to any other file (an example DAG, a test) its address in the repository. Nothing else of a page is changed, and the
pages of the repository need not know of the site.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
#: Pages at the root of the repository, by their place in the site.
ROOT_PAGES = {
    "README.md": "readme.md",
    "README.zh-CN.md": "zh/readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
#: What the side of each page lists: a caption, what stands first, and a folder whose pages follow as the index lists them.
SECTIONS = (
    ("Start", ("readme", "tutorial"), None),
    ("中文", ("zh/readme", "zh/index", "zh/tutorial"), "zh"),
    ("How to", (), "howto"),
    ("Reference", (), "reference"),
    ("Explanation", (), "explanation"),
    ("Project", ("changelog", "contributing"), None),
)
API = "reference/api/index"
#: Titles that are too long, or say too little, beside others.
_TITLES = {"readme": "What this is", "zh/readme": "这是什么", API: "API, from the docstrings"}
#: A fence and what is in it, or a link. Code is not looked into.
_LINK = re.compile(r"(?P<code>^( *)```.*?^\2```$|`[^`\n]+`)|\]\((?P<link>[^)\s]+)\)", re.DOTALL | re.MULTILINE)


def stage(source: Path, api_pages: Mapping[str, str]) -> None:
    """Write the source of the site; files that have not changed keep their times, so that Sphinx need not read them again.

    :param api_pages: what else the site has: the text of each page by its path.
    """
    texts = {_place(path): _staged(path) for path in pages()}
    texts = {place.as_posix(): text for place, text in texts.items()} | dict(api_pages)
    texts["index.md"] += _contents([name.rpartition(".")[0] for name in texts if not name.startswith("reference/api/")])
    for name, text in texts.items():
        _write(source / name, text.encode())
    images = {
        path.relative_to(ROOT / "docs").as_posix(): path
        for path in (ROOT / "docs" / "images").rglob("*")
        if path.is_file()
    }
    for name, image in images.items():
        _write(source / name, image.read_bytes())
    for path in source.rglob("*"):
        if path.is_file() and path.relative_to(source).as_posix() not in {*texts, *images}:
            path.unlink()


@functools.cache
def pages() -> tuple[PurePosixPath, ...]:
    """Return every Markdown page of the site by its path in the repository."""
    found = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    return tuple(PurePosixPath(name) for name in [*ROOT_PAGES, *found])


def _place(path: PurePosixPath) -> PurePosixPath:
    """Return where a page of the repository is in the site."""
    root = ROOT_PAGES.get(path.as_posix())
    return PurePosixPath(root) if root else path.relative_to("docs")


def _staged(path: PurePosixPath) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    return _LINK.sub(lambda found: found[0] if found["code"] else f"]({moved(found['link'], path)})", text)


def moved(link: str, path: PurePosixPath) -> str:
    """Return what a link of a page has to be in the site.

    :param path: the page in the repository.
    """
    target, hash_, anchor = link.partition("#")
    if re.match(r"[a-z]+:", link) or not target:
        return link
    wanted = PurePosixPath(os.path.normpath(path.parent / target))
    if wanted in pages() or wanted.is_relative_to("docs/images"):
        return os.path.relpath(_place(wanted), _place(path).parent) + hash_ + anchor
    kind = "tree" if (ROOT / wanted).is_dir() else "blob"
    return f"{_repository()}/{kind}/main/{wanted}{hash_}{anchor}"


def _contents(names: list[str]) -> str:
    """Return the lists of pages that become the side of every page; the index lists the same in its tables."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    order = {link: place for place, link in enumerate(re.findall(r"\]\(([^)#]+)\.md", index))}
    lists = []
    for caption, first, folder in SECTIONS:
        rest = [name for name in names if folder and name.startswith(f"{folder}/") and name not in first]
        rest.sort(key=lambda name: (order.get(name, len(order)), name))
        rest += [API] if folder == "reference" else []
        rest = [name for name in first if name in names] + rest
        entries = [f"{_TITLES[name]} <{name}>" if name in _TITLES else name for name in rest]
        lists.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]))
    return "".join(lists)


def _repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Source"])


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
