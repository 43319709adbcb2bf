"""The end of a batch: each row once, in files that are whole, and a manifest that says where."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.batch import files, manifest
from airflow_provider_coze.batch.manifest import Manifest, finish
from airflow_provider_coze.batch.owner import claim
from airflow_provider_coze.batch.results import RESULT_PREFIX, RowResult
from airflow_provider_coze.batch.rows import BadRow, read_rows
from airflow_provider_coze.errors import CozeStateError
from tests.batch.keeping import Clock, Shelf, failed_row, good_row, journal, lines_of

pytestmark = pytest.mark.filterwarnings("ignore:UPath 'shelf'")  # Airflow has not heard of it


@pytest.fixture(autouse=True)
def _an_empty_shelf() -> Iterator[None]:
    Shelf.emptied()
    yield
    Shelf.emptied()


@pytest.fixture(params=["local", "shelf"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "batch") if request.param == "local" else "shelf://bucket/results/batch"


def batch(folder: str, *rows: RowResult, count: int | None = None, attempt: str = "1", **options: Any) -> Manifest:
    """Have an attempt note rows, and finish."""

    async def noted() -> Any:
        async with journal(folder, attempt, Clock()) as kept:
            for row in rows:
                kept.result(row)
        return kept.claim

    mine = asyncio.run(noted())
    return finish(
        mine,
        batch_id="b1",
        attempt=attempt,
        request_count=len(rows) if count is None else count,
        now=2_000.0,
        **options,
    )


def lines_at(uri: str | None) -> list[Any]:
    assert uri is not None
    found: list[Any] = []
    for place in files.list_files(uri):
        with files.open_read(place) as file:
            found += lines_of(file.read())
    return found


def indexes_at(uri: str | None) -> list[int]:
    return [row["index"] for row in lines_at(uri)]


def shuffled(count: int) -> list[int]:
    return random.Random(7).sample(range(count), count)  # noqa: S311 - an order, no secret


def test_a_batch_that_went_well_has_one_file_and_a_small_manifest(folder: str) -> None:
    made = batch(folder, good_row(1, {"a": "b"}), good_row(0, ["c"]))
    assert made.to_dict() == {
        "schema_version": 1,
        "batch_id": "b1",
        "attempt": "1",
        "result_uri": f"{folder}/results-1-00000.jsonl",
        "failed_uri": None,
        "result_parts": 1,
        "failed_parts": 0,
        "request_count": 2,
        "counts": {
            "succeeded": 2,
            "errored": 0,
            "invalid_output": 0,
            "expired": 0,
            "cancelled": 0,
            "unknown": 0,
            "missing": 0,
        },
        "usage": {"token_count": 6, "input_count": 4, "output_count": 2},
        "ordered": False,
        "rejoin_key": "index",
        "terminal_reason": "succeeded",
        "submitted_at": "1970-01-01T00:16:40+00:00",
        "completed_at": "1970-01-01T00:33:20+00:00",
        "seconds": 1000.0,
    }
    assert lines_at(made.result_uri) == [
        json.loads(good_row(n, out).to_line()) for n, out in ((1, {"a": "b"}), (0, ["c"]))
    ]
    assert lines_at(f"{folder}/manifest.json") == [made.to_dict()]


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_are_in_the_order_of_the_input_or_of_their_completion(folder: str, ordered: bool) -> None:
    order = shuffled(100)
    made = batch(folder, *(good_row(n) for n in order), ordered=ordered)
    assert indexes_at(made.result_uri) == (sorted(order) if ordered else order)
    assert made.ordered is ordered


def test_what_failed_can_be_the_input_of_another_batch(folder: str) -> None:
    value = {"text": "好", "n": 1}
    made = batch(folder, good_row(4), failed_row(17, value=value), failed_row(2, "CozeOutcomeUnknownError", value="x"))
    assert [(row.index, row.value) for row in read_rows(made.failed_uri)] == [(17, value), (2, "x")]
    assert (made.terminal_reason, made.counts["errored"], made.counts["unknown"]) == ("partial", 1, 1)
    assert indexes_at(made.result_uri) == [4, 17, 2]
    assert all("input" not in row for row in lines_at(made.result_uri))


def test_a_row_that_nobody_could_read_stays_one_when_it_is_asked_again(folder: str) -> None:
    made = batch(folder, failed_row(5, "BadRow", value=None))
    assert all(isinstance(row, BadRow) and row.index == 5 for row in read_rows(made.failed_uri))


def test_a_later_output_takes_the_place_of_an_earlier_failure(folder: str) -> None:
    first = batch(folder, good_row(0), failed_row(1))
    assert first.failed_uri is not None
    second = batch(folder, good_row(1, "at last"), count=2, attempt="2", ordered=True)
    assert [row["output"] for row in lines_at(second.result_uri)] == ["yes", "at last"]
    assert (second.failed_uri, second.counts["succeeded"], second.usage.token_count) == (None, 2, 6)
    assert second.terminal_reason == "succeeded"


def test_files_of_an_earlier_manifest_go_when_the_new_one_is_there(folder: str) -> None:
    first = batch(folder, failed_row(0))
    second = batch(folder, good_row(0), attempt="2")
    left = sorted(place.rpartition("/")[2] for place in files.list_files(folder))
    assert left == ["manifest.json", "results-2-00000.jsonl"]
    assert first.result_uri != second.result_uri


def test_whoever_dies_while_it_writes_leaves_the_earlier_manifest_and_all_that_it_names(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = batch(folder, good_row(0), failed_row(1))
    plain = files.write_whole
    for dies_at in range(3):
        writes = itertools.count()

        def dying(uri: str, data: bytes, writes: Iterator[int] = writes, dies_at: int = dies_at) -> None:
            if "_journal" not in uri and next(writes) == dies_at:
                raise CozeStateError("The disk is full.")
            plain(uri, data)

        monkeypatch.setattr(files, "write_whole", dying)
        with pytest.raises(CozeStateError, match="The disk is full"):
            batch(folder, good_row(2), count=3, attempt=f"{dies_at}")
        monkeypatch.setattr(files, "write_whole", plain)
        assert lines_at(f"{folder}/manifest.json") == [first.to_dict()]
        assert indexes_at(first.result_uri) == [0, 1]
        assert indexes_at(first.failed_uri) == [1]
    last = batch(folder, good_row(1), count=3, attempt="9", ordered=True)
    assert indexes_at(last.result_uri) == [0, 1, 2]
    assert [place for place in files.list_files(folder) if "-1-" in place] == []


def test_many_rows_are_in_parts_that_follow_one_another(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_PART_ROWS", 10)
    rows = [failed_row(n) if n % 4 == 0 else good_row(n) for n in range(45)]
    made = batch(folder, *rows, ordered=True)
    assert made.result_uri == f"{folder}/results-1-*.jsonl"
    assert made.failed_uri == f"{folder}/failed-1-*.jsonl"
    assert (made.result_parts, made.failed_parts) == (5, 2)
    assert indexes_at(made.result_uri) == list(range(45))
    assert indexes_at(made.failed_uri) == list(range(0, 45, 4))
    assert {len(lines_at(place)) for place in files.list_files(made.result_uri)} == {10, 5}
    assert len(list(read_rows(made.failed_uri))) == 12


def test_a_part_ends_before_it_is_too_large_for_memory(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_MAX_PART_BYTES", 1_000)
    made = batch(folder, *(good_row(n, "x" * 300) for n in range(6)), good_row(6, "x" * 3_000))
    sizes = [len(lines_at(place)) for place in files.list_files(made.result_uri)]
    assert sizes == [2, 2, 2, 1]


def test_a_batch_without_outcomes_has_a_file_without_rows(folder: str) -> None:
    made = batch(folder, count=3, terminal_reason="timeout")
    assert lines_at(made.result_uri) == []
    assert (made.counts["missing"], made.terminal_reason, made.failed_uri) == (3, "timeout", None)
    assert sum(made.counts.values()) == made.request_count


def test_outcomes_of_another_input_are_left_out(folder: str) -> None:
    rows = [good_row(0), good_row(1, input_hash="old"), failed_row(9)]
    made = batch(folder, *rows, count=2, belongs=lambda known: known.index < 2 and known.input_hash == "h")
    assert indexes_at(made.result_uri) == [0]
    assert (made.counts["missing"], made.failed_uri) == (1, None)


def test_an_attempt_that_was_taken_over_publishes_nothing(folder: str) -> None:
    async def noted() -> Any:
        async with journal(folder, "1", Clock()) as kept:
            kept.result(good_row(0))
        return kept.claim

    old = asyncio.run(noted())
    claim(folder, "2", lease=1.0, now=1.0)
    with pytest.raises(CozeStateError, match="has taken over"):
        finish(old, batch_id="b1", attempt="1", request_count=1, now=1.0)
    assert not files.exists(files.joined(folder, "manifest.json"))


def test_what_cannot_be_tidied_up_is_in_nobodys_way(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(folder, good_row(0))

    def stuck(uri: str) -> None:
        raise CozeStateError("It cannot be removed.")

    monkeypatch.setattr(files, "remove", stuck)
    made = batch(folder, good_row(1), count=2, attempt="2")
    assert indexes_at(made.result_uri) == [0, 1]


@pytest.mark.matrix
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("is_local", [True, False], ids=["local", "shelf"])
def test_50_000_rows_of_2_kilobytes_are_written_in_bounded_memory(
    tmp_path: Path, ordered: bool, is_local: bool
) -> None:
    folder = str(tmp_path) if is_local else "shelf://bucket/large"
    mine = claim(folder, "1", lease=1.0, now=1.0)
    order = shuffled(50_000)
    rows = [failed_row(n, value="x" * 2_000) if n % 10 == 0 else good_row(n, "x" * 2_000) for n in order]
    lines = (RESULT_PREFIX + row.to_line()[1:] + b"\n" for row in rows)
    for number, chunk in enumerate(iter(lambda: b"".join(itertools.islice(lines, 2_000)), b"")):
        name = files.joined(folder, "_journal", f"{mine.name}-{number:05d}.jsonl")
        files.write_whole(name, b'{"t":"segment","version":1,"at":1.0}\n' + chunk)
    rows.clear()
    tracemalloc.start()
    made = finish(mine, batch_id="b", attempt="1", request_count=50_000, now=2.0, ordered=ordered)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stored = 0 if is_local else 2 * 130e6  # the results, which the store itself has in this memory
    assert peak < 100e6 + stored
    assert (made.result_parts, made.counts["errored"]) == (5, 5_000)
    assert indexes_at(made.result_uri) == (sorted(order) if ordered else order)
