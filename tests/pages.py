"""The code of the documentation, run on any Airflow."""

from __future__ import annotations

import re
import runpy
import tempfile
from pathlib import Path
from typing import Any

from tests import needs

SNIPPETS = Path(__file__).parents[1] / "docs" / "snippets"

_OF_AIRFLOW_2 = r"""import datetime, functools
from airflow.providers.common.compat.sdk import \1
DAG = functools.partial(DAG, start_date=datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC))
"""


def run_page(path: Path) -> dict[str, Any]:
    """Return what a file of ``docs/snippets`` has made.

    Pages import from ``airflow.sdk``. Airflow 2.11 has the same names elsewhere, and wants every DAG that is scheduled to have a start:
    docs/reference/compatibility.md says so, and here it is done.
    """
    if needs.TASK_SDK.has():
        return runpy.run_path(str(path))
    text = re.sub(
        r"^from airflow\.sdk import (.*)$", _OF_AIRFLOW_2, path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / path.name
        changed.write_text(text, encoding="utf-8")
        return runpy.run_path(str(changed))
