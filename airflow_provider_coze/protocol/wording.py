"""Words that logs and errors share. Knows no Coze but its names."""

from __future__ import annotations

__all__ = ["in_brackets"]


def in_brackets(logid: str | None) -> str:
    """Return `` (logid …)`` for the end of a clause; nothing where the server gives none, as Coze Studio often does."""
    return f" (logid {logid})" if logid else ""
