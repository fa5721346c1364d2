"""Two kinds of charts as SVG text: bars, and lines over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

WIDTH = 720
_LEFT, _RIGHT = 210, 80
_ROW = 26
_TITLE = 40
_PLOT_HEIGHT = 220
_SPAN = WIDTH - _LEFT - _RIGHT

Style = Literal["own", "ceiling", "peer"]
_COLOURS: dict[Style, str] = {"own": "#1f6feb", "ceiling": "#b6c7e3", "peer": "#9aa0a6"}
_LINE_COLOURS = ("#1f6feb", "#d9730d")


class Bar(NamedTuple):
    """A value with its name before the bar."""

    name: str
    value: float
    style: Style


class Line(NamedTuple):
    """Points (x, y) in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """A drawing whose origin is (0, 0)."""

    height: int
    elements: Sequence[str]


def bars(title: str, values: Sequence[Bar]) -> Chart:
    """One horizontal bar below the other, from zero on."""
    scale = _SPAN / max(bar.value for bar in values)
    elements = [_text(0, 20, title, weight="bold")]
    for row, bar in enumerate(values):
        top = _TITLE + row * _ROW
        length = bar.value * scale
        elements += [
            _text(_LEFT - 10, top + 15, bar.name, anchor="end"),
            _rectangle(_LEFT, top, length, _ROW - 6, _COLOURS[bar.style]),
            _text(_LEFT + length + 8, top + 15, f"{bar.value:,.0f}"),
        ]
    return Chart(_TITLE + len(values) * _ROW + 20, elements)


def lines(title: str, courses: Sequence[Line]) -> Chart:
    """One line per course; x is logarithmic, y begins at zero."""
    points = [point for course in courses for point in course.points]
    lowest, highest = (pick(math.log10(x) for x, _ in points) for pick in (min, max))
    top = max(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - lowest) / ((highest - lowest) or 1.0)
        return _LEFT + share * _SPAN, _TITLE + _PLOT_HEIGHT * (1 - y / top)

    floor = _TITLE + _PLOT_HEIGHT
    elements = [
        _text(0, 20, title, weight="bold"),
        f'<path d="M{_LEFT} {_TITLE}V{floor}H{_LEFT + _SPAN}" fill="none" stroke="#888"/>',
        _text(_LEFT - 10, _TITLE + 5, f"{top:,.0f}", anchor="end"),
        _text(_LEFT - 10, floor + 5, "0", anchor="end"),
    ]
    elements += [
        _text(place(x, 0)[0], floor + 20, _short(x), anchor="middle")
        for x in sorted({x for x, _ in points})
    ]
    for course, colour in zip(courses, _LINE_COLOURS, strict=False):
        placed = [place(*point) for point in course.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        elements.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        elements += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed
        ]
        elements.append(_text(placed[-1][0] + 8, placed[-1][1] + 4, course.name, fill=colour))
    return Chart(floor + 40, elements)


def stacked(charts: Sequence[Chart]) -> str:
    """The charts in one picture, one below the other."""
    height = sum(chart.height for chart in charts)
    space = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg {space} viewBox="0 0 {WIDTH} {height}">',
        _rectangle(0, 0, WIDTH, height, "#fff"),
    ]
    top = 0
    for chart in charts:
        parts += [f'<g transform="translate(0 {top})">', *chart.elements, "</g>"]
        top += chart.height
    return "\n".join([*parts, "</svg>", ""])


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    size = f'width="{width:.1f}" height="{height}"'
    return f'<rect x="{x}" y="{y}" {size} fill="{fill}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    fill: str = "#222",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
        f' fill="{fill}">{escape(text)}</text>'
    )


def _short(number: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
