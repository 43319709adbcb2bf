"""``make demo``, as a visitor would run it."""

from __future__ import annotations

import re
import subprocess
import sys

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
