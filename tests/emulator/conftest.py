"""A way to talk to an emulator in memory, on a clock that only the test moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.protocol.messages import FilePart, Request, Response

NOON = 1_764_849_600.0  # 2025-12-04T12:00:00Z


class Coze:
    """Requests with the emulator's token, and answers as JSON."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def send(
        self,
        method: str,
        path: str,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        files: tuple[FilePart, ...] = (),
        body: bytes | None = None,
        read_seconds: float | None = None,
    ) -> Response:
        given = {"Authorization": f"Bearer {self.emulator.token if token is None else token}", **(headers or {})}
        return self.emulator.respond(
            Request(
                method,
                path,
                query=query or {},
                headers=given,
                json=json,
                files=files,
                body=body,
                read_seconds=read_seconds,
            )
        )

    def body(self, *args: Any, **kwargs: Any) -> Any:
        return json.loads(self.send(*args, **kwargs).body)

    def data(self, *args: Any, **kwargs: Any) -> Any:
        body = self.body(*args, **kwargs)
        assert body["code"] == 0, body
        return body.get("data")

    def code(self, *args: Any, **kwargs: Any) -> int:
        return int(self.body(*args, **kwargs)["code"])

    def events(self, *args: Any, **kwargs: Any) -> list[tuple[str, Any]]:
        """Return the events of a stream: name and parsed data."""
        text = self.send(*args, **kwargs).body.decode()
        found = []
        for block in text.strip().split("\n\n"):
            fields = dict(line.split(":", 1) for line in block.splitlines())
            data = fields["data"].strip()
            found.append((fields["event"].strip(), json.loads(data) if data else None))
        return found

    # --- the operations tests use most

    def chat(self, bot_id: str, text: str, conversation_id: str = "", **body: Any) -> dict[str, Any]:
        data = self.data("POST", "/v3/chat", chat_body(bot_id, text, **body), {"conversation_id": conversation_id})
        return dict(data)

    def retrieve(self, chat: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self.data("GET", "/v3/chat/retrieve", query=ids(chat)))

    def answer(self, chat: Mapping[str, Any]) -> str:
        shown = self.data("GET", "/v3/chat/message/list", query=ids(chat))
        return next(message["content"] for message in shown if message["type"] == "answer")

    def run(self, workflow_id: str, parameters: Any = None, **body: Any) -> dict[str, Any]:
        given = {"workflow_id": workflow_id, "parameters": parameters or {}, **body}
        return dict(self.body("POST", "/v1/workflow/run", given))

    def history(self, workflow_id: str, execute_id: str) -> dict[str, Any]:
        (found,) = self.data("GET", f"/v1/workflows/{workflow_id}/run_histories/{execute_id}")
        return dict(found)


def ids(chat: Mapping[str, Any]) -> dict[str, str]:
    return {"conversation_id": chat["conversation_id"], "chat_id": chat["id"]}


def chat_body(bot_id: str, text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "type": "question", "content": text, "content_type": "text"}
    return {"bot_id": bot_id, "user_id": "tester", "additional_messages": [message], **more}


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(clock=lambda: NOON)


@pytest.fixture
def coze(emulator: Emulator) -> Coze:
    return Coze(emulator)
