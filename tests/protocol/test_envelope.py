"""An answer becomes a body or a typed error: the code speaks first, the HTTP status second."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_coze import errors
from airflow_provider_coze.errors import CozeAPIError, CozeError, CozeProtocolError
from airflow_provider_coze.protocol.endpoints import chat, workflow
from airflow_provider_coze.protocol.envelope import is_expired_token, open_envelope
from airflow_provider_coze.protocol.messages import Call, Replay, Request, Response
from tests.driving import answer, sample

READ = chat.retrieve_chat(conversation_id="c", chat_id="7")
START = workflow.run_workflow(workflow_id="w", parameters={}, is_async=True)
DEBUG_URL = "https://www.coze.cn/work_flow?execute_id=7513"


def refused(response: Response, call: Call[Any] = READ) -> CozeError:
    with pytest.raises(CozeError) as caught:
        open_envelope(response, call)
    return caught.value


# --- yes


@pytest.mark.parametrize(
    "body", [{"code": 0, "data": {"id": "1"}}, {"code": "0", "data": 1}, {"data": []}, {"code": None}, {}], ids=repr
)
def test_code_zero_or_no_code_at_all_with_a_good_status_is_a_yes(body: dict[str, Any]) -> None:
    assert open_envelope(answer(body), READ) == body


def test_a_yes_may_come_with_any_2xx() -> None:
    assert open_envelope(answer({"code": 0}, 201), READ) == {"code": 0}


# --- the code speaks first


@pytest.mark.parametrize("status", [200, 201, 400, 401, 404, 500, 503])
@pytest.mark.parametrize("code", [4016, "4016", 4016.0])
def test_a_known_code_decides_whatever_the_status_and_however_it_is_written(code: object, status: int) -> None:
    error = refused(answer({"code": code, "msg": "busy"}, status))
    assert type(error) is errors.CozeConversationBusyError
    assert (error.code, error.status, error.msg) == (4016, status, "busy")


# --- the status speaks second


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "CozeRejectedError"),
        (401, "CozeAuthError"),
        (403, "CozePermissionError"),
        (404, "CozeNotFoundError"),
        (408, "CozeUnavailableError"),
        (413, "CozeRejectedError"),
        (429, "CozeRateLimitedError"),
        (500, "CozeUnavailableError"),
        (502, "CozeUnavailableError"),
        (503, "CozeUnavailableError"),
        (504, "CozeUnavailableError"),
        (599, "CozeUnavailableError"),
        (302, "CozeAPIError"),
        (418, "CozeAPIError"),
    ],
)
@pytest.mark.parametrize(
    "body",
    ["<html><h1>No</h1></html>", "", "[]", "null", "{}", '{"code":0,"msg":"no"}', "{{status}}"],
    ids=["html", "empty", "list", "null", "no code", "code 0", "status as code"],
)
def test_without_a_code_of_its_own_the_status_decides(status: int, kind: str, body: str) -> None:
    # Coze Studio repeats the HTTP status as the code.
    text = json.dumps({"code": status, "msg": "no"}) if body == "{{status}}" else body
    error = refused(answer(text, status))
    assert type(error).__name__ == kind
    assert error.code is None  # never an HTTP status
    assert error.status == status
    assert f"HTTP {status}" in str(error)


def test_a_code_that_only_an_http_status_explains_is_understood_with_http_200_too() -> None:
    error = refused(answer({"code": 404, "msg": "not found"}))
    assert type(error) is errors.CozeNotFoundError


@pytest.mark.parametrize(("status", "kind"), [(200, CozeAPIError), (404, errors.CozeNotFoundError)])
def test_a_code_in_words_is_a_no_with_the_words_quoted(status: int, kind: type[CozeError]) -> None:
    error = refused(answer({"code": "invalid_request", "msg": "bad"}, status))
    assert type(error) is kind
    assert error.code is None  # codes are numbers; none is made up
    assert "'invalid_request'" in str(error)
    assert "'bad'" in str(error)


@pytest.mark.parametrize("code", ["1e999", "-1e999", "NaN", "[4016]", '{"a":1}', "true", '""', '"' + "9" * 5000 + '"'])
def test_a_code_that_is_no_number_is_a_no_and_never_a_crash(code: str) -> None:
    assert isinstance(refused(answer(f'{{"code":{code}}}')), CozeAPIError)


def test_an_unknown_code_is_a_plain_api_error_with_its_number() -> None:
    error = refused(answer({"code": 987654, "msg": "new"}))
    assert type(error) is CozeAPIError
    assert error.code == 987654
    assert "a code this version does not know" in str(error)


def test_an_unknown_code_with_a_server_error_is_trouble_of_the_server() -> None:
    error = refused(answer({"code": 987654}, 503))
    assert type(error) is errors.CozeUnavailableError
    assert error.code == 987654


def test_a_redirect_points_to_the_host_field_and_is_no_unknown_code() -> None:
    error = refused(answer("", 302, location="https://www.coze.cn/login"), START)
    assert "redirect" in str(error)
    assert "base URL" in str(error)
    assert "code this version" not in str(error)
    assert "Nothing was started" in str(error)


# --- a good status with something else than an object


@pytest.mark.parametrize(
    "body",
    ["<html>Sign in</html>", "", "[1]", '"text"', "null", "{half", "[" * 100_000],
    ids=lambda b: b[:14] or "empty",
)
def test_a_good_status_without_a_json_object_is_an_answer_that_cannot_be_understood(body: str) -> None:
    error = refused(answer(body, 200, x_tt_logid="L1"))
    assert type(error) is CozeProtocolError
    assert (error.status, error.logid, error.origin) == (200, "L1", "https://api.coze.cn")
    assert "connection's base URL" in str(error)


def test_a_page_is_quoted_and_an_answer_that_is_broken_off_is_not_because_it_may_hold_a_prompt() -> None:
    assert "'<html>Sign in</html>'" in str(refused(answer("<html>Sign in</html>")))
    for half in ('{"code":0,"data":[{"content":"s3cret', ' [{"content":"s3cret"}]', 'data:{"content":"s3cret"}\n\n'):
        error = refused(answer(half))
        assert "s3cret" not in str(error)
        assert f"{len(half)} bytes that begin like one, or like events" in str(error)


def test_a_start_with_an_answer_that_cannot_be_understood_may_be_billed_and_a_read_is_not() -> None:
    assert "Whether Coze carried it out is not known" in str(refused(answer(""), START))
    assert "billed" not in str(refused(answer("")))


def test_bytes_that_are_no_text_are_survived() -> None:
    assert type(refused(Response(200, {}, b"\xff\xfe\x00"))) is CozeProtocolError
    assert type(refused(Response(502, {}, b"\xff\xfe\x00"))) is errors.CozeUnavailableError


# --- facts


@pytest.mark.parametrize(
    ("headers", "body", "logid"),
    [
        ({"x_tt_logid": "H"}, {"detail": {"logid": "B"}}, "H"),
        ({"x_log_id": "S"}, {}, "S"),
        ({}, {"detail": {"logid": "B"}}, "B"),
        ({}, {"detail": None}, None),
        ({}, {"detail": "text"}, None),
        ({}, {"detail": {"logid": ""}}, None),
    ],
)
def test_the_logid_is_found_in_each_of_its_places(headers: dict[str, str], body: Any, logid: str | None) -> None:
    error = refused(answer({"code": 4000, **body}, **headers))
    assert error.logid == logid
    assert (f"logid {logid}" in str(error)) is bool(logid)


@pytest.mark.parametrize("name", ["msg", "message", "error_message"])
def test_cozes_words_are_found_under_each_of_their_names(name: str) -> None:
    error = refused(answer({"code": 4000, name: "参数错误"}))
    assert error.msg == "参数错误"
    assert "'参数错误'" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),  # against whose clock?
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 -0000", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "noon"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_servers_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert refused(answer({"code": 4013}, 429, **headers)).retry_after == seconds


def test_every_fact_of_a_refusal_is_an_attribute_and_in_its_message() -> None:
    body = {"code": 5000, "msg": "trouble", "debug_url": DEBUG_URL, "detail": {"logid": "L1"}}
    error = refused(answer(body, 500), START)
    assert error.facts() == {
        "code": 5000,
        "msg": "trouble",
        "logid": "L1",
        "status": 500,
        "debug_url": DEBUG_URL,
        "origin": "https://api.coze.cn",
    }
    message = str(error)
    for fact in ("POST /v1/workflow/run", "code 5000", "'trouble'", "HTTP 500", "logid L1", "api.coze.cn", DEBUG_URL):
        assert fact in message


@pytest.mark.parametrize("code", [4100, 700012006])
def test_a_refused_token_names_the_site_and_that_sites_do_not_share_tokens(code: int) -> None:
    message = str(refused(answer({"code": code}, 401)))
    assert "https://api.coze.cn" in message
    assert "coze.com" in message
    assert "base URL" in message


def test_a_missing_permission_is_named() -> None:
    assert "The permission of this operation is getChat." in str(refused(answer({"code": 4101})))
    assert "The permission of this operation is run." in str(refused(answer({"code": 4101}), START))


def test_an_operation_without_a_documented_permission_names_none() -> None:
    call: Call[Any] = Call(Request("GET", "/v1/users/me"), dict, Replay.ALWAYS)
    assert "The permission of this operation" not in str(refused(answer({"code": 4101}), call))


# --- what Coze is doing now, and what a retry does


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"code": 4016}, "Nothing was started, so nothing is billed; a retry of the task sends it again."),
        ({"code": 5000}, "Whether Coze carried it out is not known; a retry of the task sends it again"),
        ({"code": 987654}, "Whether Coze carried it out is not known"),
        ({"code": 4010, "debug_url": DEBUG_URL}, "It was started, and is billed as far as it went"),
        ({"code": 4000, "debug_url": DEBUG_URL}, "It was started, and is billed as far as it went"),
    ],
    ids=["refused", "unproven", "unknown", "started", "started although its code says refused"],
)
def test_a_refused_start_says_whether_something_is_billed(body: dict[str, Any], says: str) -> None:
    assert says in str(refused(answer(body), START))


@pytest.mark.parametrize("code", [0, 4013, 4009, 5000, 987654])
def test_a_start_turned_away_with_http_429_has_started_nothing_whatever_its_code(code: int) -> None:
    assert "Nothing was started, so nothing is billed" in str(refused(answer({"code": code}, 429), START))


@pytest.mark.parametrize(
    ("code", "says"), [(4009, "Nothing was"), (4013, "Nothing was"), (5000, "is not known"), (987654, "is not known")]
)
def test_without_http_429_it_is_the_code_that_says_whether_a_start_has_started_something(code: int, says: str) -> None:
    assert says in str(refused(answer({"code": code}), START))


@pytest.mark.parametrize("code", [4016, 5000, 987654])
def test_a_refused_read_has_nothing_to_say_about_bills(code: int) -> None:
    assert "billed" not in str(refused(answer({"code": code, "debug_url": DEBUG_URL})))


# --- length


def test_long_words_are_cut() -> None:
    error = refused(answer({"code": 4000, "msg": "x" * 100_000}))
    assert error.msg == "x" * 500
    assert len(str(error)) < 1_500


def test_a_long_page_is_cut_and_its_white_space_folded() -> None:
    error = refused(answer("<html>\n\n   <body>" + "x" * 100_000, 502))
    assert error.msg is not None
    assert error.msg.startswith("<html> <body>xxx")
    assert len(error.msg) == 500


# --- is the token to be replaced?


@pytest.mark.parametrize(
    ("response", "expired"),
    [
        (answer({"code": 4100}), True),
        (answer({"code": "700012006"}), True),
        (answer({"code": 0}, 401), True),
        (answer("<html>", 401), True),
        (answer({"code": 4101}, 403), False),
        (answer({"code": 0}), False),
        (answer("<html>", 502), False),
    ],
)
def test_a_token_is_called_expired_by_either_code_or_by_http_401(response: Response, expired: bool) -> None:
    assert is_expired_token(response) is expired


# --- answers as they were seen

SEEN = {
    "4000_body": ("CozeRejectedError", 4000),
    "4000_unknown_path": ("CozeRejectedError", 4000),
    "4002": ("CozeNotFoundError", 4002),
    "4013": ("CozeRateLimitedError", 4013),
    "4016": ("CozeConversationBusyError", 4016),
    "4100": ("CozeAuthError", 4100),
    "4101": ("CozePermissionError", 4101),
    "4200_bot": ("CozeNotFoundError", 4200),
    "400_plain_text": ("CozeRejectedError", None),
    "429_retry_after_7": ("CozeRateLimitedError", 4013),
    "500": ("CozeUnavailableError", 5000),
    "5000": ("CozeUnavailableError", 5000),
    "502_html": ("CozeUnavailableError", None),
    "6003": ("CozePlanError", 6003),
    "700012006": ("CozeAuthError", 700012006),
    "720702222": ("CozeUnavailableError", 720702222),
}


@pytest.mark.parametrize("case", SEEN)
def test_answers_that_were_documented_or_reported_become_their_errors(case: str) -> None:
    error = refused(sample("errors", case))
    assert (type(error).__name__, error.code) == SEEN[case]


@pytest.mark.parametrize(
    ("case", "kind", "code"),
    [
        ("bad_token", "CozeAuthError", 700012006),
        ("no_token", "CozeAuthError", 700012006),
        ("no_session", "CozeAuthError", None),
        ("unknown_route", "CozeNotFoundError", None),
    ],
)
def test_refusals_of_coze_studio_become_the_same_errors(case: str, kind: str, code: int | None) -> None:
    error = refused(sample("studio_errors", case))
    assert (type(error).__name__, error.code) == (kind, code)
    assert error.logid
