"""The cloud's envelope: ``code``, ``msg``, ``data``, ``detail``."""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.wire import Call, Refusal, Reply, answer

__all__ = ["missing", "page_bounds", "refused", "succeeded", "unknown_path", "whole_number"]


def succeeded(call: Call, data: Any = None, **beside: Any) -> Reply:
    """Answer with code 0; ``data=None`` leaves the key out."""
    body: dict[str, Any] = {"code": 0, "msg": ""}
    if data is not None:
        body["data"] = data
    return answer({**body, **beside, "detail": {"logid": call.logid}})


def refused(refusal: Refusal, logid: str) -> Reply:
    """Answer with a code that is not 0."""
    body = {"code": refusal.code, "msg": refusal.msg, **refusal.beside, "detail": {"logid": logid}}
    return answer(body, status=refusal.status)


def unknown_path(method: str, path: str, logid: str) -> Reply:
    """Answer for a path that Coze does not have."""
    text = (
        f"The requested API endpoint {method} {path} does not exist. "
        "Please refer to the API documentation and check the request method and path."
    )
    return refused(Refusal(4000, text, status=404), logid)


def missing(kind: str, value: str) -> Refusal:
    """Return the refusal for an id that nothing has."""
    return Refusal(
        4200, f"Requested resource {kind}={value} does not exist. Please check the {kind} or contact the owner."
    )


def whole_number(call: Call, name: str, default: int, low: int, high: int) -> int:
    """Read a number of the query.

    :raises Refusal: 4000: not a number, or outside of the documented range.
    """
    text = call.query.get(name, "")
    if not text:
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise Refusal(4000, f"Request parameter error (emulator: {name}={text!r} is not between {low} and {high})")
    return int(text)


def page_bounds(call: Call, number_names: tuple[str, ...], *, default_size: int, max_size: int) -> tuple[int, int]:
    """Return first and last index of the page that is asked for."""
    given = next((name for name in number_names if call.query.get(name)), number_names[0])
    number = whole_number(call, given, 1, 1, 1_000_000)
    size = whole_number(call, "page_size", default_size, 1, max_size)
    return (number - 1) * size, number * size
