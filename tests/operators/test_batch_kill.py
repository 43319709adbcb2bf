"""A batch whose process is killed at any line of its journal, and the try after it: every row is right, and is paid for once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.batch import owner
from airflow_provider_coze.batch.writers import AppendingWriter
from airflow_provider_coze.emulator.definitions import Bot, Failure, Seconds, Turn
from airflow_provider_coze.transports.aio import AioTransport
from tests.operators.batching import Batches
from tests.tasks import Coze

pytestmark = pytest.mark.matrix

ROWS = ["a", "b", "fails once", "c"]


class Killed(SystemExit):
    """The end of a process: nothing of it happens any more."""


class Life:
    """A process that ends at a line of its journal: before it is written, or right after that.

    :ivar lines: how many it has written.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines = 0
        self.is_over = False
        self._end: tuple[int, bool] | None = None
        add, leave, send = AppendingWriter.add, owner.leave, AioTransport.send

        def noted(writer: AppendingWriter, line: bytes) -> bool:
            if self.is_over:
                return True
            self.lines += 1
            is_last = self._end is not None and self.lines == self._end[0]
            if is_last and self._end is not None and not self._end[1]:
                self._dies()
            done = add(writer, line)
            if is_last:
                self._dies()
            return done

        async def sent(transport: AioTransport, request: Any) -> Any:
            if self.is_over:
                raise asyncio.CancelledError
            return await send(transport, request)

        monkeypatch.setattr(AppendingWriter, "add", noted)
        monkeypatch.setattr(AioTransport, "send", sent)
        monkeypatch.setattr(owner, "leave", lambda claim: None if self.is_over else leave(claim))

    @contextlib.contextmanager
    def until(self, line: int, *, is_written: bool) -> Iterator[None]:
        """Live until a line; a batch that has fewer is not killed."""
        self.lines, self.is_over, self._end = 0, False, (line, is_written)
        try:
            yield
        except Killed:
            assert self.is_over
        finally:
            self.is_over, self._end = False, None

    def _dies(self) -> None:
        self.is_over = True
        raise Killed


@pytest.fixture(params=["plain", "deferred"])
def batches(request: pytest.FixtureRequest, coze: Coze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    return Batches(coze, tmp_path / "results", monkeypatch, defers=request.param == "deferred")


@pytest.fixture
def life(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(monkeypatch)


def moody(coze: Coze) -> Bot:
    """A bot that fails the first time it is asked what is to fail once."""
    failed = itertools.count()

    def said(turn: Turn) -> str:
        if "once" in turn and next(failed) == 0:
            raise Failure(5000, "the bot's own trouble")
        return f"You said: {turn}"

    return coze.emulator.add_bot(name="moody", answer=said, duration=Seconds(3))


def every_line(batches: Batches, life: Life) -> Iterator[int]:
    """Yield the number of every line of a batch's journal, each for a Coze and a folder of their own."""
    base = batches.folder
    for line in itertools.count(1):
        batches.coze.fresh()
        batches.folder = base / str(line)
        yield line
        if life.lines < line:  # the try that was to be killed there had no such line
            assert line > 12
            return


@pytest.mark.parametrize("is_written", [False, True], ids=["before it is written", "after"])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_chat_is_paid_for_once(batches: Batches, life: Life, is_written: bool, listed: bool) -> None:
    for line in every_line(batches, life):
        batches.coze.world.made_conversations_listed = listed
        arguments: dict[str, Any] = {"bot_id": moody(batches.coze).id, "max_in_flight": 3, "retries_per_row": 2}
        with life.until(line, is_written=is_written):
            batches.chats(ROWS, **arguments)
        lived = life.lines
        manifest = batches.chats(ROWS, try_number=2, **arguments)
        life.lines = lived
        billed = Counter(str(bill.marker["message_meta_data"]["airflow"]).split(".")[1] for bill in batches.coze.ledger)
        right = {index: f"You said: {row}" for index, row in enumerate(ROWS)}
        if manifest["counts"]["unknown"]:
            # Of a chat that failed, and whose id died with the process, Coze shows no more than the question.
            del right[2]
            assert billed == {"0": 1, "1": 1, "2": 1, "3": 1}, line
        else:
            assert billed == {"0": 1, "1": 1, "2": 2, "3": 1}, line
        assert batches.outputs == right, line
        assert manifest["counts"]["missing"] == 0, line


@pytest.mark.parametrize("is_written", [False, True], ids=["before it is written", "after"])
@pytest.mark.parametrize("resends", [False, True], ids=["fail", "resend"])
def test_a_run_is_paid_for_once_or_unknown(batches: Batches, life: Life, is_written: bool, resends: bool) -> None:
    rows = [{"text": word} for word in "abcd"]
    arguments: dict[str, Any] = {"max_in_flight": 3, "on_unknown": "resend" if resends else "fail"}
    for line in every_line(batches, life):
        with life.until(line, is_written=is_written):
            batches.runs(rows, **arguments)
        lived = life.lines
        manifest = batches.runs(rows, try_number=2, **arguments)
        life.lines = lived
        billed = Counter(bill.marker["parameters"]["text"] for bill in batches.coze.ledger)
        in_doubt = manifest["counts"]["unknown"]
        assert manifest["counts"]["succeeded"] + in_doubt == 4, line
        if resends:
            assert in_doubt == 0, line
            assert sum(billed.values()) - 4 <= 3, line
        else:
            assert set(billed.values()) <= {1}, line
            assert in_doubt <= 3, line
