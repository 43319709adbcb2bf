"""A file that is to be uploaded, as a DAG names it, and its bytes: from this machine, from object storage, or given as they are."""

from __future__ import annotations

import hashlib
import re
import stat
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from airflow_provider_coze.compat import object_storage_path
from airflow_provider_coze.errors import CozeInputError, CozeTransportError
from airflow_provider_coze.protocol.file_limits import MAX_BYTES, is_url, last_part, name_problems, size_problem
from airflow_provider_coze.protocol.inputs import id_problems

__all__ = [
    "Content",
    "CozeFile",
    "as_file",
    "as_source",
    "content_of",
    "coze_file",
    "look_problems",
    "settled",
    "shown",
    "static_problems",
]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: What Jinja makes of a value that is not there.
_NOTHING = ("", "None")


class _Mark:
    """What makes JSON refuse a file that nobody has uploaded: without it the tuple would go to Coze as a list, unnoticed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "coze_file"

    def __reduce__(self) -> str:
        return "_MARK"  # copies and pickles are this very object


_MARK = _Mark()


class Content:
    """Bytes that were given instead of a place; they are in no repr, so in no log, database or UI either."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"<{len(self.content)} bytes, sha256 {hashlib.sha256(self.content).hexdigest()[:16]}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


class CozeFile(NamedTuple):
    """What :func:`coze_file` returns.

    A tuple with names, because those every Airflow renders into a new one (an object's ``template_fields`` it changes in place, and
    mapped tasks of one process share the object), and looks into for the tasks whose results it needs.
    """

    mark: Any
    source: (
        Any  # a path, an address, an ObjectStoragePath, a Content; before rendering a template or another task's output
    )
    filename: Any
    file_id: Any

    @property
    def name(self) -> str:
        """What Coze is told that it is called; "" if nobody knows."""
        if self.filename is not None:
            return str(self.filename)
        if isinstance(self.source, Content):
            return ""
        return last_part(str(self.source)) if self.source is not None else ""

    @property
    def passes_through(self) -> bool:
        """Whether there is nothing to upload: it is an address of the web, or was uploaded before."""
        return self.file_id is not None or is_url(self.source)

    def __repr__(self) -> str:
        given = [] if self.source is None else [shown(self.source)]
        given += [] if self.filename is None else [f"filename={self.filename!r}"]
        given += [] if self.file_id is None else [f"file_id={self.file_id!r}"]
        return f"coze_file({', '.join(given)})"


def coze_file(source: Any = None, *, filename: str | None = None, file_id: Any = None) -> CozeFile:
    """Mark a value as a file, anywhere in ``parameters`` or as a part of a message; the task uploads it when it is needed.

    Templated. XCom cannot hold what this returns: pass paths between tasks, and call it where the operator is made, or in the
    function of ``.map``.

    :param source: a path on the worker, the address of anything fsspec reads (``s3://connection@bucket/key``), an
        ``ObjectStoragePath``, the output of a task that returns one of these, or bytes. Coze fetches an http or https
        address itself, so that is passed on and not uploaded.
    :param filename: what Coze is told that it is called; it tells types by the extension. None: as the source is called.
    :param file_id: of an earlier upload, instead of *source*.
    :raises CozeInputError: neither source nor file_id is given, or both are, or bytes have no name.
    """
    if (source is None) == (file_id is None):
        given = "neither" if source is None else "both"
        raise CozeInputError(f"coze_file needs exactly one of source and file_id; {given} given. Nothing was sent.")
    source = as_source(source)
    if isinstance(source, Content) and filename is None:
        raise CozeInputError(
            "coze_file needs a filename for bytes: Coze tells types by the extension. Nothing was sent."
        )
    return CozeFile(_MARK, source, filename, file_id)


def as_source(source: Any) -> Any:
    """Return a source as it is kept: paths as text, which templates can be in, and bytes where nobody prints them."""
    if isinstance(source, bytes | bytearray | memoryview):
        return Content(bytes(source))
    if isinstance(source, PurePath) and not _is_stored(source):
        return str(source)
    return source


def as_file(source: Any, filename: Any) -> CozeFile:
    """Return what :func:`coze_file` would of a source and a name that are rendered already, whatever they are."""
    return settled(CozeFile(_MARK, source, filename, None))


