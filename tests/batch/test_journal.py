"""What a batch notes down of what it buys: before it buys, in one form wherever that is kept, and by one attempt at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.past import OpenSubmission, Past, read_past
from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.protocol.models import Usage
from tests.batch.keeping import Clock, Shelf, failed_row, good_row, journal

pytestmark = pytest.mark.filterwarnings("ignore:UPath 'shelf'")  # Airflow has not heard of it
IDS = {"chat_id": "2", "conversation_id": "1"}


@pytest.fixture(autouse=True)
def _an_empty_shelf() -> Iterator[None]:
    Shelf.emptied()
    yield
    Shelf.emptied()


@pytest.fixture(params=["local", "shelf"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every test using this runs where files grow and where they do not. No test may ask which."""
    return str(tmp_path / "batch") if request.param == "local" else SHELF


SHELF = "shelf://bucket/results/batch"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def intended(kept: Any, *rows: int, marker: str = "m", **more: Any) -> asyncio.Task[None]:
    return asyncio.ensure_future(kept.intended(list(rows), marker=marker, hash="h", at=5.0, **more))


def past_of(folder: str) -> Past:
    return read_past(folder)


# --- what is noted is read


async def test_what_one_attempt_noted_the_next_one_reads(folder: str, clock: Clock) -> None:
    async with journal(folder, clock=clock) as kept:
        await clock.until(asyncio.gather(*(intended(kept, n, marker=f"m{n}") for n in range(6))))
        for n in range(1, 6):
            kept.bought(f"m{n}", ids={**IDS, "debug_url": None}, at=6.0)
        kept.result(good_row(1))
        kept.result(failed_row(2))
        kept.nothing("m3")
        kept.over("m4", Usage(10, 6, 4))
        kept.note(shown=True, of={"bot": "1"})
        kept.ended("timeout")
    past = past_of(folder)
    assert [past.tries(n) for n in range(7)] == [1, 1, 1, 0, 1, 1, 0]
    assert past.open == [OpenSubmission("m0", (0,), "h", 5.0), OpenSubmission("m5", (5,), "h", 6.0, None, IDS)]
    known = {known.index: (known.bucket, known.code, known.input_hash) for known in past.results()}
    assert known == {1: ("succeeded", None, "h"), 2: ("errored", 5000, "h")}
    assert (past.usage, past.ended, past.attempts) == (Usage(13, 8, 5), "timeout", 1)
    assert past.notes == {"shown": True, "of": {"bot": "1"}}
    assert past.started_at is not None


async def test_the_conversation_that_was_made_for_a_chat_is_known_before_the_chat(folder: str, clock: Clock) -> None:
    async with journal(folder, clock=clock) as kept:
        await clock.until(intended(kept, 1, 2, conversation_id="77"))
    assert past_of(folder).open == [OpenSubmission("m", (1, 2), "h", 5.0, "77")]


async def test_a_batch_that_nobody_began_has_no_past(folder: str) -> None:
    past = past_of(folder)
    assert (len(past), past.open, past.started_at, past.attempts) == (0, [], None, 0)


async def test_an_intent_that_is_given_up_before_it_is_durable_bought_nothing(clock: Clock) -> None:
    async with journal(SHELF, clock=clock) as kept:
        waiting = intended(kept, 1)
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    past = past_of(SHELF)
    assert (past.open, past.tries(1)) == ([], 0)


# --- where files grow


async def test_a_local_file_has_every_event_before_the_next_step(tmp_path: Path, clock: Clock) -> None:
    async with journal(str(tmp_path), clock=clock) as kept:
        await intended(kept, 1)
        assert past_of(str(tmp_path)).open[0].ids == {}
        kept.bought("m", ids=IDS, at=6.0)
        assert past_of(str(tmp_path)).open[0].ids == IDS
        kept.result(good_row(1))
        assert past_of(str(tmp_path)).open == []


