"""A line that is added while a flush goes on stays whole."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from airflow_provider_coze.batch.owner import claim
from airflow_provider_coze.batch.segments import at_hand
from airflow_provider_coze.batch.writers import AppendingWriter


@pytest.fixture
def hurried_threads() -> object:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield None
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried_threads")
def test_no_line_is_cut_off_by_a_flush_in_another_thread(tmp_path: Path) -> None:
    writer = AppendingWriter(claim(str(tmp_path), "1", lease=1, now=0.0), 0.0)
    writer.flush()
    over = threading.Event()

    def flush_without_end() -> None:
        while not over.is_set():
            writer.flush()

    flushing = threading.Thread(target=flush_without_end)
    flushing.start()
    lines = [b'{"t":"note","facts":{"n":%d}}' % number for number in range(3_000)]
    try:
        for line in lines:
            writer.add(line)
    finally:
        over.set()
        flushing.join()
    writer.seal()
    writer.flush()
    writer.close()

    with at_hand(str(tmp_path)) as segments:
        assert [line.strip() for _, line in segments.lines()] == lines
