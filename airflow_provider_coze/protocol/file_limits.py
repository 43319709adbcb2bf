"""Which files Coze takes, under which names, and how a request refers to them. Pure: nothing here opens a file.

Sources: docs.coze.cn/developer_guides/upload_files (sizes, formats, how long a file is kept), chat_v3 (parts of a message),
workflow_run (files among the parameters).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "KEPT_SECONDS",
    "MAX_BYTES",
    "is_unconfirmed",
    "is_url",
    "kind_of",
    "last_part",
    "message_content",
    "name_problems",
    "parameter_of",
    "part_problems",
    "size_problem",
]

MAX_BYTES = 512 * 1024 * 1024
#: How long the id of an upload is used again. Coze keeps a file for three months; a run that begins now has to find it too.
KEPT_SECONDS = 80 * 86_400.0

_IMAGES = frozenset(["jpg", "jpeg", "jpg2", "png", "gif", "webp", "heic", "heif", "bmp", "pcd", "tiff"])
_AUDIO = frozenset(["wav", "mp3", "flac", "m4a", "aac", "ogg", "wma", "midi"])
_VIDEO = frozenset(["mp4", "avi", "mov", "3gp", "3gpp", "flv", "webm", "wmv", "rmvb", "m4v", "mkv"])
_DOCUMENTS = frozenset(["doc", "docx", "xls", "xlsx", "ppt", "pptx", "pdf", "numbers", "csv"])
_CODE = frozenset(["cpp", "py", "java", "c"])
_ARCHIVES = frozenset(["rar", "zip", "7z", "gz", "gzip", "bz2"])
#: jpeg is not in Coze's table, and is what the example beside it uploads.
_DOCUMENTED = _IMAGES | _AUDIO | _VIDEO | _DOCUMENTS | _CODE | _ARCHIVES
#: Plain text is in no list of Coze's, and people upload it.
_UNCONFIRMED = frozenset(["txt", "md"])
#: Of file systems; Coze gives no limit of its own.
_MAX_NAME = 255
_PARTS = ("text", "image", "file", "audio")


def is_url(source: object) -> bool:
    """Tell whether Coze fetches this itself: an address of the web, which it takes in place of a file."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def last_part(source: str) -> str:
    """Return the name at the end of a path or address."""
    path = urlsplit(source).path if is_url(source) else source
    return path.replace("\\", "/").rpartition("/")[2]


def kind_of(name: str) -> str:
    """Return what a part of a message calls a file of this name: ``image``, ``audio`` or ``file``."""
    suffix = _suffix(name)
    return "image" if suffix in _IMAGES else "audio" if suffix in _AUDIO else "file"


def name_problems(name: str, *, any_type: bool = False) -> list[str]:
    """Return what is wrong with the name of an upload, by which Coze tells what is in it.

    :param any_type: the server takes types that are not in the cloud's list.
    """
    if not name.strip():
        return ["has no name; give it one with filename="]
    if (
        not name.isprintable() or "/" in name or "\\" in name
    ):  # half an emoji, or a line break, which no header can hold
        return [f"is called {name!r}, which is no file name; give it another with filename="]
    if len(name) > _MAX_NAME:
        return [f"has a name of {len(name)} characters; {_MAX_NAME} are the most"]
    suffix = _suffix(name)
    if not suffix:
        return [
            f"is called {name!r}, which has no extension for Coze to tell its type by; give it a name with filename="
        ]
    if not any_type and suffix not in _DOCUMENTED | _UNCONFIRMED:
        return [f"is called {name!r}, and {suffix!r} is no type that Coze takes (code 4303)"]
    return []


def is_unconfirmed(name: str) -> bool:
    """Tell whether it is open if Coze takes this type: it is in no list of its."""
    return _suffix(name) not in _DOCUMENTED


def size_problem(size: int) -> str | None:
    """Return what is wrong with a size in bytes, None if nothing is."""
    if size <= 0:
        return "is empty (code 4300)"
    if size > MAX_BYTES:
        return f"has {size} bytes; Coze takes at most {MAX_BYTES} (512 MB, code 4302)"
    return None


def parameter_of(file_id: str) -> str:
    """Return an uploaded file as the value of a workflow's parameter: JSON in a string, as the API wants it."""
    return json.dumps({"file_id": file_id})


def message_content(parts: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return ``content`` and ``content_type`` of a message of these parts; text alone has to be plain."""
    if len(parts) == 1 and parts[0].get("type") == "text":
        return str(parts[0].get("text")), "text"
    return json.dumps(list(parts), ensure_ascii=False, default=repr), "object_string"


def part_problems(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with the parts of one message, files put in place."""
    if not parts:
        return ["is an empty list"]
    problems = []
    for index, part in enumerate(parts):
        kind = part.get("type")
        if kind not in _PARTS:
            problems.append(f"[{index}]: type must be one of {_PARTS}, not {kind!r}")
        elif kind == "text":
            text = part.get("text")
            if not isinstance(text, str) or not text.strip():
                problems.append(f"[{index}] is a text without text")
        elif not any(isinstance(part.get(key), str) and part[key] for key in ("file_id", "file_url")):
            problems.append(f"[{index}] needs a file_id or a file_url")
    texts = sum(part.get("type") == "text" for part in parts)
    if texts > 1:
        problems.append(f"has {texts} texts; Coze takes at most one a message, so join them")
    return problems


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem else ""
