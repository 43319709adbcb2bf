"""Notes down what a batch buys, before and after it does, so that any other attempt can go on with it. Decides nothing.

One event is one line of JSON. The marker, which a request carries, is what an event of it is known by::

    {"t": "intent", "rows": [17], "marker", "hash", "at", "conversation_id"?}   something may be bought from here on
    {"t": "bought", "marker", "ids": {…}, "at"}                                 Coze has named it
    {"t": "nothing", "marker"}                                                  it certainly was not started
    {"t": "over", "marker", "usage"?}                                           it was, and ended; its rows get another request
    {"t": "result", "index", "input_hash", "output", …}                         the final outcome of one row, see ``results``
    {"t": "note", "facts": {…}}                                                 about the batch as a whole
    {"t": "again", "unknown"}                                                   rows that failed before are asked again
    {"t": "ended", "reason"}                                                    the attempt is over

What a kill leaves to be looked for by the next attempt, which for a chat can find out, and for a run cannot:

- where files grow (local and mounted file systems): requests whose reply had not come. Every event is with the operating system
  before the next step; a power cut, or a crash of the machine, loses what came in the last ``commit_seconds``, bought or not.
- in object stores: those, and the requests whose reply came since the last commit: up to two ``commit_seconds`` of them, if a commit
  takes as long as the time between two. An intent is there before its request leaves, so nothing is forgotten, only in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from airflow_provider_coze.batch import files, owner
from airflow_provider_coze.batch.lines import plain_to_line, to_line
from airflow_provider_coze.batch.owner import Claim, explained
from airflow_provider_coze.batch.results import RESULT_PREFIX, RowResult
from airflow_provider_coze.batch.writers import Writer, writer_for
from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.protocol.models import Usage

__all__ = ["Journal"]

#: Waits between the tries of one commit: a store that has trouble for longer than this stops the buying.
_RETRY_SECONDS = (0.5, 2.0, 5.0)
#: A look at the owner is good for so many commits, so that one slow commit does not stop the buying.
_LEASE_COMMITS = 3.0


class Journal:
    """The journal of one attempt at one batch, used on one event loop: ``async with Journal(…) as journal:``.

    Read what was bought (``past.read_past``) after entering: only then all earlier attempts have stopped buying.

    :param folder: of the batch: ``{result_path}/{batch_id}``.
    :param attempt: what a person knows it by: the number of the try.
    :param commit_seconds: between two commits. Each is a look at the owner, and where files grow an ``fsync``, else a new object; so
        this is also what an intent takes at the longest in an object store.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        folder: str,
        attempt: str,
        *,
        clock: Callable[[], float],
        commit_seconds: float = 2.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._folder, self._attempt = folder, attempt
        self._clock, self._sleep, self._commit_seconds = clock, sleep, commit_seconds
        self._claim: Claim | None = None
        self._writer: Writer | None = None
        self._trouble: str | None = None
        self._seen_at = float("-inf")  # when the owner was last seen to be this attempt
        self._commits: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[None] | None = (
            None  # the commit that takes in what is noted now, once somebody asked for it
        )
        self._committed: asyncio.Future[None] | None = None  # is done with the commit that takes in what is noted now

    async def __aenter__(self) -> Self:
        """Take the batch over from all other attempts, and wait until none of them can buy any more.

        :raises CozeStateError: it cannot be written, or is of another version of this provider.
        """
        lease = _LEASE_COMMITS * self._commit_seconds
        self._claim = await asyncio.to_thread(owner.claim, self._folder, self._attempt, lease=lease, now=self._clock())
        if self._claim.wait:
            await self._sleep(self._claim.wait)
        self._committed = asyncio.get_running_loop().create_future()
        self._writer = writer_for(self._claim, self._clock())
        await self.commit()
        self._refuse_in_trouble()
        self._commits = asyncio.create_task(self._commit_for_ever(), name="coze-batch-journal")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except CozeStateError:
            if error is None:
                raise

    @property
    def claim(self) -> Claim:
        """The right of this attempt; what the results of the batch are written under."""
        assert self._claim is not None, "the journal is not open"  # noqa: S101 - a mistake of ours
        return self._claim

    @property
    def trouble(self) -> CozeStateError | None:
        """Why nothing may be bought any more: another attempt has come, or the journal cannot be written. None: it may."""
        return None if self._trouble is None else CozeStateError(self._trouble)

    async def intended(
        self, rows: Sequence[int], *, marker: str, hash: str, at: float, conversation_id: str | None = None
    ) -> None:
        """Note that a request is about to be sent, and return when that outlives this process.

        :param rows: the indexes that it carries.
        :param hash: of what is sent.
        :param at: Unix seconds.
        :param conversation_id: where its chat will be found.
        :raises CozeStateError: it must not be sent: another attempt has come, or the journal cannot be written.
        """
        self._refuse_in_trouble()
        event = {"t": "intent", "rows": rows, "marker": marker, "hash": hash, "at": round(at, 3)}
        if conversation_id is not None:
            event["conversation_id"] = conversation_id
        try:
            if not self._note(event):
                await (self.commit() if self._is_out_of_sight() else self._next_commit())
            while self._trouble is None and self._is_out_of_sight():
                await self.commit()
            self._refuse_in_trouble()
        except BaseException:
            self.nothing(marker)
            raise

    def bought(self, marker: str, *, ids: Mapping[str, str | None], at: float) -> None:
        """Note what Coze calls that which a request started: chat_id and conversation_id, or execute_id and debug_url."""
        known = {name: value for name, value in ids.items() if value is not None}
        self._note({"t": "bought", "marker": marker, "ids": known, "at": round(at, 3)})

    def nothing(self, marker: str) -> None:
        """Note that a request certainly started nothing, so it does not count among the tries of its rows."""
        self._note({"t": "nothing", "marker": marker})

    def over(self, marker: str, usage: Usage | None = None) -> None:
        """Note that what a request started has ended without an outcome of its rows, which will be asked again."""
        spent = usage and {
            "token_count": usage.token_count,
            "input_count": usage.input_count,
            "output_count": usage.output_count,
        }
        self._note({"t": "over", "marker": marker, "usage": spent})

    def result(self, row: RowResult) -> None:
        """Note the final outcome of a row."""
        self._add(RESULT_PREFIX + row.to_line()[1:])

    def again(self, *, unknown: bool) -> None:
        """Note that the rows which have failed so far are to be asked again: their outcomes do not count any more.

        :param unknown: also those of which nobody knows whether they were asked.
        """
        self._note({"t": "again", "unknown": unknown})

    def note(self, **facts: Any) -> None:
        """Note something about the batch that later attempts read in ``Past.notes``; JSON types."""
        self._add(to_line({"t": "note", "facts": facts}))

    def ended(self, reason: str) -> None:
        """Note why the attempt is over; later attempts read it in ``Past.ended``."""
        self._note({"t": "ended", "reason": reason})

    async def commit(self) -> None:
        """Make durable what was noted, in one commit with all others who ask for it now. Never raises; see :attr:`trouble`."""
        if self._next is None:
            self._next = asyncio.create_task(self._commit())
        await asyncio.shield(self._next)

    async def close(self) -> None:
        """Commit the rest, and say that this attempt buys no more.

        :raises CozeStateError: the rest could not be written. The next attempt looks for what it tells of.
        """
        commits, self._commits = self._commits, None
        if commits is not None:
            commits.cancel()
            await asyncio.wait([commits])
        writer = self._writer
        if writer is None:
            return
        try:
            await self.commit()
            while writer.is_behind:
                self._refuse_in_trouble()
                await self.commit()
            with contextlib.suppress(CozeStateError):  # it only spares the next attempt a wait
                await asyncio.to_thread(owner.leave, self.claim)
        finally:
            writer.close()

    def _note(self, event: Mapping[str, Any]) -> bool:
        return self._add(plain_to_line(event))

    def _add(self, line: bytes) -> bool:
        """Have a line written; True: it outlives this process already."""
        assert self._writer is not None, "the journal is not open"  # noqa: S101 - a mistake of ours
        return self._writer.add(line)

    def _is_out_of_sight(self) -> bool:
        """Tell whether another attempt may have come since this one looked; also after somebody has set the clock back."""
        return abs(self._clock() - self._seen_at) > self.claim.lease

    def _refuse_in_trouble(self) -> None:
        if self._trouble is not None:
            raise CozeStateError(self._trouble)

    async def _next_commit(self) -> None:
        """Wait for the commit that takes in what is noted by now, without hurrying it."""
        if self._committed is not None:
            await asyncio.shield(self._committed)

    async def _commit_for_ever(self) -> None:
        while True:
            await self._sleep(self._commit_seconds)
            await self.commit()

    async def _commit(self) -> None:
        async with self._one_at_a_time:
            assert self._writer is not None  # noqa: S101 - it is there before the first commit
            committed = self._committed
            self._next, self._committed = None, asyncio.get_running_loop().create_future()
            self._writer.seal()
            try:
                await self._store()
            except BaseException:
                if committed is not None:
                    committed.cancel()  # those who wait for it must not believe that it was made
                raise
            if committed is not None:
                committed.set_result(None)

    async def _store(self) -> None:
        for wait in (*_RETRY_SECONDS, None):
            now = self._clock()
            try:
                is_owner = await asyncio.to_thread(self._flush_and_look)
            except CozeStateError as error:
                if wait is None or self._trouble is not None:
                    self._trouble = self._trouble or str(error)
                    return
                await self._sleep(wait)
                continue
            if is_owner:
                self._seen_at = now
            elif self._trouble is None:
                self._trouble = (
                    f"Another try of this task has taken over the batch in {files.shown(self._folder)}, so attempt {self._attempt!r} "
                    "buys nothing more. What it began goes on in Coze, and the other try collects it. A retry would take over in turn: "
                    "let the other one end."
                )
            return

    def _flush_and_look(self) -> bool:
        assert self._writer is not None  # noqa: S101 - see _commit
        with explained("written", self._folder):
            self._writer.flush()
        return owner.is_owner(self.claim)
