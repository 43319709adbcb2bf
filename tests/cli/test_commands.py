"""The commands against a served Coze: what they print, how they end, and that nothing is billed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_provider_coze.cli.definition import get_coze_cli_commands
from airflow_provider_coze.cli.probes import Held
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import DRAFT, ECHO_BOT, SUMMARY
from airflow_provider_coze.emulator.definitions import AccessToken
from tests.cli.conftest import Command
from tests.tasks import TOKEN, Coze

SPACE = "7510000000000000001"
READS = {"listWorkspace", "listBot", "listWorkflow", "getMetaData", "listRunHistory", "listConversation"}
READS |= {"retrieveConversation", "listMessage", "getChat", "retrieveFile"}


@pytest.fixture(autouse=True)
def _nothing_is_billed(coze: Coze) -> object:
    yield
    assert coze.ledger == []
    assert {request.method for _, request, _ in coze.seen if "message/list" not in request.path} <= {"GET"}


def holding(coze: Coze, monkeypatch: pytest.MonkeyPatch, *permissions: str, **extra: str) -> None:
    """Give the connection a token with these permissions."""
    coze.world.tokens = [AccessToken("pat_some", permissions=permissions)]
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_some", **extra))


def held(out: str) -> dict[str, str]:
    """Read the table of permissions."""
    lines = out.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("permission ")]
    at, end = lines[start].index("held"), lines[start].index("used for")
    rows = lines[start + 2 : lines.index("", start)]
    return {row.split()[0]: row[at:end].strip() for row in rows}


# --- check


def test_a_token_with_every_permission_passes(coze: Coze, command: Command) -> None:
    coze.hook().create_conversation(bot_id=ECHO_BOT)
    coze.seen.clear()
    ended = command("check")
    assert ended.code == 0
    assert ended.out.startswith(f"{coze.base_url} accepts the token; it covers 1 workspace(s).")
    assert ended.out.endswith("Lacking: nothing.\n")
    assert {name for name, state in held(ended.out).items() if state == "yes"} == READS - {"retrieveFile"}
    assert len(coze.seen) <= 12
    assert TOKEN not in ended.out + ended.err


def test_what_only_a_bill_or_a_change_would_tell_is_not_asked(coze: Coze, command: Command) -> None:
    found = held(command("check").out)
    assert {name for name, state in found.items() if state == "cannot be told without spending"} == {"chat", "run"}
    assert found["uploadFile"] == "cannot be told without changing something"
    assert found["retrieveFile"] == "cannot be told, there is nothing to look at"


@pytest.mark.parametrize("lacking", sorted(READS))
def test_a_permission_that_lacks_is_named_and_ends_with_1(
    coze: Coze, command: Command, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    holding(coze, monkeypatch, *(READS - {lacking}), workspace_id=SPACE)
    ended = command("check")
    assert ended.code == 1
    assert f"Lacking: {lacking}. " in ended.out
    assert held(ended.out)[lacking] in ("no", "probably not")


def test_without_a_thing_to_look_at_it_is_only_probable(
    coze: Coze, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(coze, monkeypatch, "run")
    found = held(command("check").out)
    assert found["listWorkspace"] == "no"
    assert found["listBot"] == found["listMessage"] == "probably not"


def test_trouble_is_no_missing_permission_and_still_ends_with_1(coze: Coze, command: Command) -> None:
    coze.script(scenarios.rate_limited(retry_after=30), on="GET /v1/bots", times=None)
    ended = command("check")
    assert (ended.code, held(ended.out)["listBot"]) == (1, "cannot be told now")
    assert "Lacking: nothing." in ended.out
    assert "try again" in ended.err


def test_a_wrong_token_ends_with_1_and_one_sentence(
    coze: Coze, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_wrong"))
    ended = command("check")
    assert ended.code == 1
    assert ended.out.startswith("Token invalid: ")
    assert "permission " not in ended.out
    assert "Traceback" not in ended.err


def test_a_host_that_does_not_answer_ends_with_1(coze: Coze, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(host="http://127.0.0.1:1"))
    ended = command("check")
    assert (ended.code, ended.out.partition(":")[0]) == (1, "Host unreachable")


def test_a_studio_has_no_permissions_to_lack(studio: Coze, command: Command) -> None:
    ended = command("check")
    assert ended.code == 0
    assert "(Coze Studio) accepts the token." in ended.out


# --- bots, workflows


def test_bots_are_listed_with_their_ids(coze: Coze, command: Command) -> None:
    ended = command("bots", "-o", "json")
    rows = json.loads(ended.out)
    assert ended.code == 0
    assert {row["bot_id"]: row["name"] for row in rows}[ECHO_BOT] == "echo"
    assert {(row["workspace_id"], row["workspace"]) for row in rows} == {(SPACE, "Emulator")}
    assert list(rows[0]) == ["workspace_id", "workspace", "bot_id", "name", "description"]


def test_workflows_are_listed_without_drafts(coze: Coze, command: Command) -> None:
    ids = {row["workflow_id"] for row in json.loads(command("workflows", "--output", "json").out)}
    assert SUMMARY in ids
    assert DRAFT not in ids


def test_a_table_is_the_default_and_holds_the_same(coze: Coze, command: Command) -> None:
    lines = command("bots").out.splitlines()
    assert lines[0].split() == ["workspace_id", "workspace", "bot_id", "name", "description"]
    assert any(line.startswith(f"{SPACE}  Emulator   {ECHO_BOT}  echo ") for line in lines)


def test_long_lists_are_read_to_their_end(coze: Coze, command: Command) -> None:
    for number in range(70):
        coze.emulator.add_workflow(name=f"w{number}")
        coze.emulator.add_bot(name=f"b{number}")
    for what in ("bots", "workflows"):
        names = [row["name"] for row in json.loads(command(what, "-o", "json").out)]
        assert {f"{what[0]}{number}" for number in range(70)} <= set(names)
        assert len(names) == len(set(names))


def test_only_the_workspace_that_is_named_is_read(coze: Coze, command: Command) -> None:
    command("bots", "--workspace-id", SPACE)
    assert [name for name, _, _ in coze.seen] == ["GET /v1/bots"]


def test_a_workspace_that_is_closed_does_not_hide_the_others(coze: Coze, command: Command) -> None:
    spaces = [{"id": "7510000000000000999", "name": "closed"}, {"id": SPACE, "name": "open"}]
    body = {"code": 0, "data": {"workspaces": spaces, "total_count": 2}}
    coze.script(scenarios.answer(200, body), on="GET /v1/workspaces", times=None)
    ended = command("bots", "-o", "json")
    assert ended.code == 1
    assert {row["workspace"] for row in json.loads(ended.out)} == {"open"}
    assert "Workspace 7510000000000000999: GET /v1/bots was refused with code 4101" in ended.err


def test_a_token_that_may_not_list_workspaces_uses_the_connections_own(
    coze: Coze, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(coze, monkeypatch, "listBot")
    ended = command("bots")
    assert ended.code == 1
    assert "The permission of this operation is listWorkspace." in ended.err
    assert "--workspace-id" in ended.err
    holding(coze, monkeypatch, "listBot", workspace_id=SPACE)
    ended = command("bots")
    assert ended.code == 0
    assert ECHO_BOT in ended.out
    assert "listWorkspace" in ended.err


def test_an_empty_workspace_is_said_to_be_empty(coze: Coze, command: Command) -> None:
    coze.world.bots.clear()
    ended = command("bots")
    assert (ended.code, ended.out, ended.err.splitlines()[-1]) == (0, "", "There are no published bots.")
    assert command("bots", "-o", "json").out == "[]\n"


@pytest.mark.parametrize("arguments", [("bots",), ("workflows",), ("scaffold", "--workflow-id", SUMMARY)])
def test_a_studio_has_no_catalogue_and_is_not_asked(studio: Coze, command: Command, arguments: tuple[str, ...]) -> None:
    ended = command(*arguments)
    assert (ended.code, ended.out, studio.seen) == (1, "", [])
    assert "is of a Coze Studio, which has no" in ended.err


# --- scaffold


def test_a_scaffold_is_printed_and_takes_one_read(coze: Coze, command: Command) -> None:
    ended = command("scaffold", "--workflow-id", SUMMARY)
    assert ended.code == 0
    assert f'workflow_id="{SUMMARY}"' in ended.out
    assert "coze_conn_id" not in ended.out
    assert [name for name, _, _ in coze.seen] == [f"GET /v1/workflows/{SUMMARY}"]


def test_another_connection_is_named_in_the_dag(coze: Coze, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", coze.connection())
    assert 'coze_conn_id="other"' in command("scaffold", "--workflow-id", SUMMARY, "--conn-id", "other").out


def test_a_file_is_written_and_never_written_over(coze: Coze, command: Command, tmp_path: Path) -> None:
    target = tmp_path / "dag.py"
    printed = command("scaffold", "--workflow-id", SUMMARY).out
    ended = command("scaffold", "--workflow-id", SUMMARY, "--output", str(target))
    assert (ended.code, ended.out, ended.err.splitlines()[-1]) == (0, "", f"wrote {target}")
    assert target.read_text() == printed
    target.write_text("mine")
    ended = command("scaffold", "--workflow-id", SUMMARY, "--output", str(target))
    assert ended.code == 1
    assert "File exists" in ended.err
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scaffold", "--workflow-id", "7511500000000000999"), "code 4200"),
        (("bots", "--conn-id", "nope"), "Airflow connection 'nope' was not found"),
    ],
)
def test_an_error_is_one_sentence_and_no_stack_trace(
    coze: Coze, command: Command, arguments: tuple[str, ...], words: str
) -> None:
    ended = command(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert words in ended.err.splitlines()[-1]  # above it may stand what Airflow logs


# --- what the documentation shows


def test_the_pages_show_what_the_commands_print(coze: Coze, command: Command) -> None:
    howto = (Path(__file__).parents[2] / "docs" / "howto" / "cli.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", howto, re.DOTALL)
    assert shown in command("scaffold", "--workflow-id", SUMMARY).out
    table = command("check").out
    for line in ("listWorkspace", "chat ", "run "):
        (row,) = [row for row in howto.splitlines() if row.startswith(line) and "  " in row]
        assert row in table


def test_the_reference_has_every_command_option_and_word() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    (group,) = get_coze_cli_commands()
    for each in group.subcommands:
        assert f"| `{each.name}` |" in reference
        assert all(f"`{flag}`" in reference for argument in each.args for flag in argument.flags)
    assert all(f"| `{word.value}` |" in reference for word in Held)
