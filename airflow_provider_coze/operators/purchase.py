"""What buying a chat and buying a run have in common: whose record it is, what the tries before left, and noting things down.

The order is the point: the intent is stored before the paid request, the ids after it, the delivery before Airflow gets the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.protocol.statuses import Phase
from airflow_provider_coze.state.reattach import Decision, Look, Remote, Submit, Unknown, decide, ids_of
from airflow_provider_coze.state.record import Intent, Record, Submitted, fingerprint, identity, new_marker
from airflow_provider_coze.state.stores import Store, store_for

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["Purchase", "began", "identity_of", "remote_of"]

_REMOTE = {Phase.DONE: Remote.DONE, Phase.FAILED: Remote.FAILED, Phase.CANCELLED: Remote.FAILED}


def remote_of(phase: Phase) -> Remote:
    """Return what a recorded chat or run is to a later try, by where it stands on Coze."""
    return _REMOTE.get(phase, Remote.ALIVE)


def identity_of(context: Context | Mapping[str, Any], part: str = "") -> str:
    """Return the key that all tries of the running task instance share.

    :param part: which of several chats of it.
    """
    ti = context["ti"]
    index = getattr(ti, "map_index", None)
    return identity(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if index is None else int(index),
        part=part,
    )


def began(context: Context | Mapping[str, Any]) -> float | None:
    """Return Unix seconds before which the running task instance cannot have done anything; None if nobody knows.

    A DAG run's start_date is moved by a clear, so it is of no use here.
    """
    dag_run: Any = context.get("dag_run")
    moments = [getattr(dag_run, name, None) for name in ("run_after", "data_interval_end")]
    known = [moment.timestamp() for moment in moments if moment is not None]
    return min(known) if known else None


class Purchase:
    """The record of one task instance, and what a try does about it.

    :param context: Airflow's, for the identity and the store.
    :param part: which of several chats of one task instance it is, such as ``repair_1``; "" is the first.
    :param fallback: makes the store where Airflow and the configuration offer none.
    :param what: ``chat`` or ``run``, for the log.
    """

    def __init__(
        self,
        context: Context,
        *,
        log: Any,
        clock: Callable[[], float],
        reuse: str,
        what: str,
        fallback: Callable[[str], Store | None],
        part: str = "",
    ) -> None:
        self.key = identity_of(context, part)
        self.began = began(context)
        self.has_past = int(context["ti"].try_number or 1) > 1
        self.generation = int(getattr(context["ti"], "max_tries", 0) or 0)
        self._store = store_for(context, self.key, part) or fallback(self.key)
        self._log, self._clock, self._reuse, self._what = log, clock, reuse, what
        self._last: Record | None = None
        self._fingerprint = ""

    @property
    def last(self) -> Record | None:
        """What was stored or found last."""
        return self._last

    @property
    def is_kept(self) -> bool:
        """Whether a later try will find the record."""
        return self._store is not None

    def decided(
        self, arguments: Mapping[str, Any], look: Callable[[Submitted], Remote]
    ) -> tuple[Decision, Record | None]:
        """Return what this try does first, and the record that it goes on with.

        :param arguments: the rendered input, which the record must mean as well.
        :param look: asks Coze how a recorded chat or run stands.
        :raises CozeStateError: the record cannot be read, so nobody knows.
        """
        self._fingerprint = fingerprint(arguments)
        # "never" is also the way out of a record that cannot be read.
        self._last = self._store.read() if self._store is not None and self._reuse != "never" else None
        decision = self._decide(None)
        if isinstance(decision, Look) and isinstance(self._last, Submitted):
            decision = self._decide(look(self._last))
        self._say(decision)
        return decision, self._last

    def intend(self, sent_to: str | None = None, *, marker: str | None = None) -> Intent:
        """Store that something is about to be bought, or where it will be sent to.

        :param marker: of a submission that is repeated. None: a new one.
        :raises CozeStateError: it could not be stored, so it must not be bought.
        """
        last, now = self._last, self._clock()
        unsent = isinstance(last, Intent) and last.sent_to is None and last.fingerprint == self._fingerprint
        if sent_to is not None and last is not None and unsent:
            marker = last.marker  # the same submission, whose conversation has been made since
        intent = Intent(self._fingerprint, marker or new_marker(self.key, self._fingerprint, now), now, sent_to)
        if self._store is not None:
            self._store.write(intent)
        self._last = intent
        return intent

    def bought(self, intent: Intent, **ids: str | None) -> Submitted:
        """Store what was bought. If that fails the work goes on: a later try finds a chat in Coze, and this one need not die for it."""
        known = {name: value for name, value in ids.items() if value}
        record = Submitted(self._fingerprint, intent.marker, self._clock(), known)
        self._last = record
        if self._store is not None:
            try:
                self._store.write(record)
            except CozeStateError as error:
                self._log.warning("%s. The %s goes on: %s", error, self._what, ids_of(record))
        return record

    def nothing_bought(self) -> None:
        """Forget an intent whose request certainly started nothing, so that no later try wonders."""
        if self._store is not None:
            try:
                self._store.clear()
            except CozeStateError as error:
                self._log.warning("%s", error)

    def delivered(self, **ids: str) -> None:
        """Note that the answer is about to be handed to Airflow. It is handed over even if that fails."""
        if self._store is not None:
            try:
                self._store.deliver(self.generation, ids)
            except CozeStateError as error:
                self._log.warning("%s", error)

    def noted(self) -> Mapping[str, str]:
        """Return the notes of what was bought."""
        record = self._submitted()
        return {} if record is None else record.notes

    def note(self, **texts: str) -> None:
        """Note something more about what was bought. The work goes on even if that fails."""
        record = self._submitted()
        if record is None or self._store is None:
            return
        self._last = replace(record, notes={**record.notes, **texts})
        try:
            self._store.write(self._last)
        except CozeStateError as error:
            self._log.warning("%s", error)

    def _submitted(self) -> Submitted | None:
        if self._last is None:
            self._last = self.recorded()
        return self._last if isinstance(self._last, Submitted) else None

    def recorded(self) -> Record | None:
        """Return the record as it is, for a task that was resumed without its ids."""
        return None if self._store is None else self._store.read()

    def _decide(self, remote: Remote | None) -> Decision:
        return decide(
            self._last,
            fingerprint=self._fingerprint,
            generation=self.generation,
            reuse=self._reuse,
            remote=remote,
            needs_conversation=self._what == "chat",
        )

    def _say(self, decision: Decision) -> None:
        if self._last is None:
            return
        match decision:
            case Submit(reason) if reason:
                self._log.warning(
                    "An earlier try sent a %s (%s). Starting, and paying for, a new one: %s",
                    self._what,
                    ids_of(self._last),
                    reason,
                )
            case Submit():
                self._log.info("An earlier try of this task had not sent anything")
            case Unknown(reason):
                self._log.warning("What an earlier try bought (%s) is not known: %s", ids_of(self._last), reason)
            case _:
                self._log.info("Going on with the %s of an earlier try (%s)", self._what, ids_of(self._last))
