"""Files of a batch, on this machine or on anything that fsspec reaches. No deciding, and no knowing what is in them.

A place is a local path, ``file://…``, or a URI such as ``s3://connection@bucket/folder``, whose connection is Airflow's. All of this
blocks: an event loop calls it in a thread. Errors name the place without the password in it, and the kind of what failed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from airflow_provider_coze.compat import object_storage_path
from airflow_provider_coze.errors import CozeError, CozeInputError, CozeStateError, CozeTransportError

__all__ = [
    "append_open",
    "check_writable",
    "exists",
    "is_local",
    "joined",
    "list_files",
    "open_read",
    "reading",
    "remove",
    "shown",
    "write_whole",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LOCAL = ("file", "local")
_GLOB = re.compile(r"[*?\[]")
#: What a Hadoop or a file system keeps beside the data: ``_SUCCESS``, ``.part-0.crc``.
_UNSEEN = (".", "_")
#: Trouble that passes by itself; anything else has to be looked at by somebody.
_PASSING = (ConnectionError, TimeoutError)


def is_local(uri: str) -> bool:
    """Tell whether a place is on this machine's own file systems, where a file can be appended to."""
    return _scheme(uri) in ("", *_LOCAL)


def joined(folder: str, *names: str) -> str:
    """Return the place of a name in a folder."""
    return "/".join([folder.removesuffix("/"), *names])


def open_read(uri: str) -> BinaryIO:
    """Open a file for reading its bytes. Only ``read(size)`` and closing can be relied on.

    :raises CozeInputError: it is not there, is a folder, may not be read, or nothing here reads such a place.
    :raises CozeTransportError: the storage did not hand it out; it may do so later.
    """
    with reading(uri):
        if is_local(uri):
            return _local(uri).open("rb")
        system, path = _storage(uri)
        return cast(BinaryIO, system.open(path, "rb"))


def exists(uri: str) -> bool:
    """Tell whether there is a file or a folder.

    :raises CozeStateError: it cannot be told.
    """
    with _keeping(uri, "looked for"):
        if is_local(uri):
            return _local(uri).exists()
        system, path = _storage(uri)
        system.invalidate_cache()  # another worker may have written since
        return bool(system.exists(path))


def list_files(uri: str) -> list[str]:
    """Return the files of a folder, not those of folders in it, or what a glob fits (``**`` goes into folders), sorted by name.

    Names that begin with ``.`` or ``_`` are left out, unless the glob has such a beginning itself. What is neither a folder nor a
    glob is itself, if it is there.

    :returns: places to open; empty: a folder without files, or a glob that fits none.
    :raises CozeInputError: it is not there, or may not be listed.
    :raises CozeTransportError: the storage does not say; it may do so later.
    """
    with reading(uri):
        return _local_files(uri) if is_local(uri) else _stored_files(uri)


def check_writable(folder: str) -> None:
    """Write a small file into a folder and remove it again. A local folder is made if it is not there.

    :raises CozeInputError: it cannot be written.
    :raises CozeTransportError: the storage has trouble that may pass.
    """
    probe = joined(folder, f"_probe-{uuid.uuid4().hex}")
    try:
        _write(probe, b"")
        _remove(probe)
    except Exception as error:
        words = f"{shown(folder)} cannot be written ({_kind(error)}). Nothing was sent to Coze, so nothing is billed"
        if isinstance(error, _PASSING):
            raise CozeTransportError(f"{words}; a retry looks again.", never_sent=True) from error
        raise CozeInputError(f"{words}. Give a folder that this worker may write and delete in.") from error


def write_whole(uri: str, data: bytes) -> None:
    """Put a file in the place of the one before. Whoever reads sees the old one or the new one, never a half.

    That holds of local file systems and of object stores; servers of files (SFTP, FTP) can be caught in the middle.

    :raises CozeStateError: it is not certain that it is there.
    """
    with _keeping(uri, "written"):
        _write(uri, data)


