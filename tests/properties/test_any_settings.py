"""Connections: any fields become settings or the one error, and no secret is in either's words."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeConnectionConfigError
from airflow_provider_coze.settings import EXTRAS, OAuthJWT, Settings, TokenAuth, parse
from airflow_provider_coze.transports.wire import origin_of
from tests.properties.judging import assert_sound
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import anything, deep, json_values, texts, written

_NAMES = st.sampled_from([*EXTRAS, *(f"extra__coze__{name}" for name in EXTRAS), "token", "timeout"]) | texts
_URLS = st.from_regex(r"\A(https?://)?[a-zA-Z0-9.:@/\[\]_%?#-]{0,30}\Z")
_FIELDS = texts | anything
_VALUES = {
    "auth_type": st.sampled_from(["token", "oauth_jwt", "OAUTH_JWT"]),
    "dialect": st.sampled_from(["cloud", "studio"]),
    "verify": st.sampled_from([True, False, "false", "/etc/ssl/ours.pem"]),
    "proxy": st.sampled_from(["http://10.0.0.1:3128", "http://[::1", "https://a:b@proxy"]) | _URLS,
    "connect_seconds": st.floats() | st.floats(0, 400).map(str),
    "chat_qps": st.floats() | st.integers() | st.sampled_from(["plan", " Plan "]),
    "token_ttl": st.integers(0, 100_000) | st.integers(0, 100_000).map(str),
}
extras = st.one_of(
    st.dictionaries(_NAMES, _FIELDS, max_size=5),
    st.fixed_dictionaries({}, optional=_VALUES),
    st.dictionaries(_NAMES, json_values, max_size=5).map(lambda value: written(value).decode()),
    deep.map(lambda value: written(value).decode()),
    texts,
    anything,
)

_SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=40).map("s3cr3t{}".format)
_BASE64 = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", min_size=32, max_size=64)
_PEMS = st.builds(
    lambda body, end: (
        f"-----BEGIN PRIVATE KEY-----{end}{body[: len(body) // 4 * 4]}{end}-----END PRIVATE KEY-----{end}"
    ),
    _BASE64,
    st.sampled_from(["\n", "\\n", " ", "\r\n"]),
)


def parsed(**fields: Any) -> Settings | CozeConnectionConfigError:
    try:
        return parse(**fields)
    except CozeConnectionConfigError as error:
        return error


@EXAMPLES
@given(
    host=_URLS | _FIELDS,
    password=_FIELDS,
    schema=_FIELDS,
    port=_FIELDS | st.integers(0, 70_000),
    login=_FIELDS,
    extra=extras,
)
def test_any_connection_becomes_settings_or_the_one_error(**fields: Any) -> None:
    found = parsed(**fields)
    if isinstance(found, CozeConnectionConfigError):
        assert_sound(found)
        return
    assert found.base_url.isascii()
    assert not found.base_url.endswith("/")
    assert origin_of(found.base_url).startswith(("http://", "https://"))
    assert hash(found) == hash(parse(**fields))
    assert found.read_seconds > 0
    assert found.connect_seconds > 0


@EXAMPLES
@given(_URLS, st.integers(0, 70_000) | st.none())
def test_settings_that_are_given_again_stay_what_they_are(host: str, port: int | None) -> None:
    found = parsed(host=host, password="pat_x", port=port, extra=None)
    if isinstance(found, Settings):
        assert parse(host=found.base_url, password="pat_x", extra=None) == found


@EXAMPLES
@given(_SECRETS, st.sampled_from(["pat_{}", "Bearer {}", "{}\n{}", " {} ", "{}é"]), extras, texts)
def test_a_token_is_in_no_words(secret: str, form: str, extra: Any, login: str) -> None:
    found = parsed(host=None, password=form.format(secret, secret), extra=extra, login=login)
    assert secret not in f"{found!r} {found}"
    if isinstance(found, Settings) and isinstance(found.auth, TokenAuth):
        assert found.auth.token == form.format(secret, secret).strip()


@EXAMPLES
@given(_SECRETS, st.sampled_from(["login", "host", "schema", "port", "extra", *EXTRAS]), st.booleans())
def test_a_token_that_was_put_into_the_wrong_field_is_in_no_error(secret: str, field: str, as_text: bool) -> None:
    fields: dict[str, Any] = {"host": None, "password": None, "schema": None, "port": None, "login": None, "extra": {}}
    fields |= {field: secret} if field in fields else {"extra": {field: secret}}
    if as_text and isinstance(fields["extra"], dict):
        fields["extra"] = json.dumps(fields["extra"])
    found = parsed(**fields, conn_id="coze")
    assert isinstance(found, CozeConnectionConfigError)  # there is no password
    assert secret not in f"{found!r} {found} {found.to_payload()}"


@EXAMPLES
@given(_PEMS, st.sampled_from([None, "client_id", "token_ttl", "BEGIN", "base64"]))
def test_a_private_key_is_in_no_words(pem: str, damage: str | None) -> None:
    damages = {"BEGIN": pem.replace("-----", "----", 1), "base64": f"{pem[:40]}?{pem[40:]}"}
    key = damages.get(damage or "", pem)
    extra = {"auth_type": "oauth_jwt", "client_id": "1", "public_key_id": "2", "private_key": key}
    extra |= {damage: " a b "} if damage in ("client_id", "token_ttl") else {}
    found = parsed(host=None, password=None, extra=extra)
    body = "".join(pem.split("-----")[2].replace("\\n", "").split())
    assert body[:16] not in f"{found!r} {found}"
    if damage is None:
        assert isinstance(found, Settings)
        assert isinstance(found.auth, OAuthJWT)
        assert body == "".join(found.auth.private_key.splitlines()[1:-1])
