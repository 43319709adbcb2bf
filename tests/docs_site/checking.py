"""Read the site that was built as a browser would: every link, anchor and image inside it is there, and nothing comes from elsewhere."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser loads by itself, without a click.
_LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}
#: A stylesheet loads what is in ``url()``, and scripts fetch what they name as an address of another host.
_CSS_ADDRESS = re.compile(r"url\(\s*['\"]?(?!data:|#)([^'\")]+)|@import\s+['\"]([^'\"]+)")


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the page has and what it points to."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in _LOADED and given.get(_LOADED[tag]):
            self.loaded.append(given[_LOADED[tag]])


@functools.cache
def _read(path: Path) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def flaws(site: Path) -> list[str]:
    """Return a line for each link that leads nowhere, and for each thing that would be loaded from elsewhere."""
    found = [f"{page.relative_to(site)}: {flaw}" for page in sorted(site.rglob("*.html")) for flaw in _flaws(page)]
    for sheet in sorted(site.rglob("*.css")):
        addresses = [one or other for one, other in _CSS_ADDRESS.findall(sheet.read_text(encoding="utf-8"))]
        found += [f"{sheet.relative_to(site)}: {flaw}" for each in addresses if (flaw := _missing(each, sheet))]
    return found


def counted(site: Path) -> tuple[int, int]:
    """Return how many pages there are, and how many links on them lead inside."""
    pages = sorted(site.rglob("*.html"))
    return len(pages), sum(not urlsplit(link).scheme for page in pages for link in _read(page).links)


def _flaws(path: Path) -> Iterator[str]:
    page = _read(path)
    for link in page.loaded:
        if flaw := _missing(link, path):
            yield flaw
    for link in page.links:
        if not urlsplit(link).scheme and (flaw := _missing(link, path)):
            yield flaw


def _missing(link: str, path: Path) -> str | None:
    """Return what is wrong with an address, if it does not lead to something of the site."""
    parts = urlsplit(link)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return f"{link} is loaded from elsewhere"
    target = path.parent / unquote(parts.path) if parts.path else path
    if not target.is_file():
        return f"{link} leads to nothing"
    anchor = unquote(parts.fragment)
    if anchor and target.suffix == ".html" and anchor not in _read(target).ids:
        return f"{link} leads to a page that has no such place"
    return None
