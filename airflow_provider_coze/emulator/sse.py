r"""The three ways in which Coze writes server-sent events, byte for byte.

* chat: ``event:NAME\ndata:JSON\n\n``, no space, no id, the last data is the JSON string ``"[DONE]"``;
* workflow: ``id: N\nevent: NAME\ndata: JSON\n\n``, a space each, ids from 0;
* chatflow: ``event: NAME\ndata: JSON\n\n``, a space, no id.

Source: tests/testdata of github.com/coze-dev/coze-py at 6b0f4cd (chat_text_stream_resp.txt, workflow_run_stream_resp.txt,
workflows_chat_stream_resp.txt). Its reader accepts no comments, no further fields and no multi-line data, so none are written.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["chat_event", "chatflow_event", "studio_chatflow_event", "workflow_event"]


def chat_event(event: str, data: Any) -> bytes:
    """Write an event of ``/v3/chat``."""
    return f"event:{event}\ndata:{_go_json(data)}\n\n".encode()


def workflow_event(number: int, event: str, data: Any) -> bytes:
    """Write an event of ``/v1/workflow/stream_run``."""
    return f"id: {number}\nevent: {event}\ndata: {_go_json(data)}\n\n".encode()


def chatflow_event(event: str, data: Any) -> bytes:
    """Write an event of ``/v1/workflows/chat``."""
    return f"event: {event}\ndata: {_go_json(data)}\n\n".encode()


def studio_chatflow_event(number: int, event: str, data: Any) -> bytes:
    """Write an event of a Coze Studio server's ``/v1/workflows/chat``, which numbers them from 1."""
    return f"id: {number}\nevent: {event}\ndata: {_go_json(data)}\n\n".encode()


def _go_json(value: Any) -> str:
    # Coze's servers are Go, whose encoder escapes these five so that JSON can stand inside HTML; the recordings show it
    # (``\u0026`` in debug_url).
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char, escaped in (
        ("&", "\\u0026"),
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(char, escaped)
    return text
