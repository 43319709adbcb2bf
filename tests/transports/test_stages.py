"""Where a request is, when aiohttp begins it a second time: a connection that was kept had been closed by the server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from airflow_provider_coze.transports import wire
from airflow_provider_coze.transports.stages import Connector, Stages, Watchdog

CONNECT, READ = 10.0, 2.0


class _Clock:
    """As much of an event loop as a watchdog needs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[float] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, *_: Any) -> None:
        self.timers.append(at)


def sent(clock: _Clock) -> Stages:
    stages = Stages(Watchdog(clock), CONNECT, READ, hurried=False, reads_too=True)
    stages.sending(SimpleNamespace(at=0.0))
    return stages


def test_an_answer_has_as_long_as_one_read_from_the_moment_it_is_asked_for() -> None:
    clock = _Clock()
    assert sent(clock).until == clock.now + READ


def test_connecting_anew_may_take_as_long_as_connecting_does() -> None:
    clock = _Clock()
    stages = sent(clock)
    clock.now += 1.0
    stages.connecting()
    assert stages.until == clock.now + wire.WHOLE_ANSWER * CONNECT
    clock.now += READ + 1.0
    assert not stages.is_over(clock.now)
    clock.now = stages.until
    assert stages.is_over(clock.now)
    assert (stages.seconds, stages.is_of_whole) == (wire.WHOLE_ANSWER * CONNECT, False)
    assert stages.sent, "some of the request has left with the first connection, perhaps"


async def test_waiting_anew_for_a_connection_that_others_use_is_not_waiting_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watchdog = Watchdog(asyncio.get_running_loop())
    seen: list[float] = []

    async def connect(*_: Any) -> Any:
        seen.append(stages.until)
        return SimpleNamespace(protocol=SimpleNamespace(at=0.0))

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)
    connector = Connector(watchdog)
    with Stages(watchdog, CONNECT, READ, hurried=False, reads_too=True) as stages:
        await connector.connect(None, None, None)
        await connector.connect(None, None, None)
    assert seen == [float("inf"), float("inf")]
    await connector.close()
