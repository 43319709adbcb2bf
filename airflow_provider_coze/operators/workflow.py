"""Run a workflow and return its output. What only a run needs is imported where it is used; see the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeTriggerEventError
from airflow_provider_coze.links import CozeRunLink, CozeWorkflowLink
from airflow_provider_coze.operators.base import restore_texts
from airflow_provider_coze.operators.fate import decided
from airflow_provider_coze.operators.running import RunningOperator
from airflow_provider_coze.protocol.wording import in_brackets

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.operators.run_start import StartedRun
    from airflow_provider_coze.protocol.answers import Answer
    from airflow_provider_coze.protocol.messages import JsonValue
    from airflow_provider_coze.protocol.questions import Question

__all__ = ["CozeWorkflowOperator"]

_TIMEOUT_SECONDS = 3600.0
_TEXTS = ("workflow_id", "bot_id", "app_id", "ext", "workflow_version", "connector_id")


class CozeWorkflowOperator(RunningOperator):
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
    :param execution_mode: ``async`` needs a paid plan and allows 24 h; ``stream`` works on every plan and holds the worker, which reads
        what the nodes say into the log; ``auto`` is the first where the plan allows it and else the second; ``sync`` works on every
        plan, holds the worker, and must end within 90 s, after which Coze drops the connection while the run goes on and is billed.
    :param check_parameters: look first whether *parameters* fit the workflow's start node, as far as the token may read it. Free.
    :param on_interrupt: who answers when the workflow asks: ``fail`` (nobody, the task fails), ``hitl`` (people, through Airflow 3.1 and
        later; no worker waits), or a function that gets the :class:`~airflow_provider_coze.protocol.questions.Question` and returns
        the answer: a text, or a value for each field. Each answer is billed as a run is.
    :param hitl_users: who may answer: ids of users, or ``{"id", "name"}``. None: everybody who may edit the task.
    :param hitl_notifiers: notifiers of Airflow, run once for each question, with ``coze_question`` in their context.
    :param hitl_timeout: seconds, or a timedelta, that people have for each question. None: no end.
    :param hitl_default: the answer when nobody answers in time, or a function of the question that returns it. None: the task fails.
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
        "output_path",
        "coze_conn_id",
    )
    template_fields_renderers = {"parameters": "json", "ext": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#e3dcff"
    operator_extra_links = (CozeRunLink(), CozeWorkflowLink())

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
        execution_mode: str = "auto",
        check_parameters: bool = True,
        marker_parameter: str | None = None,
        on_interrupt: str | Callable[[Question], Answer] = "fail",
        hitl_users: Sequence[str | Mapping[str, str]] | None = None,
        hitl_notifiers: Any = None,
        hitl_timeout: float | timedelta | None = None,
        hitl_default: Answer | Callable[[Question], Answer] | None = None,
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
        self.check_parameters = check_parameters
        self.marker_parameter = marker_parameter
        self.on_interrupt = on_interrupt
        self.hitl_users = hitl_users
        self.hitl_notifiers = hitl_notifiers
        self.hitl_timeout = hitl_timeout
        self.hitl_default = hitl_default

    @decided
    def execute(self, context: Context) -> Any:
        """Start the run, or go on with the one of an earlier try, and wait for it here or in the triggerer."""
        from airflow_provider_coze.protocol.models import RunHistory

        self._begin(context, resumed=False)
        arguments = self._checked()
        self._set_deadline(context)
        if self.execution_mode in ("sync", "stream"):
            self._running = RunHistory(execute_id="", execute_status="Running")  # its id comes with its result
            if self.deferrable:
                self.log.info(
                    "A %s run is answered on this connection, so the worker waits for it; deferrable has no effect",
                    self.execution_mode,
                )
        started = self._started(context, arguments)
        history = self._running = started.history
        self.log.info(
            "Run %s of workflow %s: %s%s. See %s",
            history.execute_id,
            self.workflow_id,
            history.execute_status,
            in_brackets(history.logid),
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
        return self._go_on(context, started)

    @decided
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after a deferral.

        :raises CozeTriggerEventError: the triggerer sent something that is not ours, and the run's id is nowhere to be found.
        """
        from airflow_provider_coze.protocol import flows
        from airflow_provider_coze.triggers.events import RunEvent

        self._begin(context, resumed=True)
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

    @decided
    def execute_answered(
        self, context: Context, event: dict[str, Any] | None = None, asked: Any = None, streamed: bool | None = None
    ) -> Any:
        """Go on when people have answered, or their time is up.

        :raises CozeRunInterruptedError: nobody has answered, and there is no default.
        """
        self._begin(context, resumed=True)
        restore_texts(self, _TEXTS)
        self._purchase = self._purchase_of(context)
        if streamed is None:  # dag.test() does not hand it on
            streamed = self._recorded_as_stream()
        answered = self._answering.answer_of(self._asker(context, streamed), event, asked)
        return self._resumed(context, answered, streamed)

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
        from airflow_provider_coze.operators.file_inputs import FileInputs, stand_ins
        from airflow_provider_coze.operators.run_start import MODES
        from airflow_provider_coze.protocol.inputs import run_problems

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
        problems += run_problems(workflow_id=self.workflow_id, parameters=stand_ins(parameters), options=options)
        problems += self._answering.problems()
        if self.execution_mode in ("async", "sync") and self._only_streams_are_answered():
            problems.append(
                f'Coze Studio takes answers in a stream only: with on_interrupt, execution_mode has to be "stream" or "auto", not '
                f"{self.execution_mode!r}"
            )
        problems += FileInputs(self.hook, self.log).problems(parameters, look=False)
        if self.execution_mode not in MODES:
            problems.append(f"execution_mode must be one of {MODES}, not {self.execution_mode!r}")
        elif self.execution_mode in ("sync", "stream") and not self.wait_for_completion:
            problems.append(
                f'wait_for_completion=False needs execution_mode="async": a {self.execution_mode} run is over when it is answered'
            )
        if self.marker_parameter is not None and not (isinstance(self.marker_parameter, str) and self.marker_parameter):
            problems.append(f"marker_parameter must be the name of a parameter, not {self.marker_parameter!r}")
        elif self.marker_parameter and isinstance(parameters, Mapping) and self.marker_parameter in parameters:
            problems.append(f"parameters holds {self.marker_parameter!r} already, which is the marker_parameter")
        self._refuse(problems)
        return {"workflow_id": self.workflow_id, "parameters": parameters, "options": options}

    def _started(self, context: Context, arguments: dict[str, Any]) -> StartedRun:
        """Return the run of an earlier try, or a new one."""
        from airflow_provider_coze.operators.run_start import RunStart

        self._purchase = self._purchase_of(context)
        if self._purchase is not None and not self._purchase.is_kept and context["ti"].try_number > 1:
            self.log.warning(
                "Whether an earlier try of this task started a run is not known: this Airflow has no task state store, and "
                "[coze] state_path is not set. A new run is started, and paid for"
            )
        start = RunStart(
            self.hook,
            self._purchase,
            self.log,
            mode="stream" if self._only_streams_are_answered() else self.execution_mode,
            on_unknown=self.on_unknown,
            marker_parameter=self.marker_parameter,
            until=self._deadline_at,
            before=self._check_parameters,
        )
        return start.run(arguments)

    def _only_streams_are_answered(self) -> bool:
        """Tell whether the run may ask, and only a streamed one could be answered (backend/api/router/coze/api.go of Coze Studio)."""
        return not self._answering.fails and self.hook.settings.dialect == "studio"

    def _check_parameters(self, arguments: Mapping[str, Any]) -> None:
        """Look at the budget, and compare the parameters with what the workflow takes, before a new run is started."""
        self._ledger.check("a new run")
        if self.check_parameters:
            from airflow_provider_coze.operators.file_inputs import stand_ins
            from airflow_provider_coze.operators.parameter_check import PARAMETER_CHECK

            given = stand_ins(arguments["parameters"])
            if self.marker_parameter:
                given = {**given, self.marker_parameter: ""}
            self._refuse(
                PARAMETER_CHECK.check(
                    self.hook, self.workflow_id, given, self.log, workflow_version=self.workflow_version
                )
            )
