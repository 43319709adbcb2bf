"""Tokens, permission points, OAuth, rate limits, and paths that are not there."""

from __future__ import annotations

import json
import uuid
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.cloud.oauth import GRANT_TYPE
from airflow_provider_coze.emulator.definitions import AccessToken, OAuthApp
from airflow_provider_coze.emulator.dialects import Cloud
from airflow_provider_coze.protocol.messages import FilePart
from tests.emulator.conftest import NOON, Coze, chat_body

ECHO = "7511000000000000002"


def test_every_emulator_has_a_token_of_its_own_unless_given(coze: Coze) -> None:
    assert coze.emulator.token.startswith("pat_emulator_")
    assert len(coze.emulator.token) == len("pat_emulator_") + 32
    assert Emulator().token != Emulator().token
    assert Emulator(token="pat_mine").token == "pat_mine"


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer pat_wrong", "Basic abc", "pat_wrong"])
def test_a_bad_token_is_401_with_4100(coze: Coze, authorization: str) -> None:
    response = coze.send("GET", "/v1/users/me", headers={"Authorization": authorization})
    assert (response.status, json.loads(response.body)["code"]) == (401, 4100)


def test_the_other_code_for_a_bad_token_is_a_setting(coze: Coze) -> None:
    coze.emulator.world.auth_failure_code = 700012006
    response = coze.send("GET", "/v1/users/me", token="pat_wrong")
    assert (response.status, json.loads(response.body)["msg"]) == (401, "access token invalid")


def test_a_token_without_the_permission_is_4101_and_the_point_is_named(coze: Coze) -> None:
    coze.emulator.world.tokens.append(AccessToken("pat_some", permissions=["getChat", "listWorkspace"]))
    refused = coze.body("POST", "/v3/chat", chat_body(ECHO, "x"), token="pat_some")
    assert refused["code"] == 4101
    assert "permission chat)" in refused["msg"]
    assert coze.code("GET", "/v1/workspaces", token="pat_some") == 0
    assert coze.code("GET", "/v1/users/me", token="pat_some") == 0
    coze.emulator.world.permission_status = 403
    assert coze.send("POST", "/v3/chat", chat_body(ECHO, "x"), token="pat_some").status == 403


def test_an_expired_token_is_a_bad_token(coze: Coze) -> None:
    coze.emulator.world.tokens.append(AccessToken("pat_old", expired=True))
    coze.emulator.world.tokens.append(AccessToken("pat_soon", expires_at=NOON + 60))
    assert coze.code("GET", "/v1/users/me", token="pat_old") == 4100
    assert coze.code("GET", "/v1/users/me", token="pat_soon") == 0
    coze.emulator.advance(60)
    assert coze.code("GET", "/v1/users/me", token="pat_soon") == 4100


def test_every_operation_but_two_has_a_permission_point() -> None:
    without = {route.path for route in Cloud._routes if route.permission is None}
    assert without == {"/v1/users/me", "/api/permission/oauth2/token"}


@pytest.mark.parametrize("path", ["/v3/x", "/", "/v1/workflow/run/", "/v1/workflows//versions", "/v3/chat"])
def test_an_unknown_path_is_404_with_4000(coze: Coze, path: str) -> None:
    response = coze.send("GET", path, token="pat_wrong")
    assert (response.status, json.loads(response.body)["code"]) == (404, 4000)
    assert f"GET {path} does not exist" in json.loads(response.body)["msg"]


