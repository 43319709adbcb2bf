"""Code of the documentation runs: what is Python is cut from a file that a test runs, what is a command is one that there is."""

from __future__ import annotations

import argparse
import configparser
import functools
import importlib.util
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import yaml

from airflow_provider_coze.emulator.worldfile import world_from
from tests import docs_parts, needs, tasks
from tests.operators.test_snippets import execute
from tests.tasks import Coze

coze_site, coze = tasks.coze_site, tasks.coze

ROOT = Path(__file__).parents[1]
SNIPPETS = ROOT / "docs" / "snippets"
EXAMPLES = sorted((ROOT / "example_dags").glob("*.py"))
#: Pages that tell what was, in words of their time.
_HISTORY = ("CHANGELOG.md",)
PAGES = [page for page in docs_parts.pages() if page.name not in _HISTORY]

#: What stands before a block and says where it is from, or which test holds it.
_BLOCK = re.compile(
    r"(?:<!-- (?P<how>cut|tested): (?P<path>\S+)(?: \S+)? -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A block of code on a page."""

    page: str
    line: int
    language: str
    body: str
    how: str | None
    path: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.MULTILINE)
            line = text[: found.start()].count("\n") + 1
            yield Block(str(page.relative_to(ROOT)), line, found["language"], body, found["how"], found["path"])


BLOCKS = list(_blocks())


def _of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_every_block_says_what_it_is() -> None:
    known = {"python", "bash", "console", "text", "json", "yaml", "ini", "toml"}
    assert [str(block) for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize("block", _of("python"), ids=str)
def test_python_is_cut_from_a_file_or_held_by_a_test(block: Block) -> None:
    assert block.how, "put it into docs/snippets, let a test run it, and cut it from there"
    assert block.path is not None
    if block.how == "tested":
        assert Path(block.page).name in (ROOT / block.path).read_text(encoding="utf-8")
    else:
        assert block.path.startswith(("docs/snippets/", "example_dags/", "tests/"))


# --- files that blocks are cut from


def _running_tests() -> str:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))]
    return "\n".join(text for text in texts if "snippet" in text.lower())


RUNNING_TESTS = _running_tests()


@pytest.mark.parametrize("path", sorted(SNIPPETS.rglob("*.py")), ids=lambda path: str(path.relative_to(SNIPPETS)))
def test_a_snippet_is_run_by_a_test(path: Path) -> None:
    parts = path.relative_to(SNIPPETS).parts
    name = path.stem if len(parts) == 1 else parts[0]
    ways = (f'"{name}"', f'{name}.py"', f"import {name}\n")
    assert any(way in RUNNING_TESTS for way in ways), "no test runs it by its name"


@pytest.mark.parametrize("path", [*sorted(SNIPPETS.rglob("*.py")), *EXAMPLES], ids=lambda path: path.name)
def test_what_is_marked_stands_on_a_page(path: Path) -> None:
    marked = set(re.findall(r"# \[START (\w+)\]", path.read_text(encoding="utf-8")))
    place = str(path.relative_to(ROOT))
    cuts = [re.findall(rf"<!-- cut: {re.escape(place)} (\w+) -->", page.read_text(encoding="utf-8")) for page in PAGES]
    assert marked - {name for found in cuts for name in found} == set()
    if path in EXAMPLES:
        assert marked, "no part of this example stands on a page"


# --- data


@pytest.mark.parametrize("block", _of("json"), ids=str)
def test_json_can_be_read(block: Block) -> None:
    assert json.loads(block.body)


@pytest.mark.parametrize("block", _of("ini"), ids=str)
def test_ini_files_can_be_read(block: Block) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(block.body)
    assert parser.sections()


@pytest.mark.parametrize("block", _of("yaml"), ids=str)
def test_worlds_can_be_read(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    given = yaml.safe_load(block.body)
    assert set(given) & {"bots", "workflows"}, "YAML that is no world needs a test of its own"
    for module, name in re.findall(r'call: "([\w.]+):(\w+)"', block.body):
        made = ModuleType(module)
        setattr(made, name, lambda *_: None)
        for parent in (module, module.rpartition(".")[0]):
            monkeypatch.setitem(sys.modules, parent, made if parent == module else ModuleType(parent))
    world = world_from(given)
    assert len(world.bots) == len(given.get("bots", []))
    assert len(world.workflows) == len(given.get("workflows", []))


# --- commands

#: Programs of the system, which pages use as everybody does.
SYSTEM = {"cat", "cd", "cp", "curl", "export", "git", "kill", "mkdir", "pip", "python", "python3", "sleep", "source"}
OURS = {"airflow", "make", ".venv/bin/python", "airflow-provider-coze"}


def _commands(body: str) -> Iterator[list[str]]:
    """Yield the words of each command, up to what the shell does with its output."""
    body = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    body = re.sub(r"(?:^|\s+)#\s.*$|\\\n|^\$ ", "", body, flags=re.MULTILINE)
    body = re.sub(r"^\{.*$", "", body, flags=re.MULTILINE)  # what a command printed
    reader = shlex.shlex(body, posix=True, punctuation_chars="|&;<>\n")
    reader.whitespace, reader.commenters = " \t", ""
    words: list[str] = []
    over = False
    for word in [*reader, "\n"]:
        if set(word) <= set("|&;<>\n"):
            if words and not over:
                yield words
            # What a command's output goes into is a file, or a command of the system.
            words, over = [], not set(word) & set("\n;&")
        else:
            words.append(word)


SHELL = [
    (block, words)
    for block in _of("bash", "console")
    for words in _commands(block.body)
    if not re.match(r"\w+=", words[0])
]


def test_there_are_commands_to_look_at() -> None:
    assert len(SHELL) > 40
    assert sum(words[0] == "airflow" for _, words in SHELL) > 10


@pytest.mark.parametrize(("block", "words"), SHELL, ids=lambda part: part[0] if isinstance(part, list) else str(part))
def test_a_command_is_one_that_there_is(block: Block, words: list[str]) -> None:
    assert words[0] in SYSTEM | OURS, f"{block}: what is {words[0]!r}?"
    if words[0] == "airflow":
        if words[1] == "coze":
            needs.PROVIDER_COMMANDS.or_skip()
        _airflow().parse_args(words[1:])
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    if words[0].rpartition("/")[2].startswith("python") and words[1:2] == ["-m"]:
        assert importlib.util.find_spec(words[2]) is not None


@functools.cache
def _airflow() -> argparse.ArgumentParser:
    from airflow.cli.cli_parser import get_parser

    found: argparse.ArgumentParser = get_parser()
    return found


def test_options_of_the_emulator_are_those_of_the_pages(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow_provider_coze.emulator.__main__ import main

    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    used = [words[3:] for _, words in SHELL if words[1:3] == ["-m", "airflow_provider_coze.emulator"]]
    assert used
    assert {word for words in used for word in words if word.startswith("--")} <= known
    page = (ROOT / "docs" / "reference" / "emulator.md").read_text(encoding="utf-8")
    assert {option for option in known if f"| `{option} " not in page} == {"--help"}


# --- pages whose code is run here


def test_the_page_about_the_emulator_pays_once(coze: Coze) -> None:
    from airflow_provider_coze.operators.chat import CozeChatOperator

    def run_my_task(bot_id: str) -> Any:
        return execute(coze, CozeChatOperator(task_id="ask", bot_id=bot_id, message="How many rows?"))[0]

    runpy.run_path(str(SNIPPETS / "emulated.py"))["test_my_dag_pays_once"](coze.emulator, run_my_task)
    assert coze.asked("POST /v3/chat") == 1
