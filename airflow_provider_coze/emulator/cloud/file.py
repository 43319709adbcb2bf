"""``/v1/files``. Sources: docs.coze.cn/developer_guides/upload_files, retrieve_files, coze_error_codes."""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.cloud.envelope import succeeded
from airflow_provider_coze.emulator.schema import STRING, required
from airflow_provider_coze.emulator.store import StoredFile
from airflow_provider_coze.emulator.wire import Call, Refusal, Reply, Route

__all__ = ["FORMATS", "ROUTES", "stored"]

MAX_BYTES = 512 * 1024 * 1024
#: Three months, as 90 days.
KEPT_SECONDS = 90 * 86_400
#: The table of upload_files, and jpeg, which its example uploads.
FORMATS = frozenset(
    suffix
    for group in (
        "doc docx xls xlsx ppt pptx pdf numbers csv cpp py java c",
        "jpg jpeg jpg2 png gif webp heic heif bmp pcd tiff",
        "wav mp3 flac m4a aac ogg wma midi",
        "mp4 avi mov 3gp 3gpp flv webm wmv rmvb m4v mkv",
        "rar zip 7z gz gzip bz2",
    )
    for suffix in group.split()
)


def upload(call: Call) -> Reply:
    """``POST /v1/files/upload``: one part, called ``file``, with a file name."""
    return succeeded(call, file_json(stored(call)))


def stored(call: Call) -> StoredFile:
    """Check and keep what was uploaded.

    :raises Refusal: 4300 nothing or empty, 4301 more than one, 4302 too large, 4303 of a kind Coze does not take.
    """
    parts = [part for part in call.files if part.field == "file"]
    if not parts or not parts[0].filename:
        raise Refusal(4300, "The file is empty, or the request is not multipart/form-data with a part named file.")
    if len(call.files) > 1:
        raise Refusal(4301, "Only one file can be uploaded at a time.")
    (part,) = parts
    if not part.content:
        raise Refusal(4300, "The file is empty.")
    if len(part.content) > MAX_BYTES:
        raise Refusal(4302, "The file is larger than 512 MB.")
    suffix = part.filename.rpartition(".")[2].lower()
    if suffix not in FORMATS:
        raise Refusal(4303, f"The file type {suffix!r} is not supported.")
    size, now = len(part.content), int(call.store.now())
    file = StoredFile(call.store.new_id(), call.owner, part.filename, size, now, part.content)
    call.store.files[file.id] = file
    return file


def retrieve(call: Call) -> Reply:
    """``GET /v1/files/retrieve``."""
    file = call.store.files.get(call.query["file_id"])
    if file is None or file.owner != call.owner or call.store.now() > file.created_at + KEPT_SECONDS:
        raise Refusal(4304, f"The file {call.query['file_id']} does not exist or is invalid.")
    return succeeded(call, file_json(file))


def file_json(file: StoredFile) -> dict[str, Any]:
    """Return the File object."""
    return {"id": file.id, "bytes": file.bytes, "file_name": file.file_name, "created_at": file.created_at}


ROUTES = [
    Route("POST", "/v1/files/upload", upload, "uploadFile", rate="upload"),
    Route("GET", "/v1/files/retrieve", retrieve, "retrieveFile", {"file_id": required(STRING)}),
]