def test_every_answer_has_a_log_id_in_header_and_body(coze: Coze) -> None:
    response = coze.send("GET", "/v1/users/me")
    assert json.loads(response.body)["detail"]["logid"] == response.headers["x-tt-logid"]
    assert coze.send("GET", "/v3/x").headers["x-tt-logid"] != response.headers["x-tt-logid"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
def test_a_body_that_is_no_json_object_is_4000(coze: Coze, body: bytes) -> None:
    assert coze.code("POST", "/v3/chat", body=body) == 4000


def test_a_json_null_is_an_absent_field(coze: Coze) -> None:
    body = chat_body(ECHO, "x", meta_data=None, anything=None)
    assert coze.code("POST", "/v3/chat", body) == 0


# --- OAuth


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def app(coze: Coze, key: rsa.RSAPrivateKey) -> OAuthApp:
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    made = OAuthApp("1150000000000001", {"kid1": pem.decode()}, permissions=["chat", "getChat"])
    coze.emulator.world.oauth_apps.append(made)
    return made


def _assertion(key: rsa.RSAPrivateKey, kid: str = "kid1", **claims: Any) -> str:
    given = {
        "iss": "1150000000000001",
        "aud": "api.coze.cn",
        "iat": int(NOON),
        "exp": int(NOON) + 600,
        "jti": uuid.uuid4().hex,
        **claims,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(given, key, algorithm="RS256", headers={"kid": kid})


def _token(coze: Coze, assertion: str, *, host: str = "api.coze.cn", **body: Any) -> Any:
    given = {"grant_type": GRANT_TYPE, "duration_seconds": 3600, "scope": None, **body}
    headers = {"Authorization": f"Bearer {assertion}", "Host": host}
    return coze.body("POST", "/api/permission/oauth2/token", given, headers=headers)


@pytest.mark.usefixtures("app")
def test_a_signed_jwt_buys_a_token_until_a_point_in_time(coze: Coze, key: rsa.RSAPrivateKey) -> None:
    issued = _token(coze, _assertion(key))
    assert issued == {"access_token": issued["access_token"], "expires_in": NOON + 3600, "token_type": "Bearer"}
    assert issued["access_token"].startswith("czs_")
    assert coze.code("POST", "/v3/chat", chat_body(ECHO, "x"), token=issued["access_token"]) == 0
    assert coze.code("GET", "/v1/workspaces", token=issued["access_token"]) == 4101
    coze.emulator.advance(3600)
    assert coze.code("POST", "/v3/chat", chat_body(ECHO, "x"), token=issued["access_token"]) == 4100


@pytest.mark.usefixtures("app")
def test_a_jwt_is_good_for_one_token(coze: Coze, key: rsa.RSAPrivateKey) -> None:
    assertion = _assertion(key)
    assert "access_token" in _token(coze, assertion)
    assert "jti has been used" in _token(coze, assertion)["error_message"]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "other"}, "invalid_client"),
        ({"aud": "api.coze.com"}, "invalid_request"),
        ({"aud": "https://api.coze.cn"}, "invalid_request"),
        ({"iat": int(NOON) + 3600, "exp": int(NOON) + 7200}, "invalid_request"),
        ({"iat": int(NOON) - 3600, "exp": int(NOON)}, "invalid_request"),
        ({"jti": None}, "invalid_request"),
        ({"exp": None}, "invalid_request"),
    ],
)
@pytest.mark.usefixtures("app")
def test_a_jwt_with_a_wrong_claim_buys_nothing(
    coze: Coze, key: rsa.RSAPrivateKey, claims: dict[str, Any], code: str
) -> None:
    assert _token(coze, _assertion(key, **claims))["error_code"] == code


@pytest.mark.usefixtures("app")
def test_a_jwt_with_a_wrong_signature_key_or_form_buys_nothing(coze: Coze, key: rsa.RSAPrivateKey) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert _token(coze, _assertion(stranger))["error_code"] == "invalid_client"
    assert _token(coze, _assertion(key, kid="kid2"))["error_code"] == "invalid_client"
    assert _token(coze, "pat_abc")["error_code"] == "invalid_request"
    unsigned = jwt.encode({"iss": "1150000000000001"}, "x" * 32, algorithm="HS256", headers={"kid": "kid1"})
    assert _token(coze, unsigned)["error_code"] == "invalid_request"
    assert _token(coze, _assertion(key), grant_type="refresh_token")["error_code"] == "unsupported_grant_type"
    assert _token(coze, _assertion(key), duration_seconds=86_400)["error_code"] == "invalid_request"


@pytest.mark.usefixtures("app")
def test_errors_of_the_token_endpoint_have_http_400_and_no_envelope(coze: Coze) -> None:
    response = coze.send("POST", "/api/permission/oauth2/token", {"grant_type": "x"})
    assert response.status == 400
    assert set(json.loads(response.body)) == {"error_code", "error_message"}


@pytest.mark.parametrize(("host", "audience"), [("127.0.0.1:8000", "127.0.0.1:8000"), ("127.0.0.1:8000", "127.0.0.1")])
@pytest.mark.usefixtures("app")
def test_the_audience_is_the_host_with_or_without_its_port(
    coze: Coze, key: rsa.RSAPrivateKey, host: str, audience: str
) -> None:
    assert "access_token" in _token(coze, _assertion(key, aud=audience), host=host)


