"""Make the site's search find Chinese words: between their characters are no blanks to cut a sentence at.

Sphinx has one language for all pages. Its English one takes a whole run of Chinese characters for a word, so that a part of it is hardly
ever found. Here a run is cut into pairs of neighbouring characters, on the pages and, the same way, in what is typed.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.search import languages
from sphinx.search.en import SearchEnglish

#: CJK ideographs.
_HAN = "\u3400-\u9fff"
_PIECES = re.compile(rf"[{_HAN}]+|[^\W{_HAN}]+")


def split(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, and pairs of Chinese characters."""
    found: list[str] = []
    for piece in _PIECES.findall(text):
        if re.match(rf"[{_HAN}]", piece) and len(piece) > 2:
            found += [piece[start : start + 2] for start in range(len(piece) - 1)]
        else:
            found.append(piece)
    return found


class SearchBoth(SearchEnglish):
    """English with Chinese in it."""

    js_splitter_code = """
function splitQuery(query) {
  const found = [];
  for (const piece of query.match(/[\\u3400-\\u9fff]+|(?:(?![\\u3400-\\u9fff])[\\p{L}\\p{N}_])+/gu) || []) {
    if (/^[\\u3400-\\u9fff]/.test(piece) && piece.length > 2) {
      for (let start = 0; start < piece.length - 1; start++) found.push(piece.slice(start, start + 2));
    } else {
      found.push(piece);
    }
  }
  return found;
}
"""

    def split(self, input: str) -> list[str]:
        """Return the words of a text."""
        return split(input)

    def word_filter(self, word: str) -> bool:
        """Return whether a word is worth finding: a single Chinese character is, a single letter is not."""
        return bool(re.match(rf"[{_HAN}]", word)) or super().word_filter(word)


def setup(app: Any) -> dict[str, bool]:
    """Put it in English's place."""
    languages["en"] = SearchBoth
    return {"parallel_read_safe": True, "parallel_write_safe": True}
