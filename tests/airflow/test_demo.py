"""``make demo``, as a visitor would run it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.env.bootstrap import ROOT

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]


def test_the_demo_prints_both_answers_and_shows_that_both_tasks_deferred() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.airflow.demo"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1409778724" in done.stdout
    assert "Guangdong, 广东" in done.stdout
    for task in ("ask_bot", "run_workflow"):
        assert f"{task}: deferred" in done.stdout
        # task, state, tries, seconds taken, seconds deferred
        assert re.search(rf"^{task} +success +1 +\d+ s +[1-9]\d* s", done.stdout, re.MULTILINE)
    assert "1 chat, 1 workflow run" in done.stdout
    assert done.stdout.rstrip().endswith("Done; everything is stopped")


def test_the_dag_of_the_readme_runs_on_its_schedule_in_the_demo_that_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "coze-dags"
    folder.mkdir()
    shutil.copy2(ROOT / "docs" / "snippets" / "first_dag.py", folder / "ask_coze.py")
    command = [sys.executable, "-u", "-m", "tests.airflow.demo", "--dags", str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    ) as demo:
        assert demo.stdout
        said = []
        try:
            for line in demo.stdout:
                said.append(line)
                if found := re.search(r"ask_coze scheduled__\S+: (success|failed)", line):
                    break
            else:
                pytest.fail("".join(said))
        finally:
            demo.send_signal(signal.SIGINT)
            said += demo.stdout
    text = "".join(said)
    assert found[1] == "success", text
    assert f"DAGs: {folder}" in text
    assert text.rstrip().endswith("Done; everything is stopped")
    assert demo.returncode == 0
    assert (folder / "ask_coze.py").exists()


def test_a_folder_that_does_not_exist_is_said_before_anything_is_started(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.airflow.demo", "--dags", str(tmp_path / "none")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"There is no folder {tmp_path / 'none'}" in done.stderr
    assert "Starting" not in done.stdout
