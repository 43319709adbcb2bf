"""Compare a run's parameters with the start node of its workflow, before the run is paid for.

It costs one free read for each workflow and process, and stops no run that could work: where the schema cannot be read it says so once
and lets the run go on, and what an old copy of the schema objects to is looked up again first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.errors import CozeAPIError, CozeError, CozeInputError, CozeNotFoundError, CozePermissionError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import workflow
from airflow_provider_coze.protocol.messages import changed
from airflow_provider_coze.protocol.parameters import problems
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["MAX_AGE_SECONDS", "PARAMETER_CHECK", "ParameterCheck"]

#: How old a copy of a schema may be. Workflows are published again while processes live; what a copy refuses is looked up anew in
#: any case, so age only delays that something new is refused, which Coze does as well.
MAX_AGE_SECONDS = 600.0
#: A run does not wait long for a check that it can do without.
_READ_SECONDS = 10.0
_RETRY = RetryPolicy(attempts=2, budget_seconds=5.0)

_Key = tuple[str, str, str]
_Schema = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Copy:
    schema: _Schema | None  # None: this connection is not told
    read_at: float  # Unix seconds


class ParameterCheck:
    """The schemas that one process has read, and what it has said about those it could not read."""

    def __init__(self) -> None:
        self._copies: dict[_Key, _Copy] = {}
        self._said: set[tuple[str, str]] = set()

    def check(
        self,
        hook: CozeHook,
        workflow_id: str,
        parameters: Mapping[str, Any],
        log: Any,
        *,
        workflow_version: str | None = None,
    ) -> list[str]:
        """Return what is wrong with the parameters; an empty list where nothing is, or nobody can tell.

        :param parameters: as they will be sent, the marker of a run included.
        :param workflow_version: None: the newest. Coze tells the inputs of that one, so a run of another is not checked.
        :raises CozeConnectionConfigError: the connection is of no use, for the run neither.
        """
        if hook.settings.dialect == "studio":
            # backend/api/router/coze/api.go of github.com/coze-dev/coze-studio: only a chatflow's role can be read.
            self._say(hook, log, "Coze Studio does not tell the inputs of workflows")
            return []
        if workflow_version is not None:
            return []
        key = (hook.settings.base_url, hook.coze_conn_id, workflow_id)
        copy = self._copies.get(key)
        is_fresh = copy is not None and 0 <= hook.clock() - copy.read_at < MAX_AGE_SECONDS
        if copy is not None and is_fresh and (copy.schema is None or not problems(parameters, copy.schema)):
            return []
        schema = self._read(hook, key, log)
        return [] if schema is None else problems(parameters, schema)

    def _read(self, hook: CozeHook, key: _Key, log: Any) -> _Schema | None:
        """Read the schema; None: it cannot be had, which has been said."""
        asked = workflow.workflow_info(workflow_id=key[-1])
        quick = changed(asked, request=changed(asked.request, read_seconds=_READ_SECONDS))
        try:
            info = hook.perform(flows.call(quick, _RETRY))
        except CozeNotFoundError:
            return None  # the start says so as well, and is refused before anything is billed
        except (CozePermissionError, CozeInputError) as error:
            # Neither changes soon: the token lacks the permission, or this kind of server has no such operation.
            self._keep(key, None, hook.clock())
            self._say(hook, log, _reason(error))
            return None
        except CozeError as error:
            self._say(hook, log, _reason(error))
            return None
        # An answer without details is not one about a workflow that has no inputs.
        told = info.input_parameters if info.workflow_id or info.input_parameters else None
        self._keep(key, told, hook.clock())
        if told is None:
            self._say(hook, log, "this server does not tell the inputs of workflows")
        return told

    def _keep(self, key: _Key, schema: _Schema | None, now: float) -> None:
        fresh = {known: copy for known, copy in self._copies.items() if 0 <= now - copy.read_at < MAX_AGE_SECONDS}
        self._copies = {**fresh, key: _Copy(schema, now)}

    def _say(self, hook: CozeHook, log: Any, reason: str) -> None:
        saying = (hook.coze_conn_id, reason)
        if saying in self._said:
            return
        self._said.add(saying)
        log.warning(
            "Parameters are not checked before a run is paid for, with connection %s: %s. Runs go on without the check",
            hook.coze_conn_id,
            reason,
        )


def _reason(error: CozeError) -> str:
    """Say in few words why there is no schema; the same words for the same cause, so that it is said once."""
    if isinstance(error, CozePermissionError):
        return "the token lacks the permission getMetaData, or the workflow's workspace (code 4101)"
    if isinstance(error, CozeAPIError):
        known = f"code {error.code}" if error.code is not None else f"HTTP {error.status}"
        return f"Coze refused to tell the inputs of a workflow ({type(error).__name__}, {known})"
    return f"the inputs of a workflow could not be read ({type(error).__name__})"


#: That of this process.
PARAMETER_CHECK = ParameterCheck()
