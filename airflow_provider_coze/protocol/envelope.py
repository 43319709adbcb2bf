"""Turn a response of Coze into a body or an exception.

Everything that looks at a status, ``code``, ``msg`` or ``logid`` lives here; nothing here decides whether to try again.
The code speaks first and the HTTP status second, because Coze answers most refusals with HTTP 200
(www.coze.cn/open/docs/developer_guides/coze_error_codes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from airflow_provider_coze.errors import CozeAPIError, CozePermissionError, CozeProtocolError
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import Call, Replay, Response

__all__ = [
    "is_expired_token",
    "is_too_fast",
    "kind_of_server",
    "logid_in",
    "meaning_of",
    "open_envelope",
    "retry_after",
    "status_in",
]

#: Enough of an HTML page or of a model's complaint to recognise it; a log is not the place for the rest.
_MAX_QUOTED = 500
#: Stands for a code that is no number: not success, and in no table.
_IN_WORDS = -1

#: RFC 6585, 4: the sender is over its rate. We read it as "not begun", whatever the code beside it says.
_TOO_MANY_REQUESTS = 429

#: No refusal is longer; in what is, a code in the text of an answer is not worth decoding it for.
_LONGEST_REFUSAL = 4_096
#: What Coze says to whoever sends more than it takes; 4009 says it of all its customers together.
_TOO_FAST_CODES = frozenset({4009, 4013, 4020})


def _naming(among: frozenset[int]) -> re.Pattern[bytes]:
    return re.compile(rb'"code"\s*:\s*"?\s*(?:%b)\b' % b"|".join(str(code).encode() for code in sorted(among)))


_EXPIRED, _TOO_FAST = _naming(codes.EXPIRED_TOKEN_CODES), _naming(_TOO_FAST_CODES)

#: Coze Studio's log ids (backend/api/middleware/log.go of github.com/coze-dev/coze-studio); the cloud's are x-tt-logid, and no UUIDs.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: What Coze Studio says for itself, where a proxy takes its headers away: backend/api/middleware/{session,openapi_auth}.go,
#: backend/api/router/register.go.
_STUDIO_SAYS = re.compile(
    r"missing session_key in cookie|authentication failed: (missing authorization in header|missing api_key in request|api key invalid)"
)
#: Keys that only its answers have in place of ``data``, none of them of an operation that is billed: idl/conversation of the same.
_STUDIO_KEYS = frozenset({"ChatV3ChatDetail", "Messages", "ConversationData"})
_ADVICE = {
    "studio": "The host looks like Coze Studio: set the connection's dialect to studio.",
    "cloud": "The host looks like Coze's cloud: set the connection's dialect to cloud.",
}


def open_envelope(response: Response, call: Call[Any]) -> Mapping[str, Any]:
    """Return the JSON object of an answer that says yes.

    :raises CozeAPIError: (the subclass of the code) the answer says no.
    :raises CozeProtocolError: the status says yes, but the body is no JSON object.
    """
    body = _json_object(response.body)
    code = _code(body)
    if code == 0 and response.status < 300 and body is not None:
        if response.dialect == "cloud" and _is_in_studios_words(body):
            raise _misunderstood(response, call, body)
        return body
    if code == 0 and response.status < 300:
        raise CozeProtocolError(
            f"{_where(response, call)} was answered with HTTP {response.status}, but not with a JSON object: "
            f"{_shown(response.body)}. Check that the connection's base URL (`host`) is the API's address and not a web page's."
            f"{_other_dialect(response, body)}{_consequence(call, codes.UNKNOWN, None)}",
            status=response.status,
            origin=response.origin or None,
            logid=logid_in(response, body),
        )
    raise _refusal(response, call, body or {}, code)


class _OfChat(msgspec.Struct):
    status: str


class _WithStatus(msgspec.Struct):
    code: int
    data: _OfChat


_read_status = msgspec.json.Decoder(_WithStatus).decode


def status_in(response: Response) -> str | None:
    """Return ``data.status`` of an answer that plainly says yes, and None of any other: for who looks at the same thing again and again.

    It is decoded as quickly as can be, and nothing of it is kept: what has changed is read once more, by :func:`open_envelope`.
    """
    if response.status != 200:
        return None
    try:
        body = _read_status(response.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return body.data.status if body.code == 0 else None


def is_expired_token(response: Response) -> bool:
    """Tell whether the answer says that the token is not accepted (any more): HTTP 401, or one of the two codes."""
    if response.status == 401:
        return True
    # Every answer passes here, outputs of a megabyte too: look for the code before decoding a second time.
    found = _EXPIRED.search(response.body)
    return found is not None and _code(_json_object(response.body)) in codes.EXPIRED_TOKEN_CODES


def is_too_fast(response: Response) -> bool:
    """Tell whether the answer says that there are too many requests, of whomever: HTTP 429, or one of the codes for it."""
    if response.status == _TOO_MANY_REQUESTS:
        return True
    found = _TOO_FAST.search(response.body, 0, _LONGEST_REFUSAL)
    return found is not None and _code(_json_object(response.body)) in _TOO_FAST_CODES


def kind_of_server(response: Response, body: Mapping[str, Any] | None = None) -> str | None:
    """Tell by an answer which kind of server gave it: ``cloud``, ``studio``, or None where it does not show.

    :param body: its JSON object, where that is at hand.
    """
    if response.headers.get("x-tt-logid"):
        return "cloud"
    if _UUID.fullmatch(response.headers.get("x-log-id", "")):
        return "studio"
    known = body or {}
    msg = str(known.get("msg") or "")
    if _STUDIO_SAYS.match(msg) or (response.status == 404 and _code(known) == 404 and msg == "not found"):
        return "studio"
    if isinstance(known.get("detail"), Mapping) and known["detail"].get("logid"):
        return "cloud"
    return "cloud" if response.status == 404 and _code(known) == 4000 and "does not exist" in msg else None


def _other_dialect(response: Response, body: Mapping[str, Any] | None) -> str:
    """Say it when the answer is of another kind of server than the connection says."""
    seen = kind_of_server(response, body)
    return f" {_ADVICE[seen]}" if seen is not None and seen != response.dialect else ""


def _is_in_studios_words(body: Mapping[str, Any]) -> bool:
    data = body.get("data")
    return not _STUDIO_KEYS.isdisjoint(body) or (isinstance(data, dict) and "creator_d" in data)


def _misunderstood(response: Response, call: Call[Any], body: Mapping[str, Any]) -> CozeProtocolError:
    """Return the error for an answer that would be read as an empty one. None of these operations is billed."""
    return CozeProtocolError(
        f"{_where(response, call)} was answered in the words of Coze Studio, and the connection's dialect is the cloud's. "
        f"{_ADVICE['studio']} Nothing was started by this request, so nothing is billed for it; a retry of the task sends it again.",
        status=response.status,
        origin=response.origin or None,
        logid=logid_in(response, body),
    )


def _refusal(response: Response, call: Call[Any], body: Mapping[str, Any], code: int) -> CozeAPIError:
    meaning = meaning_of(code, response.status)
    own_code = code if code not in (0, response.status, _IN_WORDS) else None
    msg = str(body.get("msg") or body.get("message") or body.get("error_message") or "") or _text(response.body)
    logid = logid_in(response, body)
    found_url = body.get("debug_url")
    debug_url = found_url if found_url and isinstance(found_url, str) else None
    facts = [f"HTTP {response.status}"]
    facts += [f"logid {logid}"] if logid else []
    facts += [f"host {response.origin}"] if response.origin else []
    facts += [f"see {debug_url}"] if debug_url else []
    said = f"code {own_code}" if own_code is not None else f"HTTP {response.status}"
    if code == _IN_WORDS:
        said = f"code {str(body.get('code'))[:_MAX_QUOTED]!r}"
    quoted = f": {msg[:_MAX_QUOTED]!r}" if msg else ""
    advice = meaning.advice
    if issubclass(meaning.error, CozePermissionError) and call.permission:
        advice = f"The permission of this operation is {call.permission}. {advice}"
    return meaning.error(
        f"{_where(response, call)} was refused with {said} ({meaning.meaning}){quoted} ({', '.join(facts)}). "
        f"{advice}{_other_dialect(response, body)}{_consequence(call, meaning, debug_url)}",
        code=own_code,
        msg=msg[:_MAX_QUOTED] or None,
        logid=logid,
        status=response.status,
        debug_url=debug_url,
        origin=response.origin or None,
        retry_after=retry_after(response),
    )


def meaning_of(code: int, status: int) -> codes.Meaning:
    """Look the answer up: code first, HTTP status second. Coze Studio repeats the status as the code.

    Beside any code, HTTP 429 says that the request was turned away before anything ran.
    """
    known = _meaning(code, status)
    return replace(known, started=False) if status == _TOO_MANY_REQUESTS else known


def _meaning(code: int, status: int) -> codes.Meaning:
    known = codes.BY_CODE.get(code)
    if known:
        return known
    known = codes.BY_STATUS.get(status if code in (0, status) or status >= 300 else code)
    if known:
        return known
    if code in (0, status) and 300 <= status < 400:
        return codes.REDIRECT
    return codes.FAILED if status >= 500 else codes.UNKNOWN


def _consequence(call: Call[Any], meaning: codes.Meaning, debug_url: object) -> str:
    """Say what Coze is doing now and what a retry does; a read changes nothing, so it has no sentence."""
    if call.replay is Replay.ALWAYS:
        return ""
    if debug_url:  # only a run that exists has one
        return " It was started, and is billed as far as it went; a retry of the task starts another."
    if meaning.started is False:
        return " Nothing was started, so nothing is billed; a retry of the task sends it again."
    return " Whether Coze carried it out is not known; a retry of the task sends it again, and a second one is billed as well."


def _where(response: Response, call: Call[Any]) -> str:
    return f"{call.request.method} {call.request.path}"


def _json_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = read_json(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _code(body: Mapping[str, Any] | None) -> int:
    """Return the body's code; 0 where there is none. Coze writes it as an int or as a string of digits."""
    raw = (body or {}).get("code")
    try:
        code = int(raw) if raw is not None else 0
    except (TypeError, ValueError, OverflowError):
        return _IN_WORDS
    return code if abs(code) < 2**63 else _IN_WORDS  # what is longer is no code, and Airflow could not keep it


