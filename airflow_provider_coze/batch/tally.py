"""How often each code occurred, however many different ones there are."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OTHER", "Tally"]

#: Codes beyond the first so many are counted together: they come from outside, and a broken proxy can make up any number of them.
_MOST_CODES = 50
OTHER = "other"
_LONGEST_CODE = 40


class Tally:
    """Counts by code. A code is Coze's, as text, or a word of ours such as ``template``."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0

    def add(self, code: str | None, times: int = 1) -> None:
        """Count a code; None is counted as ``other``."""
        if code is None or code not in self._counts:
            code = self._key(code)
        self._counts[code] = self._counts.get(code, 0) + times
        self.total += times

    def most_common(self) -> list[tuple[str, int]]:
        """Return the codes with their counts, the most frequent first."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))

    def to_dict(self) -> dict[str, int]:
        """Return the counts by code, as :meth:`from_dict` reads them."""
        return dict(self._counts)

    @classmethod
    def from_dict(cls, kept: Mapping[str, int]) -> Tally:
        """Return what :meth:`to_dict` was of.

        :raises AttributeError, TypeError, ValueError: it is something else.
        """
        self = cls()
        for code, times in kept.items():
            self.add(code, int(times))
        return self

    def _key(self, code: str | None) -> str:
        """Return a code that fits on a line of a log."""
        clean = "".join(char for char in str(code or "")[:_LONGEST_CODE] if char.isprintable()).strip() or OTHER
        return clean if clean in self._counts or len(self._counts) < _MOST_CODES else OTHER
