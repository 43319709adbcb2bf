"""The tutorial, block by block in one shell, as its page says; only the installing is left out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest

from tests import docs_parts
from tests.env.bootstrap import MAIN, ROOT, ensure

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
#: The port that the page has its reader use.
PORT = "8899"


def test_the_dag_of_the_page_is_the_snippet() -> None:
    assert docs_parts.cut("docs/snippets/tutorial_dag.py", "tutorial_dag") in PAGE


def _script(port: int) -> str:
    """Return the shell blocks of the page, up to where an account of Coze is needed."""
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```$|^(## \d)", PAGE, re.DOTALL | re.MULTILINE)
    parts, dag = ["set -uo pipefail"], ""
    for language, body, chapter in blocks:
        if chapter:
            parts.append(f"printf '\\n%s\\n' '{chapter}'")  # what curl prints has no end of line
        elif language == "python":
            dag = body
        elif "venv" not in body:
            if "my_first_chat" in body and dag:
                parts.append(f"cat > ~/coze-tutorial/airflow/dags/my_first_chat.py <<'END'\n{dag}END")
                dag = ""
            parts.append(body.partition("export AIRFLOW_CONN_COZE_DEFAULT='")[0])
    return "\n".join(parts).replace(PORT, str(port))


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the shell said, by chapter."""
    home = tmp_path_factory.mktemp("home")
    (home / "coze-tutorial").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTEST_"))}
    path = f"{ensure(MAIN).parent}{os.pathsep}{clean['PATH']}"
    # The page tells of a deferral's minimum length, which is no part of what is tested here.
    env = clean | {"HOME": str(home), "PATH": path, "AIRFLOW__COZE__MIN_DEFERRAL_SECONDS": "0"}
    shell = subprocess.Popen(
        ["bash", "-c", _script(port)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=560)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    parts = re.split(r"^(## \d)$", output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_provider_is_listed(said: dict[str, str]) -> None:
    (line,) = re.findall(r"^(airflow-provider-coze \| .*) \| \d", PAGE, re.MULTILINE)
    assert line in re.sub(" +", " ", said["## 1"])  # Airflow pads its columns


def test_the_emulator_says_where_it_is(said: dict[str, str]) -> None:
    assert '{"base_url": "http://127.0.0.1:' in said["## 2"]


def test_the_quickstart_ends_well_and_the_bill_has_what_the_page_says(said: dict[str, str]) -> None:
    assert "waiting for it in the triggerer" in said["## 3"]
    assert "DagRun Finished: dag_id=example_coze_quickstart" in said["## 3"]
    assert sorted(re.findall(r'"kind": ?"(\w+)"', said["## 3"])) == ["chat", "workflow"]


def test_the_first_dag_shows_the_answer(said: dict[str, str]) -> None:
    assert "The bot says: You said: What should we look at on 20" in said["## 4"]


def test_the_draft_bot_fails_as_the_page_shows(said: dict[str, str]) -> None:
    words = " ".join(re.sub(r"\s+", " ", said["## 5"]).split())
    shown = re.search(r"^(CozeRejectedError: .*?) \(HTTP 200", PAGE, re.DOTALL | re.MULTILINE)
    assert shown
    assert " ".join(shown[1].split()) in words
