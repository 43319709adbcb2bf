"""How a flow is performed when its process is about to be killed: with what time there is, and no waits."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Flow, Response, Send, changed
from airflow_provider_coze.settings import Settings

__all__ = ["hurried", "in_a_hurry", "no_time"]

T = TypeVar("T")

#: A worker that is being killed has about 5 s between SIGTERM and SIGKILL (Airflow's task supervisor).
_HURRY_CONNECT_SECONDS, _HURRY_READ_SECONDS = 1.5, 2.0


def in_a_hurry(settings: Settings) -> Settings:
    """Return the settings with as much patience as there is time."""
    return replace(settings, connect_seconds=_HURRY_CONNECT_SECONDS, read_seconds=_HURRY_READ_SECONDS)


def hurried(flow: Flow[T]) -> Flow[T]:
    """Return *flow* with no more time for its requests than there is."""
    return through(flow, _hurried)


def _hurried(effect: Send) -> Flow[Response]:
    """Give a request no more time than there is, whatever it says itself."""
    response: Response = yield Send(changed(effect.request, read_seconds=_HURRY_READ_SECONDS))
    return response


def no_time(seconds: float) -> None:
    """Refuse to wait.

    :raises CozeTransportError: always.
    """
    raise CozeTransportError(
        f"There was no time to wait {seconds:.1f} s, because this process is about to be killed.", never_sent=True
    )