@pytest.mark.usefixtures("app")
def test_session_names_keep_conversations_apart(coze: Coze, key: rsa.RSAPrivateKey) -> None:
    coze.emulator.world.oauth_apps[0] = OAuthApp("1150000000000001", coze.emulator.world.oauth_apps[0].public_keys)
    tokens = [_token(coze, _assertion(key, session_name=name))["access_token"] for name in ("a", "b", "a")]
    made = coze.data("POST", "/v1/conversation/create", {"bot_id": ECHO}, token=tokens[0])
    query = {"conversation_id": made["id"]}
    assert coze.code("GET", "/v1/conversation/retrieve", query=query, token=tokens[1]) == 4002
    assert coze.code("GET", "/v1/conversation/retrieve", query=query, token=tokens[2]) == 0


# --- limits


def test_in_memory_there_is_no_rate_limit_unless_asked_for(coze: Coze) -> None:
    assert {coze.code("POST", "/v3/chat", chat_body(ECHO, "x")) for _ in range(150)} == {0}


@pytest.mark.parametrize(("plan", "per_second"), [("personal_free", 20), ("personal_advanced", 100), ("team", 200)])
def test_a_plan_allows_so_many_chats_a_second(coze: Coze, plan: str, per_second: int) -> None:
    coze.emulator.world.plan, coze.emulator.world.rate_limits = plan, True
    codes = [coze.code("POST", "/v3/chat", chat_body(ECHO, "x")) for _ in range(per_second + 1)]
    assert codes == [0] * per_second + [4013]
    assert coze.code("POST", "/v1/workflow/run", {"workflow_id": "7511500000000000002"}) == 0
    coze.emulator.advance(0.5)
    codes = [coze.code("POST", "/v3/chat", chat_body(ECHO, "x")) for _ in range(per_second // 2 + 1)]
    assert codes == [0] * (per_second // 2) + [4013]
    assert len(coze.emulator.ledger) == per_second + per_second // 2 + 1


def test_overflow_can_be_http_429_with_retry_after(coze: Coze) -> None:
    world = coze.emulator.world
    world.rate_limits, world.rate_limit_status, world.retry_after = True, 429, 2.0
    files = (FilePart("file", "a.csv", b"a"),)
    responses = [coze.send("POST", "/v1/files/upload", files=files) for _ in range(11)]
    assert [response.status for response in responses] == [200] * 10 + [429]
    assert responses[-1].headers["retry-after"] == "2"
    assert json.loads(responses[-1].body)["code"] == 4013


def test_status_reads_of_chats_are_not_limited_those_of_runs_are(coze: Coze) -> None:
    coze.emulator.world.rate_limits = True
    chat = coze.chat(ECHO, "x")
    for _ in range(150):
        coze.retrieve(chat)
    execute_id = coze.run("7511500000000000002", is_async=True)["execute_id"]
    path = f"/v1/workflows/7511500000000000002/run_histories/{execute_id}"
    assert [coze.code("GET", path) for _ in range(100)] == [0] * 99 + [4013]


def test_an_allowance_for_life_ends_everything(coze: Coze) -> None:
    coze.emulator.world.call_allowance = 2
    assert [coze.code("GET", "/v1/users/me") for _ in range(3)] == [0, 0, 4028]


# --- files


def test_a_file_is_uploaded_and_found_for_three_months(coze: Coze) -> None:
    uploaded = coze.data("POST", "/v1/files/upload", files=(FilePart("file", "a.csv", b"a,b\n1,2\n"),))
    assert uploaded == {"id": uploaded["id"], "bytes": 8, "file_name": "a.csv", "created_at": NOON}
    query = {"file_id": uploaded["id"]}
    assert coze.data("GET", "/v1/files/retrieve", query=query) == uploaded
    coze.emulator.advance(91 * 86_400)
    assert coze.code("GET", "/v1/files/retrieve", query=query) == 4304


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ((), 4300),
        ((FilePart("upload", "a.csv", b"a"),), 4300),
        ((FilePart("file", "a.csv", b""),), 4300),
        ((FilePart("file", "", b"a"),), 4300),
        ((FilePart("file", "a.csv", b"a"), FilePart("file", "b.csv", b"b")), 4301),
        ((FilePart("file", "a.exe", b"a"),), 4303),
    ],
)
def test_uploads_that_are_refused(coze: Coze, files: tuple[FilePart, ...], code: int) -> None:
    assert coze.code("POST", "/v1/files/upload", files=files) == code
