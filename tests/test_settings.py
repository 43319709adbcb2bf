"""What a connection's fields become, and what is said when they are wrong."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeConnectionConfigError
from airflow_provider_coze.settings import EXTRAS, OAuthJWT, Settings, TokenAuth, parse

TOKEN = "pat_a-token-of-somebody"


def pem_of(key: Any, form: str = "PKCS8", passphrase: bytes | None = None) -> str:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), lock).decode()


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = pem_of(RSA)
JWT = {"auth_type": "oauth_jwt", "client_id": "1180", "public_key_id": "finger-print", "private_key": PEM}


def parsed(host: str | None = None, password: str | None = TOKEN, extra: Any = None, **other: Any) -> Settings:
    return parse(host=host, password=password, extra=extra, **other)


def problems(host: str | None = None, password: str | None = TOKEN, extra: Any = None, **other: Any) -> list[str]:
    with pytest.raises(CozeConnectionConfigError) as caught:
        parse(host=host, password=password, extra=extra, **other)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"Airflow connection 'coze_default' is wrong in {len(lines) - 2} place{'s' * (len(lines) > 3)}:"
    return [line.removeprefix("- ") for line in lines[1:-1]]


# --- defaults, types, secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [None, "", "{}", {}, dict.fromkeys(EXTRAS), dict.fromkeys(EXTRAS, " ")], ids=repr)
def test_a_token_is_enough_and_fields_left_alone_mean_their_defaults(extra: Any) -> None:
    assert parsed(extra=extra) == Settings(base_url="https://api.coze.cn", auth=TokenAuth(TOKEN))


def test_the_defaults_are_the_documented_ones() -> None:
    got = parsed()
    assert (got.connect_seconds, got.read_seconds, got.verify, got.dialect) == (5.0, 100.0, True, "cloud")
    assert (got.chat_qps, got.workflow_qps, got.proxy, got.workspace_id) == (None, None, None, None)
    assert got.upload_qps == 10.0
    assert got.workflow_run_path == "/v1/workflow/run"
    assert parsed(password=None, extra=JWT).auth == OAuthJWT("1180", "finger-print", PEM, 3600, None)


ALL = {
    **JWT,
    "token_ttl": 900,
    "session_name": "客户 7",
    "dialect": "cloud",
    "workspace_id": "7511000000000000001",
    "connect_seconds": 2.5,
    "read_seconds": 30,
    "proxy": "http://user:pass-word@proxy:3128",
    "verify": False,
    "chat_qps": 3,
    "workflow_qps": "plan",
    "upload_qps": 20,
    "workflow_run_path": "/v3/workflows/run",
}


@pytest.mark.parametrize(
    "extra",
    [
        ALL,
        json.dumps(ALL),
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in ALL.items()},
        {**ALL, "workspace_id": 7511000000000000001, "client_id": 1180, "verify": " False "},
    ],
    ids=["typed", "json", "all text, as in a URI", "ids that were decoded to numbers"],
)
def test_values_arrive_typed_or_as_text_and_mean_the_same(extra: Any) -> None:
    assert parsed(extra=extra, password=None) == Settings(
        base_url="https://api.coze.cn",
        auth=OAuthJWT("1180", "finger-print", PEM, 900, "客户 7"),
        connect_seconds=2.5,
        read_seconds=30.0,
        proxy="http://user:pass-word@proxy:3128",
        verify=False,
        workspace_id="7511000000000000001",
        chat_qps=3.0,
        workflow_qps="plan",
        upload_qps=20.0,
        workflow_run_path="/v3/workflows/run",
    )


def test_settings_can_key_a_pool_and_cross_processes() -> None:
    one, same, other = parsed(extra=ALL), parsed(extra=dict(ALL)), parsed(extra={**ALL, "chat_qps": 4})
    assert {one: "pool"}[same] == "pool"
    assert other not in {one: "pool"}
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes


def test_no_repr_shows_a_secret() -> None:
    shown = repr(parsed(extra=ALL)) + repr(parsed())
    for secret in (TOKEN, "pass-word", "BEGIN", PEM.splitlines()[5]):
        assert secret not in shown


def test_blanks_around_a_pasted_token_are_dropped() -> None:
    assert parsed(password=f" {TOKEN}\n").auth == TokenAuth(TOKEN)


@pytest.mark.parametrize(
    ("given_", "means"),
    [(True, True), ("TRUE", True), (False, False), ("false", False), ("/etc/ssl/ours.pem", "/etc/ssl/ours.pem")],
)
def test_verify_is_a_switch_or_the_path_of_a_bundle(given_: object, means: object) -> None:
    assert parsed(extra={"verify": given_}).verify == means


# --- the base URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "schema", "port", "base_url"),
    [
        ("", "", None, "https://api.coze.cn"),
        ("api.coze.com", None, None, "https://api.coze.com"),
        ("https://api.coze.com", None, None, "https://api.coze.com"),
        (" HTTPS://API.Coze.COM/ ", None, None, "https://api.coze.com"),
        ("https://api.coze.cn:443", None, None, "https://api.coze.cn"),
        ("api.coze.cn", "https", 443, "https://api.coze.cn"),
        ("coze.internal", None, None, "https://coze.internal"),
        ("coze.internal", "http", 8888, "http://coze.internal:8888"),
        ("http://coze.internal:8888", "http", 8888, "http://coze.internal:8888"),
        ("http://coze_server:8888/", None, None, "http://coze_server:8888"),
        ("https://gateway.example/tools/coze/", None, None, "https://gateway.example/tools/coze"),
        ("gateway.example/coze", "http", "8080", "http://gateway.example:8080/coze"),
        ("192.168.1.7:8888", None, None, "https://192.168.1.7:8888"),
        # Nothing leaves the machine, and no authority issues certificates for it: here people mean http.
        ("127.0.0.1", None, 8000, "http://127.0.0.1:8000"),
        ("localhost:8888", None, None, "http://localhost:8888"),
        ("[::1]:8000", None, None, "http://[::1]:8000"),
        ("localhost", "https", 8443, "https://localhost:8443"),
        ("https://localhost:8443", None, None, "https://localhost:8443"),
    ],
)
def test_host_schema_and_port_become_one_address(host: str, schema: str | None, port: Any, base_url: str) -> None:
    assert parsed(host, schema=schema, port=port).base_url == base_url


@pytest.mark.parametrize(
    ("host", "schema", "port", "said"),
    [
        ("www.coze.cn", None, None, "https://api.coze.cn"),
        ("https://www.coze.com/space/7/bot/8", None, None, "https://api.coze.com"),
        ("https://api.coze.cn/v3", None, None, "has a path after api.coze.cn"),
        ("http://api.coze.cn", None, None, "token in clear"),
        ("api.coze.com", "http", None, "token in clear"),
        ("https//api.coze.cn", None, None, "a text of 18 characters"),
        ("https:/api.coze.cn", None, None, "a text of 18 characters"),
        ("https：//api.coze.cn", None, None, "a text of 19 characters"),
        ("ftp://api.coze.cn", None, None, "http(s)://"),
        ("coze.internal?x=1", None, None, "without user, password, ? and #"),
        ("user:pass-word@coze.internal", None, None, "without user, password, ? and #"),
        ("coze internal", None, None, "http(s)://"),
        ("coze.internal/a b", None, None, "http(s)://"),
        ("http://coze.internal:99999", None, None, "http(s)://"),
        ("http://[::1", None, None, "http(s)://"),
        ("https://", None, None, "http(s)://"),
        ("https://coze.internal", "http", None, "starts with https://"),
        ("coze.internal:8888", None, 8889, "says 8888"),
        ("", "http", None, "`host` is empty, but"),
        ("", None, 8000, "`host` is empty, but"),
        ("coze.internal", "v3", None, "percent-encoded"),
        ("coze.internal", None, 70000, "the number 70000"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(host: str, schema: str | None, port: Any, said: str) -> None:
    (problem,) = problems(host, schema=schema, port=port)
    assert said in problem
    assert problem.startswith(("`host` ", "`schema` ", "`port` "))
    assert "pass-word" not in problem


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", "\\r\\n"),
        PEM.replace("\n", "\r\n"),
        PEM.replace("\n", ""),  # what <input type="password"> makes of a pasted file
        PEM.replace("\n", " "),
        f"\n  {PEM}\n",
    ],
    ids=["newlines", r"\n", r"\r\n as text", "CRLF", "one line", "blanks", "surrounded"],
)
def test_a_private_key_is_the_same_however_its_newlines_came(text: str) -> None:
    auth = parsed(password=None, extra={**JWT, "private_key": text}).auth
    assert isinstance(auth, OAuthJWT)
    assert auth.private_key == PEM


def test_both_kinds_of_rsa_pem_are_taken() -> None:
    old = pem_of(RSA, "TraditionalOpenSSL")
    auth = parsed(password=None, extra={**JWT, "private_key": old}).auth
    assert isinstance(auth, OAuthJWT)
    assert auth.private_key == old


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("/etc/keys/coze.pem", "-----BEGIN PRIVATE KEY-----"),
        (PEM[:900], "-----BEGIN PRIVATE KEY-----"),
        (pem_of(RSA, passphrase=b"x"), "without a passphrase"),
        (pem_of(RSA, "TraditionalOpenSSL", b"x"), "without a passphrase"),
        (pem_of(ec.generate_private_key(ec.SECP256R1()), "TraditionalOpenSSL"), "EC PRIVATE KEY"),
        (PEM.replace("\n", "\n!", 3), "base64"),
        (123456, "a number"),
        ({"kty": "RSA"}, "a JSON object"),
    ],
    ids=["path", "cut", "PKCS8 locked", "PKCS1 locked", "elliptic curve", "damaged", "number", "JWK"],
)
def test_a_private_key_of_another_kind_is_refused_without_being_shown(key: Any, said: str) -> None:
    (problem,) = problems(password=None, extra={**JWT, "private_key": key})
    assert problem.startswith("`private_key` ")
    assert said in problem
    assert "coze.pem" not in problem
    assert "123456" not in problem
    assert not any(line in problem for line in str(key).splitlines()[1:-1] if line)


def test_oauth_says_everything_it_lacks_at_once() -> None:
    said = problems(password=None, extra={"auth_type": "oauth_jwt"})
    assert [problem.split()[0] for problem in said] == ["`client_id`", "`public_key_id`", "`private_key`"]


@pytest.mark.parametrize(
    ("password", "login", "extra", "said"),
    [
        ("", None, None, "a personal or service access token"),
        (None, TOKEN, None, "coze://:TOKEN@host"),
        (None, None, {"private_key": PEM}, "set `auth_type` to oauth_jwt"),
        (f"Bearer {TOKEN}", None, None, "without the word Bearer"),
        ("令牌", None, None, "ASCII"),
        ("pat_1\npat_2", None, None, "in one line"),
    ],
)
def test_a_missing_or_odd_token_is_refused_with_the_likely_reason(
    password: str | None, login: str | None, extra: Any, said: str
) -> None:
    (problem,) = problems(password=password, login=login, extra=extra)
    assert problem.startswith("`password` ")
    assert said in problem
    assert TOKEN not in problem


def test_studio_takes_personal_tokens_on_its_own_host_only() -> None:
    assert parsed("http://studio:8888", extra={"dialect": "studio"}).dialect == "studio"
    assert "`host` is Coze's cloud" in problems(extra={"dialect": "studio"})[0]
    assert "only personal access tokens" in problems("http://studio:8888", None, {**JWT, "dialect": "studio"})[0]


# --- wrong values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("auth_type", "jwt", "is a text of 3 characters; allowed: token or oauth_jwt"),
        ("dialect", "auto", "is a text of 4 characters; allowed: cloud or studio"),
        ("connect_seconds", 0, "is the number 0; allowed: seconds from 0.1 to 300"),
        ("connect_seconds", "5s", "is a text of 2 characters; allowed: seconds from 0.1 to 300"),
        ("read_seconds", "-1", "is the number -1; allowed: seconds from 0.1 to 3600"),
        ("read_seconds", True, "is true; allowed: seconds from 0.1 to 3600"),
        ("read_seconds", float("nan"), "is a number; allowed: seconds from 0.1 to 3600"),
        ("read_seconds", 10**400, "is a number; allowed: seconds from 0.1 to 3600"),
        ("token_ttl", 90000, "is the number 90000; allowed: whole seconds from 60 to 86399"),
        ("token_ttl", 900.5, "is the number 900.5; allowed: whole seconds from 60 to 86399"),
        (
            "chat_qps",
            0,
            "is the number 0; allowed: requests per second from 0.01 to 10000, plan, or empty for no limit",
        ),
        (
            "workflow_qps",
            [1],
            "is a JSON list; allowed: requests per second from 0.01 to 10000, plan, or empty for no limit",
        ),
        (
            "workspace_id",
            "https://www.coze.cn/space/7",
            "is a text of 27 characters; allowed: the digits after /space/",
        ),
        ("client_id", "a b", "is a text of 3 characters"),
        ("session_name", "a\nb", "is a text of 3 characters"),
        ("session_name", True, "is true"),
        ("proxy", "proxy:3128", "is a text of 10 characters; allowed: http://"),
        ("proxy", "socks5://u:pass-word@proxy:1080", "is a text of 31 characters; allowed: http://"),
        ("proxy", "http://proxy:3128/?x=1", "is a text of 22 characters; allowed: http://"),
        ("verify", "flase", "is a text of 5 characters; allowed: true, false, or the absolute path"),
        ("verify", "certs/ca.pem", "is a text of 12 characters; allowed: true, false, or the absolute path"),
        ("verify", 1, "is the number 1; allowed: true, false"),
        ("workflow_run_path", "v3/workflows/run", "is a text of 16 characters; allowed: a path that starts with /"),
        ("workflow_run_path", "/run?x=1", "is a text of 8 characters; allowed: a path that starts with /"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_value_is_named_by_field_and_shape_with_what_is_allowed(name: str, value: Any, said: str) -> None:
    (problem,) = problems(extra={name: value})
    assert problem.startswith(f"`{name}` {said}")
    assert "pass-word" not in problem


def test_all_wrong_fields_are_in_one_error() -> None:
    extra = {"auth_typ": "token", "connect_seconds": "soon", "verify": "maybe", "chat_qps": -1}
    said = problems("www.coze.cn", "", extra, port=0)
    assert {problem.split()[0].strip("`") for problem in said} == {*extra, "host", "port", "password"}


def test_the_error_names_the_connection_and_what_a_retry_does() -> None:
    with pytest.raises(CozeConnectionConfigError, match=r"'coze_prod' is wrong in 1 place:(.|\n)*A retry reads"):
        parse(host=None, password=None, extra=None, conn_id="coze_prod")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("auth_typ", "did you mean `auth_type`?"),
        ("read-second", "did you mean `read_seconds`?"),
        ("workspaceId", "did you mean `workspace_id`?"),
        ("token", "the token is the connection's password"),
        ("base_url", "the base URL is the connection's host"),
        ("timeout", "it is `connect_seconds` and `read_seconds` here"),
        ("colour", f"allowed: {', '.join(EXTRAS)}"),
    ],
)
def test_an_unknown_extra_is_refused_with_the_nearest_name(key: str, hint: str) -> None:
    (problem,) = problems(extra={key: "x"})
    assert problem == f"`{key}` is not an extra of this connection; {hint}"


def test_a_token_that_stands_where_a_name_belongs_is_not_repeated() -> None:
    (problem,) = problems(extra={f"{TOKEN}{TOKEN}": ""})
    assert problem.startswith("`extra` has an entry named by a text of 46 characters")


def test_extras_of_airflow_itself_are_let_through() -> None:
    assert parsed(extra={"__extra__": "x"}) == parsed()


@pytest.mark.parametrize("extra", ["{", "[1]", '"x"', "pass-word"])
def test_an_extra_that_is_no_json_object_is_refused_without_being_shown(extra: str) -> None:
    (problem,) = problems(extra=extra)
    assert problem.startswith("`extra` is ")
    assert "pass-word" not in problem


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_the_names_that_airflow_2s_test_button_sends_are_understood() -> None:
    as_sent = {f"extra__coze__{name}": value for name, value in {**JWT, "read_seconds": "30", "verify": "true"}.items()}
    assert parsed(password=None, extra=as_sent) == parsed(password=None, extra={**JWT, "read_seconds": 30})


def test_a_field_under_its_own_name_counts_before_one_with_the_forms_prefix() -> None:
    assert parsed(extra={"read_seconds": 30, "extra__coze__read_seconds": "40"}).read_seconds == 30.0


def test_a_wrong_name_behind_the_forms_prefix_is_still_wrong() -> None:
    assert problems(extra={"extra__coze__read_second": "40"}) == [
        "`read_second` is not an extra of this connection; did you mean `read_seconds`?"
    ]


@settings(max_examples=100)
@given(
    host=st.none() | st.text(max_size=40) | st.from_regex(r"https?://[a-z0-9.:@/\[\]-]{1,30}", fullmatch=True),
    password=st.none() | st.text(max_size=40),
    schema=st.none() | st.text(max_size=8),
    port=st.none() | st.integers() | st.text(max_size=8),
    extra=st.dictionaries(st.sampled_from(sorted(EXTRAS)) | st.text(max_size=10), _ANYTHING, max_size=6)
    | st.text(max_size=40),
)
def test_anything_becomes_settings_or_the_one_error(
    host: Any, password: Any, schema: Any, port: Any, extra: Any
) -> None:
    try:
        got = parse(host=host, password=password, extra=extra, schema=schema, port=port)
    except CozeConnectionConfigError:
        return
    hash(got)
    assert got.base_url.startswith(("http://", "https://"))


@given(
    st.sampled_from(sorted(EXTRAS)),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=60),
)
def test_a_token_put_into_any_extra_is_never_repeated(name: str, text: str) -> None:
    secret = f"sat_{text}"
    assert secret not in "".join(problems(password=None, extra={name: secret}))


# --- the three ways to write a connection -----------------------------------------------------------------------------


def through_airflow(form: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read AIRFLOW_CONN_COZE_DEFAULT as a task does, and take the fields the hook takes."""
    from airflow.providers.common.compat.sdk import BaseHook

    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", form)
    got = BaseHook.get_connection("coze_default")
    assert got.conn_type == "coze"
    return parse(
        host=got.host, password=got.password, extra=got.extra, schema=got.schema, port=got.port, login=got.login
    )


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("coze://:pat_1@", {}),
        ("coze://:pat_1@api.coze.com", {"base_url": "https://api.coze.com"}),
        ("coze://:pat_1@https%3A%2F%2Fapi.coze.com/", {"base_url": "https://api.coze.com"}),
        ("coze://https://:pat_1@api.coze.com/", {"base_url": "https://api.coze.com"}),
        ("coze://:pat_1@127.0.0.1:8000", {"base_url": "http://127.0.0.1:8000"}),
        ("coze://:pat_1@http%3A%2F%2Fstudio%3A8888/?dialect=studio", {"base_url": "http://studio:8888", "dialect": "studio"}),
        ("coze://:pat_1@studio:8888/http?dialect=studio", {"base_url": "http://studio:8888", "dialect": "studio"}),
        ("coze://:pat_1@https%3A%2F%2Fgateway.example%2Fcoze/", {"base_url": "https://gateway.example/coze"}),
        ("coze://:p%2Ft%3A1@", {"auth": TokenAuth("p/t:1")}),
        (
            "coze://:pat_1@/?read_seconds=30&verify=false&chat_qps=2.5&workspace_id=7511000000000000001",
            {"read_seconds": 30.0, "verify": False, "chat_qps": 2.5, "workspace_id": "7511000000000000001"},
        ),
        ("coze://:pat_1@/?__extra__=%7B%22read_seconds%22%3A+30%7D", {"read_seconds": 30.0}),
        ('{"conn_type": "coze", "password": "pat_1"}', {}),
        (
            '{"conn_type": "coze", "host": "https://api.coze.com", "password": "pat_1", "extra": {"read_seconds": 30}}',
            {"base_url": "https://api.coze.com", "read_seconds": 30.0},
        ),
        ('{"conn_type": "coze", "password": "pat_1", "extra": "{\\"read_seconds\\": 30}"}', {"read_seconds": 30.0}),
    ],
)  # fmt: skip
def test_the_documented_forms_are_read_by_airflow_as_meant(
    form: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    default = Settings(base_url="https://api.coze.cn", auth=TokenAuth("pat_1"))
    assert through_airflow(form, monkeypatch) == replace(default, **expected)


def test_a_private_key_survives_json_and_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.connection import Connection

    as_json = json.dumps({"conn_type": "coze", "extra": JWT})
    as_uri = Connection(conn_id="x", conn_type="coze", extra=JWT).get_uri()
    expected = Settings(base_url="https://api.coze.cn", auth=OAuthJWT("1180", "finger-print", PEM))
    assert through_airflow(as_json, monkeypatch) == through_airflow(as_uri, monkeypatch) == expected


DOCS = Path(__file__).parent.parent / "docs"


def documented_exports() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / "reference/connection.md").read_text(), re.DOTALL)
    return [block for block in blocks if "AIRFLOW_CONN_COZE_DEFAULT" in block]


