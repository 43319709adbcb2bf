"""The fixtures of ``tests.tasks``, and a way to run a command as a shell does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from airflow_provider_coze.cli.__main__ import main
from tests import tasks

coze_site, coze, studio = tasks.coze_site, tasks.coze, tasks.studio


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")  # restored afterwards: a command sets it for its process

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run
