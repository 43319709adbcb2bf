"""The commands as Airflow's command line gets them, and as a module of its own: the same, and cheap to look at."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_coze.cli import commands
from airflow_provider_coze.cli.definition import get_coze_cli_commands, parser
from airflow_provider_coze.cli.tables import as_json, as_table
from airflow_provider_coze.emulator.default_world import SUMMARY
from airflow_provider_coze.get_provider_info import get_provider_info
from tests import needs
from tests.tasks import Coze


def by_airflow() -> argparse.ArgumentParser:
    """Make a parser of what Airflow is given, with the means that Airflow has."""
    (group,) = get_coze_cli_commands()
    made = argparse.ArgumentParser()
    subparsers = made.add_subparsers(dest="subcommand")
    for command in group.subcommands:
        one = subparsers.add_parser(command.name)
        for argument in command.args:
            argument.add_to_parser(one)
        one.set_defaults(func=command.func)
    return made


@pytest.mark.parametrize(
    "line",
    [
        "bots",
        "bots --workspace-id 7 -o json --conn-id other",
        "workflows --output table",
        "check",
        "scaffold --workflow-id 7511 --output dag.py",
    ],
)
def test_airflow_and_the_module_understand_the_same(line: str) -> None:
    ours, theirs = vars(parser().parse_args(line.split())), vars(by_airflow().parse_args(line.split()))
    assert ours.pop("command") == theirs.pop("subcommand")
    theirs.pop("func")
    assert ours == theirs


def test_every_command_that_is_defined_can_be_run() -> None:
    (group,) = get_coze_cli_commands()
    assert {command.name for command in group.subcommands} == set(commands._COMMANDS)
    assert get_provider_info()["cli"] == [f"{get_coze_cli_commands.__module__}.{get_coze_cli_commands.__name__}"]


def test_airflow_exits_with_the_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    given = by_airflow().parse_args(["bots", "--conn-id", "nope"])
    with pytest.raises(SystemExit) as ended:
        given.func(given)
    assert ended.value.code == 1
    assert "'nope' was not found" in capsys.readouterr().err


def test_looking_at_the_definition_imports_nothing_beside_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import airflow_provider_coze.cli.definition\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) - set(sys.stdlib_module_names) == {"airflow_provider_coze"}


@pytest.mark.airflow
@needs.PROVIDER_COMMANDS.mark
def test_airflow_coze_runs(coze: Coze, tmp_path: Path) -> None:
    env = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "AIRFLOW_CONN_COZE_DEFAULT": coze.connection()}
    airflow = [sys.executable, "-m", "airflow", "coze"]

    def ran(*arguments: str) -> str:
        done = subprocess.run([*airflow, *arguments], capture_output=True, text=True, env=env, timeout=100)
        assert done.returncode == 0, done.stderr
        # Airflow 3.2 writes its own log to stdout, for its own commands too; a line of it begins with the time.
        return re.sub(r"^\d{4}-\d\d-\d\dT\S+ \[.*\n", "", done.stdout, flags=re.MULTILINE)

    shown = ran("--help")
    assert all(name in shown for name in ("bots", "check", "scaffold", "workflows"))
    assert SUMMARY in {row["workflow_id"] for row in json.loads(ran("workflows", "-o", "json"))}
    compile(ran("scaffold", "--workflow-id", SUMMARY), "dag.py", "exec")
    assert "Lacking: nothing." in ran("check")


@pytest.mark.airflow
def test_a_connection_in_airflows_database_is_found(coze: Coze, tmp_path: Path) -> None:
    env = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    add = ["connections", "add", "stored", "--conn-json", coze.connection()]
    for arguments in (["airflow", "db", "migrate"], ["airflow", *add]):
        subprocess.run([sys.executable, "-m", *arguments], check=True, capture_output=True, env=env, timeout=100)
    command = [sys.executable, "-m", "airflow_provider_coze.cli", "bots", "--conn-id", "stored", "-o", "json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=100).stdout
    assert json.loads(out)


# --- tables


def test_columns_are_aligned_also_where_characters_are_wide() -> None:
    assert as_table([{"id": "1", "name": "汇总"}, {"id": "22", "name": "a"}]).splitlines() == [
        "id  name",
        "--  ----",
        "1   汇总",
        "22  a",
    ]
    wide, plain = as_table([{"name": "汇总", "id": "1"}, {"name": "abcd", "id": "2"}]).splitlines()[2:]
    assert (wide, plain) == ("汇总  1", "abcd  2")


def test_a_cell_is_one_line_of_a_bearable_width() -> None:
    (cell,) = as_table([{"a": "x\ny\u202e\x1b[31m" + "z" * 100}]).splitlines()[2:]
    assert cell.startswith("x y [31mz") or cell.startswith("x y  [31mz")
    assert len(cell) == 60
    assert cell.endswith("…")
    (cell,) = as_table([{"a": "表" * 100}]).splitlines()[2:]
    assert cell == "表" * 29 + "…"


def test_json_is_ascii_and_whole() -> None:
    rows = [{"name": "表" * 100}]
    assert as_json(rows).isascii()
    assert json.loads(as_json(rows)) == rows


def test_the_environment_of_tests_is_left_as_it_was() -> None:
    assert os.environ.get("_AIRFLOW_PROCESS_CONTEXT") != "server"