KILLED = """
import asyncio, os, signal, sys, time
from airflow_provider_coze.batch.journal import Journal
from tests.batch.keeping import good_row
async def main():
    kept = await Journal(sys.argv[1], "1", clock=time.time, commit_seconds=3600).__aenter__()
    for n in range(50):
        await kept.intended([n], marker=f"m{n}", hash="h", at=1.0)
        kept.bought(f"m{n}", ids={"execute_id": str(n)}, at=1.0)
        if n % 2:
            kept.result(good_row(n))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.matrix
def test_a_process_that_is_killed_leaves_everything_that_it_noted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2], env={**os.environ}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    past = past_of(str(tmp_path))
    assert {known.index for known in past.results()} == set(range(1, 50, 2))
    assert {found.rows[0]: dict(found.ids) for found in past.open} == {
        n: {"execute_id": str(n)} for n in range(0, 50, 2)
    }


class Narrow:
    """A file on a disk with so many bytes left."""

    def __init__(self, file: Any, room: list[int]) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        if self._room[0] <= 0:
            raise OSError(28, "No space left on device")
        taken = min(len(data), self._room[0])
        self._room[0] -= taken
        self._file.write(bytes(data[:taken]))
        return taken

    def fileno(self) -> int:
        return int(self._file.fileno())

    def close(self) -> None:
        self._file.close()


@pytest.mark.parametrize("cuts", [True, False], ids=["mended", "begun_anew"])
async def test_a_line_that_was_written_in_half_is_written_again_and_counts_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, cuts: bool
) -> None:
    plain = files.append_open
    room = [10**6]
    monkeypatch.setattr(files, "append_open", lambda uri: Narrow(plain(uri), room))
    if not cuts:

        def stuck(fd: int, size: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "ftruncate", stuck)
    kept = await journal(str(tmp_path), clock=clock).__aenter__()
    await intended(kept, 1, 2)
    kept.result(good_row(1))
    room[0] = 40
    kept.result(good_row(2, "the half of it"))
    kept.result(good_row(3))
    assert [known.index for known in past_of(str(tmp_path)).results()] == [1]
    room[0] = 2 * 10**6
    await kept.commit()
    kept.result(good_row(4))
    past = past_of(str(tmp_path))
    assert sorted(known.index for known in past.results()) == [1, 2, 3, 4]
    assert past.usage == Usage(12, 8, 4)
    assert kept.trouble is None
    await kept.close()
    assert len([name for name in _names(str(tmp_path)) if name.endswith(".jsonl")]) == (1 if cuts else 2)


async def test_a_full_disk_stops_the_buying_and_leaves_what_is_known(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = files.append_open
    room = [10**6]
    monkeypatch.setattr(files, "append_open", lambda uri: Narrow(plain(uri), room))
    kept = await journal(str(tmp_path), clock=clock).__aenter__()
    await intended(kept, 1)
    room[0] = 0
    task = intended(kept, 2, marker="m2")
    await clock.until(task)
    with pytest.raises(CozeStateError, match=r"could not be written \(OSError\).*nothing more is bought"):
        task.result()
    closing = asyncio.ensure_future(kept.close())
    await clock.until(closing)
    with pytest.raises(CozeStateError):
        closing.result()
    assert [found.marker for found in past_of(str(tmp_path)).open] == ["m"]


# --- where they do not


async def test_many_intents_share_one_object(clock: Clock) -> None:
    async with journal(SHELF, clock=clock, commit_seconds=2.0) as kept:
        tasks = [intended(kept, n, marker=f"m{n}") for n in range(200)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        clock.tick(2.0)
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert len(Shelf.segments()) == 1
        assert len(past_of(SHELF).open) == 200


async def test_nothing_is_put_while_there_is_nothing_to_say(clock: Clock) -> None:
    async with journal(SHELF, clock=clock) as kept:
        for _ in range(5):
            await kept.commit()
        assert Shelf.puts == ["owner.json"]
        kept.note(shown=False)
    assert len(Shelf.segments()) == 1


async def test_results_of_megabytes_are_put_in_parts(clock: Clock) -> None:
    async with journal(SHELF, clock=clock) as kept:
        for n in range(5):
            kept.result(good_row(n, "x" * 2**21))
    assert len(Shelf.segments()) == 5
    assert len(past_of(SHELF)) == 5


@pytest.mark.parametrize("lands", [False, True], ids=["not_carried_out", "carried_out"])
async def test_a_commit_that_fails_is_made_again_and_counts_once(clock: Clock, lands: bool) -> None:
    async with journal(SHELF, clock=clock) as kept:
        Shelf.failures, Shelf.lands = 2, lands
        await clock.until(intended(kept, 1))
        kept.result(good_row(1))
    assert len(Shelf.segments()) == len(set(Shelf.segments()))
    past = past_of(SHELF)
    assert (past.tries(1), past.usage, past.open) == (1, Usage(3, 2, 1), [])


async def test_a_store_that_keeps_failing_stops_the_buying_and_is_tried_on_for_what_is_running(clock: Clock) -> None:
    async with journal(SHELF, clock=clock) as kept:
        await clock.until(intended(kept, 1))
        Shelf.failures = 8
        task = intended(kept, 2, marker="m2")
        await clock.until(task)
        with pytest.raises(CozeStateError) as caught:
            task.result()
        assert "s3cret" not in str(caught.value)
        assert str(kept.trouble) == str(caught.value)
        kept.result(good_row(1))
        while Shelf.failures:
            clock.tick(2.0)
            await asyncio.sleep(0.001)
        with pytest.raises(
            CozeStateError
        ):  # nothing was bought meanwhile, and nothing is bought on the strength of one good moment
            await kept.intended([3], marker="m3", hash="h", at=5.0)
    past = past_of(SHELF)
    assert (len(past), past.open, past.tries(2)) == (1, [], 0)


async def test_a_journal_that_cannot_be_written_at_all_is_an_error_before_the_first_row(clock: Clock) -> None:
    Shelf.failures = 99
    opening = asyncio.ensure_future(journal(SHELF, clock=clock).__aenter__())
    await clock.until(opening)
    with pytest.raises(CozeStateError, match="could not be written"):
        opening.result()


async def test_an_error_of_the_batch_is_not_hidden_by_one_of_its_journal(clock: Clock) -> None:
    async def batch() -> None:
        async with journal(SHELF, clock=clock) as kept:
            kept.result(good_row(1))
            Shelf.failures = 99
            raise ZeroDivisionError

    task = asyncio.ensure_future(batch())
    await clock.until(task)
    with pytest.raises(ZeroDivisionError):
        task.result()


# --- one attempt at a time


async def test_an_attempt_that_was_taken_over_buys_nothing_more_and_still_tells_what_it_collects(
    folder: str, clock: Clock
) -> None:
    old = await journal(folder, "1", clock).__aenter__()
    await clock.until(intended(old, 1))
    opening = asyncio.ensure_future(journal(folder, "2", clock).__aenter__())
    await clock.until(opening)
    new = opening.result()
    task = intended(old, 2, marker="m2")
    await clock.until(task)
    with pytest.raises(CozeStateError, match="has taken over"):
        task.result()
    await clock.until(intended(new, 3, marker="m3"))
    old.bought("m", ids=IDS, at=6.0)
    old.result(good_row(1))
    await old.close()
    assert new.trouble is None
    await new.close()
    past = past_of(folder)
    assert ([found.marker for found in past.open], len(past), past.tries(2)) == (["m3"], 1, 0)


async def test_the_next_attempt_reads_only_when_the_one_before_can_buy_no_more(folder: str, clock: Clock) -> None:
    old = await journal(folder, "1", clock, commit_seconds=2.0).__aenter__()
    clock.slept.clear()
    opening = asyncio.ensure_future(journal(folder, "2", clock).__aenter__())
    sent: set[str] = set()

    async def send(marker: str) -> None:
        with contextlib.suppress(CozeStateError):
            await old.intended([len(sent)], marker=marker, hash="h", at=5.0)
            sent.add(marker)

    sending = []
    while not opening.done():
        clock.tick(0.5)
        sending.append(asyncio.ensure_future(send(f"m{clock.now}")))
        await asyncio.wait([opening], timeout=0.005)
    await opening
    known = {found.marker for found in past_of(folder).open}
    assert 6.0 in clock.slept  # three commits of the attempt before
    sending += [asyncio.ensure_future(send(f"late{n}")) for n in range(3)]
    await clock.until(asyncio.gather(*sending))
    assert sent <= known
    await old.close()
    await opening.result().close()


async def test_the_next_attempt_waits_for_nobody_who_said_good_bye(folder: str, clock: Clock) -> None:
    async with journal(folder, "1", clock):
        pass
    before = clock.now
    async with journal(folder, "2", clock) as kept:
        assert clock.now == before
        assert kept.claim.generation == 2


async def test_an_attempt_that_stood_still_looks_before_it_buys(folder: str, clock: Clock) -> None:
    """As when the machine was suspended: no commit has told it that another one came."""
    old = await journal(folder, "1", clock, commit_seconds=1_000_000.0).__aenter__()
    assert old.claim.lease == 3_000_000.0
    opening = asyncio.ensure_future(journal(folder, "2", clock).__aenter__())
    while not opening.done():
        clock.now += 2_000_000.0  # only the wait of the new one is over
        clock.tick(0.0)
        await asyncio.wait([opening], timeout=0.005)
    task = intended(old, 1)
    await clock.until(task)
    assert "has taken over" in str(task.exception())
    await old.close()
    await opening.result().close()


async def test_attempts_that_are_called_alike_do_not_write_the_same_files(folder: str, clock: Clock) -> None:
    old = await journal(folder, "try/1", clock).__aenter__()
    opening = asyncio.ensure_future(journal(folder, "try/1", clock).__aenter__())
    await clock.until(opening)
    old.result(good_row(1))
    opening.result().result(good_row(2))
    await old.close()
    await opening.result().close()
    past = past_of(folder)
    assert (len(past), past.attempts) == (2, 2)


# --- what cannot be read


def _names(folder: str) -> list[str]:
    return files.list_files(files.joined(folder, "_journal"))


async def test_a_journal_of_another_version_is_told_of(folder: str, clock: Clock) -> None:
    async with journal(folder, clock=clock) as kept:
        kept.result(good_row(1))
    segment, owner_file = _names(folder)[0], _names(folder)[-1]
    with files.open_read(segment) as file:
        content = file.read()
    files.write_whole(segment, content.replace(b'"version":1', b'"version":2'))
    with pytest.raises(CozeStateError, match="is of version 2, where 1 is known"):
        past_of(folder)
    files.write_whole(owner_file, b'{"version":3}')
    with pytest.raises(CozeStateError, match="is of version 3, where 1 is known"):
        await journal(folder, clock=clock).__aenter__()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"result"',
        b"\xff\xfe",
        b'{"t":"more"}',
        b'{"t":"intent","rows":[],"marker":"m","hash":"h","at":1}',
        b'{"t":"intent","rows":["1"],"marker":"m","hash":"h","at":1}',
        b'{"t":"intent","rows":[1],"marker":null,"hash":"h","at":1}',
        b'{"t":"bought","marker":"m","ids":{"chat_id":7},"at":1}',
        b'{"t":"over","marker":"m","usage":{}}',
        b'{"t":"result","index":"1","input_hash":"h","error":null,"usage":null}',
        b'{"t":"result","index":1,"input_hash":"h","error":{},"usage":null}',
        b'{"t":"result","index":1,"input_hash":"h","error":null,"usage":{"token_count":1e999}}',
        b'{"t":"note","facts":"s3cret"}',
        b'{"t":"ended"}',
        b"[" * 100_000,
    ],
)
async def test_a_line_that_is_no_event_is_an_error_and_is_not_quoted(tmp_path: Path, clock: Clock, line: bytes) -> None:
    folder = str(tmp_path)
    async with journal(folder, clock=clock) as kept:
        kept.result(good_row(1))
    segment = _names(folder)[0]
    with files.open_read(segment) as file:
        content = file.read()
    files.write_whole(segment, content + line + b"\n")
    with pytest.raises(CozeStateError, match=rf"no event, in .* at byte {len(content)}. Nothing was sent") as caught:
        past_of(folder)
    assert "s3cret" not in str(caught.value)
    files.write_whole(segment, content + line)  # its writer was killed before the end of the line
    assert len(past_of(folder)) == 1


async def test_a_segment_that_is_missing_is_an_error(clock: Clock) -> None:
    async with journal(SHELF, clock=clock) as kept:
        for n in range(3):
            kept.result(good_row(n))
            await kept.commit()
    first, middle, *_ = _names(SHELF)
    files.remove(middle)
    with pytest.raises(CozeStateError, match=r"no segment 1 of 00001-1\."):
        past_of(SHELF)
    files.remove(first)
    with pytest.raises(CozeStateError, match=r"no segment 0 of 00001-1\."):
        past_of(SHELF)


async def test_a_file_that_is_no_segment_at_all_is_an_error(tmp_path: Path, clock: Clock) -> None:
    async with journal(str(tmp_path), clock=clock):
        pass
    files.write_whole(_names(str(tmp_path))[0], b'{"t":"result"}\n')
    with pytest.raises(CozeStateError, match="a first line of"):
        past_of(str(tmp_path))


async def test_whoever_loses_the_file_that_names_the_owner_buys_nothing_more(folder: str, clock: Clock) -> None:
    kept = await journal(folder, clock=clock).__aenter__()
    files.remove(files.joined(folder, "_journal", "owner.json"))
    clock.tick(100.0)
    task = intended(kept, 1)
    await clock.until(task)
    assert "is gone" in str(task.exception())
    await kept.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1}', b'{"version":1,"generation":"1"}'])
async def test_a_file_that_names_no_owner_is_an_error_and_not_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "_journal").mkdir()
    (tmp_path / "_journal" / "owner.json").write_bytes(content)
    with pytest.raises(CozeStateError):
        await journal(str(tmp_path)).__aenter__()


async def test_a_journal_without_its_owner_goes_on_after_the_newest_attempt(folder: str, clock: Clock) -> None:
    for attempt in ("1", "2"):
        async with journal(folder, attempt, clock) as kept:
            kept.result(good_row(int(attempt)))
    files.remove(files.joined(folder, "_journal", "owner.json"))
    opening = asyncio.ensure_future(journal(folder, "3", clock).__aenter__())
    await clock.until(opening)
    assert opening.result().claim.generation == 3
    await opening.result().close()
    assert len(past_of(folder)) == 2
