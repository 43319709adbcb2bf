"""Run a workflow and return its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_coze.errors import CozeError, CozeTriggerEventError
from airflow_provider_coze.operators.base import CozeOperator, restore_texts
from airflow_provider_coze.operators.fate import decided
from airflow_provider_coze.operators.run_start import RunStart, StartedRun
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.inputs import run_problems
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.pacing import RUN_POLLS
from airflow_provider_coze.state.record import Submitted
from airflow_provider_coze.triggers.events import RunEvent
from airflow_provider_coze.triggers.progress import log_run
from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CozeWorkflowOperator"]

_MODES = ("async", "sync")
_TIMEOUT_SECONDS = 3600.0
_TEXTS = ("workflow_id", "bot_id", "app_id", "ext", "workflow_version", "connector_id")


class CozeWorkflowOperator(CozeOperator):
    """Run a published Coze workflow and return its output.

    Returns the end node's output as an object (Coze wraps it in JSON inside JSON), or its text. XComs beside it: ``execute_id``,
    ``debug_url`` (valid for 7 days), ``usage`` (tokens and try_number) and ``logid``.

    Arguments have Coze's names and meanings: https://www.coze.cn/open/docs/developer_guides/workflow_run.

    :param workflow_id: the workflow, published: the number after ``workflow_id=`` in its URL, as a string.
    :param parameters: inputs of its start node, by name; anything JSON can hold. None: it has none.
    :param bot_id: the bot whose database and variables the workflow uses. Or, instead:
    :param app_id: the app that the workflow belongs to.
    :param ext: ``latitude``, ``longitude`` and ``user_id``, as strings.
    :param workflow_version: a version such as ``v0.0.5`` instead of the newest (library workflows only).
    :param connector_id: the channel the run counts for; Coze's default is the API channel, 1024.
    :param execution_mode: ``async`` needs a paid plan and allows 24 h; ``sync`` works on every plan, holds the worker, and must end
        within 90 s, after which Coze drops the connection while the run goes on and is billed.
    :param marker_parameter: the name of a parameter of the workflow that gets the marker of this run: the same text whenever the same
        run is started again, so that the workflow can find out that it has run already.
    :param timeout: seconds to wait for the output; 3,600 by default. None: without end. A run cannot be cancelled.

    The parameters of all Coze operators, such as *deferrable*, are described at
    :class:`~airflow_provider_coze.operators.base.CozeOperator`.

    :raises CozeInputError: arguments are wrong; nothing was sent.
    :raises CozeAPIError: Coze refused the run; with ``debug_url`` it was started and failed.
    :raises CozeOutcomeUnknownError: an earlier request may have been billed, and *on_unknown* is ``fail``.
    :raises CozeStateError: the record of earlier tries cannot be read or written; nothing was sent.
    :raises CozeOutcomeError: the run ended without an output, asks a question, or did not end in time.
    """

    template_fields: Sequence[str] = (
        "workflow_id",
        "parameters",
        "bot_id",
        "app_id",
        "ext",
        "workflow_version",
        "connector_id",
        "execution_mode",
        "marker_parameter",
        "reuse",
        "on_unknown",
        "coze_conn_id",
    )
    template_fields_renderers = {"parameters": "json", "ext": "json"}  # noqa: RUF012 - as Airflow declares it
    what = "run"
    ui_color = "#e3dcff"

    def __init__(
        self,
        *,
        workflow_id: str,
        parameters: Mapping[str, Any] | None = None,
        bot_id: str | None = None,
        app_id: str | None = None,
        ext: Mapping[str, str] | None = None,
        workflow_version: str | None = None,
        connector_id: str | None = None,
        execution_mode: str = "async",
        marker_parameter: str | None = None,
        timeout: float | None = _TIMEOUT_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.workflow_id = workflow_id
        self.parameters = parameters
        self.bot_id = bot_id
        self.app_id = app_id
        self.ext = ext
        self.workflow_version = workflow_version
        self.connector_id = connector_id
        self.execution_mode = execution_mode
        self.marker_parameter = marker_parameter
        self._running: RunHistory | None = None

    @decided
    def execute(self, context: Context) -> Any:
        """Start the run, or go on with the one of an earlier try, and wait for it here or in the triggerer."""
        arguments = self._checked()
        self._set_deadline(context)
        if self.execution_mode == "sync":
            self._running = RunHistory(execute_id="", execute_status="Running")  # its id comes with its result
            if self.deferrable:
                self.log.info(
                    "A sync run is answered on this connection, so the worker waits for it; deferrable has no effect"
                )
        began = self.hook.clock()
        started = self._started(context, arguments)
        self._set_deadline(context)  # the time for the answer; finding or starting the work had as much
        history = self._running = started.history
        self.log.info(
            "Run %s of workflow %s: %s (logid %s). See %s",
            history.execute_id,
            self.workflow_id,
            history.execute_status,
            history.logid,
            history.debug_url,
        )
        self._push(context, execute_id=history.execute_id or None, debug_url=history.debug_url, logid=history.logid)
        if not self.wait_for_completion:
            self._running = None
            self._delivered()
            return {
                "workflow_id": self.workflow_id,
                "execute_id": history.execute_id,
                "debug_url": history.debug_url,
            }
        if self.execution_mode == "sync" and started.reply is not None:
            self._running = None
            waited = self.hook.clock() - began
            result = flows.direct_result(started.reply, workflow_id=self.workflow_id, waited=waited)
            return self._return(context, result, waited)
        return self._waited(context, history, started.since)

    @decided
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after a deferral.

        :raises CozeTriggerEventError: the triggerer sent something that is not ours, and the run's id is nowhere to be found.
        """
        restore_texts(self, _TEXTS)
        self._purchase = self._purchase_of(context)
        try:
            ended = RunEvent.from_payload(event)
        except CozeTriggerEventError as error:
            return self._waited_anew(context, error)
        if ended.error is not None:
            raise ended.error
        self.log.info(
            "Run %s: %s when the triggerer handed it back", ended.history.execute_id, ended.history.execute_status
        )
        # The record may hold a long output, which is not for a trigger's event. A run whose time was up may have ended since.
        history = self.hook.perform(flows.read_run(ended.history, self.hook.retry, workflow_id=ended.workflow_id))
        return self._finish(context, history, ended.started_at)

    def on_kill(self) -> None:
        """Say what goes on: Coze has no way to cancel a run."""
        history, self._running = self._running, None
        if history is not None:
            self.log.warning(
                "Run %s of workflow %s goes on and is billed: Coze cannot cancel a run. See %s",
                history.execute_id or "(id not known yet)",
                self.workflow_id,
                history.debug_url or "Coze's console",
            )

    def _checked(self) -> dict[str, Any]:
        """Return the arguments of the run, all checked, now that templates are rendered."""
        restore_texts(self, _TEXTS)
        parameters = {} if self.parameters is None else self.parameters
        options: dict[str, JsonValue] = {
            "bot_id": self.bot_id,
            "app_id": self.app_id,
            "ext": self.ext,
            "workflow_version": self.workflow_version,
            "connector_id": self.connector_id,
        }
        problems = self._waiting_problems()
        problems += run_problems(workflow_id=self.workflow_id, parameters=parameters, options=options)
        if self.execution_mode not in _MODES:
            problems.append(f"execution_mode must be one of {_MODES}, not {self.execution_mode!r}")
        elif self.execution_mode == "sync" and not self.wait_for_completion:
            problems.append(
                'wait_for_completion=False needs execution_mode="async": a sync run is over when it is answered'
            )
        if self.marker_parameter is not None and not (isinstance(self.marker_parameter, str) and self.marker_parameter):
            problems.append(f"marker_parameter must be the name of a parameter, not {self.marker_parameter!r}")
        elif self.marker_parameter and isinstance(parameters, Mapping) and self.marker_parameter in parameters:
            problems.append(f"parameters holds {self.marker_parameter!r} already, which is the marker_parameter")
        self._refuse(problems)
        return {
            "workflow_id": self.workflow_id,
            "parameters": parameters,
            "is_async": self.execution_mode == "async",
            "options": options,
        }

    def _started(self, context: Context, arguments: dict[str, Any]) -> StartedRun:
        """Return the run of an earlier try, or a new one."""
        self._purchase = self._purchase_of(context)
        if self._purchase is None:
            run = self.hook.run_workflow(**arguments)
            history = RunHistory(run.execute_id, "Running", debug_url=run.debug_url, logid=run.logid)
            return StartedRun(history, self.hook.clock(), run)
        if not self._purchase.is_kept and context["ti"].try_number > 1:
            self.log.warning(
                "Whether an earlier try of this task started a run is not known: this Airflow has no task state store, and "
                "[coze] state_path is not set. A new run is started, and paid for"
            )
        start = RunStart(
            self.hook,
            self._purchase,
            self.log,
            on_unknown=self.on_unknown,
            marker_parameter=self.marker_parameter,
        )
        return start.run(arguments)

    def _waited(self, context: Context, history: RunHistory, started_at: float) -> JsonValue:
        """Wait for the run, here or in the triggerer, and return its output."""
        if self.deferrable:
            try:
                history = self._watch(history, started_at, until=self._grace_ends())
            except CozeError as error:
                if not self._is_for_the_triggerer(error):
                    raise
            if flows.is_waiting(history) and not self._is_late():
                self._wait_in_triggerer(history, started_at)
        else:
            history = self._watch(history, started_at, until=self._deadline_at)
        return self._finish(context, history, started_at)

    def _waited_anew(self, context: Context, error: CozeTriggerEventError) -> JsonValue:
        """Wait again for a run whose trigger sent nothing of use: its id is in the record, or in this task's XComs."""
        record = self._purchase.recorded() if self._purchase is not None else None
        ids = dict(record.ids) if isinstance(record, Submitted) else self._pulled(context, "execute_id", "debug_url")
        if not ids.get("execute_id"):
            raise error
        self.log.warning("%s Reading run %s itself", error, ids["execute_id"])
        known = RunHistory(ids["execute_id"], "Running", debug_url=ids.get("debug_url"))
        self._set_deadline(context)
        history = self._running = self.hook.perform(
            flows.read_run(known, self.hook.retry, workflow_id=self.workflow_id)
        )
        return self._waited(context, history, record.at if isinstance(record, Submitted) else self.hook.clock())

    def _watch(self, history: RunHistory, started_at: float, *, until: float | None) -> RunHistory:
        """Look at the run until it has ended or the time is up."""
        watch = flows.Watch(
            polls=RUN_POLLS.below(self.poll_interval), since=started_at, until=until, clock=self.hook.clock
        )
        while flows.is_waiting(history):
            seen = history.execute_status
            history = self.hook.perform(flows.watch_run(history, watch, workflow_id=self.workflow_id))
            if history.execute_status == seen and flows.is_waiting(history):
                break
            log_run(self.log, history, self.hook.clock() - started_at)
        return history

    def _wait_in_triggerer(self, history: RunHistory, started_at: float) -> NoReturn:
        self._running = None
        self.log.info("Run %s: %s; waiting for it in the triggerer", history.execute_id, history.execute_status)
        self.defer(
            trigger=CozeWorkflowTrigger(
                workflow_id=self.workflow_id,
                execute_id=history.execute_id,
                started_at=started_at,
                coze_conn_id=self.coze_conn_id,
                status=history.execute_status,
                debug_url=history.debug_url,
                deadline=self._deadline_at,
                not_before=self._not_before(),
                poll_interval=self.poll_interval,
            ),
            method_name="execute_complete",
        )

    def _finish(self, context: Context, history: RunHistory, started_at: float) -> JsonValue:
        """Return the output of a run that has ended."""
        waited = self.hook.clock() - started_at
        self._running = None
        self._push(context, execute_id=history.execute_id, debug_url=history.debug_url, logid=history.logid)
        return self._return(context, flows.run_result(history, workflow_id=self.workflow_id, waited=waited), waited)

    def _return(self, context: Context, result: flows.RunResult, waited: float) -> JsonValue:
        self.log.info("Run %s succeeded after %.0f s", result.execute_id, waited)
        if result.is_output_trimmed:
            self.log.warning(
                "The output of run %s is over 1 MB and was trimmed by Coze; CozeHook.node_output reads it node by node, for 24 h",
                result.execute_id,
            )
        self._push(context, usage=self._usage(context, result.usage))
        self._delivered()
        return result.output

    def _delivered(self) -> None:
        if self._purchase is not None:
            self._purchase.delivered()
