"""The two drivers are one driver: they differ by their awaits, and do the same with whatever a flow yields."""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze.errors import CozeTransportError
from airflow_provider_coze.protocol.messages import Flow, Request, Response, Send, Sleep
from airflow_provider_coze.transports.aio import adrive
from airflow_provider_coze.transports.sync import drive


class WithoutAwaits(ast.NodeTransformer):
    """Turns the asynchronous spelling of a function into the synchronous one."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        return ast.FunctionDef(**{name: getattr(node, name, []) for name in ast.FunctionDef._fields})

    def visit_Await(self, node: ast.Await) -> ast.expr:
        self.generic_visit(node)
        return node.value


def _comparable(function: Callable[..., Any]) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (definition,) = WithoutAwaits().visit(tree).body
    assert isinstance(definition, ast.FunctionDef)
    # What legitimately differs: the name, and the types and the default of what is passed in.
    definition.name = "drive"
    definition.args.defaults = []
    for argument in definition.args.args:
        argument.annotation = None
    return ast.dump(definition, indent=1)


def test_the_drivers_differ_by_their_awaits_only() -> None:
    assert _comparable(adrive) == _comparable(drive)
    assert "await" in inspect.getsource(adrive)


REQUESTS = [Request("GET", f"/{number}") for number in range(3)]
LOST = CozeTransportError("lost", never_sent=True)


class Scripted:
    """A transport that answers from a list, in both colours."""

    def __init__(self, *answers: Response | Exception) -> None:
        self._answers = list(answers)
        self.sent: list[Request] = []

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class AsyncScripted(Scripted):
    async def send(self, request: Request) -> Response:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().send(request)


Drive = Callable[..., Any]


def driven(flow: Flow[Any], slept: list[float], *answers: Response | Exception) -> Any:
    return drive(flow, Scripted(*answers), slept.append)  # type: ignore[arg-type]


def adriven(flow: Flow[Any], slept: list[float], *answers: Response | Exception) -> Any:
    async def asleep(seconds: float) -> None:
        slept.append(seconds)

    return asyncio.run(adrive(flow, AsyncScripted(*answers), asleep))  # type: ignore[arg-type]


@pytest.fixture(params=[driven, adriven], ids=lambda way: way.__name__)
def perform(request: pytest.FixtureRequest) -> Drive:
    way: Drive = request.param
    return way


def test_a_flow_gets_its_answers_and_its_sleeps_and_its_value_comes_back(perform: Drive) -> None:
    def flow() -> Flow[list[Any]]:
        first = yield Send(REQUESTS[0])
        nothing = yield Sleep(1.5)
        second = yield Send(REQUESTS[1])
        return [first, nothing, second]

    slept: list[float] = []
    answers = [Response(200, {}, b"a"), Response(500, {}, b"b")]
    assert perform(flow(), slept, *answers) == [answers[0], None, answers[1]]
    assert slept == [1.5]


def test_a_lost_answer_is_raised_where_the_flow_stands_and_it_may_go_on(perform: Drive) -> None:
    def flow() -> Flow[list[Any]]:
        seen: list[Any] = []
        try:
            yield Send(REQUESTS[0])
        except CozeTransportError as error:
            seen.append(error)
        seen.append((yield Sleep(1.0)))
        seen.append((yield Send(REQUESTS[1])))
        return seen

    assert perform(flow(), [], LOST, Response(200, {}, b"")) == [LOST, None, Response(200, {}, b"")]


@pytest.mark.parametrize("failure", [LOST, ValueError("a bug of ours")], ids=["lost", "bug"])
def test_what_a_flow_does_not_catch_comes_out_and_the_flow_is_closed(perform: Drive, failure: Exception) -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield Send(REQUESTS[0])
        finally:
            closed.append(True)

    held = flow()  # one that nobody holds would be closed by being forgotten
    with pytest.raises(type(failure)) as caught:
        perform(held, [], failure)
    assert caught.value is failure
    assert closed


def test_a_flow_without_effects_is_performed_too(perform: Drive) -> None:
    def flow() -> Flow[str]:
        yield from ()
        return "done"

    assert perform(flow(), []) == "done"


async def test_a_cancelled_driver_closes_its_flow() -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield Sleep(60.0)
        finally:
            closed.append(True)

    held = flow()
    task = asyncio.create_task(adrive(held, AsyncScripted()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed


def test_by_default_time_really_passes() -> None:
    def flow() -> Flow[None]:
        yield Sleep(0.05)

    import time

    begun = time.monotonic()
    drive(flow(), Scripted())  # type: ignore[arg-type]
    asyncio.run(adrive(flow(), AsyncScripted()))  # type: ignore[arg-type]
    assert time.monotonic() - begun >= 0.1
