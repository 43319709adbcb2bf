"""Wait for a chat or a run whose ids are known, by poking, rescheduling or deferring.

What only a look needs is imported where it is used, because every DAG file with a sensor imports this; see the operators.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)
from airflow_provider_coze.errors import CozeInputError, CozeNotFoundError
from airflow_provider_coze.links import CozeRunLink, CozeWorkflowLink
from airflow_provider_coze.operators.base import (
    DEFAULT_CONN_ID,
    default_deferrable,
    min_deferral_seconds,
    restore_texts,
)
from airflow_provider_coze.operators.fate import deciding
from airflow_provider_coze.protocol.inputs import id_problems
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.hooks.coze import CozeHook
    from airflow_provider_coze.protocol.models import Chat, RunHistory

__all__ = ["CozeChatSensor", "CozeWorkflowSensor"]

#: Airflow's own default is a minute, which is long for a chat and polite to a run of hours.
_CHAT_POKE_SECONDS, _RUN_POKE_SECONDS = 10.0, 30.0


class _CozeSensor(BaseSensorOperator):
    """What both sensors share. They cancel nothing: what they wait for is not theirs."""

    def __init__(
        self,
        *,
        coze_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.coze_conn_id = coze_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self._skips_worker = start_from_trigger and self.deferrable
        self._seen = ""  # the status that the log had last

    def _begin_in_triggerer(self, trigger: str, *ids: str, **more: Any) -> None:
        if self._skips_worker:
            from airflow_provider_coze.sensors.starting import begin_in_triggerer

            begin_in_triggerer(self, trigger, ids, **more)

    @cached_property
    def hook(self) -> CozeHook:
        """The hook of the sensor's connection."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    def execute(self, context: Context) -> Any:
        """Look once; if it is not over, look again by poking, or from the triggerer."""
        restore_texts(self, self.template_fields)
        with deciding(self, only_looks=True):
            self._refuse(self._problems())
        if not self.deferrable:
            return super().execute(context)
        with self._skipping():
            found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        now = self.hook.clock()
        self._wait_in_triggerer(now, deadline=now + self.timeout, not_before=now + min_deferral_seconds())

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; take what there is to take.

        :raises CozeError: Airflow repeats no look, and no task, whose error is an ``AirflowFailException`` as well.
        """
        # With silent_fail Airflow goes on after every other error: it would never ask a policy.
        with deciding(self, only_looks=True, asks_policy=not (self.soft_fail or self.silent_fail)):
            return self._look(context)

    def _look(self, context: Context) -> PokeReturnValue:
        raise NotImplementedError

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after a deferral.

        :raises CozeTriggerEventError: the triggerer sent something that is not ours.
        """
        restore_texts(self, self.template_fields)
        with self._skipping(), deciding(self, only_looks=True, asks_policy=not self.soft_fail):
            self._refuse(self._problems())  # nobody has, if no worker came before the trigger
            return self._complete(context, event)

    def _complete(self, context: Context, event: dict[str, Any] | None) -> Any:
        raise NotImplementedError

    def _problems(self) -> list[str]:
        raise NotImplementedError

    def _wait_in_triggerer(self, now: float, *, deadline: float, not_before: float) -> NoReturn:
        raise NotImplementedError

    @contextlib.contextmanager
    def _skipping(self) -> Iterator[None]:
        """Do what Airflow does around poke, and does not do around a deferral: skip a task that is to skip where it fails."""
        try:
            yield
        except Exception as error:
            if self.soft_fail and isinstance(error, AirflowFailException):
                raise AirflowSkipException("Skipping due to soft_fail is set to True.") from error
            if self.never_fail and not isinstance(error, AirflowSkipException):
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise CozeInputError(f"Task {self.task_id!r} cannot look at Coze: {'; '.join(problems)}. Nothing was sent.")

    def _push(self, context: Context, **values: Any) -> None:
        if self.do_xcom_push:
            for key, value in values.items():
                if value is not None:
                    context["ti"].xcom_push(key=key, value=value)


