"""Which commands there are, said once: to Airflow's command line (3.2 and later), and to argparse for all others.

Airflow imports this for every ``airflow`` command, so it imports nothing; what the commands do is imported when one is run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import sys
from typing import Any, NamedTuple

__all__ = ["get_coze_cli_commands", "parser", "run"]

_ABOUT = "Look at Coze, and begin a DAG, without spending anything"


class _Argument(NamedTuple):
    flags: tuple[str, ...]
    options: dict[str, Any]  # of argparse's add_argument


class _Command(NamedTuple):
    name: str  # also of the function in commands.py
    help: str
    description: str
    arguments: tuple[_Argument, ...]


_CONN_ID = _Argument(
    ("--conn-id",), {"default": "coze_default", "help": "the connection, of type coze (default: coze_default)"}
)
_WORKSPACE_ID = _Argument(("--workspace-id",), {"help": "only this workspace; all that the token covers by default"})
_OUTPUT = _Argument(
    ("-o", "--output"),
    {"choices": ("table", "json"), "default": "table", "help": "how to print: table (default) or json"},
)

_COMMANDS = (
    _Command(
        "bots",
        "List the bots that a token reaches",
        "List the bots that are published to the API, with the ids that DAGs need. Free; one call a workspace, more if it is large.",
        (_CONN_ID, _WORKSPACE_ID, _OUTPUT),
    ),
    _Command(
        "check",
        "Test a connection, and list the permissions it lacks",
        "Test a connection, and list the permissions its token lacks. About a dozen calls, all of them free reads. "
        "Ends with 0 if the connection works and lacks nothing that can be told.",
        (_CONN_ID,),
    ),
    _Command(
        "scaffold",
        "Print an example DAG for a workflow",
        "Print a DAG that runs a workflow, with its parameters and their types as Coze tells them. One call, a free read.",
        (
            _CONN_ID,
            _Argument(("--workflow-id",), {"required": True, "help": "the digits after workflow_id= in its address"}),
            _Argument(("--output",), {"metavar": "FILE", "help": "write to a new file instead of printing"}),
        ),
    ),
    _Command(
        "workflows",
        "List the workflows that a token reaches",
        "List the published workflows and chatflows, with the ids that DAGs need. Free; one call for each 30 of a workspace.",
        (_CONN_ID, _WORKSPACE_ID, _OUTPUT),
    ),
)


def get_coze_cli_commands() -> list[Any]:
    """Return the group ``coze`` in the words of Airflow's command line; the provider info names this function."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    subcommands = [
        ActionCommand(
            name=command.name,
            help=command.help,
            description=command.description,
            func=functools.partial(_ending, command.name),
            args=tuple(Arg(argument.flags, **argument.options) for argument in command.arguments),
        )
        for command in _COMMANDS
    ]
    return [GroupCommand(name="coze", help=_ABOUT, subcommands=subcommands)]


def parser() -> argparse.ArgumentParser:
    """Return the same as a parser of its own."""
    made = argparse.ArgumentParser(prog="python -m airflow_provider_coze.cli", description=f"{_ABOUT}.")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        one = commands.add_parser(command.name, help=command.help, description=command.description)
        for argument in command.arguments:
            one.add_argument(*argument.flags, **argument.options)
    return made


def run(name: str, given: argparse.Namespace) -> int:
    """Run a command and return its exit code.

    Only what was asked for goes to stdout, which may be a pipe or a file. Airflow logs there as well, to what it finds when it is
    imported or used.
    """
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        commands = importlib.import_module("airflow_provider_coze.cli.commands")
        return int(commands.run(name, given, out))


def _ending(name: str, given: argparse.Namespace) -> None:
    # Airflow drops what a command returns.
    sys.exit(run(name, given))
