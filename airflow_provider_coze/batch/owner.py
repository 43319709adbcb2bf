"""Which attempt may buy: the one that came last. Told by a file that every attempt writes when it begins, and looks at as it goes on.

Airflow starts another try of a task whose worker it lost sight of, and the worker may be alive: two attempts would ask the same rows.
So an attempt buys only for ``lease`` seconds after it last saw that the file names it, and one that takes over from an attempt that
did not say good-bye waits for that long before it reads what was bought. Whoever was paused for longer between its look and its
request (a suspended virtual machine) is what remains; its intents are in the journal all the same.
"""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.errors import CozeError, CozeStateError

__all__ = [
    "JOURNAL",
    "VERSION",
    "Claim",
    "claim",
    "explained",
    "generation_of",
    "is_owner",
    "leave",
    "listed",
    "other_version",
]

#: Of everything below ``_journal``. A reader refuses what it does not know: taking it for "nothing there" would buy again.
VERSION = 1
#: The folder, below that of the batch.
JOURNAL = "_journal"
_OWNER = "owner.json"
#: ``<generation>-<attempt>.<five digits of a UUID>-<number>.jsonl`` and ``….ended``.
_GENERATION = re.compile(r"(\d{5,})-")
_UNFIT = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one attempt to buy, until another one comes."""

    folder: str  # of the batch
    generation: int  # 1 for the first attempt; grows
    token: str  # differs between attempts, also of one generation
    lease: float  # seconds that a look at the owner is good for
    wait: float  # seconds until no earlier attempt can buy any more

    @property
    def name(self) -> str:
        """What the names of its files begin with."""
        return f"{self.generation:05d}-{self.token}"


def claim(folder: str, attempt: str, *, lease: float, now: float) -> Claim:
    """Make an attempt the owner of a batch. From here on all others stop buying, within their leases.

    :param folder: of the batch.
    :param attempt: what a person knows it by: the number of the try.
    :param now: Unix seconds.
    :raises CozeStateError: what earlier attempts left cannot be read, or the claim cannot be written.
    """
    with explained("claimed", folder):
        before = _read(folder)
        names = listed(folder)
        newest = max([generation_of(name) for name in names], default=0)
        token = f"{_UNFIT.sub('_', attempt)[:40]}.{uuid.uuid4().hex[:5]}"
        if before is None:
            generation, wait = newest + 1, lease if newest else 0.0
        else:
            generation = max(before["generation"], newest) + 1
            ended = f"{before['generation']:05d}-{before['token']}.ended"
            wait = 0.0 if ended in names else before["lease"]
        mine = Claim(folder, generation, token, lease, wait)
        owner = {"version": VERSION, "generation": generation, "token": token, "lease": lease, "at": now}
        files.write_whole(files.joined(folder, JOURNAL, _OWNER), to_line(owner))
    return mine


def is_owner(mine: Claim) -> bool:
    """Tell whether no other attempt has come since.

    :raises CozeStateError: it cannot be told.
    """
    with explained("read", mine.folder):
        owner = _read(mine.folder)
    if owner is None:
        raise CozeStateError(
            f"The file that says which attempt may buy is gone from {files.shown(mine.folder)}. Nothing more is bought, because "
            "another attempt may be at it. A retry of the task takes up what the journal holds."
        )
    return bool(owner["token"] == mine.token)


def leave(mine: Claim) -> None:
    """Say that the attempt is over and buys no more, so that the next one need not wait."""
    with explained("written", mine.folder):
        files.write_whole(files.joined(mine.folder, JOURNAL, f"{mine.name}.ended"), b"{}")


def generation_of(name: str) -> int:
    """Return the generation in a name of a file of the journal; 0: it has none."""
    found = _GENERATION.match(name)
    return int(found[1]) if found else 0


def listed(folder: str) -> list[str]:
    """Return the names in the journal of a batch, sorted; none: it has no journal. Raises whatever its keeper does."""
    journal = files.joined(folder, JOURNAL)
    return [place.rpartition("/")[2] for place in files.list_files(journal)] if files.exists(journal) else []


@contextlib.contextmanager
def explained(verb: str, folder: str) -> Iterator[None]:
    """Make one error of all the ways in which files can fail; their own words may hold credentials, so only their type is told."""
    try:
        yield
    except CozeStateError:
        raise
    except Exception as error:
        raise CozeStateError(
            f"The journal of the batch in {files.shown(folder)} could not be {verb} ({_kind(error)}). It says what was "
            "bought, so nothing more is bought without it; what Coze has begun goes on and is charged for. A retry of the task tries again."
        ) from error


def _kind(error: Exception) -> str:
    """Return what went wrong, in one word; that of an error of ours is what it was made from."""
    cause = error.__cause__ if isinstance(error, CozeError) and error.__cause__ is not None else error
    return type(cause).__name__


def _read(folder: str) -> dict[str, Any] | None:
    address = files.joined(folder, JOURNAL, _OWNER)
    if not files.exists(address):
        return None
    with files.open_read(address) as file:
        owner = json.loads(file.read())
    if not isinstance(owner, dict) or owner.get("version") != VERSION:
        raise other_version(folder, owner.get("version") if isinstance(owner, dict) else None)
    if not (isinstance(owner["generation"], int) and isinstance(owner["token"], str) and owner["lease"] >= 0):
        raise ValueError("fields that do not fit together")
    return owner


def other_version(folder: str, found: object) -> CozeStateError:
    """Return the error of a journal that this provider does not know."""
    return CozeStateError(
        f"The journal of the batch in {files.shown(folder)} is of version {found!r}, where {VERSION} is known. Nothing was sent, "
        "because chats or runs may be going on and be paid for. A retry reads it again: use the version of this provider that wrote "
        "it, or another result_path to pay for all rows anew."
    )