class CozeChatSensor(_CozeSensor):
    """Wait until a chat has ended, and return its answer.

    XComs beside it: ``usage``, ``follow_ups`` and ``logid``. Its *timeout* is a sensor's: seven days by default.

    :param conversation_id: the chat's conversation.
    :param chat_id: the chat.
    :param coze_conn_id: the connection, of type ``coze``.
    :param deferrable: wait in the triggerer; otherwise *mode* says whether the worker is held (``poke``, ``reschedule``).
    :param start_from_trigger: with *deferrable*, take no worker before the wait either (Airflow 3.3 and later; not in mapped tasks, and not
        with *execution_timeout*: there a worker looks first).
    :param poke_interval: seconds between two looks, 10 by default; the longest time between two when deferred.

    :raises CozeInputError: an id is missing; nothing was sent.
    :raises CozeOutcomeError: the chat ended without an answer.
    """

    template_fields: Sequence[str] = ("conversation_id", "chat_id", "coze_conn_id")
    ui_color = "#d9e4ff"

    def __init__(
        self, *, conversation_id: str, chat_id: str, poke_interval: float = _CHAT_POKE_SECONDS, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.conversation_id = conversation_id
        self.chat_id = chat_id
        trigger = "airflow_provider_coze.triggers.chat.CozeChatTrigger"
        self._begin_in_triggerer(trigger, "conversation_id", "chat_id", cancel_on_kill=False)

    def _look(self, context: Context) -> PokeReturnValue:
        """Look once; fetch the answer if there is one."""
        from airflow_provider_coze.protocol.models import Chat
        from airflow_provider_coze.triggers.progress import log_chat

        known = Chat(id=self.chat_id, conversation_id=self.conversation_id, status="")
        chat = self._read(known)
        if chat.status != self._seen:
            log_chat(self.log, chat, _age(chat.created_at, self.hook.clock()))
            self._seen = chat.status
        if chat_phase(chat.status) in WAITING:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._answer(context, chat))

    def _complete(self, context: Context, event: dict[str, Any] | None) -> Any:
        from airflow_provider_coze.protocol.outcomes import chat_timeout
        from airflow_provider_coze.triggers.events import ChatEvent

        ended = ChatEvent.from_payload(event)
        if ended.error is not None:
            raise ended.error
        chat = ended.chat
        if chat_phase(chat.status) in WAITING:
            raise AirflowSensorTimeout(str(chat_timeout(chat, waited=self.hook.clock() - ended.started_at)))
        if chat_phase(chat.status) is not Phase.DONE:
            # Why it failed, or what it asks for, is not for a trigger's event.
            chat = self._read(chat)
        return self._answer(context, chat)

    def _read(self, chat: Chat) -> Chat:
        from airflow_provider_coze.protocol import flows

        return self.hook.perform(flows.read_chat(chat, self.hook.retry))

    def _answer(self, context: Context, chat: Chat) -> str:
        from airflow_provider_coze.protocol import flows

        waited = _age(chat.created_at, self.hook.clock())
        answer = self.hook.perform(flows.chat_answer(chat, self.hook.retry, waited=waited))
        usage = chat.usage.to_dict() if chat.usage else None
        self._push(context, usage=usage, follow_ups=answer.follow_ups, logid=chat.logid)
        return answer.text

    def _problems(self) -> list[str]:
        return id_problems("conversation_id", self.conversation_id) + id_problems("chat_id", self.chat_id)

    def _wait_in_triggerer(self, now: float, *, deadline: float, not_before: float) -> NoReturn:
        from airflow_provider_coze.triggers.chat import CozeChatTrigger

        self.defer(
            trigger=CozeChatTrigger(
                conversation_id=self.conversation_id,
                chat_id=self.chat_id,
                started_at=now,
                coze_conn_id=self.coze_conn_id,
                status=self._seen,
                deadline=deadline,
                not_before=not_before,
                poll_interval=self.poke_interval,
                cancel_on_kill=False,
            ),
            method_name="execute_complete",
        )


