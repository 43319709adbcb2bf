"""A stage for batches without Airflow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.batch.stage import Stage, without_threads


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(asyncio, "to_thread", without_threads)
    return Stage(tmp_path)
