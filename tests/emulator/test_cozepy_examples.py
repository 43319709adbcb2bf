"""The official client's own examples, where a checkout of it is at hand; ``test_cozepy`` has their calls in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.server import Server, serve
from tests.emulator import cozepy_examples
from tests.emulator.cozepy_examples import EXAMPLES, Example

CHECKOUT = os.environ.get("COZE_PY_EXAMPLES", "")


@pytest.fixture
def server() -> Iterator[Server]:
    emulator = Emulator()
    cozepy_examples.world(emulator)
    with serve(emulator) as server:
        yield server


@pytest.mark.skipif(not CHECKOUT, reason="COZE_PY_EXAMPLES names no checkout of github.com/coze-dev/coze-py")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_of_the_official_client_prints_what_it_would_with_coze(
    example: Example, server: Server, tmp_path: Path
) -> None:
    image = tmp_path / "picture.png"
    image.write_bytes(b"png")
    right, printed = cozepy_examples.ran(example, Path(CHECKOUT), server, image)
    assert right, printed
