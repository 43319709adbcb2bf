"""Sphinx's configuration of the documentation site. Pages are laid out by ``staging``; this says how they are read and shown."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
version = release = _PROJECT["version"]
project_copyright = author
language = "en"

extensions = ["myst_parser", "tests.docs_site.chinese"]
#: The slugs of GitHub, for headings of every level: a link to one holds in both places.
myst_heading_anchors = 6
#: A name of this package that a docstring refers to has to be on a page of the API; others' names have no page here.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!airflow_provider_coze\.).*")]
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 100
python_display_short_literal_types = True
#: A block without a language is text, and is not guessed at.
highlight_language = "text"
pygments_style, pygments_dark_style = "friendly", "github-dark"

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": _PROJECT["urls"]["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": [],
}


def _speak(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Say of a page in Chinese that it is in Chinese: fonts, screen readers and browsers' translations go by it."""
    if pagename.startswith("zh/"):
        context["language"] = "zh-CN"


def setup(app: Any) -> None:
    """Register what is done to every page."""
    app.connect("html-page-context", _speak)
