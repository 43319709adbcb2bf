"""Numbers with their units, as people read them in a log and in a report.

The same on every machine: a comma groups thousands and a point is a decimal point, whatever its locale says.
"""

from __future__ import annotations

__all__ = ["amount", "axis", "count", "duration", "latency", "rate", "share"]


def count(number: int) -> str:
    """Return a whole number: ``12,345``."""
    return f"{number:,}"


def amount(number: float) -> str:
    """Return a large number in short: ``840``, ``34 k``, ``1.2 M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would be "1000 k" below: what rounds up to the next letter has it.
        if abs(number) >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.1f} {letter}" if abs(scaled) < 9.95 else f"{scaled:.0f} {letter}"
    return f"{number:.0f}"


def axis(number: float) -> str:
    """Return the label of a round value: ``0``, ``2.5``, ``15 k``, ``1 M``."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def share(part: float, whole: float) -> str:
    """Return a percentage. It is 0 % or 100 % only if nothing or all is meant: ``< 0.1 %``, ``99.9 %``."""
    if whole <= 0 or part <= 0:
        return "0 %"
    if part >= whole:
        return "100 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "< 0.1 %"
    if percent < 9.95 or percent > 99:
        return f"{min(percent, 99.9):.1f} %"
    return f"{percent:.0f} %"


def rate(per_second: float) -> str:
    """Return how often something happens, by the unit that shows it: ``57.3/s``, ``24.0/min``, ``3.00/h``."""
    if per_second <= 0:
        return "0/s"
    for seconds, unit in ((1, "s"), (60, "min")):
        if per_second * seconds >= 0.95:
            return f"{_three_digits(per_second * seconds)}/{unit}"
    return f"{_three_digits(per_second * 3600)}/h"


def duration(seconds: float) -> str:
    """Return how long something takes, in its two largest units: ``42 s``, ``5 min 27 s``, ``2 h 5 min``, ``3 d 4 h``."""
    left = max(0, round(seconds))
    if left >= 3600:
        left = round(left / 60) * 60  # whole minutes, so that 1 h 59 min 59 s is 2 h
    if left >= 86400:
        left = round(left / 3600) * 3600
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        many, left = divmod(left, size)
        if many:
            parts.append(f"{many} {unit}")
    return " ".join(parts) or "0 s"


def latency(seconds: float) -> str:
    """Return how long an answer took, to about three digits: ``85 ms``, ``1.42 s``, ``31.2 s``, ``5 min 27 s``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{_three_digits(seconds)} s" if seconds < 119.5 else duration(seconds)


def _three_digits(number: float) -> str:
    if number >= 99.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
