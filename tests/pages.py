"""The code of the documentation, run on any Airflow."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from tests import needs

SNIPPETS = Path(__file__).parents[1] / "docs" / "snippets"


def run_page(path: Path) -> dict[str, Any]:
    """Return what a file of ``docs/snippets`` has made.

    Pages import from ``airflow.sdk`` and say that Airflow 2.11 has the same names elsewhere: there they are taken from where it has them.
    """
    if needs.TASK_SDK.has():
        return runpy.run_path(str(path))
    names = importlib.import_module("airflow.providers.common.compat.sdk")
    with mock.patch.dict(sys.modules, {"airflow.sdk": names}):
        return runpy.run_path(str(path))
