"""What the commands do: read from Coze, and print. Nothing here is billed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from airflow_provider_coze.cli.probes import Held, permissions
from airflow_provider_coze.cli.scaffold import dag_file
from airflow_provider_coze.cli.tables import as_json, as_table
from airflow_provider_coze.errors import CozeError, CozeInputError, CozePermissionError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import listings
from airflow_provider_coze.protocol.endpoints.catalogue import ListedBot, ListedWorkflow
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Workspace

__all__ = ["run"]

_DEFAULT = "coze_default"


def run(name: str, given: argparse.Namespace, out: TextIO) -> int:
    """Run a command.

    :param out: where what was asked for is printed.

    :returns: 0, or 1 when it did not get what it was asked for; why is on stderr.
    """
    # Airflow 3 looks for connections in its database only in processes that say so; `airflow connections test` does the same.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    try:
        return _COMMANDS[name](given, out)
    except (CozeError, OSError) as error:
        _complain(str(error))
        return 1


def _scaffold(given: argparse.Namespace, out: TextIO) -> int:
    hook = _hook(given, needs="the inputs of workflows")
    info = hook.workflow_info(workflow_id=given.workflow_id)
    text = dag_file(
        info,
        workflow_id=given.workflow_id,
        conn_id=None if given.conn_id == _DEFAULT else given.conn_id,
    )
    if not given.output:
        print(text, end="", file=out)
        return 0
    with Path(given.output).open("x", encoding="utf-8") as file:  # what is there is somebody's work
        file.write(text)
    _complain(f"wrote {given.output}")
    return 0


def _check(given: argparse.Namespace, out: TextIO) -> int:
    hook = CozeHook(given.conn_id)
    works, words = hook.test_connection()
    print(words, file=out)
    if hook.settings.dialect == "studio":
        print("Tokens of Coze Studio have no permissions that could be lacking.", file=out)
        return 0 if works else 1
    found = permissions(hook)
    print(file=out)
    rows = [{"permission": one.permission, "held": one.held.value, "used for": one.used_for} for one in found]
    print(as_table(rows), file=out)
    lacking = [one.permission for one in found if one.held in (Held.NO, Held.PROBABLY_NOT)]
    print(file=out)
    advice = " Tick what you use in the token's settings." if lacking else ""
    print(f"Lacking: {', '.join(lacking) or 'nothing'}.{advice}", file=out)
    untold = any(one.held is Held.TROUBLE for one in found)
    if untold:
        _complain("Coze did not answer about some of them; try again.")
    return 1 if lacking or untold or not works else 0


def _bots(given: argparse.Namespace, out: TextIO) -> int:
    def row(space: Workspace, bot: ListedBot) -> dict[str, str]:
        return {**_place(space), "bot_id": bot.id, "name": bot.name, "description": bot.description}

    return _list(given, out, "bots", lambda hook, space: listings.all_bots(space, hook.retry), row)


def _workflows(given: argparse.Namespace, out: TextIO) -> int:
    def row(space: Workspace, one: ListedWorkflow) -> dict[str, str]:
        return {**_place(space), "workflow_id": one.id, "name": one.name, "description": one.description}

    return _list(given, out, "workflows", lambda hook, space: listings.all_workflows(space, hook.retry), row)


def _list(
    given: argparse.Namespace,
    out: TextIO,
    what: str,
    flow: Callable[[CozeHook, str], Flow[list[Any]]],
    row: Callable[[Workspace, Any], dict[str, str]],
) -> int:
    """Print what every workspace has; one that cannot be read does not hide the others."""
    hook = _hook(given, needs=f"lists of {what}")
    rows: list[dict[str, str]] = []
    refused = 0
    for space in _workspaces(hook, given.workspace_id):
        try:
            rows += [row(space, one) for one in hook.perform(flow(hook, space.id))]
        except CozePermissionError as error:
            refused += 1
            _complain(f"Workspace {space.id}: {error}")
    if given.output == "json":
        print(as_json(rows), file=out)
    elif rows:
        print(as_table(rows), file=out)
    elif not refused:
        _complain(f"There are no published {what}.")
    return 1 if refused else 0


def _workspaces(hook: CozeHook, workspace_id: str | None) -> Iterable[Workspace]:
    """Return the workspace that was asked for, or all; the connection's own where the token may not list them."""
    if workspace_id:
        return [Workspace(id=workspace_id, name="")]
    try:
        return hook.perform(listings.all_workspaces(hook.retry))
    except CozePermissionError as error:
        own = hook.settings.workspace_id
        if not own:
            raise error.located("Or name one with --workspace-id.") from None
        _complain(f"The token may not list workspaces (listWorkspace); this is the connection's own, {own}.")
        return [Workspace(id=own, name="")]


def _place(space: Workspace) -> dict[str, str]:
    return {"workspace_id": space.id, "workspace": space.name}


def _hook(given: argparse.Namespace, *, needs: str) -> CozeHook:
    hook = CozeHook(given.conn_id)
    if hook.settings.dialect == "studio":
        raise CozeInputError(
            f"Connection {given.conn_id!r} is of a Coze Studio, which has no {needs} in its API. Nothing was sent. "
            "Ids are in the addresses of its web pages."
        )
    return hook


def _complain(words: str) -> None:
    print(words, file=sys.stderr)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, TextIO], int]] = {
    "bots": _bots,
    "check": _check,
    "scaffold": _scaffold,
    "workflows": _workflows,
}
