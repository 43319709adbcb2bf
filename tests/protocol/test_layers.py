"""A layer wraps every request of a flow: what goes in and out, and what happens when something breaks."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze.errors import CozeInputError, CozeTransportError
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Flow, Request, Response, Send, Sleep

LOST = CozeTransportError("lost", never_sent=False)


class Bystander:
    """A flow of two requests that notes what it sees."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.closed = False
        self.held: Flow[str] | None = None  # a flow that nobody holds would be closed by being forgotten

    def flow(self) -> Flow[str]:
        self.held = self._flow()
        return self.held

    def _flow(self) -> Flow[str]:
        try:
            for path in ("/1", "/2"):
                try:
                    self.seen.append((yield Send(Request("GET", path))))
                except CozeTransportError as error:
                    self.seen.append(error)
                self.seen.append((yield Sleep(3.0)))
            return "the end"
        finally:
            self.closed = True


def layer(effect: Send) -> Flow[Response]:
    yield Sleep(1.0)
    answer: Response = yield Send(Request("GET", "/layered" + effect.request.path))
    return Response(answer.status + 1, {}, answer.body)


def test_requests_go_through_the_layer_and_sleeps_and_the_result_pass_unchanged() -> None:
    bystander = Bystander()
    flow = through(bystander.flow(), layer)
    assert next(flow) == Sleep(1.0)
    assert flow.send(None) == Send(Request("GET", "/layered/1"))
    assert flow.send(Response(200, {}, b"a")) == Sleep(3.0)  # the flow's own
    assert flow.send(None) == Sleep(1.0)
    assert flow.send(None) == Send(Request("GET", "/layered/2"))
    assert flow.send(Response(300, {}, b"b")) == Sleep(3.0)
    with pytest.raises(StopIteration) as done:
        flow.send(None)
    assert done.value.value == "the end"
    assert bystander.seen == [Response(201, {}, b"a"), None, Response(301, {}, b"b"), None]


def test_a_lost_answer_is_raised_inside_the_flow_and_the_flow_goes_on() -> None:
    bystander = Bystander()
    flow = through(bystander.flow(), layer)
    next(flow), flow.send(None)
    assert flow.throw(LOST) == Sleep(3.0)
    assert bystander.seen == [LOST]


def test_a_layer_may_catch_a_lost_answer_itself() -> None:
    def stubborn(effect: Send) -> Flow[Response]:
        try:
            answer: Response = yield effect
        except CozeTransportError:
            answer = yield effect
        return answer

    bystander = Bystander()
    flow = through(bystander.flow(), stubborn)
    assert next(flow) == flow.throw(LOST)
    flow.send(Response(200, {}, b""))
    assert bystander.seen == [Response(200, {}, b"")]


def test_what_a_layer_refuses_ends_the_flow_and_closes_it() -> None:
    def refusing(effect: Send) -> Flow[Response]:
        raise CozeInputError(f"no {effect.request.path} here")
        yield

    bystander = Bystander()
    with pytest.raises(CozeInputError, match="no /1 here"):
        next(through(bystander.flow(), refusing))
    assert bystander.closed


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_closing_closes_the_flow_at_every_point(steps: int) -> None:
    bystander = Bystander()
    flow = through(bystander.flow(), layer)
    next(flow)
    for answer in [None, Response(200, {}, b"")][:steps]:
        flow.send(answer)
    flow.close()
    assert bystander.closed


def test_an_exception_thrown_into_a_sleep_closes_the_flow_and_goes_on_up() -> None:
    bystander = Bystander()
    flow = through(bystander.flow(), layer)
    next(flow), flow.send(None), flow.send(Response(200, {}, b""))
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert bystander.closed


def test_an_error_of_the_flow_itself_comes_out() -> None:
    def failing() -> Flow[None]:
        yield Sleep(1.0)
        raise LOST

    flow = through(failing(), layer)
    next(flow)
    with pytest.raises(CozeTransportError) as caught:
        flow.send(None)
    assert caught.value is LOST
