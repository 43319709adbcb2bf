"""What has to hold of everything that leaves the protocol, whatever came in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.errors import CozeError

__all__ = ["assert_sound", "assert_storable"]

_TEXTS = ("msg", "logid", "debug_url", "origin", "bot_id", "chat_id", "conversation_id", "workflow_id", "execute_id")


def assert_storable(value: Any) -> None:
    """Assert that Airflow can keep *value* as XCom or event.

    Airflow 3 passes it on as msgpack, whose integers have 64 bits, and as strict JSON in UTF-8, which has neither NaN nor halves
    of surrogate pairs (airflow.sdk.execution_time.comms, httpx). What it refuses is lost, and was paid for.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for name, item in value.items():
            assert isinstance(name, str)
            name.encode()
            assert_storable(item)
    elif isinstance(value, list | tuple):
        for item in value:
            assert_storable(item)
    elif isinstance(value, int):
        assert -(2**63) <= value < 2**64
    else:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def assert_sound(error: CozeError) -> None:
    """Assert that an error can be read, stored and raised again on the other side of a deferral."""
    str(error).encode()
    assert str(error).strip()
    for name in _TEXTS:
        assert isinstance(getattr(error, name), str | None), name
    for name in ("code", "status"):
        assert isinstance(getattr(error, name), int | None), name
    assert isinstance(error.never_sent, bool | None)
    assert error.retry_after is None or 0 <= error.retry_after < float("inf")
    payload = error.to_payload()
    assert_storable(payload)
    back = CozeError.from_payload(json.loads(json.dumps(payload)))
    assert (type(back), str(back), back.facts()) == (type(error), str(error), error.facts())
