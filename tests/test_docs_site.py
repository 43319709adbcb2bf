"""What the site of the documentation is made of, and what is looked for in it. Building it is ``make docs``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tests.docs_site import checking, staging

REPOSITORY = "https://github.com/airflow-provider-coze/airflow-provider-coze"


@pytest.mark.parametrize(
    ("page", "link", "moved"),
    [
        ("README.md", "docs/howto/chat.md#steps", "howto/chat.md#steps"),
        ("README.md", "README.zh-CN.md", "zh/readme.md"),
        ("README.zh-CN.md", "docs/tutorial.md", "../tutorial.md"),
        ("README.md", "#what-is-not-covered", "#what-is-not-covered"),
        ("README.md", "LICENSE", f"{REPOSITORY}/blob/main/LICENSE"),
        ("docs/index.md", "../README.md", "readme.md"),
        ("docs/howto/chat.md", "workflow.md", "workflow.md"),
        ("docs/howto/batch.md", "../images/batch-report.png", "../images/batch-report.png"),
        ("docs/tutorial.md", "../example_dags", f"{REPOSITORY}/tree/main/example_dags"),
        ("docs/tutorial.md", "https://www.coze.cn/a.md#b", "https://www.coze.cn/a.md#b"),
    ],
)
def test_a_link_leads_to_the_same_on_the_site(page: str, link: str, moved: str) -> None:
    assert staging.moved(link, PurePosixPath(page)) == moved


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages were laid out, beside one that has since gone from the repository."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "howto").mkdir()
    (folder / "howto" / "gone.md").write_text("# Gone\n")
    staging.stage(folder, {"reference/api/index.rst": "API\n"})
    return folder


def test_no_link_of_the_readme_leads_into_the_repository(source: Path) -> None:
    text = (source / "readme.md").read_text(encoding="utf-8")
    assert "](howto/chat.md" in text
    assert "](docs/" not in text


def test_every_page_is_in_the_contents_once(source: Path) -> None:
    contents = (source / "index.md").read_text(encoding="utf-8").partition("```{toctree}")[2]
    listed = [line.rpartition("<")[2].rstrip(">") for line in contents.splitlines()]
    for page in source.rglob("*.md"):
        name = page.relative_to(source).with_suffix("").as_posix()
        assert listed.count(name) == (name != "index"), name
    assert listed.count(staging.API) == 1
    captions = [line for line in contents.splitlines() if line.startswith(":caption: ")]
    assert captions == [f":caption: {caption}" for caption, _, _ in staging.SECTIONS]


def test_what_is_gone_from_the_repository_is_gone_from_the_source(source: Path) -> None:
    assert not (source / "howto" / "gone.md").exists()


@pytest.mark.parametrize(
    ("html", "flaw"),
    [
        ('<a href="b.html">b</a>', "b.html leads to nothing"),
        ('<a href="a.html#no">a</a>', "a.html#no leads to a page that has no such place"),
        ('<a href="#no">a</a>', "#no leads to a page that has no such place"),
        ('<img src="images/no.png">', "images/no.png leads to nothing"),
        ('<script src="https://cdn.example/x.js"></script>', "https://cdn.example/x.js is loaded from elsewhere"),
        ('<link rel="stylesheet" href="//fonts.example/f.css">', "//fonts.example/f.css is loaded from elsewhere"),
    ],
)
def test_a_flaw_of_the_site_is_found(tmp_path: Path, html: str, flaw: str) -> None:
    (tmp_path / "a.html").write_text(f'<h1 id="yes">A</h1>{html}')
    assert checking.flaws(tmp_path) == [f"a.html: {flaw}"]


def test_a_site_without_flaws_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="了">A</h1><a href="#%E4%BA%86">b</a><a href="https://www.coze.cn/">c</a>')
    (tmp_path / "a.css").write_text('a { background: url("data:image/svg+xml;utf8,x") }')
    assert checking.flaws(tmp_path) == []
    assert checking.counted(tmp_path) == (1, 1)


def test_a_stylesheet_that_loads_a_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url(https://fonts.example/f.woff2) }")
    assert checking.flaws(tmp_path) == ["a.css: https://fonts.example/f.woff2 is loaded from elsewhere"]
