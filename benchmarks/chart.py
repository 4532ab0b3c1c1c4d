# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""An SVG chart of the CPU time of a request against the number of records, for both daemons.

Both axes are logarithmic.  The chart has a white background of its own, because the page that
shows it may be dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 190, 58, 56
_INK, _GREY, _LINE = "#1f2328", "#59636e", "#d8dee4"
_MARK_GAP = 15.0
_THOUSAND = 1000


@dataclass(frozen=True)
class Series:
    """A line of the chart, with its label at the right end: microseconds by records."""

    label: str
    points: Mapping[int, float]
    colour: str
    dashed: bool = False


class Axis:
    """A logarithmic axis: maps values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)


def draw(title: str, subtitle: str, series: Sequence[Series]) -> str:
    """Return the text of the SVG file; every series must have a point."""
    counts = sorted({count for one in series for count in one.points})
    costs = [cost for one in series for cost in one.points.values()]
    decades = range(math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs))) + 1)
    x = Axis(counts[0], counts[-1], _LEFT, _WIDTH - _RIGHT)
    y = Axis(10 ** decades[0], 10 ** decades[-1], _HEIGHT - _BOTTOM, _TOP)
    body = [
        _text(_LEFT - 56, 24, title, size=16, colour=_INK, weight="600"),
        _text(_LEFT - 56, 43, subtitle, size=12),
        *(_gridline(y(10.0**decade), _cost(10.0**decade)) for decade in decades),
        *(
            _text(x(count), _HEIGHT - _BOTTOM + 20, f"{count:,}", anchor="middle")
            for count in counts
        ),
        _text(x(counts[0]), _HEIGHT - 14, "records in the pool"),
    ]
    for one in series:
        body += _series(one, x, y)
    body += _labels(series, x(counts[-1]) + 10, y)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    font = 'font-family="system-ui, sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {font}>'
    ground = f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{title}</title>", ground, *body, "</svg>", ""])


def _series(one: Series, x: Axis, y: Axis) -> list[str]:
    places = [(x(count), y(cost)) for count, cost in sorted(one.points.items())]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    dashes = ' stroke-dasharray="6 4"' if one.dashed else ""
    stroke = f'stroke="{one.colour}" stroke-width="2"{dashes}'
    line = f'<polyline points="{path}" fill="none" {stroke}/>'
    dots = [
        f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3.5" fill="{one.colour}"/>'
        for across, down in places
    ]
    return [line, *dots]


def _labels(series: Sequence[Series], left: float, y: Axis) -> list[str]:
    """Labels beside the ends of their lines, moved down where two would overlap."""
    ends = sorted((y(one.points[max(one.points)]), one) for one in series)
    found, free = [], 0.0
    for end, one in ends:
        down = max(end, free)
        free = down + _MARK_GAP
        found.append(_text(left, down + 4, one.label, colour=one.colour, weight="600"))
    return found


def _gridline(down: float, label: str) -> str:
    right = _WIDTH - _RIGHT
    line = f'<line x1="{_LEFT}" x2="{right}" y1="{down:.1f}" y2="{down:.1f}" stroke="{_LINE}"/>'
    return line + _text(_LEFT - 8, down + 4, label, anchor="end")


def _cost(microseconds: float) -> str:
    if microseconds >= _THOUSAND:
        return f"{microseconds / _THOUSAND:g} ms"
    return f"{microseconds:g} µs"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    colour: str = _GREY,
    anchor: str = "start",
    weight: str = "400",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"'
        f' text-anchor="{anchor}" font-weight="{weight}">{text}</text>'
    )
