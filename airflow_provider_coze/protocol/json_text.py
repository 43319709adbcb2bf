"""Read JSON that somebody else wrote into values that every reader after us can have. Knows nothing of Coze.

Python reads more than JSON is (RFC 8259), and nests as deep as its own stack. Airflow keeps less: version 3 passes an XCom on as
msgpack, whose integers have 64 bits, and as strict JSON in UTF-8, without NaN and without halves of surrogate pairs
(airflow.sdk.execution_time.comms, httpx). A result that is refused there is lost after it was paid for, so it is made fit here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["MAX_DEPTH", "read_json"]

#: How deep objects and lists may stand inside one another. Python's stack, of 1,000 calls, also has to hold those who write the value.
MAX_DEPTH = 100

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")

#: These two take a fifth of the time of the standard library's, and are stricter: no NaN, no infinity, no halves of pairs.
_decode, _pack = msgspec.json.Decoder().decode, msgspec.msgpack.Encoder().encode
_NOT_SO_QUICKLY = (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError)

#: What comes before every number that cannot be kept: a long integer, an exponent, or a word in the place of a number.
_MAY_NOT_BE_KEPT = re.compile(r"(?:[:,\[]|^)\s*-?(?:[0-9]{19}|[0-9.]+[eE]|[0-9]{300}|[NI])")


def read_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, with what cannot be kept replaced.

    A number that cannot be kept (NaN, an infinity, an integer over 64 bits) becomes the text that was written; the half of a surrogate
    pair, which is left of a text that was cut inside an emoji, becomes U+FFFD.

    :raises ValueError: it is not JSON, or nests deeper than :data:`MAX_DEPTH`.
    """
    try:
        value = _decode(text)
        _pack(value)  # as Airflow will; what that cannot take is read by Python's own decoder, and made fit
    except _NOT_SO_QUICKLY:
        return _read_slowly(text)
    _refuse_depth(value, text)
    return value


def _read_slowly(text: str | bytes) -> Any:
    if not isinstance(text, str):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        # Python's own numbers are read four times as quickly, and nearly every text has no others.
        value = (_DECODER.decode if _MAY_NOT_BE_KEPT.search(text) else json.loads)(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    _refuse_depth(value, text)
    if ("\\u" in text or not text.isascii()) and _HALF_PAIR.search(text):
        # A whole pair that was escaped is one character by now, so what UTF-16 cannot write are the halves.
        plain = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        value = json.loads(plain)
    return value


def _refuse_depth(value: Any, text: str | bytes) -> None:
    opened = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if opened > MAX_DEPTH and _is_deeper([value], MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _whole(digits: str) -> int | str:
    if len(digits) < 19:
        return int(digits)
    if len(digits) > 20:  # int() would refuse some thousands of them
        return digits
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else digits


_DECODER = json.JSONDecoder(parse_constant=str, parse_float=_finite, parse_int=_whole)


def _is_deeper(values: Iterable[Any], depth: int) -> bool:
    for _ in range(depth):
        values = [item for value in values for item in _inside(value)]
    return any(isinstance(value, dict | list) for value in values)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
