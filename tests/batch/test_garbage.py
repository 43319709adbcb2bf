"""A batch has garbage looked for less often, and leaves Python as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from airflow_provider_coze.batch.garbage import fewer_collections


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*before)


def test_within_the_block_old_objects_are_left_out_and_young_ones_are_looked_at_less_often() -> None:
    before = gc.get_threshold()
    with fewer_collections():
        assert gc.get_freeze_count() > 1_000
        assert gc.get_threshold() == (10_000, *before[1:])
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_after_an_error_all_is_as_before() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError), fewer_collections():
        raise RuntimeError
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, before)


def test_what_somebody_else_has_frozen_stays_frozen() -> None:
    gc.freeze()
    with fewer_collections():
        assert gc.get_threshold()[0] < 10_000
    assert gc.get_freeze_count() > 0


def test_a_collector_that_is_off_stays_off_and_one_that_looks_seldom_is_not_hurried() -> None:
    gc.disable()
    with fewer_collections():
        assert gc.get_freeze_count() == 0
    assert not gc.isenabled()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)
    with fewer_collections():
        assert gc.get_threshold() == (50_000, 20, 20)


def test_cycles_made_within_the_block_are_still_collected() -> None:
    class Node:
        alive = 0

        def __init__(self) -> None:
            self.me = self
            Node.alive += 1

        def __del__(self) -> None:
            Node.alive -= 1

    with fewer_collections():
        for _ in range(25_000):
            Node()
        assert Node.alive < 15_000