def settled(file: CozeFile) -> CozeFile:
    """Return a file as its templates have rendered: what native rendering made a number of is text again, bytes are wrapped."""
    source, filename, file_id = (
        str(part) if isinstance(part, int | float) and not isinstance(part, bool) else part for part in file[1:]
    )
    return CozeFile(_MARK, as_source(source), filename, file_id)


def shown(source: Any) -> str:
    """Return a source as code, without the password that an address can hold."""
    if isinstance(source, str):
        return repr(re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", source))
    return repr(str(source)) if _is_stored(source) else repr(source)


def static_problems(file: CozeFile, *, any_type: bool = False) -> list[str]:
    """Return what is wrong with a rendered file before anybody has looked for it.

    :param any_type: the server takes types that are not in the cloud's list.
    """
    if file.file_id is not None:
        return id_problems("file_id", file.file_id)
    if not isinstance(file.source, str | Content) and not _is_stored(file.source):
        return [f"source must be a path, an address or bytes, not {type(file.source).__name__}"]
    if isinstance(file.source, str) and file.source.strip() in _NOTHING:
        return [f"source is {file.source!r}: empty, or a template that rendered to nothing"]
    if is_url(file.source):
        return []
    return [f"{shown(file.source)} {problem}" for problem in name_problems(file.name, any_type=any_type)]


def look_problems(source: Any) -> list[str]:
    """Return what is wrong with what is there, without reading it.

    :raises CozeTransportError: the storage does not say; it may do so later.
    """
    try:
        size = _size(source)
    except CozeInputError as error:
        return [str(error)]
    problem = size_problem(size)
    return [f"{shown(source)} {problem}"] if problem else []


def content_of(source: Any) -> bytes:
    """Return all of it, though never more than what one byte too many takes.

    :raises CozeInputError: it is not there, or nothing that can be read.
    :raises CozeTransportError: the storage did not hand it out; it may do so later.
    """
    if isinstance(source, Content):
        return source.content
    return bytes(_asked(source, _read))


def _size(source: Any) -> int:
    if isinstance(source, Content):
        return len(source.content)
    return int(_asked(source, _measure))


def _measure(source: Any) -> int:
    if isinstance(source, str) and not _SCHEME.match(source):
        found = Path(source).stat()
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(source)
        return found.st_size
    system, path = _storage(source)
    info = system.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(path)
    size = info.get("size")
    return 1 if size is None else int(size)  # unknown: reading finds out


def _read(source: Any) -> bytes:
    if isinstance(source, str) and not _SCHEME.match(source):
        with Path(source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    system, path = _storage(source)
    with system.open(path, "rb") as file:
        return bytes(file.read(MAX_BYTES + 1))


def _storage(source: Any) -> tuple[Any, str]:
    """Return the file system of an address and the path in it: Airflow's, with its connections, or plain fsspec's."""
    try:
        path = object_storage_path(source) if isinstance(source, str) else source
        return path.fs, path.path
    except ValueError:  # Airflow knows no such file system
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # Airflow's own dependency

        system, place = url_to_fs(str(source))
        return system, str(place)


def _asked(source: Any, ask: Any) -> Any:
    """Ask a storage, and make two kinds of errors of all it can raise: what is wrong for good, and what may pass."""
    try:
        return ask(source)
    except (FileNotFoundError, NotADirectoryError) as error:
        where = " on this worker" if isinstance(source, str) and not _SCHEME.match(source) else ""
        raise CozeInputError(f"{shown(source)} does not exist{where}") from error
    except IsADirectoryError as error:
        raise CozeInputError(f"{shown(source)} is no file but a folder or a device") from error
    except (ImportError, ValueError) as error:  # a package is missing, or nobody knows the scheme
        raise CozeInputError(f"{shown(source)} cannot be read on this worker: {error}") from error
    except Exception as error:
        raise CozeTransportError(
            f"{shown(source)} could not be read ({type(error).__name__}). Nothing was sent to Coze, so nothing is billed; a retry "
            "reads it again.",
            never_sent=True,
        ) from error


def _is_stored(source: Any) -> bool:
    """Tell whether this is a path of object storage. Asked of the class: an object's own ``fs`` would connect."""
    return hasattr(type(source), "fs") and hasattr(type(source), "path")
