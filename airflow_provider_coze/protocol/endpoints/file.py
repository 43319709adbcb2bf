"""Files: upload and look up. https://www.coze.cn/open/docs/developer_guides/upload_files and retrieve_files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.protocol.messages import Call, FilePart, Replay, Request
from airflow_provider_coze.protocol.models import UploadedFile, identifier, integer, mapping

__all__ = ["BUDGET", "retrieve_file", "upload_file"]

#: The rate-limit class that uploads share.
BUDGET = "upload"


def upload_file(*, filename: str, content: bytes) -> Call[UploadedFile]:
    """Upload one file of at most 512 MB. Free, but a repeat makes a second copy.

    The file is usable by the account that uploaded it, for 3 months, and cannot be downloaded again.
    """
    request = Request("POST", "/v1/files/upload", files=(FilePart("file", filename, content),), budget=BUDGET)
    return Call(request, _file, Replay.IF_NEVER_SENT, "uploadFile")


def retrieve_file(*, file_id: str) -> Call[UploadedFile]:
    """Read a file's name and size."""
    return Call(Request("GET", "/v1/files/retrieve", query={"file_id": file_id}), _file, Replay.ALWAYS, "retrieveFile")


def _file(body: Mapping[str, Any]) -> UploadedFile:
    data = mapping(body.get("data"))
    return UploadedFile(
        id=identifier(data, "id", "a file"),
        bytes=integer(data.get("bytes")),
        file_name=str(data.get("file_name") or ""),
        created_at=integer(data.get("created_at")),
    )
