"""The code of the documentation, run as its pages say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_coze.emulator.server import Server
from airflow_provider_coze.hooks.coze import CozeHook

ROOT = Path(__file__).parents[1]
SNIPPETS = ROOT / "docs" / "snippets"
TOOL_BOT, ASKING_WORKFLOW = "7511000000000000005", "7511500000000000005"
QUESTION = {"role": "user", "content_type": "text", "content": "How warm is it?"}


@pytest.fixture
def hook_calls(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(SNIPPETS))
    import hook_calls

    return hook_calls


def test_the_chat_page_answers_the_tools_of_a_bot(coze_emulator: Server, hook_calls: object) -> None:
    hook = CozeHook()
    chat = hook.create_chat(bot_id=TOOL_BOT, user_id="u", additional_messages=[QUESTION])
    ids = {"conversation_id": chat.conversation_id, "chat_id": chat.id}
    hook_calls.answer_tools(**ids, run_tool=lambda name, arguments: f"{name} says 21 °C")
    assert hook.retrieve_chat(**ids).status == "completed"
    answers = [message.content for message in hook.chat_messages(**ids) if message.type == "answer"]
    assert len(answers) == 1
    assert "read_sensor says 21 °C" in answers[0]


def test_the_workflow_page_answers_the_question_of_a_run(coze_emulator: Server, hook_calls: object) -> None:
    hook = CozeHook()
    run = hook.run_workflow(workflow_id=ASKING_WORKFLOW, parameters={}, is_async=True)
    hook_calls.answer_question(ASKING_WORKFLOW, run.execute_id, "Hangzhou")
    ended = hook.run_history(workflow_id=ASKING_WORKFLOW, execute_id=run.execute_id)
    assert (ended.execute_status, "Hangzhou" in (ended.output or "")) == ("Success", True)


@pytest.mark.airflow
@pytest.mark.timeout(600)
def test_the_project_of_the_offline_page_passes(tmp_path: Path) -> None:
    project = Path(shutil.copytree(SNIPPETS / "offline", tmp_path / "project"))
    (project / "pytest.ini").write_text("[pytest]\npythonpath = . dags\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=project,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def _environment() -> dict[str, str]:
    """Return this process's environment without what the tests' own Airflow is told."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTEST_"))}