def append_open(uri: str) -> BinaryIO:
    """Open a local file, made if need be, for appending without a buffer: what ``write`` took is with the operating system.

    Each ``write`` is one call of the system, at the end of the file whoever else writes. It returns how much was taken.

    :raises CozeStateError: it cannot be opened.
    :raises ValueError: the place is not local. Objects cannot grow.
    """
    if not is_local(uri):
        raise ValueError(f"{shown(uri)} cannot be appended to")
    with _keeping(uri, "opened"):
        path = _local(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        return cast(BinaryIO, path.open("ab", buffering=0))


def remove(uri: str) -> None:
    """Remove a file; one that is not there is removed already.

    :raises CozeStateError: it is not certain that it is gone.
    """
    with _keeping(uri, "removed"):
        _remove(uri)


def shown(uri: str) -> str:
    """Return a place as code, without the password or the signature that an address can hold."""
    without = re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", uri)
    return repr(without.partition("?")[0] if _scheme(uri) in ("http", "https") else without)


def _scheme(uri: str) -> str:
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""


def _local(uri: str) -> Path:
    return Path(_SCHEME.sub("", uri, count=1) if _scheme(uri) in _LOCAL else uri)


def _storage(uri: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it: Airflow's, with its connections, or plain fsspec's."""
    try:
        path = object_storage_path(uri)
        return path.fs, path.path
    except ValueError:  # Airflow knows no such file system
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # Airflow's own dependency

        system, place = url_to_fs(uri)
        return system, str(place)


def _write(uri: str, data: bytes) -> None:
    if is_local(uri):
        _write_local(_local(uri), data)
        return
    system, path = _storage(uri)
    try:
        system.pipe_file(path, data)
    except FileNotFoundError:  # where folders are real; in an object store they need no making
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, data)


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.half")
    try:
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def _remove(uri: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if is_local(uri):
            _local(uri).unlink()
            return
        system, path = _storage(uri)
        system.rm_file(path)


def _local_files(uri: str) -> list[str]:
    path = _local(uri)
    if path.is_dir():
        return sorted(joined(uri, child.name) for child in path.iterdir() if _is_seen(child.name) and child.is_file())
    if path.exists():
        return [uri]
    base, pattern = _parts_of_glob(uri)
    if not pattern:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    root = _local(base) if base else Path()
    found = (child for child in root.glob(pattern) if child.is_file())
    names = (child.relative_to(root).as_posix() for child in found)
    return sorted(joined(base, name) if base else name for name in names if _is_seen(name, pattern))


def _stored_files(uri: str) -> list[str]:
    system, path = _storage(uri)
    system.invalidate_cache()
    base, pattern = _parts_of_glob(uri) if _scheme(uri) not in ("http", "https") else (uri, "")
    if pattern:
        folder = _storage(base)[1]
        places = system.glob(joined(folder, pattern), detail=True)
    elif system.isdir(path):
        base, folder = uri, path
        places = {entry["name"]: entry for entry in system.ls(path, detail=True)}
    else:
        system.info(path)
        return [uri]
    # An address is made anew from the one that was given, because a file system's own names have neither connection nor host.
    files = (place for place, entry in places.items() if entry.get("type") == "file")
    names = (place.strip("/")[len(folder.strip("/")) :].lstrip("/") for place in files)
    return sorted(joined(base, name) for name in names if name and _is_seen(name, pattern))


def _parts_of_glob(uri: str) -> tuple[str, str]:
    """Return the folder in which a glob begins, and the glob; no glob if it is a plain place."""
    beginning = _SCHEME.match(uri)
    found = _GLOB.search(uri, beginning.end() if beginning else 0)
    if found is None:
        return uri, ""
    cut = uri.rfind("/", 0, found.start()) + 1
    return uri[:cut], uri[cut:]


def _is_seen(name: str, pattern: str = "") -> bool:
    last = name.rpartition("/")[2]
    return not last.startswith(_UNSEEN) or pattern.rpartition("/")[2].startswith(last[0])


@contextlib.contextmanager
def reading(uri: str) -> Iterator[None]:
    """Make two kinds of errors of all that reading can raise: what is wrong until somebody changes it, and what may pass.

    :raises CozeInputError: it is not there, is a folder, may not be read, or nothing here reads such a place.
    :raises CozeTransportError: the storage does not hand it out; it may do so later.
    """
    try:
        yield
    except CozeError:
        raise
    except Exception as error:
        wrong = _wrong(error, "on this worker" if is_local(uri) else "there")
        if wrong:
            raise CozeInputError(f"{shown(uri)} {wrong}. Nothing was sent to Coze, so nothing is billed.") from error
        raise CozeTransportError(
            f"{shown(uri)} could not be read ({_kind(error)}). Nothing of it was sent to Coze; a retry reads it again.",
            never_sent=True,
        ) from error


def _wrong(error: Exception, where: str) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"does not exist {where}"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    if isinstance(error, PermissionError):
        return "may not be read with the rights that this worker has"
    if isinstance(error, ImportError):  # fsspec's words: which package reads it
        return f"cannot be read on this worker: {error}"
    if isinstance(error, ValueError):
        return f"cannot be read on this worker ({_kind(error)}): nothing is installed that reads such an address"
    return ""


@contextlib.contextmanager
def _keeping(uri: str, verb: str) -> Iterator[None]:
    """Make one error of all the ways in which keeping what was bought can fail."""
    try:
        yield
    except Exception as error:
        raise CozeStateError(
            f"{shown(uri)} could not be {verb} ({_kind(error)}). What the batch has bought so far is noted there; it stops, so that it "
            "buys nothing that nobody would know of, and a retry goes on from what is noted."
        ) from error


def _kind(error: Exception) -> str:
    name = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
    return f"{type(error).__name__} {name}" if name else type(error).__name__
