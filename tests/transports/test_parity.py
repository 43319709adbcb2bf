"""Both transports put the same request on the wire, and read the same answer from it."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import zlib
from typing import Any

import pytest

from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.endpoints import chat, file, workflow
from airflow_provider_coze.protocol.messages import FilePart, Request
from airflow_provider_coze.transports import wire
from tests.transports.conftest import Client
from tests.transports.loopback import Loopback, Received, reply

MESSAGE = {"role": "user", "content": "多少行? 🧮 “quoted” \\ \n \x00", "content_type": "text"}

REQUESTS = {
    "chat": chat.create_chat(bot_id="1", user_id="u", additional_messages=[MESSAGE], conversation_id="22").request,
    "run": workflow.run_workflow(workflow_id="1", parameters={"n": [1, 2.5, None, True]}, is_async=True).request,
    "read": chat.retrieve_chat(conversation_id="22", chat_id="33").request,
    "encoded path": workflow.run_history(workflow_id="a/b c%?#~!", execute_id="第").request,
    "odd query": Request(
        "GET", "/v1/files/retrieve", query={"q": "a b&c=d/e:f@g?h+i%j~k!l'm(n)*o,p;q[r]", "第": "值", "empty": ""}
    ),
    "empty object": Request("POST", "/v1/conversation/create", json={}),
    "post without a body": Request("POST", "/v1/conversations/1/clear"),
    "put": Request("PUT", "/v1/conversations/1", json={"name": "x"}),
    "delete": Request("DELETE", "/v1/conversations/1"),
    "raw body": Request("POST", "/x", body=b"\x00\xff", headers={"Content-Type": "application/octet-stream"}),
    "half an emoji": Request("POST", "/x", json={"q": "\ud83d"}),
}

#: Said by each library in its own way, and of no consequence: how it likes its answers packed, and that it stays connected.
OF_THE_LIBRARY = {"accept-encoding", "connection"}


def seen(client: Client, request: Request, path: str = "") -> Received:
    with Loopback() as server:
        client.send(
            server.url + path,
            Request(
                request.method,
                request.path,
                request.query,
                {**request.headers, "Authorization": "Bearer pat_x"},
                request.json,
                request.files,
                request.body,
            ),
        )
        (received,) = server.received
    return received


def _headers(received: Received) -> dict[str, str]:
    return {name: value for name, value in received.headers.items() if name not in OF_THE_LIBRARY | {"host"}}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_same_request_is_the_same_bytes(clients: list[Client], name: str) -> None:
    one, other = (seen(client, REQUESTS[name]) for client in clients)
    assert one.head.split(b"\r\n")[0] == other.head.split(b"\r\n")[0]
    assert one.body == other.body
    assert _headers(one) == _headers(other)


@pytest.mark.parametrize("name", ["chat", "run", "empty object", "put"])
def test_a_json_body_arrives_as_utf8_json(client: Client, name: str) -> None:
    received = seen(client, REQUESTS[name])
    assert json.loads(received.body.decode("utf-8")) == REQUESTS[name].json
    assert received.headers["content-type"] == "application/json"


def test_a_request_without_json_has_no_json_body(client: Client) -> None:
    received = seen(client, REQUESTS["read"])
    assert received.body == b""
    assert "content-type" not in received.headers


def test_token_and_user_agent_are_sent(client: Client) -> None:
    headers = seen(client, REQUESTS["read"]).headers
    assert headers["authorization"] == "Bearer pat_x"
    assert headers["user-agent"] == wire.USER_AGENT == "airflow-provider-coze"


def test_ids_keep_their_encoding_in_the_path_and_text_gets_it_in_the_query(client: Client) -> None:
    assert seen(client, REQUESTS["encoded path"]).target == (
        "/v1/workflows/a%2Fb%20c%25%3F%23~%21/run_histories/%E7%AC%AC"
    )
    target = seen(client, REQUESTS["odd query"]).target
    assert target == (
        "/v1/files/retrieve?q=a+b%26c%3Dd%2Fe%3Af%40g%3Fh%2Bi%25j~k%21l%27m%28n%29%2Ao%2Cp%3Bq%5Br%5D"
        "&%E7%AC%AC=%E5%80%BC&empty="
    )


def test_a_base_url_may_have_a_path(client: Client) -> None:
    assert seen(client, REQUESTS["run"], path="/coze/api").target == "/coze/api/v1/workflow/run"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), {1, 2}, b"x"], ids=["nan", "inf", "object", "set", "bytes"]
)
def test_what_json_cannot_hold_is_refused_before_anything_is_sent(client: Client, value: Any) -> None:
    with Loopback() as server:
        with pytest.raises(CozeInputError, match="JSON"):
            client.send(server.url, Request("POST", "/x", json={"a": value}))
        assert server.connections == 0


# --- uploads


@pytest.mark.parametrize("filename", ["report.pdf", "报告 (1).pdf", 'quo"ted.csv', "../../etc/passwd"])
def test_an_upload_is_one_part_named_file_with_its_filename(client: Client, filename: str) -> None:
    content = bytes(range(256)) * 300
    received = seen(client, file.upload_file(filename=filename, content=content).request)
    (part,) = _parts(received)
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_payload(decode=True) == content
    assert part.get_content_type() == "application/octet-stream"
    assert received.headers["authorization"] == "Bearer pat_x"
    if filename.isascii() and '"' not in filename:
        assert part.get_filename() == filename


@pytest.mark.parametrize("filename", ["report.pdf", "报告 (1).pdf", 'quo"ted.csv'])
def test_an_upload_is_the_same_part_over_both(clients: list[Client], filename: str) -> None:
    request = Request("POST", "/v1/files/upload", files=(FilePart("file", filename, b"a,b\n1,2\n", "text/csv"),))
    one, other = (seen(client, request) for client in clients)
    boundary, another = (received.headers["content-type"].partition("boundary=")[2] for received in (one, other))
    assert one.body == other.body.replace(another.encode(), boundary.encode())
    assert f'filename="{filename.replace(chr(34), "%22")}"'.encode() in one.body


def _parts(received: Received) -> list[email.message.Message]:
    kind = received.headers["content-type"]
    assert kind.startswith("multipart/form-data; boundary=")
    whole = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + received.body)
    parts = whole.get_payload()
    assert isinstance(parts, list)
    return parts  # type: ignore[return-value]


@pytest.mark.filterwarnings("error")
def test_a_body_of_megabytes_arrives_without_a_warning(client: Client) -> None:
    received = seen(client, Request("POST", "/x", json={"text": "x" * 3_000_000}))
    assert len(received.body) > 3_000_000
    assert received.headers["content-length"] == str(len(received.body))


# --- answers

BODY = '{"code":0,"data":"多少行"}'.encode()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (reply(BODY), BODY),
        (reply(gzip.compress(BODY), Content_Encoding="gzip"), BODY),
        (reply(zlib.compress(BODY), Content_Encoding="deflate"), BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (reply(b""), b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["plain", "gzip", "deflate", "chunked", "empty", "204"],
)
def test_an_answer_is_its_whole_body_unpacked(client: Client, answer: bytes, body: bytes) -> None:
    with Loopback(answer) as server:
        assert client.send(server.url, REQUESTS["read"]).body == body


def test_a_body_without_a_length_ends_with_the_connection(client: Client) -> None:
    def until_closed(peer: Any) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY)
        peer.close()

    with Loopback(until_closed) as server:
        assert client.send(server.url, REQUESTS["read"]).body == BODY


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500, 502])
def test_every_status_is_an_answer_and_none_an_exception(client: Client, status: int) -> None:
    with Loopback(reply(b"<html>", status, X_Tt_Logid="L1", Retry_After="7")) as server:
        answer = client.send(server.url, REQUESTS["run"])
        assert len(server.received) == 1
    assert (answer.status, answer.body, answer.origin) == (status, b"<html>", server.url)
    assert (answer.headers["x-tt-logid"], answer.headers["retry-after"]) == ("L1", "7")


def test_the_origin_of_an_answer_is_the_site_without_path_and_password() -> None:
    assert wire.origin_of("https://me:pw@coze.example:8443/api") == "https://coze.example:8443"
    assert wire.origin_of("http://[::1]:8888") == "http://[::1]:8888"
