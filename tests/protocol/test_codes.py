"""Coze's codes, written down a second time: a row that is lost or changed in the package fails here.

Source: www.coze.cn/open/docs/developer_guides/coze_error_codes and the pages of the operations; Coze Studio's
backend/types/errno (github.com/coze-dev/coze-studio).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from airflow_provider_coze.errors import CozeAPIError
from airflow_provider_coze.protocol import codes, flows
from airflow_provider_coze.protocol.envelope import meaning_of
from airflow_provider_coze.protocol.messages import Call, Flow, Replay, Request
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.settings import Settings, TokenAuth
from airflow_provider_coze.transports.aio import AioTransport, adrive
from airflow_provider_coze.transports.sync import SyncTransport, drive
from tests.transports.loopback import Loopback, Peer, reply

OFFICIAL = {
    4000: "CozeRejectedError",
    4001: "CozeNotFoundError",
    4002: "CozeNotFoundError",
    4003: "CozeRejectedError",
    4004: "CozeRejectedError",
    4005: "CozeRejectedError",
    4006: "CozeNotFoundError",
    4007: "CozeRejectedError",
    4008: "CozeQuotaError",
    4009: "CozeUnavailableError",
    4010: "CozeRejectedError",
    4011: "CozeQuotaError",
    4012: "CozeRejectedError",
    4013: "CozeRateLimitedError",
    4014: "CozeRejectedError",
    4015: "CozeRejectedError",
    4016: "CozeConversationBusyError",
    4019: "CozeQuotaError",
    4020: "CozeRateLimitedError",
    4021: "CozeRejectedError",
    4022: "CozeQuotaError",
    4028: "CozeQuotaError",
    4100: "CozeAuthError",
    4101: "CozePermissionError",
    4102: "CozeRiskControlError",
    4104: "CozeAlreadyEndedError",
    4105: "CozeRejectedError",
    4200: "CozeNotFoundError",
    4201: "CozeRejectedError",
    4300: "CozeRejectedError",
    4301: "CozeRejectedError",
    4302: "CozeRejectedError",
    4303: "CozeRejectedError",
    4304: "CozeRejectedError",
    4314: "CozeNotFoundError",
    4315: "CozeAlreadyEndedError",
    5000: "CozeUnavailableError",
    6003: "CozePlanError",
    700012006: "CozeAuthError",
    720702204: "CozeRejectedError",
    720702222: "CozeUnavailableError",
}
STUDIO = {
    6023: "CozeRejectedError",
    6031: "CozeNotFoundError",
    6039: "CozeRejectedError",
    103000000: "CozeRejectedError",
    103000001: "CozePermissionError",
    103000002: "CozeNotFoundError",
    103100001: "CozeUnavailableError",
    103100002: "CozeNotFoundError",
    103200002: "CozeUnavailableError",
    103200003: "CozeNotFoundError",
    103200005: "CozeAlreadyEndedError",
    720701013: "CozeUnavailableError",
    720702004: "CozeNotFoundError",
    720702011: "CozeNotFoundError",
    720702078: "CozeRejectedError",
    720702085: "CozeRejectedError",
    777777776: "CozeRejectedError",
    777777777: "CozeRejectedError",
}
KINDS = OFFICIAL | STUDIO

#: The HTTP statuses that go with a code besides 200; codes without a pair are tried with 400 and 500.
PAIRS = {4000: (400,), 4100: (401,), 4101: (403,), 4200: (404,), 4013: (429,)}

#: Answers that may be another one in a moment; those of the second line not before half a minute.
SOON = {4009, 4013, 4020, 5000, 103100001, 103200002, 720701013}
SLOWLY = {720702222}

#: What Airflow's retry of a task can bring where it is not "never".
LATER = dict.fromkeys([4009, 4013, 4016, 4104, 4315, 5000], "retry")
LATER |= dict.fromkeys([103100001, 103200002, 103200005, 720701013], "retry")
LATER |= dict.fromkeys([6023, 720702085, 777777776, 777777777], "retry")
LATER |= {4008: "tomorrow", 4020: "wait a minute", 4102: "wait some minutes", 720702222: "wait some minutes"}
LATER_BY_STATUS = {408: "retry", 429: "retry"}

#: Answers to a start which prove that nothing was started.
PROVE_NOTHING_STARTED = {4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4015, 4016, 4100, 4101, 4200, 6003, 700012006}
PROVE_NOTHING_STARTED |= {4009, 4013, 4020}  # as far as no debug_url says the opposite
PROVE_NOTHING_STARTED |= {6031, 103000000, 103000001, 103000002, 103100002, 720702004, 720702011}  # Studio's

EVERY_ANSWER = [(code, status) for code in KINDS for status in (200, *PAIRS.get(code, (400, 500)))]

Way = Callable[[Settings, Flow[object]], object]


def over_requests(settings: Settings, flow: Flow[object]) -> object:
    with SyncTransport(settings) as transport:
        return drive(flow, transport)


def over_aiohttp(settings: Settings, flow: Flow[object]) -> object:
    async def performed() -> object:
        async with AioTransport(settings) as transport:
            return await adrive(flow, transport)

    return asyncio.run(performed())


def _as_asked(peer: Peer) -> None:
    """Answer ``/CODE/STATUS`` with that code and status."""
    _, code, status = peer.request.target.split("/")
    body = f'{{"code":{code},"msg":"no","detail":{{"logid":"L{code}"}}}}'
    peer.send(reply(body.encode(), status=int(status)))


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback(_as_asked) as loopback:
        yield loopback


@pytest.mark.parametrize("way", [over_requests, over_aiohttp], ids=lambda way: way.__name__)
@pytest.mark.parametrize(("code", "status"), EVERY_ANSWER)
def test_a_code_is_the_same_typed_error_over_each_transport_and_with_each_status(
    way: Way, code: int, status: int, server: Loopback
) -> None:
    call: Call[object] = Call(Request("GET", f"/{code}/{status}"), dict, Replay.ALWAYS)
    with pytest.raises(CozeAPIError) as caught:
        way(Settings(server.url, TokenAuth("pat_x")), flows.call(call, RetryPolicy(attempts=1)))
    error = caught.value
    assert type(error).__name__ == KINDS[code]
    assert (error.code, error.status, error.msg, error.logid) == (code, status, "no", f"L{code}")
    assert error.origin == server.url


def test_there_is_no_code_that_is_not_written_down_here() -> None:
    assert codes.BY_CODE.keys() == KINDS.keys()


@pytest.mark.parametrize("code", KINDS)
def test_asking_again_is_for_what_can_pass(code: int) -> None:
    again = "soon" if code in SOON else "slowly" if code in SLOWLY else "no"
    assert meaning_of(code, 200).again.value == again


@pytest.mark.parametrize("code", KINDS)
def test_a_task_is_retried_only_for_what_can_be_another_answer_later(code: int) -> None:
    assert codes.BY_CODE[code].fate.later.value == LATER.get(code, "never")


@pytest.mark.parametrize("status", codes.BY_STATUS)
def test_a_status_without_a_code_is_retried_only_when_it_can_be_another_later(status: int) -> None:
    assert codes.BY_STATUS[status].fate.later.value == LATER_BY_STATUS.get(status, "never")


def test_what_no_row_has_is_retried_except_a_redirect() -> None:
    assert codes.FAILED.fate.later is codes.Later.RETRY
    assert codes.UNKNOWN.fate.later is codes.Later.RETRY
    assert codes.REDIRECT.fate.later is codes.Later.NEVER


def test_what_is_asked_again_within_a_call_is_retried_by_airflow_as_well() -> None:
    rows = [*codes.BY_CODE.values(), *codes.BY_STATUS.values(), codes.FAILED, codes.UNKNOWN, codes.REDIRECT]
    passing = [row for row in rows if row.again is not codes.Again.NO]
    assert passing
    assert [row for row in passing if row.fate.later is codes.Later.NEVER] == []


@pytest.mark.parametrize("code", KINDS)
def test_a_code_proves_that_nothing_was_started_only_where_that_is_sure(code: int) -> None:
    assert meaning_of(code, 200).started is (False if code in PROVE_NOTHING_STARTED else None)


@pytest.mark.parametrize("code", [*KINDS, 0, 429, 987654])
def test_http_429_proves_it_of_every_code_and_changes_nothing_else(code: int) -> None:
    turned_away = meaning_of(code, 429)
    assert turned_away.started is False
    if code in KINDS:
        assert turned_away == replace(codes.BY_CODE[code], started=False)
    else:
        assert turned_away == codes.BY_STATUS[429]


@pytest.mark.parametrize("code", KINDS)
def test_every_code_has_a_meaning_and_a_sentence_of_advice(code: int) -> None:
    row = codes.BY_CODE[code]
    assert row.meaning
    assert row.meaning[-1] != "."
    assert row.advice[-1] == "."
    assert row.fate.why[-1] == "."


def test_a_token_is_replaced_after_these_codes_only() -> None:
    assert {4100, 700012006} == codes.EXPIRED_TOKEN_CODES