class CozeWorkflowSensor(_CozeSensor):
    """Wait until a workflow run has ended, and return its output.

    XComs beside it: ``debug_url``, ``usage`` and ``logid``. Its *timeout* is a sensor's: seven days by default.

    :param workflow_id: the workflow.
    :param execute_id: the run.
    :param coze_conn_id: the connection, of type ``coze``.
    :param deferrable: wait in the triggerer; otherwise *mode* says whether the worker is held (``poke``, ``reschedule``).
    :param start_from_trigger: with *deferrable*, take no worker before the wait either (Airflow 3.3 and later; not in mapped tasks, and not
        with *execution_timeout*: there a worker looks first).
    :param poke_interval: seconds between two looks, 30 by default; the longest time between two when deferred.

    :raises CozeInputError: an id is missing; nothing was sent.
    :raises CozeOutcomeError: the run ended without an output, or asks a question.
    """

    template_fields: Sequence[str] = ("workflow_id", "execute_id", "coze_conn_id")
    ui_color = "#e3dcff"
    operator_extra_links = (CozeRunLink(), CozeWorkflowLink())

    def __init__(
        self, *, workflow_id: str, execute_id: str, poke_interval: float = _RUN_POKE_SECONDS, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.workflow_id = workflow_id
        self.execute_id = execute_id
        trigger = "airflow_provider_coze.triggers.workflow.CozeWorkflowTrigger"
        self._begin_in_triggerer(trigger, "workflow_id", "execute_id")

    def _look(self, context: Context) -> PokeReturnValue:
        """Look once; take the output if there is one."""
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.models import RunHistory
        from airflow_provider_coze.triggers.progress import log_run

        history = self._visible(RunHistory(execute_id=self.execute_id, execute_status=""))
        if history.execute_status != self._seen:
            log_run(self.log, history, _age(history.create_time, self.hook.clock()))
            self._seen = history.execute_status
            self._link(context, history)
        if flows.is_waiting(history):
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._output(context, history))

    def _complete(self, context: Context, event: dict[str, Any] | None) -> Any:
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.protocol.outcomes import run_error
        from airflow_provider_coze.triggers.events import RunEvent

        ended = RunEvent.from_payload(event)
        if ended.error is not None:
            raise ended.error
        history = self._read(ended.history)
        self._link(context, history)
        if flows.is_waiting(history):
            waited = self.hook.clock() - ended.started_at
            raise AirflowSensorTimeout(str(run_error(history, workflow_id=self.workflow_id, waited=waited)))
        return self._output(context, history)

    def _link(self, context: Context, history: RunHistory) -> None:
        from airflow_provider_coze.operators.linking import link_run

        link_run(self, context, history.debug_url)

    def _visible(self, history: RunHistory) -> RunHistory:
        """Read the record of a run that may have been started a moment ago, and then may not be there yet."""
        from airflow_provider_coze.protocol import codes, flows
        from airflow_provider_coze.protocol.pacing import RUN_POLLS

        try:
            return self._read(history)
        except CozeNotFoundError as error:
            if error.code != codes.NOT_VISIBLE_YET:
                raise
        watch = flows.Watch(polls=RUN_POLLS, since=self.hook.clock(), until=None, clock=self.hook.clock)
        return self.hook.perform(flows.watch_run(history, watch, workflow_id=self.workflow_id))

    def _read(self, history: RunHistory) -> RunHistory:
        from airflow_provider_coze.protocol import flows

        return self.hook.perform(flows.read_run(history, self.hook.retry, workflow_id=self.workflow_id))

    def _output(self, context: Context, history: RunHistory) -> Any:
        from airflow_provider_coze.protocol import flows

        waited = _age(history.create_time, self.hook.clock())
        result = flows.run_result(history, workflow_id=self.workflow_id, waited=waited)
        usage = result.usage.to_dict() if result.usage else None
        self._push(context, debug_url=result.debug_url, usage=usage, logid=result.logid)
        return result.output

    def _problems(self) -> list[str]:
        return id_problems("workflow_id", self.workflow_id) + id_problems("execute_id", self.execute_id)

    def _wait_in_triggerer(self, now: float, *, deadline: float, not_before: float) -> NoReturn:
        from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger

        self.defer(
            trigger=CozeWorkflowTrigger(
                workflow_id=self.workflow_id,
                execute_id=self.execute_id,
                started_at=now,
                coze_conn_id=self.coze_conn_id,
                status=self._seen,
                deadline=deadline,
                not_before=not_before,
                poll_interval=self.poke_interval,
            ),
            method_name="execute_complete",
        )


def _age(began: int, now: float) -> float:
    """Return seconds since a time of Coze's; 0 when it gave none."""
    return max(0.0, now - began) if began else 0.0