def logid_in(response: Response, body: Mapping[str, Any] | None) -> str | None:
    """Return the id that Coze's support asks for: x-tt-logid on the cloud, X-Log-ID from Coze Studio, or the body's detail."""
    detail = (body or {}).get("detail")
    in_body = detail.get("logid") if isinstance(detail, dict) else None
    found = response.headers.get("x-tt-logid") or response.headers.get("x-log-id") or in_body
    # aiohttp makes halves of surrogate pairs of a header's bytes that are no UTF-8; nothing could store or print them.
    return str(found).encode("utf-8", "replace").decode() if found else None


def retry_after(response: Response) -> float | None:
    """Return the seconds that Retry-After asks for, given as a number or as a date (RFC 9110, 10.2.3).

    A date is read against the response's own Date, so the clocks of the two machines need not agree.
    """
    raw = response.headers.get("retry-after", "").strip()
    if not raw:
        return None
    try:
        seconds = float(raw)
    except ValueError:
        try:
            until = parsedate_to_datetime(raw)
            seconds = (until - parsedate_to_datetime(response.headers["date"])).total_seconds()
        except (ValueError, TypeError, KeyError, OverflowError):  # the last one for a year that no date can hold
            return None
    return (
        seconds if 0 <= seconds < 2**63 else None
    )  # what is longer is no wait, and an error does not carry it through a deferral


def _shown(body: bytes) -> str:
    """Quote what is not of Coze, such as a page; what is, and broken off, may hold a prompt, an answer or a token."""
    text = _text(body)
    of_coze = text.startswith(("{", "[", "data:", "event:", "id:"))
    return f"{len(body)} bytes that begin like one, or like events" if of_coze else repr(text)


def _text(body: bytes) -> str:
    return " ".join(body[: 4 * _MAX_QUOTED].decode("utf-8", "replace").split())[:_MAX_QUOTED]
