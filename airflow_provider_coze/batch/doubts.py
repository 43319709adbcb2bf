"""Chats of which nobody knows whether they arrived: found in Coze, sent again, or given up as unknown. Runs cannot be found.

A chat with a conversation of its own can be found; one without waits until a chat that is known has shown that it could have been, for
only then "not there" means that it never arrived (see ``finder``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_coze.batch.asks import Failed, Live
from airflow_provider_coze.batch.engine import Engine, Stop, Terminal
from airflow_provider_coze.batch.finder import Finder
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.judging import Judge
from airflow_provider_coze.batch.plan import Doubt, Job
from airflow_provider_coze.errors import CozeError, CozeOutcomeUnknownError, CozeTransportError
from airflow_provider_coze.protocol.models import Chat

__all__ = ["Doubts"]

#: How long lost chats are gathered before they are looked for together.
_GATHER_SECONDS = 2.0


class Doubts:
    """What is in doubt in one batch.

    :param push: takes a job that is to be done after so many seconds.
    :param probes: whether to find out if chats can do without conversations of their own.
    """

    def __init__(
        self,
        *,
        finder: Finder,
        engine: Engine,
        journal: Journal,
        judge: Judge,
        push: Callable[[Job, float], None],
        log: Any,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        probes: bool,
    ) -> None:
        self._finder, self._engine, self._journal, self._judge = finder, engine, journal, judge
        self._push, self._log, self._clock, self._sleep, self._probes = push, log, clock, sleep, probes
        self._gathered: list[Doubt] = []
        self._unproven: list[Doubt] = []
        self._is_probing = self._is_proving = False

    @property
    def are_there(self) -> bool:
        """Whether some wait for a proof."""
        return bool(self._unproven)

    async def resolve(self, doubt: Doubt) -> None:
        """Find out whether a request arrived."""
        doubts = [doubt]
        try:
            if doubt.conversation_id:
                self._resolved(doubt, await self._finder.find(doubt))
                return
            self._gathered.append(doubt)
            await self._sleep(_GATHER_SECONDS)  # the first of those that gather here looks for all of them
            if doubt not in self._gathered:
                return
            doubts, self._gathered = self._gathered, []
            found = await self._finder.find_listed(doubts)
        except CozeOutcomeUnknownError as error:
            if self._engine.check(self._clock()):
                self._judge.judge(doubt.ask, Failed(error), spent=False, marker=doubt.marker)
            else:  # it stays in the journal as well: a retry has more time to look
                self._judge.left += 1
            return
        except CozeError as error:
            for each in doubts:
                self._not_told(each, error)
            return
        for each in doubts:
            self._listed(each, found)

    def _not_told(self, doubt: Doubt, error: CozeError) -> None:
        """Look later, or leave it in the journal for a retry."""
        if (wait := self._engine.wait_for_coze(error, doubt.waits)) is not None:
            self._push(replace(doubt, waits=doubt.waits + 1), wait)
            return
        self._engine.halt(Stop(Terminal.REFUSED, error))
        self._judge.left += 1

    def is_to_probe(self) -> bool:
        """Tell whether the next chat is the one that shows if chats can do without conversations of their own; one at a time."""
        if self._finder.is_shown is not None or not self._probes or self._is_probing:
            return False
        self._is_probing = True
        return True

    def probe_failed(self) -> None:
        """Have another chat show it, because this one did not begin."""
        self._is_probing = False

    async def prove(self, live: Live) -> None:
        """Find out, by a chat that is over, whether others like it could be found; if that is not known, and it can show it."""
        if self._finder.is_shown is not None or live.conversation_id or self._is_proving:
            return
        self._is_proving = True
        try:
            shown = await self._finder.prove(live.marker, live.ids["conversation_id"], live.at)
        except CozeError as error:
            self._probes = False
            self._log.warning("Whether lost chats could be found is not known, so each gets a conversation: %s", error)
        else:
            if self._finder.is_shown is None:
                self._is_now_known(shown=shown)
        finally:
            self._is_proving = self._is_probing = False

    def give_up(self) -> bool:
        """Judge lost chats that still wait for a proof, when nothing is left that could bring one. False: there are none."""
        unproven, self._unproven = self._unproven, []
        for doubt in unproven:
            self._is_unknown(doubt)
        return bool(unproven)

    def _listed(self, doubt: Doubt, found: Mapping[str, Chat | None]) -> None:
        chat = found.get(doubt.marker)
        if chat is not None and not self._finder.is_shown:
            self._is_now_known(shown=True)
        if chat is not None or (doubt.marker in found and self._finder.is_shown):
            self._resolved(doubt, chat)
        elif doubt.marker in found and self._finder.is_shown is None:
            self._unproven.append(doubt)  # whether a chat like it would be listed has to be shown first
        elif self._engine.check(self._clock()):
            self._is_unknown(doubt)
        else:
            self._judge.left += 1

    def _is_now_known(self, *, shown: bool) -> None:
        """Note whether chats without conversations of their own are found, and go on with those that waited for it."""
        self._finder.is_shown = shown
        self._journal.note(shown=shown)
        self._log.info(
            "Coze lists the conversations that it makes: the chats of this batch need none of their own"
            if shown
            else "Coze does not list the conversations that it makes, so each chat of this batch gets one of its own"
        )
        unproven, self._unproven = self._unproven, []
        for doubt in unproven:
            if shown:
                self._push(doubt, 0.0)
            else:
                self._is_unknown(doubt)

    def _is_unknown(self, doubt: Doubt) -> None:
        self._judge.judge(doubt.ask, Failed(self._finder.unknown(doubt)), spent=False, marker=doubt.marker)

    def _resolved(self, doubt: Doubt, chat: Chat | None) -> None:
        if chat is None:
            self._journal.nothing(doubt.marker)
            error = CozeTransportError(
                "A chat was sent, and its conversation shows that it never arrived. Nothing was started, so nothing is billed. "
                "A retry sends it again.",
                never_sent=True,
            )
            self._judge.judge(doubt.ask, Failed(error), spent=False)
            return
        ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id}
        self._journal.bought(doubt.marker, ids=ids, at=doubt.at)
        self._push(Live(doubt.ask, doubt.marker, doubt.at, ids, doubt.conversation_id, is_old=True), 0.0)
