"""Requests and responses: whoever shows them shows no token, no prompt and no answer."""

from __future__ import annotations

import pytest
from rich.pretty import pretty_repr

from airflow_provider_coze.protocol.messages import Call, Replay, Request, Response, Send

REQUEST = Request(
    "POST", "/v3/chat", headers={"Authorization": "Bearer pat_s3cret"}, json={"q": "s3cret"}, body=b"s3cret"
)


# Rich is how Airflow 3's console shows the variables of a traceback; it asks structs for their fields, and not for their repr.
@pytest.mark.parametrize("show", [repr, pretty_repr], ids=["repr", "rich"])
@pytest.mark.parametrize(
    "shown",
    [
        REQUEST,
        Send(REQUEST),
        Call(REQUEST, dict, Replay.ALWAYS),
        Response(200, {"x-note": "s3cret"}, b"s3cret", "https://h"),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_nothing_shows_a_secret(show: object, shown: object) -> None:
    words = show(shown)
    assert "s3cret" not in words
    assert "/v3/chat" in words or "https://h" in words
