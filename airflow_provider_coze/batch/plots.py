"""Plots as SVG, drawn with a few shapes: areas, lines and bars over an axis of time or of latency. Knows no batch and no colour.

Colours are classes of the page's style sheet, as they change with light and dark. All text has room to grow by half, as the style sheet
makes it on a narrow screen.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from airflow_provider_coze.batch.units import axis, duration, latency

__all__ = ["Bar", "Mark", "Panel", "Series", "drawn", "histogram", "over_time"]

_WIDTH, _LEFT, _TOP, _BOTTOM = 640.0, 68.0, 32.0, 30.0
#: Of the largest text.
_LETTER, _LINE = 11.5, 24.0
_TIME_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
)
_MOST_TIME_LABELS = 6
_LATENCIES = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
    *(60, 120, 300, 600, 1200, 3600, 7200, 18000, 43200, 86400),
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One thing that is drawn over time."""

    points: Sequence[Point]  # seconds since the beginning, value
    look: str  # class of the style sheet
    above: Sequence[Point] | None = None  # the lower edge of an area. None: a line, of these points only
    is_stepped: bool = False  # a value holds until the next point


@dataclass(frozen=True, slots=True)
class Panel:
    """A strip of a plot, with an axis of its own. All strips of a plot have the same time."""

    series: Sequence[Series]
    name: str  # what is counted
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a histogram."""

    begin: float
    end: float
    value: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A line through a histogram."""

    at: float
    name: str


def drawn(name: str, title: str, description: str, height: float, shapes: Iterable[str]) -> str:
    """Return a plot that can be read aloud.

    :param name: an id that no other plot of the page has.
    """
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(description)}</desc>'
        f"{''.join(shapes)}</svg>"
    )


def over_time(panels: Sequence[Panel], took: float) -> tuple[float, list[str]]:
    """Return the height and the shapes of strips one below the other.

    :param took: seconds from the left edge to the right one.
    """
    took = max(took, 0.001)
    shapes, top = [], 0.0
    for panel in panels:
        top += _TOP
        most = max((value for series in panel.series for _, value in series.points), default=0.0)
        ticks = _ticks(most, 4 if panel.height > 100 else 2)
        scale = panel.height / max(most, ticks[-1])
        bottom = top + panel.height

        def place(point: Point, bottom: float = bottom, scale: float = scale) -> Point:
            return _across(point[0] / took), bottom - point[1] * scale

        shapes += [_shape(series, place) for series in panel.series if series.above is not None]
        shapes += [_level(bottom - tick * scale, axis(tick)) for tick in ticks]
        shapes += [_shape(series, place) for series in panel.series if series.above is None]
        shapes.append(_text(_LEFT, top - 9, panel.name, "start"))
        top = bottom
    return top + _BOTTOM, [*shapes, *_times(took, top)]


def histogram(bars: Sequence[Bar], marks: Sequence[Mark]) -> tuple[float, list[str]]:
    """Return the height and the shapes of bars over a logarithmic axis of seconds, with lines at the marks.

    :param bars: at least one.
    :param marks: from left to right.
    """
    left, right = math.log(bars[0].begin), math.log(bars[-1].end)
    height, top = 170.0, _LINE * len(marks) + 8
    most = max(bar.value for bar in bars)
    ticks = _ticks(most, 4)
    scale, bottom = height / max(most, ticks[-1]), top + height

    def place(seconds: float) -> float:
        return _across((math.log(max(seconds, bars[0].begin)) - left) / (right - left))

    shapes = [_level(bottom - tick * scale, axis(tick)) for tick in ticks]
    for bar in bars:
        x, tall = place(bar.begin), bar.value * scale
        wide = max(1.0, place(bar.end) - x - 1)
        about = f"{latency(bar.begin)} to {latency(bar.end)}: {bar.value:,} rows"
        shapes.append(
            f'<rect class="fill ok" x="{x:.1f}" y="{bottom - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
            f"<title>{html.escape(about)}</title></rect>"
        )
    for row, mark in enumerate(marks):  # each lower than the one to its left, whose name it would cross
        x, y = place(mark.at), _LINE * (row + 1) - 6
        fits = x + len(mark.name) * _LETTER < _WIDTH
        shapes.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 12:.1f}" y2="{bottom:.1f}"/>')
        shapes.append(_text(x + (5 if fits else -5), y, mark.name, "start" if fits else "end", "strong"))
    within = [at for at in _LATENCIES if left <= math.log(at) <= right]
    labels = [(place(at), latency(at) if at < 1 else duration(at)) for at in within]
    return bottom + _BOTTOM, [*shapes, *_labels(labels, bottom)]


def _across(part: float) -> float:
    """Return where on the horizontal axis a part of it ends."""
    return _LEFT + min(1.0, max(0.0, part)) * (_WIDTH - _LEFT)


def _shape(series: Series, place: Callable[[Point], Point]) -> str:
    points = _stepped(series.points) if series.is_stepped else series.points
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, points))
    if series.above is None:
        return f'<path class="line {series.look}" d="M{line}"/>'
    below = _stepped(series.above) if series.is_stepped else series.above
    back = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, reversed(below)))
    return f'<path class="fill {series.look}" d="M{line}L{back}Z"/>'


def _stepped(points: Sequence[Point]) -> list[Point]:
    """Return the corners of a line that is level between two points."""
    corners = [
        corner for (_, before), (at, after) in itertools.pairwise(points) for corner in ((at, before), (at, after))
    ]
    return [*points[:1], *corners]


def _level(y: float, label: str) -> str:
    """Return a line of the grid with the value it stands for."""
    line = f'<line class="grid" x1="{_LEFT:.0f}" x2="{_WIDTH:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(_LEFT - 8, y + 5, label, "end")


def _times(took: float, y: float) -> Iterable[str]:
    step = next((step for step in _TIME_STEPS if took / step < _MOST_TIME_LABELS), _TIME_STEPS[-1])
    while took / step >= _MOST_TIME_LABELS:
        step *= 2
    moments = [step * number for number in range(int(took / step) + 1)]
    return _labels([(_across(moment / took), duration(moment) if moment else "0") for moment in moments], y)


def _labels(places: Sequence[tuple[float, str]], y: float) -> Iterable[str]:
    """Yield the labels of the horizontal axis, without any that would touch the one before."""
    free = 0.0
    for x, words in places:
        wide = len(words) * _LETTER
        anchor = "end" if x > _WIDTH - wide / 2 else "middle"
        begin = x - (wide if anchor == "end" else wide / 2)
        if begin < free:
            continue
        free = begin + wide + _LETTER
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 5:.1f}"/>'
        yield _text(x, y + 22, words, anchor)


def _text(x: float, y: float, words: str, anchor: str, look: str = "") -> str:
    kind = f' class="{look}"' if look else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _ticks(most: float, wanted: int) -> list[float]:
    """Return round values from 0 up to the last one that is not above *most*, about *wanted* of them."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [step * number for number in range(int(most / step + 1e-9) + 1)] if most >= step else [0.0, most]
