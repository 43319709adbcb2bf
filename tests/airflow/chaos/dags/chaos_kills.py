"""Kill a task's own process at a labelled point of the first try that comes by. The provider has no hook for it: its seams are
replaced here, in the one process that is to die.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

from chaos_cells import At
from urllib3.connection import HTTPConnection

from airflow_provider_coze.operators.purchase import Purchase
from airflow_provider_coze.transports.sync import SyncTransport

#: One file for each death: a process that is tried again must live, and a cell that nobody died for proves nothing.
DEATHS = Path(os.environ.get("AIRFLOW_HOME", ".")) / "deaths"

PAID = ("/v3/chat", "/v1/workflow/run")
MAKES_CONVERSATION = "/v1/conversation/create"
_LEDGER_SECONDS = 10.0


class Death:
    """The one death of a task instance."""

    def __init__(self, task_id: str, map_index: int, at: At) -> None:
        self.task_id, self.map_index, self._at = task_id, map_index, at
        self._file = DEATHS / f"{task_id}.{map_index}"

    def comes(self, at: At) -> None:
        """Die if this is the place, and this task instance has not died before."""
        if at != self._at:
            return
        try:
            self._file.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def is_due(self, at: At) -> bool:
        """Tell whether :meth:`comes` would end this process."""
        return at == self._at and not self._file.exists()


def arm(death: Death) -> None:
    """Replace the seams for the rest of this process, which belongs to one try of one task instance."""
    DEATHS.mkdir(exist_ok=True)
    _arm_purchase(death)
    _arm_transport(death)
    _arm_talk_with_airflow(death)


def _arm_purchase(death: Death) -> None:
    intend, bought = Purchase.intend, Purchase.bought

    def dying_intend(self: Purchase, sent_to: str | None = None, *, marker: str | None = None) -> Any:
        death.comes(At.BEFORE_INTENT)
        intent = intend(self, sent_to, marker=marker)
        death.comes(At.AFTER_INTENT)
        if sent_to is not None:
            death.comes(At.CONVERSATION_SAVED)
        return intent

    def dying_bought(self: Purchase, *args: Any, **ids: str | None) -> Any:
        record = bought(self, *args, **ids)
        death.comes(At.SAVED)
        return record

    Purchase.intend, Purchase.bought = dying_intend, dying_bought  # type: ignore[method-assign]


def _arm_transport(death: Death) -> None:
    send, read_answer = SyncTransport.send, HTTPConnection.getresponse
    sending: list[str] = []  # the base URL while a paid request is on its way

    def dying_send(self: SyncTransport, request: Any) -> Any:
        paid = request.path in PAID and request.method == "POST"
        if paid:
            sending.append(self._settings.base_url)
        try:
            response = send(self, request)
        finally:
            sending.clear()
        if paid:
            death.comes(At.REPLIED)
        elif request.path == MAKES_CONVERSATION:
            death.comes(At.CONVERSATION_MADE)
        elif request.path == "/v3/chat/retrieve" or "/run_histories/" in request.path:
            death.comes(At.WAITING)
        return response

    def dying_read(self: Any) -> Any:
        """The request has been written to the socket; not a byte of the reply has been read."""
        if sending and death.is_due(At.POST_SENT):
            _wait_for_bill(sending[0], death)
            death.comes(At.POST_SENT)
        return read_answer(self)

    SyncTransport.send = dying_send  # type: ignore[method-assign]
    HTTPConnection.getresponse = dying_read  # type: ignore[method-assign]


def _wait_for_bill(base_url: str, death: Death) -> None:
    """Wait until the emulator has carried out what is on its way."""
    open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    deadline = time.monotonic() + _LEDGER_SECONDS
    while time.monotonic() < deadline:
        with open_directly(f"{base_url}/_emulator/ledger", timeout=5) as answer:
            ledger = json.load(answer)["ledger"]
        if (death.task_id, death.map_index) in map(owner, (entry["marker"] for entry in ledger)):
            return
        time.sleep(0.02)
    raise TimeoutError("The emulator has not got the request that was sent")


def owner(marker: dict[str, Any]) -> tuple[str, int] | None:
    """Return whose entry of the ledger it is: task_id and map_index. None: of no cell."""
    given = marker.get("meta_data") or (marker.get("parameters") or {}).get("value") or {}
    cell = given.get("cell") if isinstance(given, dict) else None
    return (cell, int(given["item"])) if cell else None


def _arm_talk_with_airflow(death: Death) -> None:
    """Airflow 3 only; older ones write into the database themselves, and have no cells for these points."""
    try:
        from airflow.sdk.execution_time import task_runner
    except ImportError:
        return
    comms = task_runner.SUPERVISOR_COMMS
    send = comms.send

    def dying_send(msg: Any) -> Any:
        answer = send(msg)
        if type(msg).__name__ == "DeferTask":
            death.comes(At.DEFERRED)
        elif type(msg).__name__ == "SetXCom" and msg.key == "return_value":
            death.comes(At.AFTER_XCOM)
        return answer

    comms.send = dying_send  # type: ignore[method-assign]
