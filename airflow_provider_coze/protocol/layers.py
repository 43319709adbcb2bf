"""Wrap a flow, so that every request it makes goes through one more step (pacing, a token, another dialect).

A layer is a flow for one request: it gets the :class:`Send`, may yield effects of its own, and returns the response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol.messages import Flow, Response, Send

__all__ = ["through"]

T = TypeVar("T")


def through(flow: Flow[T], layer: Callable[[Send], Flow[Response]]) -> Flow[T]:
    """Return *flow* with every ``Send`` handed to *layer*; sleeps and the result pass unchanged.

    What a layer raises is raised inside *flow*, where an error of the request itself would be, so that its ids get attached.
    """
    answer: Response | None = None
    failure: Exception | None = None
    try:
        while True:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
            answer = failure = None
            if isinstance(effect, Send):
                try:
                    answer = yield from layer(effect)
                except CozeError as error:
                    failure = error
            else:
                yield effect
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        flow.close()
