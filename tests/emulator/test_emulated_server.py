"""The emulator behind a socket: the fixture, the command, broken connections, time that really passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.__main__ import main
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Seconds
from airflow_provider_coze.emulator.server import Server, serve
from airflow_provider_coze.emulator.world import World
from tests.emulator.conftest import NOON, chat_body

pytestmark = pytest.mark.matrix  # `make test` runs them, `make unit`, which has a minute, does not

ECHO, SLEEPER = "7511000000000000002", "7511000000000000006"
ECHO_FLOW, SLEEPER_FLOW = "7511500000000000002", "7511500000000000007"


@pytest.fixture
def client(coze_emulator: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {coze_emulator.token}"}
    with httpx.Client(base_url=coze_emulator.base_url, headers=headers, trust_env=False, timeout=10) as client:
        yield client


def test_the_fixture_points_airflow_to_itself(coze_emulator: Server) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_COZE_DEFAULT"])
    assert connection == {"conn_type": "coze", "host": coze_emulator.base_url, "password": coze_emulator.token}
    assert coze_emulator.base_url.startswith("http://127.0.0.1:")


def test_the_fixture_has_the_emulators_controls(coze_emulator: Server, client: httpx.Client) -> None:
    bot = coze_emulator.add_bot(answer="hi")
    workflow = coze_emulator.add_workflow(output="ho")
    coze_emulator.script(scenarios.error(4009), on="GET /v1/users/me")
    assert client.get("/v1/users/me").json()["code"] == 4009
    assert client.post("/v3/chat", json=chat_body(bot.id, "x")).json()["code"] == 0
    assert client.post("/v1/workflow/run", json={"workflow_id": workflow.id}).json()["data"] == "ho"
    assert [entry.kind for entry in coze_emulator.ledger] == ["chat", "workflow"]
    assert coze_emulator.world.bot(bot.id) is bot
    coze_emulator.reset()
    assert coze_emulator.ledger == []


class TestAWorldOfOnesOwn:
    @pytest.fixture
    def coze_emulator_world(self) -> World:
        return World(user_name="mine")

    def test_is_given_by_overriding_a_fixture(self, client: httpx.Client) -> None:
        assert client.get("/v1/users/me").json()["data"]["user_name"] == "mine"


def test_advancing_the_clock_releases_an_answer_that_is_waiting(coze_emulator: Server, client: httpx.Client) -> None:
    timer = threading.Timer(0.1, coze_emulator.advance, [80])
    timer.start()
    begun = time.monotonic()
    body = {"workflow_id": SLEEPER_FLOW, "parameters": {"seconds": 80, "value": 1}}
    assert client.post("/v1/workflow/run", json=body).json()["data"] == '{"output":1}'
    assert time.monotonic() - begun < 2


def test_seconds_really_pass(client: httpx.Client) -> None:
    begun = time.monotonic()
    body = {"workflow_id": SLEEPER_FLOW, "parameters": {"seconds": 0.3, "value": 1}}
    assert client.post("/v1/workflow/run", json=body).json()["code"] == 0
    assert 0.3 <= time.monotonic() - begun < 2


def test_events_of_a_stream_arrive_one_by_one(client: httpx.Client) -> None:
    begun = time.monotonic()
    arrived = []
    with client.stream("POST", "/v3/chat", json=chat_body(SLEEPER, "sleep 0.4: a b", stream=True)) as response:
        for line in response.iter_lines():
            if line.startswith("event:conversation.message.delta"):
                arrived.append(time.monotonic() - begun)
    first, second = arrived
    assert first >= 0.2
    assert second >= 0.4
    assert second - first >= 0.1


def test_a_long_synchronous_run_is_cut_off_and_goes_on(coze_emulator: Server, client: httpx.Client) -> None:
    coze_emulator.world.sync_wait_seconds = 0.1
    body = {"workflow_id": SLEEPER_FLOW, "parameters": {"seconds": 60}}
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        client.post("/v1/workflow/run", json=body)
    coze_emulator.advance(60)
    path = f"/v1/workflows/{SLEEPER_FLOW}/run_histories/{coze_emulator.ledger[0].id}"
    assert client.get(path).json()["data"][0]["execute_status"] == "Success"


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_reset_is_a_tcp_reset(coze_emulator: Server, client: httpx.Client, after_commit: bool) -> None:
    coze_emulator.script(scenarios.reset(after_commit=after_commit))
    with pytest.raises(httpx.ReadError):
        client.post("/v3/chat", json=chat_body(ECHO, "x"))
    assert len(coze_emulator.ledger) == after_commit


@pytest.mark.parametrize(("how", "error"), [("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
def test_a_stream_that_breaks_is_an_incomplete_body(
    coze_emulator: Server, client: httpx.Client, how: Any, error: type[Exception]
) -> None:
    coze_emulator.script(scenarios.stream_cut(after_events=2, how=how))
    with client.stream("POST", "/v3/chat", json=chat_body(ECHO, "x", stream=True)) as response:
        assert response.status_code == 200
        with pytest.raises(error):
            response.read()


# --- faults as they are on a wire


def test_a_refused_connection_is_refused_by_the_kernel_and_the_port_stays_ours(
    coze_emulator: Server, client: httpx.Client
) -> None:
    assert client.get("/v1/users/me").status_code == 200
    coze_emulator.script(scenarios.refused())
    with pytest.raises(httpx.ConnectError, match="refused"):  # the connection that was kept is gone as well
        client.get("/v1/users/me")
    address = ("127.0.0.1", int(coze_emulator.base_url.rpartition(":")[2]))
    with contextlib.closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
        other.bind(address)
    coze_emulator.clear_faults()
    assert client.get("/v1/users/me").status_code == 200


def test_a_refusal_ends_with_the_emulators_clock(coze_emulator: Server, client: httpx.Client) -> None:
    coze_emulator.script(scenarios.refused(seconds=60))
    with pytest.raises(httpx.ConnectError):
        client.get("/v1/users/me")
    coze_emulator.advance(60)
    assert client.get("/v1/users/me").status_code == 200


def test_a_refusal_ends_by_itself_when_time_really_passes(coze_emulator: Server, client: httpx.Client) -> None:
    coze_emulator.script(scenarios.refused(seconds=0.05))
    begun = time.monotonic()
    while True:
        try:
            assert client.get("/v1/users/me").status_code == 200
            break
        except httpx.ConnectError:
            assert time.monotonic() - begun < 5
            time.sleep(0.005)


def test_a_refusal_can_be_ordered_over_the_wire_and_begins_before_its_order_is_answered(
    coze_emulator: Server, client: httpx.Client
) -> None:
    assert client.post("/_emulator/faults", json={"fault": {"kind": "refuse", "seconds": 60}}).status_code == 200
    with pytest.raises(httpx.ConnectError):
        client.get("/v1/users/me")
    coze_emulator.reset()
    assert client.get("/v1/users/me").status_code == 200


def test_a_request_that_is_being_answered_when_connections_are_refused_still_gets_its_answer(
    coze_emulator: Server, client: httpx.Client
) -> None:
    coze_emulator.script(scenarios.slow(40), on="GET /v1/users/me")

    def go_down() -> None:
        while not coze_emulator.emulator.requests:
            time.sleep(0.002)
        coze_emulator.script(scenarios.refused())
        coze_emulator.advance(40)

    going_down = threading.Thread(target=go_down)
    going_down.start()
    assert client.get("/v1/users/me").status_code == 200
    going_down.join()
    with pytest.raises(httpx.ConnectError):
        client.get("/v1/users/me")


def test_a_server_that_refuses_can_be_stopped_and_gives_its_port_back() -> None:
    with serve(Emulator()) as server:
        server.script(scenarios.refused())
    port = int(server.base_url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_refused_connections_cannot_be_counted_by_a_server(coze_emulator: Server) -> None:
    with pytest.raises(ValueError, match="seconds instead"):
        coze_emulator.script(scenarios.refused(connections=1))


@pytest.mark.parametrize("after_commit", [False, True])
def test_silence_lasts_until_the_client_goes(coze_emulator: Server, client: httpx.Client, after_commit: bool) -> None:
    coze_emulator.script(scenarios.no_reply(after_commit=after_commit))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v3/chat", json=chat_body(ECHO, "x"), timeout=0.05)
    assert len(coze_emulator.ledger) == after_commit
    _until_nobody_is_connected(coze_emulator)


@pytest.mark.parametrize(
    ("how", "error"),
    [("reset", httpx.ReadError), ("close", httpx.RemoteProtocolError), ("never", httpx.ReadTimeout)],
)
def test_half_a_body_announces_the_whole(
    coze_emulator: Server, client: httpx.Client, how: Any, error: type[Exception]
) -> None:
    coze_emulator.script(scenarios.half_body(how=how))
    with client.stream("POST", "/v3/chat", json=chat_body(ECHO, "x"), timeout=0.2) as response, pytest.raises(error):
        response.read()
    if how != "reset":  # which may overtake what was sent before it
        assert response.num_bytes_downloaded == int(response.headers["content-length"]) // 2
    assert len(coze_emulator.ledger) == 1
    _until_nobody_is_connected(coze_emulator)


def test_a_dripping_body_comes_byte_by_byte_and_never_ends(coze_emulator: Server, client: httpx.Client) -> None:
    coze_emulator.script(scenarios.drip(every_seconds=0.002))
    with client.stream("POST", "/v3/chat", json=chat_body(ECHO, "x"), timeout=0.5) as response:
        pieces = response.iter_raw()
        assert [next(pieces) for _ in range(20)] == [b" "] * 20
    _until_nobody_is_connected(coze_emulator)


def test_a_dripping_head_never_becomes_an_answer(coze_emulator: Server) -> None:
    coze_emulator.script(scenarios.drip(every_seconds=0.002, part="head"))
    host, _, port = coze_emulator.base_url.removeprefix("http://").partition(":")
    received = b""
    with socket.create_connection((host, int(port))) as raw:
        token = coze_emulator.token.encode()
        raw.sendall(b"GET /v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
        while len(received) < 60:
            received += raw.recv(1024)
    assert received.startswith(b"HTTP/1.1 200 OK\r\nX-Drip: ....")
    assert b"\r\n\r\n" not in received
    _until_nobody_is_connected(coze_emulator)


def test_a_huge_body_is_as_long_as_announced_and_may_be_left_unread(
    coze_emulator: Server, client: httpx.Client
) -> None:
    coze_emulator.script(scenarios.huge_body(size_bytes=3_000_000))
    response = client.get("/v1/users/me")
    assert (len(response.content), response.json()["code"]) == (3_000_000, 0)
    coze_emulator.script(scenarios.huge_body())
    with client.stream("GET", "/v1/users/me") as begun:
        assert int(begun.headers["content-length"]) == 65 * 1024 * 1024
        next(begun.iter_raw())
    _until_nobody_is_connected(coze_emulator)


def _until_nobody_is_connected(server: Server) -> None:
    begun = time.monotonic()
    while server.emulator.connections_open:
        assert time.monotonic() - begun < 5
        time.sleep(0.005)


def test_a_stream_that_stops_is_a_complete_body(coze_emulator: Server, client: httpx.Client) -> None:
    coze_emulator.script(scenarios.stream_cut(after_events=2, how="end"))
    assert client.post("/v3/chat", json=chat_body(ECHO, "x", stream=True)).text.count("\n\n") == 2


def test_connections_and_requests_are_counted(coze_emulator: Server, client: httpx.Client) -> None:
    for _ in range(3):
        client.get("/v1/users/me")
    with httpx.Client(base_url=coze_emulator.base_url, trust_env=False) as other:
        stats = other.get("/_emulator/stats").json()
    assert stats == {"requests": {"GET /v1/users/me": 3}, "connections_accepted": 2, "connections_open": 2}


def test_another_process_can_drive_it(client: httpx.Client) -> None:
    client.post("/_emulator/faults", json={"fault": {"kind": "answer", "code": 4009}, "times": 1})
    assert client.get("/v1/users/me").json()["code"] == 4009
    before = client.get("/_emulator/clock").json()["now"]
    assert client.post("/_emulator/clock", json={"advance": 3600}).json()["now"] >= before + 3600
    assert client.post("/_emulator/reset").json() == {"ok": True}


def test_rate_limits_are_on_when_served(coze_emulator: Server, client: httpx.Client) -> None:
    coze_emulator.world.plan = "personal_free"
    codes = {client.post("/v3/chat", json=chat_body(ECHO, "x")).json()["code"] for _ in range(60)}
    assert codes == {0, 4013}


def test_a_file_arrives_as_a_multipart_upload(client: httpx.Client) -> None:
    uploaded = client.post("/v1/files/upload", files={"file": ("报表.csv", b"a,b\n", "text/csv")}).json()
    assert (uploaded["data"]["file_name"], uploaded["data"]["bytes"]) == ("报表.csv", 4)
    assert client.post("/v1/files/upload", content=b"x").json()["code"] == 4300


def test_ids_in_paths_may_be_percent_encoded(client: httpx.Client) -> None:
    assert client.get("/v1/workflows/751150000000000000%32").json()["code"] == 0


def test_a_body_that_is_too_large_is_refused(client: httpx.Client) -> None:
    response = client.post("/v3/chat", content=b" " * (20 * 1024 * 1024 + 1))
    assert response.status_code == 413


def test_a_clock_that_stands_still_is_moved_for_whoever_waits() -> None:
    with serve(Emulator(clock=lambda: NOON)) as server:
        body = {"workflow_id": SLEEPER_FLOW, "parameters": {"seconds": 80, "value": 1}}
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = httpx.post(f"{server.base_url}/v1/workflow/run", json=body, headers=headers, trust_env=False)
        assert answer.json()["code"] == 0
        assert server.emulator.now() == NOON + 80


def test_a_port_that_is_taken_is_an_error_in_the_callers_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"in use"):
        Server(Emulator(), port=taken.getsockname()[1])


def test_stopping_does_not_wait_for_those_who_wait() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serve(Emulator()))
        headers = {"Authorization": f"Bearer {server.token}"}
        body = {"workflow_id": SLEEPER_FLOW, "parameters": {"seconds": 60}}

        def wait() -> None:
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(
                    f"{server.base_url}/v1/workflow/run", json=body, headers=headers, trust_env=False, timeout=30
                )

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not server.ledger:
            time.sleep(0.01)
        begun = time.monotonic()
    waiting.join()
    assert time.monotonic() - begun < 5


async def test_hundreds_can_wait_at_once() -> None:
    emulator = Emulator(World(rate_limits=False))
    workflow = emulator.add_workflow(output="x", duration=Seconds(0.2))
    with serve(emulator) as server:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": f"Bearer {server.token}"}
        async with aiohttp.ClientSession(server.base_url, connector=connector, headers=headers) as session:

            async def one() -> int:
                async with session.post("/v1/workflow/run", json={"workflow_id": workflow.id}) as response:
                    return int((await response.json())["code"])

            codes = await asyncio.gather(*(one() for _ in range(300)))
    assert codes == [0] * 300
    assert len(emulator.ledger) == 300


# --- the command


def _started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow_provider_coze.emulator", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_says_where_it_is_and_ends_cleanly() -> None:
    process = _started()
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert sorted(ready) == ["base_url", "bots", "connection", "token", "workflows"]
        assert (len(ready["bots"]), len(ready["workflows"])) == (8, 9)
        connection = json.loads(ready["connection"])
        assert (connection["host"], connection["password"]) == (ready["base_url"], ready["token"])
        headers = {"Authorization": f"Bearer {ready['token']}"}
        me = httpx.get(f"{ready['base_url']}/v1/users/me", headers=headers, trust_env=False)
        assert me.json()["code"] == 0
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


def test_the_command_reads_a_world_and_a_dialect_and_ends_with_ctrl_c_too(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text("bots: [{id: '7511000000000000042'}]", encoding="utf-8")
    process = _started("--dialect", "studio", "--world", str(path))
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert (ready["bots"], ready["workflows"]) == (["7511000000000000042"], [])
    assert json.loads(ready["connection"])["extra"] == {"dialect": "studio"}


def test_the_command_explains_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of the test's own process stay as they are
    path = tmp_path / "world.yaml"
    path.write_text("colour: red", encoding="utf-8")
    assert main(["--world", str(path)]) == 2
    assert "unknown keys ['colour']" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "cannot listen at" in capsys.readouterr().err


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, airflow_provider_coze.emulator.pytest_plugin as p; "
        "print(sorted({'airflow', 'aiohttp', 'yaml', 'jwt', 'requests', 'airflow_provider_coze.emulator.app'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
