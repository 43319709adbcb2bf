"""Tokens on requests. Flows are driven by hand: no server, no mock, no sleeping."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_coze.errors import (
    CozeAuthError,
    CozeConnectionConfigError,
    CozeProtocolError,
    CozeRateLimitedError,
    CozeTransportError,
    CozeUnavailableError,
)
from airflow_provider_coze.protocol.auth import FixedToken, TokenCache, TokenCaches, signed, with_token
from airflow_provider_coze.protocol.messages import Effect, FilePart, Flow, Request, Response, Send, Sleep, changed
from airflow_provider_coze.settings import OAuthJWT, TokenAuth

NOW = 1_764_900_000.0
SITE = "https://api.coze.cn"
TOKEN_PATH = "/api/permission/oauth2/token"
READ = Request("GET", "/v3/chat/retrieve", headers={"X-Own": "kept"})
START = Request("POST", "/v1/workflow/run", json={"workflow_id": "7"})


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


pytestmark = pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")

#: Small, because it signs hundreds of times; tests/hooks/test_oauth_jwt.py signs with one of the real size.
KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
PEM = pem_of(KEY)
AUTH = OAuthJWT(client_id="1180", public_key_id="finger-print", private_key=PEM, token_ttl=3600)


def clock() -> float:
    return NOW


def at(seconds: float) -> Callable[[], float]:
    return lambda: NOW + seconds


def answer(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(status, {"content-type": "application/json", **headers}, json.dumps(body).encode(), SITE)


def grant(text: str = "czs_first", lives: float = 3600) -> Response:
    return answer({"access_token": text, "expires_in": int(NOW + lives), "token_type": "Bearer"})


OK = answer({"code": 0, "msg": "", "data": {}})
REFUSALS = {
    "http 401": answer({"message": "unauthorized"}, 401),
    "4100": answer({"code": 4100, "msg": "authentication is invalid"}),
    "700012006": answer({"code": 700012006, "msg": "access token invalid"}),
}


def once(request: Request) -> Flow[Response]:
    return (yield Send(request))


def bearer(effect: Effect) -> str:
    assert isinstance(effect, Send)
    kind, _, token = effect.request.headers["Authorization"].partition(" ")
    assert kind == "Bearer"
    return token


def claims_of(effect: Effect) -> dict[str, Any]:
    assert isinstance(effect, Send)
    assert effect.request.path == TOKEN_PATH
    unchecked = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    return jwt.decode(bearer(effect), KEY.public_key(), algorithms=["RS256"], options=unchecked)


def is_mint(effect: Effect) -> bool:
    return isinstance(effect, Send) and effect.request.path == TOKEN_PATH


def result_of(flow: Flow[Any], sent: Any) -> Any:
    with pytest.raises(StopIteration) as stopped:
        flow.send(sent)
    return stopped.value.value


def filled(text: str = "czs_first", lives: float = 3600) -> TokenCache:
    cache = TokenCache(AUTH, SITE)
    flow = cache.token(clock)
    next(flow)
    assert result_of(flow, grant(text, lives)) == text
    return cache


# --- a fixed token ----------------------------------------------------------------------------------------------------


def test_a_fixed_token_is_put_on_the_request_and_nothing_else_changes() -> None:
    flow = signed(once(READ), FixedToken("pat_1"), clock=clock)
    effect = next(flow)
    assert isinstance(effect, Send)
    assert effect.request == changed(READ, headers={"X-Own": "kept", "Authorization": "Bearer pat_1"})
    assert result_of(flow, OK) is OK


def test_an_unsigned_request_carries_no_token() -> None:
    request = changed(READ, signed=False)
    assert next(signed(once(request), FixedToken("pat_1"), clock=clock)) == Send(request)


def test_sleeps_pass_through() -> None:
    def nap() -> Flow[str]:
        assert (yield Sleep(3.0)) is None
        return "rested"

    flow = signed(nap(), FixedToken("pat_1"), clock=clock)
    assert next(flow) == Sleep(3.0)
    assert result_of(flow, None) == "rested"


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_fixed_token_is_not_tried_again(refusal: Response) -> None:
    flow = signed(once(READ), FixedToken("pat_1"), clock=clock)
    next(flow)
    assert result_of(flow, refusal) is refusal


def test_a_lost_answer_is_raised_inside_the_flow_which_may_go_on() -> None:
    def twice() -> Flow[Response]:
        try:
            yield Send(READ)
        except CozeTransportError:
            yield Sleep(1.0)
        return (yield Send(READ))

    flow = signed(twice(), FixedToken("pat_1"), clock=clock)
    next(flow)
    assert flow.throw(CozeTransportError("reset", never_sent=False)) == Sleep(1.0)
    assert bearer(flow.send(None)) == "pat_1"
    assert result_of(flow, OK) is OK


def test_an_error_the_flow_does_not_handle_comes_out_of_it() -> None:
    flow = signed(once(READ), FixedToken("pat_1"), clock=clock)
    next(flow)
    with pytest.raises(CozeTransportError, match="reset"):
        flow.throw(CozeTransportError("reset"))


def test_closing_the_signed_flow_closes_the_flow_inside() -> None:
    closed = []

    def careful() -> Flow[None]:
        try:
            yield Send(READ)
        finally:
            closed.append(True)

    inside = careful()  # held here, so that it is not closed by being forgotten
    flow = signed(inside, FixedToken("pat_1"), clock=clock)
    next(flow)
    flow.close()
    assert closed == [True]


# --- the token call ---------------------------------------------------------------------------------------------------


def test_the_first_request_waits_for_a_token_and_then_carries_it() -> None:
    flow = signed(once(START), TokenCache(AUTH, SITE), clock=clock)
    assert is_mint(next(flow))
    effect = flow.send(grant("czs_first"))
    assert isinstance(effect, Send)
    assert (effect.request.path, bearer(effect)) == ("/v1/workflow/run", "czs_first")
    assert result_of(flow, OK) is OK


def test_the_jwt_is_what_coze_documents() -> None:
    effect = next(TokenCache(AUTH, SITE).token(clock))
    assert isinstance(effect, Send)
    assert (effect.request.method, effect.request.signed) == ("POST", False)
    assert effect.request.json == {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "duration_seconds": 3600,
    }
    assert jwt.get_unverified_header(bearer(effect)) == {"alg": "RS256", "typ": "JWT", "kid": "finger-print"}
    claims = claims_of(effect)
    assert len(claims.pop("jti")) > 32
    assert claims == {"iss": "1180", "aud": "api.coze.cn", "iat": NOW, "exp": NOW + 600}


@pytest.mark.parametrize(
    ("base_url", "audience"),
    [
        ("https://api.coze.com", "api.coze.com"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("https://gateway.example/coze", "gateway.example"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_audience_is_the_host_and_its_port_if_there_is_one(base_url: str, audience: str) -> None:
    assert claims_of(next(TokenCache(AUTH, base_url).token(clock)))["aud"] == audience


def test_a_session_name_becomes_a_claim() -> None:
    named = replace(AUTH, session_name="客户 7")
    assert claims_of(next(TokenCache(named, SITE).token(clock)))["session_name"] == "客户 7"


@pytest.mark.parametrize(
    "trouble",
    [CozeTransportError("reset", never_sent=False), answer({}, 503), answer({"code": 0}, 429)],
    ids=["transport", "503", "429"],
)
def test_passing_trouble_is_retried_with_a_new_jwt_every_time(trouble: Response | CozeTransportError) -> None:
    flow = TokenCache(AUTH, SITE).token(clock)
    ids = [claims_of(next(flow))["jti"]]
    for _ in range(2):
        wait = flow.throw(trouble) if isinstance(trouble, CozeTransportError) else flow.send(trouble)
        assert isinstance(wait, Sleep)
        ids.append(claims_of(flow.send(None))["jti"])
    assert result_of(flow, grant()) == "czs_first"
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (CozeTransportError("reset", never_sent=False), CozeTransportError),
        (answer({}, 503), CozeUnavailableError),
        (answer({"error_code": "internal_error", "error_message": "later"}, 500), CozeUnavailableError),
        (answer({}, 429), CozeRateLimitedError),
    ],
    ids=["transport", "503", "500 with error_code", "429"],
)
def test_trouble_that_stays_is_given_up_after_three_attempts_and_says_that_nothing_was_sent(
    trouble: Response | CozeTransportError, error: type[Exception]
) -> None:
    flow = signed(once(START), TokenCache(AUTH, SITE), clock=clock)
    fail = flow.throw if isinstance(trouble, CozeTransportError) else flow.send
    next(flow)
    for _ in range(2):
        assert isinstance(fail(trouble), Sleep)
        assert is_mint(flow.send(None))
    with pytest.raises(error, match=r"OAuth app '1180'.*nothing was started") as caught:
        fail(trouble)
    assert caught.value.never_sent is True  # of the billed request: its own flow may repeat it without risk


@pytest.mark.parametrize(
    "refusal",
    [
        answer({"error_code": "invalid_client", "error_message": "no such key"}, 400),
        answer({"error_code": "invalid_client", "error_message": "no such key"}, 200),
        answer({"code": 4100, "msg": "invalid_client: no such key"}, 200),
        answer({"code": 4100, "msg": "invalid_client: no such key"}, 401),
    ],
    ids=["400", "200 with error_code", "envelope", "401"],
)
def test_a_refusal_is_final_and_names_what_to_check(refusal: Response) -> None:
    flow = TokenCache(AUTH, SITE).token(clock)
    next(flow)
    with pytest.raises(CozeAuthError) as caught:
        flow.send(refusal)
    for part in (
        "'1180'",
        "'finger-print'",
        SITE,
        "invalid_client: no such key",
        "`client_id`",
        "`private_key`",
        "clock",
    ):
        assert part in str(caught.value)
    assert caught.value.status == refusal.status
    assert caught.value.never_sent is True
    assert PEM[40:60] not in str(caught.value)


@pytest.mark.parametrize(
    "body", [{}, {"access_token": ""}, {"access_token": 7}, {"access_token": "a\r\nX-Evil:1"}], ids=repr
)
def test_an_answer_without_a_usable_token_is_an_error_of_its_own(body: dict[str, Any]) -> None:
    flow = TokenCache(AUTH, SITE).token(clock)
    next(flow)
    with pytest.raises(CozeProtocolError, match="access_token"):
        flow.send(answer(body))


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN PRIVATE KEY-----\nSECRETSECRETSECRET==\n-----END PRIVATE KEY-----\n",
        "SECRETSECRET",
        pem_of(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["damaged", "no PEM", "elliptic curve"],
)
def test_a_key_that_cannot_sign_is_an_error_of_the_connection_without_the_key(key: str) -> None:
    flow = signed(once(START), TokenCache(replace(AUTH, private_key=key), SITE), clock=clock)
    with pytest.raises(CozeConnectionConfigError, match="`private_key`") as caught:
        next(flow)
    secret = key.splitlines()[len(key.splitlines()) // 2]
    assert secret not in str(caught.value)
    assert caught.value.__suppress_context__  # what the libraries say of the key stays out of the log as well


# --- one token for many -----------------------------------------------------------------------------------------------


def test_a_token_is_used_again_until_a_minute_before_it_expires() -> None:
    cache = filled(lives=3600)
    assert bearer(next(signed(once(READ), cache, clock=at(3539)))) == "czs_first"
    assert is_mint(next(signed(once(READ), cache, clock=at(3540))))


def test_a_short_lived_token_is_used_for_half_its_life() -> None:
    cache = filled(lives=100)
    assert bearer(next(signed(once(READ), cache, clock=at(49)))) == "czs_first"
    assert is_mint(next(signed(once(READ), cache, clock=at(50))))


@pytest.mark.parametrize("expires_in", [3600, "soon", None, 0, -5, NOW * 1000], ids=repr)
def test_an_expiry_that_makes_no_sense_is_read_as_the_life_that_was_asked_for(expires_in: object) -> None:
    cache = TokenCache(AUTH, SITE)
    flow = cache.token(clock)
    next(flow)
    result_of(flow, answer({"access_token": "czs_first", "expires_in": expires_in}))
    assert bearer(next(signed(once(READ), cache, clock=at(3539)))) == "czs_first"
    assert is_mint(next(signed(once(READ), cache, clock=at(3540))))


@settings(max_examples=20, deadline=None)  # two RSA signatures each
@given(st.floats(min_value=60, max_value=86_399), st.integers(min_value=60, max_value=86_399))
def test_a_token_is_always_used_for_a_while_and_never_until_its_end(lives: float, ttl: int) -> None:
    cache = TokenCache(replace(AUTH, token_ttl=ttl), SITE)
    flow = cache.token(clock)
    next(flow)
    result_of(flow, answer({"access_token": "czs_first", "expires_in": NOW + lives}))
    life = min(lives, ttl)
    assert not is_mint(next(signed(once(READ), cache, clock=at(life * 0.4))))
    assert is_mint(next(signed(once(READ), cache, clock=at(life - min(29, life / 3)))))


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("request_", [READ, START], ids=["read", "billed"])
def test_a_refused_token_is_replaced_and_the_request_sent_again_once(refusal: Response, request_: Request) -> None:
    flow = signed(once(request_), filled(), clock=clock)
    assert bearer(next(flow)) == "czs_first"
    assert is_mint(flow.send(refusal))
    again = flow.send(grant("czs_second"))
    assert isinstance(again, Send)
    assert (again.request.path, bearer(again)) == (request_.path, "czs_second")
    assert result_of(flow, refusal) is refusal  # refused again: the flow gets to see it


def test_other_refusals_do_not_cost_a_token() -> None:
    flow = signed(once(READ), filled(), clock=clock)
    next(flow)
    denied = answer({"code": 4101, "msg": "no permission"}, 403)
    assert result_of(flow, denied) is denied


def test_a_token_that_somebody_replaced_meanwhile_is_not_minted_again() -> None:
    cache = filled("czs_first")
    slow, quick = (signed(once(READ), cache, clock=clock) for _ in range(2))
    assert bearer(next(slow)) == bearer(next(quick)) == "czs_first"
    assert is_mint(quick.send(REFUSALS["4100"]))
    assert bearer(quick.send(grant("czs_second"))) == "czs_second"
    assert bearer(slow.send(REFUSALS["4100"])) == "czs_second"


def test_who_comes_while_a_token_is_minted_waits_for_it() -> None:
    cache = TokenCache(AUTH, SITE)
    first, second = (signed(once(READ), cache, clock=clock) for _ in range(2))
    assert is_mint(next(first))
    looks = [next(second), *(second.send(None) for _ in range(6))]
    assert looks == [Sleep(s) for s in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0)]
    assert bearer(first.send(grant())) == "czs_first"
    assert bearer(second.send(None)) == "czs_first"


@pytest.mark.parametrize("leaves", ["cancelled", "refused", "interrupted"])
def test_when_the_one_who_mints_leaves_the_next_takes_over(leaves: str) -> None:
    cache = TokenCache(AUTH, SITE)
    first, second = (signed(once(READ), cache, clock=clock) for _ in range(2))
    next(first)
    assert isinstance(next(second), Sleep)
    if leaves == "cancelled":
        first.close()
    elif leaves == "refused":
        with pytest.raises(CozeAuthError):
            first.send(answer({"error_code": "access_deny"}, 400))
    else:
        with pytest.raises(KeyboardInterrupt):
            first.throw(KeyboardInterrupt())
    assert is_mint(second.send(None))
    assert bearer(second.send(grant())) == "czs_first"


def test_a_process_forked_while_a_token_was_minted_gets_one_in_the_end() -> None:
    cache = TokenCache(AUTH, SITE)
    lost = cache.token(clock)
    next(lost)  # whoever goes on with this is in the other process
    flow = signed(once(READ), cache, clock=clock)
    waited, effect = 0.0, next(flow)
    while isinstance(effect, Sleep):
        waited += effect.seconds
        effect = flow.send(None)
    assert is_mint(effect)
    assert 120 < waited < 180
    assert bearer(flow.send(grant())) == "czs_first"


def test_a_token_that_comes_very_late_does_not_let_two_mint_at_once_ever_after() -> None:
    cache = TokenCache(AUTH, SITE)
    late, impatient = cache.token(clock), cache.token(clock)
    assert is_mint(next(late))
    effect = next(impatient)
    while isinstance(effect, Sleep):
        effect = impatient.send(None)
    result_of(impatient, grant("czs_first", lives=200))
    result_of(late, grant("czs_late", lives=200))
    first, second = cache.token(at(300)), cache.token(at(300))
    assert is_mint(next(first))
    assert isinstance(next(second), Sleep)


def test_two_that_find_the_token_old_at_the_same_moment_mint_one() -> None:
    cache = filled("czs_old", lives=3600)
    other = cache.token(at(4000))

    def interrupted_clock() -> float:
        """Another thread gets its turn here, just after this one has looked, and mints."""
        if other.gi_frame is not None:
            next(other)
            result_of(other, grant("czs_new", lives=9000))
        return NOW + 4000

    flow = cache.token(interrupted_clock)
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    assert stopped.value.value == "czs_new"


class Site:
    """Answers like Coze; counts tokens given, and refuses all but the newest once it is told to."""

    def __init__(self) -> None:
        self.minted = 0
        self.seen: list[str] = []

    def __call__(self, effect: Effect) -> Response | None:
        if isinstance(effect, Sleep):
            return None
        if is_mint(effect):
            self.minted += 1
            return grant(f"czs_{self.minted}")
        self.seen.append(bearer(effect))
        return OK if self.seen[-1] == f"czs_{self.minted}" else REFUSALS["4100"]


def run(flow: Flow[Any], site: Site, pause: Callable[[], None]) -> Any:
    try:
        effect = next(flow)
        while True:
            pause()
            effect = flow.send(site(effect))
    except StopIteration as done:
        return done.value


def test_threads_that_start_together_mint_one_token() -> None:
    site, cache, start = Site(), TokenCache(AUTH, SITE), threading.Barrier(16)
    nap = threading.Event()  # never set: waiting on it lets the other threads run

    def work() -> Any:
        start.wait()
        return run(signed(once(READ), cache, clock=clock), site, lambda: nap.wait(0.002) and None)

    with ThreadPoolExecutor(16) as pool:
        answers = [future.result() for future in [pool.submit(work) for _ in range(16)]]
    assert answers == [OK] * 16
    assert site.minted == 1
    assert site.seen == ["czs_1"] * 16


async def test_tasks_that_are_refused_together_mint_one_token() -> None:
    site, cache = Site(), filled("czs_0")

    async def work() -> Any:
        flow = signed(once(READ), cache, clock=clock)
        effect = next(flow)
        try:
            while True:
                await asyncio.sleep(0)
                reply = site(effect)
                await asyncio.sleep(0)
                effect = flow.send(reply)
        except StopIteration as done:
            return done.value

    assert await asyncio.gather(*(work() for _ in range(50))) == [OK] * 50
    site.minted = 7  # now it has aged
    assert await asyncio.gather(*(work() for _ in range(50))) == [OK] * 50
    assert site.minted == 8


async def test_a_cancelled_task_does_not_keep_the_others_from_a_token() -> None:
    cache = TokenCache(AUTH, SITE)
    stuck = asyncio.Event()

    async def work(wait: asyncio.Event | None) -> str:
        flow = cache.token(clock)
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Send) and wait:
                    await wait.wait()
                await asyncio.sleep(0)
                effect = flow.send(grant() if isinstance(effect, Send) else None)
        except StopIteration as done:
            return str(done.value)
        finally:
            flow.close()

    first, second = asyncio.create_task(work(stuck)), asyncio.create_task(work(None))
    for _ in range(5):  # some looks of the second, and not so many that its patience ends
        await asyncio.sleep(0)
    assert not second.done()
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "czs_first"


# --- the registry and the secrets -------------------------------------------------------------------------------------


def test_equal_credentials_share_a_cache_and_different_ones_do_not() -> None:
    caches = TokenCaches()
    same = caches.for_(AUTH, SITE)
    assert caches.for_(replace(AUTH), SITE) is same
    others = [caches.for_(AUTH, "https://api.coze.com"), caches.for_(replace(AUTH, session_name="x"), SITE)]
    assert len({id(cache) for cache in [same, *others]}) == 3


def test_a_fixed_token_needs_no_cache() -> None:
    flow = signed(once(READ), TokenCaches().for_(TokenAuth("pat_1"), SITE), clock=clock)
    assert bearer(next(flow)) == "pat_1"


def test_a_new_token_is_announced_before_any_request_carries_it() -> None:
    told: list[str] = []
    flow = signed(once(READ), TokenCaches(on_mint=told.append).for_(AUTH, SITE), clock=clock)
    next(flow)
    assert told == []
    flow.send(grant("czs_first"))
    assert told == ["czs_first"]


def test_nothing_shows_a_secret_in_its_repr() -> None:
    caches = TokenCaches()
    cache = caches.for_(AUTH, SITE)
    flow = signed(once(READ), cache, clock=clock)
    shown = [repr(next(flow)), repr(flow.send(grant("czs_first"))), repr(cache), repr(vars(cache)), repr(vars(caches))]
    shown.append(repr(FixedToken("pat_1")))
    for secret in ("czs_first", "pat_1", "eyJ", PEM[40:60]):
        assert not any(secret in text for text in shown)


def test_the_rsa_library_is_loaded_only_to_sign() -> None:
    code = "import sys, airflow_provider_coze.protocol.auth; print('jwt' in sys.modules, 'cryptography' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def test_a_signed_request_differs_in_nothing_but_its_token() -> None:
    request = Request(
        "POST",
        "/v1/files/upload",
        query={"a": "b"},
        headers={"X-Name": "x"},
        json={"c": 1},
        files=(FilePart("file", "name", b"content"),),
        body=b"body",
        signed=False,
        budget="upload",
        read_seconds=3.0,
        stream=True,
        left=lambda: 4.0,
    )
    defaults = Request("GET", "/")
    assert all(
        getattr(request, field.name) != getattr(defaults, field.name) for field in msgspec.structs.fields(Request)
    )
    signed_one = with_token(request, "t0ken")
    assert signed_one == changed(request, headers={"X-Name": "x", "Authorization": "Bearer t0ken"})
    assert signed_one.left is request.left