@pytest.mark.parametrize("block", documented_exports())
def test_the_examples_on_the_documentation_page_run(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private_key.pem").write_text(PEM)
    shell = ["bash", "-ec", f'{block}\nprintf %s "$AIRFLOW_CONN_COZE_DEFAULT"']
    form = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    got = through_airflow(form, monkeypatch)
    if "oauth_jwt" in block:
        assert got.auth == OAuthJWT("1180000000000", "your-public-key-fingerprint", PEM)
    else:
        assert got.auth == TokenAuth("pat_your-token")
        assert got.dialect == ("studio" if "studio" in block else "cloud")
        assert got.base_url == ("http://studio:8888" if "studio" in block else
                                "https://api.coze.com" if "coze.com" in block else "https://api.coze.cn")  # fmt: skip
        assert got.read_seconds == (120 if "120" in block else 100)


@pytest.mark.parametrize("name", [*EXTRAS, "host", "password", "schema", "port", "login"])
def test_every_field_is_on_the_documentation_page(name: str) -> None:
    assert f"\n| `{name}`" in (DOCS / "reference/connection.md").read_text()


def test_every_field_of_settings_comes_from_the_connection() -> None:
    assert {field.name for field in fields(Settings)} == {*EXTRAS, "base_url", "auth"} - {
        "auth_type",
        *(field.name for field in fields(OAuthJWT)),
    }
