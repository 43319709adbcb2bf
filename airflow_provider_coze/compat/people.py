"""What people have to do with a task: they are asked by it, and they end it. Each Airflow says and hears that its own way."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

__all__ = ["aform_answer", "ais_wanted", "ask_people", "has_forms", "is_wanted"]


def has_forms() -> bool:
    """Tell whether this Airflow can ask people (human in the loop): 3.1 and later."""
    try:
        import airflow.sdk.execution_time.hitl  # noqa: F401
    except ImportError:
        return False
    return True


def ask_people(
    ti: Any, *, subject: str, body: str, options: list[str], params: dict[str, Any], users: list[dict[str, str]]
) -> dict[str, Any]:
    """Put a question into the form of a task instance, and take the answer out that is in it.

    A task instance has one form in all its tries. Up to 3.3 Airflow leaves in it what was asked first, and removes only the answer
    (measured on 3.1.8 and 3.3.2), which ``upsert_hitl_detail`` of its SDK does not tell: hence its message.

    :returns: subject, body and params that the form has now.
    """
    from airflow.sdk.api.datamodels._generated import HITLUser
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    message = CreateHITLDetailPayload(
        ti_id=ti.id,
        options=options,
        subject=subject,
        body=body,
        params=params,
        multiple=False,
        assigned_users=[HITLUser(id=user["id"], name=user["name"]) for user in users],
    )
    kept: Any = SUPERVISOR_COMMS.send(message)
    return {name: getattr(kept, name, None) for name in ("subject", "body", "params")}


async def aform_answer(ti_id: str) -> dict[str, Any] | None:
    """Read the answer in the form of a task instance, on a triggerer's event loop: Airflow lets no worker read it.

    :returns: as the event that an answer resumes a task with; None: nobody has answered.
    :raises LookupError: the task instance has no form.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import GetHITLDetailResponse
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        found: Any = await SUPERVISOR_COMMS.asend(GetHITLDetailResponse(ti_id=uuid.UUID(ti_id)))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == 404:
            raise LookupError(ti_id) from error
        raise
    if not (found.response_received and found.chosen_options):
        return None
    return {"chosen_options": list(found.chosen_options), "params_input": dict(found.params_input or {})}


#: A trigger's on_kill has 30 s for everything; the first question to a triggerer's Execution API takes 2 to 6 s (measured on 3.3.2).
_ANSWER_SECONDS = 20.0
#: States in which Airflow still wants what the task does; any other one means that a person ended it.
_WANTED_STATES = ("running", "deferred", "queued", "scheduled", "up_for_retry", "restarting")


def is_wanted(ti: Any) -> bool | None:
    """Ask Airflow whether it still wants a task instance's work: whether a kill is a restart, and not a person's wish.

    Triggerers and workers are stopped, moved and lost for many reasons, and the next try or triggerer goes on; a person who marks or
    clears a task changes its state first. A cleared task has no state. Blocking, and not for the main thread of a task or for an
    event loop: both may be in the midst of talking to Airflow themselves.

    :returns: None when Airflow cannot be asked.
    """
    try:
        state = _state_of(ti)
    except Exception:
        return None
    return state in _WANTED_STATES


async def ais_wanted(ti: Any) -> bool | None:
    """Ask the same from the event loop of a triggerer of Airflow 3.3, the first that has a reason to.

    By its own coroutine: asking from a thread waits for the loop, and on 3.3.2 the two then wait for each other for ever.
    """
    try:
        from airflow.sdk.execution_time.comms import GetTaskStates
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        asked = GetTaskStates(**_which(ti))
        answer: Any = await asyncio.wait_for(SUPERVISOR_COMMS.asend(asked), _ANSWER_SECONDS)
        return _state_in(answer.task_states, ti) in _WANTED_STATES
    except Exception:
        return None


def _state_of(ti: Any) -> str | None:
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2.11: its tasks reach the database
        from airflow.models.taskinstance import TaskInstance

        key = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
        found = TaskInstance.get_task_instance(**key)
        return None if found is None else str(found.state)
    return _state_in(RuntimeTaskInstance.get_task_states(**_which(ti)), ti)


def _which(ti: Any) -> dict[str, Any]:
    """Return the question about the state of a task instance; an index is asked for only where there is one."""
    index = ti.map_index if _is_mapped(ti) else None
    return {"dag_id": ti.dag_id, "task_ids": [ti.task_id], "run_ids": [ti.run_id], "map_index": index}


def _state_in(states: Mapping[str, Mapping[str, Any]], ti: Any) -> str | None:
    """Read the answer: states by run and, within, by task, whose index follows its name."""
    name = f"{ti.task_id}_{ti.map_index}" if _is_mapped(ti) else ti.task_id
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))


def _is_mapped(ti: Any) -> bool:
    return ti.map_index is not None and ti.map_index >= 0
