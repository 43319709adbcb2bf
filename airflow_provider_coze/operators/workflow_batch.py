"""Run a workflow once for each of many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.links import CozeWorkflowLink
from airflow_provider_coze.operators.batch import BatchOperator

if TYPE_CHECKING:
    from airflow_provider_coze.batch.runs import Runs

__all__ = ["CozeWorkflowBatchOperator"]

_ROW_TIMEOUT_SECONDS = 3600.0


class CozeWorkflowBatchOperator(BatchOperator):
    """Run a published Coze workflow once for each of many rows.

    The output of a row is the end node's output, as an object or a text, or what it is as *output_type*. Coze lists no runs: a run
    whose starting reply is lost cannot be found, and its row is recorded as ``unknown`` (see *on_unknown*).

    :param workflow_id: the workflow, published: the number after ``workflow_id=`` in its URL, as a string.
    :param parameters: inputs of its start node for each row, by name: templates in which ``row`` is the row and ``index`` its place, beside
        all that Airflow's templates know, such as ``{"text": "{{ row.text }}"}``. A template that is one expression keeps the type of its
        value. None: each row is an object, and is the parameters.
    :param packed_parameter: with *rows_per_call* over 1: the parameter that takes the list of rows, ``[{"index", …parameters}, …]``; the
        workflow returns a list of ``{"index", "output"}``.
    :param bot_id: the bot whose database and variables the workflow uses. Or, instead:
    :param app_id: the app that the workflow belongs to.
    :param ext: ``latitude``, ``longitude`` and ``user_id``, as strings.
    :param workflow_version: a version such as ``v0.0.5`` instead of the newest (library workflows only).
    :param connector_id: the channel the runs count for; Coze's default is the API channel, 1024.
    :param execution_mode: ``async`` needs a paid plan and allows 24 h; ``sync`` works on every plan and must end within 90 s; ``auto`` is
        the first where the plan allows it, and else the second.
    :param row_timeout: seconds that one run is waited for, 3,600 by default; then its row fails. A run cannot be cancelled. None: without
        end.

    The parameters of both batch operators, such as *inputs*, are described at
    :class:`~airflow_provider_coze.operators.batch.BatchOperator`.

    :raises CozeInputError: arguments are wrong, *inputs* cannot be read or *result_path* cannot be written; nothing was sent.
    :raises CozeBatchFailedError: more rows failed than may.
    :raises CozeBatchTimeoutError: it was not over in time.
    :raises CozeTokenBudgetError: *token_budget* is used up.
    :raises CozeStateError: what was bought cannot be written down or read.
    :raises CozeAPIError: Coze refused what every row would meet: the token, a permission, the workflow, the plan.
    """

    what = "run"
    template_fields: Sequence[str] = (
        "inputs",
        "result_path",
        "workflow_id",
        "bot_id",
        "app_id",
        "ext",
        "workflow_version",
        "connector_id",
        "execution_mode",
        "on_unknown",
        "reuse",
        "coze_conn_id",
    )
    template_fields_renderers = {"ext": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#e3dcff"
    operator_extra_links = (CozeWorkflowLink(),)
    _texts = ("workflow_id", "bot_id", "app_id", "ext", "workflow_version", "connector_id")

    def __init__(
        self,
        *,
        workflow_id: str,
        parameters: Mapping[str, Any] | None = None,
        packed_parameter: str = "rows",
        bot_id: str | None = None,
        app_id: str | None = None,
        ext: Mapping[str, str] | None = None,
        workflow_version: str | None = None,
        connector_id: str | None = None,
        execution_mode: str = "auto",
        row_timeout: float | None = _ROW_TIMEOUT_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(row_timeout=row_timeout, **kwargs)
        self.workflow_id = workflow_id
        self.parameters = parameters
        self.packed_parameter = packed_parameter
        self.bot_id = bot_id
        self.app_id = app_id
        self.ext = ext
        self.workflow_version = workflow_version
        self.connector_id = connector_id
        self.execution_mode = execution_mode

    def _options(self) -> dict[str, Any]:
        return {
            "bot_id": self.bot_id,
            "app_id": self.app_id,
            "ext": self.ext,
            "workflow_version": self.workflow_version,
            "connector_id": self.connector_id,
        }

    def _problems(self) -> list[str]:
        from airflow_provider_coze.batch.runs import MODES
        from airflow_provider_coze.protocol.inputs import run_problems

        problems = run_problems(
            workflow_id=self.workflow_id,
            parameters={} if self.parameters is None else self.parameters,
            options=self._options(),
        )
        if self.execution_mode not in MODES:
            problems.append(f"execution_mode must be one of {MODES}, not {self.execution_mode!r}")
        if not (isinstance(self.packed_parameter, str) and self.packed_parameter):
            problems.append(f"packed_parameter must be the name of a parameter, not {self.packed_parameter!r}")
        return problems

    def _kind(self, until: float | None) -> Runs:
        from airflow_provider_coze.batch.reading import Reader
        from airflow_provider_coze.batch.rhythm import Rhythm
        from airflow_provider_coze.batch.runs import Runs
        from airflow_provider_coze.protocol.pacing import RUN_POLLS
        from airflow_provider_coze.protocol.typed_output import OutputType

        return Runs(
            workflow_id=self.workflow_id,
            options=self._options(),
            reader=Reader(None if self.output_type is None else OutputType(self.output_type)),
            retry=self.hook.retry,
            rhythm=Rhythm(RUN_POLLS.below(self.poll_interval)),
            clock=self.hook.clock,
            row_timeout=self.row_timeout,
            until=until,
            mode=self.execution_mode,
            packed_parameter=self.packed_parameter,
        )

    def _templates(self) -> Mapping[str, Any]:
        return {"parameters": self.parameters}

    def _common(self) -> Mapping[str, Any]:
        return {"workflow_id": self.workflow_id, **self._options()}
