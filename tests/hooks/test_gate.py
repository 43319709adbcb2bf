"""The gate: whoever has to wait for the budget, on one loop, on several, and on threads, and what they wait with."""

from __future__ import annotations

import asyncio
import gc
import selectors
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from airflow_provider_coze.hooks import gate as gates
from airflow_provider_coze.hooks.gate import Lines
from airflow_provider_coze.protocol.messages import Request, Response, Send
from airflow_provider_coze.settings import Settings, TokenAuth

LOOK = Request("GET", "/v3/chat/retrieve", budget="chat")
FREE = Request("GET", "/v1/bots")
TOO_FAST = Response(200, {}, b'{"code":4013,"msg":"slow down"}')


class Jumping(selectors.DefaultSelector):
    """Waits for nothing: the time it should have waited has passed."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            type(self).jumped += timeout
        return found


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lines]:
    """Return the lines of a connection whose time passes by itself."""
    began = time.monotonic()
    monkeypatch.setattr(Jumping, "jumped", 0.0)
    monkeypatch.setattr(gates.time, "monotonic", lambda: began + Jumping.jumped)
    return lambda **budget: Lines(Settings("http://127.0.0.1:1", TokenAuth("pat_x"), **budget))


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on a loop whose timers take no time."""
    loop = asyncio.SelectorEventLoop(Jumping())
    loop.time = gates.time.monotonic  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


def test_a_thousand_looks_wait_for_one_timer_and_pass_at_the_rate(lines: Callable[..., Lines]) -> None:
    async def main() -> tuple[list[float], int]:
        loop = asyncio.get_running_loop()
        gate = lines(chat_qps=100.0).agate(time.time, asyncio.sleep)
        began, passed = loop.time(), []

        async def look(number: int) -> None:
            await gate.enter(Send(LOOK, after=number % 10, looks=True))
            passed.append(loop.time() - began)

        tasks = [asyncio.create_task(look(number)) for number in range(1_000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        timers = len(loop._scheduled)  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        return passed, timers

    passed, timers = run(main())
    assert timers <= 2
    assert passed[-1] == pytest.approx(1_000 / 97.5, abs=0.2)
    for second in range(10):
        assert sum(second <= moment < second + 1 for moment in passed) <= 102


def test_without_a_budget_a_look_passes_when_it_asked_to_and_work_at_once(lines: Callable[..., Lines]) -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        gate, passed = lines().agate(time.time, asyncio.sleep), []
        for effect in (Send(LOOK), Send(LOOK, after=2.0, looks=True), Send(FREE), Send(FREE, after=3.0)):
            began = loop.time()
            await gate.enter(effect)
            passed.append(loop.time() - began)
        return passed

    assert run(main()) == pytest.approx([0.0, 2.0, 0.0, 3.0], abs=2 / 32)


def test_whoever_is_cancelled_leaves_at_once_and_takes_no_slot(lines: Callable[..., Lines]) -> None:
    async def main() -> tuple[int, float]:
        loop, found = asyncio.get_running_loop(), lines(chat_qps=1.0)
        gate = found.agate(time.time, asyncio.sleep)
        began = loop.time()
        waiting = [asyncio.create_task(gate.enter(Send(LOOK, looks=True))) for _ in range(100)]
        await asyncio.sleep(0)
        for task in waiting[1:]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        left = found._lines["chat"].pacer.waiting
        await gate.enter(Send(LOOK, looks=True))
        return left, loop.time() - began

    left, seconds = run(main())
    assert left == 0
    assert seconds < 1.1


def test_work_that_comes_while_a_look_is_waited_for_passes_first(lines: Callable[..., Lines]) -> None:
    async def main() -> list[str]:
        gate, passed = lines(chat_qps=1.0).agate(time.time, asyncio.sleep), []

        async def enter(name: str, **how: Any) -> None:
            await gate.enter(Send(LOOK, **how))
            passed.append(name)

        await enter("first")
        looks = [asyncio.create_task(enter(f"look {number}", looks=True)) for number in range(3)]
        await asyncio.sleep(0.1)
        await asyncio.gather(*looks, enter("work"))
        return passed

    assert run(main()) == ["first", "work", "look 0", "look 1", "look 2"]


def test_an_answer_that_says_too_fast_slows_all_down(lines: Callable[..., Lines]) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        gate = lines(chat_qps=100.0).agate(time.time, asyncio.sleep)
        await gate.enter(Send(LOOK))
        gate.leave(Send(LOOK), Response(200, {}, b'{"code":0}'))
        gate.leave(Send(FREE), TOO_FAST)
        gate.leave(Send(LOOK), Response(429, {"retry-after": "5"}, b""))
        began = loop.time()
        await gate.enter(Send(LOOK))
        return loop.time() - began

    assert run(main()) == pytest.approx(5.0, abs=0.01)


def test_held_seconds_are_what_requests_have_waited_for_the_budget(lines: Callable[..., Lines]) -> None:
    async def main() -> tuple[float, float]:
        found = lines(chat_qps=1.0)
        gate = found.agate(time.time, asyncio.sleep)
        await asyncio.gather(*(gate.enter(Send(LOOK, after=2.0, looks=True)) for _ in range(3)))
        return found.held_seconds, found.stretch("chat")

    held, stretch = run(main())
    assert held == pytest.approx(3 / 0.975, abs=0.05)
    assert stretch > 1.0


def test_loops_and_threads_share_one_budget_and_none_is_forgotten() -> None:
    """In real time: three loops and three threads at once, each of which also has to be woken by the others."""
    found = Lines(Settings("http://127.0.0.1:1", TokenAuth("pat_x"), chat_qps=400.0))
    passed: list[float] = []

    async def looks() -> None:
        gate = found.agate(time.time, asyncio.sleep)

        async def look(number: int) -> None:
            await gate.enter(Send(LOOK, after=0.001 * number, looks=True))
            passed.append(time.monotonic())

        await asyncio.gather(*(look(number) for number in range(30)))

    def works() -> None:
        gate = found.gate(time.time, time.sleep)
        for _ in range(10):
            gate.enter(Send(LOOK))
            passed.append(time.monotonic())

    threads = [threading.Thread(target=lambda: asyncio.run(looks())) for _ in range(3)]
    threads += [threading.Thread(target=works) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(passed) == 120
    assert max(passed) - min(passed) >= 110 / 400
    assert found._lines["chat"].pacer.waiting == 0


def test_a_loop_that_is_gone_keeps_nothing_and_holds_nobody_up() -> None:
    found = Lines(Settings("http://127.0.0.1:1", TokenAuth("pat_x"), chat_qps=50.0))
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def gives_up() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        gate = found.agate(time.time, asyncio.sleep)
        await gate.enter(Send(LOOK))
        waiting = [asyncio.create_task(gate.enter(Send(LOOK, after=60.0, looks=True))) for _ in range(5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)

    for _ in range(2):
        asyncio.run(gives_up())
    gc.collect()
    assert [loop() for loop in loops] == [None, None]
    assert found._lines["chat"].pacer.waiting == 0


def test_equal_connections_have_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_LINES", {})
    one, other = (
        gates.lines_of(Settings("http://127.0.0.1:1", TokenAuth("pat_x"), chat_qps=1.0), time.time) for _ in "12"
    )
    assert one is other
    assert gates.lines_of(Settings("http://127.0.0.1:1", TokenAuth("pat_y"), chat_qps=1.0), time.time) is not one
