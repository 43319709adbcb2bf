"""Parts of a page: sections, plots with their legends, tables; somebody else's words made harmless. Knows no batch."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from airflow_provider_coze.batch.plots import drawn
from airflow_provider_coze.batch.sheet import STYLE
from airflow_provider_coze.batch.tally import Tally
from airflow_provider_coze.batch.units import count, share

__all__ = ["clean", "figure", "outside", "page", "section", "table", "tallied"]

_LONGEST_MESSAGE = 500
#: Nothing may be loaded or run, should anything ever get past the escaping.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, sections: Iterable[str]) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(clean(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, sentence: str, *parts: str, after: str = "") -> str:
    """Return a part of the page: a sentence, and parts side by side where there is room."""
    pair = f'<div class="pair">{"".join(parts)}</div>' if parts else ""
    return f"<section>\n<h2>{title}</h2>\n<p>{sentence}</p>\n{pair}{after}\n</section>"


def figure(name: str, description: str, plot: tuple[float, list[str]], legend: Sequence[tuple[str, str]]) -> str:
    """Return a plot with what its colours mean.

    :param plot: its height and its shapes.
    :param legend: a class of the style sheet, and what it stands for.
    """
    height, shapes = plot
    keys = "".join(f"<span>{_key(look)}{words}</span>" for look, words in legend)
    return (
        f"<figure>{drawn(name, name.capitalize(), description, height, shapes)}<figcaption>{keys}</figcaption></figure>"
    )


def _key(look: str) -> str:
    line, block = '<path class="line budget" d="M0 5H20"/>', f'<rect class="fill {look}" width="20" height="10"/>'
    shape = line if look == "budget" else block
    return f'<svg viewBox="0 0 20 10" aria-hidden="true">{shape}</svg>'


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; all columns but the first are numbers."""
    head = "".join(f'<th scope="col"{_number(place)}>{name}</th>' for place, name in enumerate(columns))
    body = "".join(
        f"<tr>{''.join(f'<td{_number(place)}>{cell}</td>' for place, cell in enumerate(row))}</tr>" for row in rows
    )
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(place: int) -> str:
    return ' class="number"' if place else ""


def tallied(caption: str, what: str, tally: Tally) -> str:
    """Return a table of codes with bars."""
    found = tally.most_common()
    if not found:
        return f'<p class="soft">{caption}: none.</p>'
    most = found[0][1]
    rows = "".join(
        f'<tr><td class="word">{outside(code)}</td><td class="number">{count(times)}</td><td class="number">'
        f"{share(times, tally.total)}</td>"
        f'<td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="fill failed" width="{100 * times / most:.1f}" height="10"/></svg></td></tr>'
        for code, times in found
    )
    head = f'<th scope="col">code</th><th class="number" scope="col">{what}</th><th class="number" scope="col">share</th><td></td>'
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def outside(text: str, most: int = _LONGEST_MESSAGE) -> str:
    """Return somebody else's words as a part of the page: escaped, of a bounded length, and with a direction of their own."""
    text = clean(text)
    if len(text) > most:
        text = f"{text[:most].rstrip()}…"
    return f"<bdi>{html.escape(text)}</bdi>"


def clean(text: str) -> str:
    """Return a text on one line, with nothing that a page cannot hold: control characters, halves of surrogate pairs."""
    line = " ".join(str(text).split())
    return "".join(char if char.isprintable() else "�" for char in line)
