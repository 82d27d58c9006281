"""Line and bar plots as SVG, drawn by hand: a page needs nothing but itself."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 680, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 12, 40
_DASHES = ("", "7 4", "2 3", "10 3 2 3")
"""Lines are told apart without colour too."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve; `low` and `high` are a band around it."""

    name: str
    points: Sequence[tuple[float, float]]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis says, and whether it goes in powers of ten."""

    label: str
    log: bool = False


def color(index: int) -> str:
    """Hues far apart for neighbours, however many there are."""
    return f"hsl({(205 + 137.5 * index) % 360:.0f} 70% 62%)"


def plot(lines: Sequence[Curve], x: Axis, y: Axis, title: str) -> str:
    """Curves over one pair of axes, each named where it ends."""
    known = [line for line in lines if line.points]
    if not known:
        return ""
    xs = _Scale.over([a for line in known for a, _ in line.points], x, LEFT, WIDTH - RIGHT)
    values = [v for line in known for v in (*(b for _, b in line.points), *line.low, *line.high)]
    ys = _Scale.over(values, y, HEIGHT - BOTTOM, TOP)
    parts = [_frame(xs, ys, x, y)]
    labels: list[float] = []
    for index, line in enumerate(lines):
        if not line.points:
            continue
        if line.low and line.high:
            across = [a for a, _ in line.points]
            upper, lower = (zip(across, edge, strict=True) for edge in (line.high, line.low))
            band = _drawn([*upper, *reversed([*lower])], xs, ys)
            parts.append(f'<polygon points="{band}" fill="{color(index)}" opacity="0.18"/>')
        dash = _DASHES[index % len(_DASHES)]
        parts.append(
            f'<polyline points="{_drawn(line.points, xs, ys)}" fill="none"'
            f' stroke="{color(index)}" stroke-width="1.6" stroke-dasharray="{dash}"/>'
        )
        height = _free(ys(line.points[-1][1]), labels)
        parts.append(
            f'<text x="{WIDTH - RIGHT + 6}" y="{height:.1f}" fill="{color(index)}">'
            f"{html.escape(line.name[:22])}</text>"
        )
    return _svg("".join(parts), title)


def bars(bins: Sequence[tuple[str, int]], index: int, title: str) -> str:
    """Counts as columns, labelled below."""
    most = max((count for _, count in bins), default=0)
    if not most:
        return ""
    step = (WIDTH - LEFT - RIGHT) / len(bins)
    parts = []
    for n, (name, count) in enumerate(bins):
        height = (HEIGHT - TOP - BOTTOM) * count / most
        x, y = LEFT + n * step, HEIGHT - BOTTOM - height
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.86:.1f}" height="{height:.1f}"'
            f' fill="{color(index)}"><title>{html.escape(name)}: {count:,}</title></rect>'
        )
        if n % 3 == 0:
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}">{html.escape(name)}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{most:,}</text>')
    return _svg("".join(parts), title)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places on the page."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], axis: Axis, start: float, stop: float) -> _Scale:
        known = [value for value in values if math.isfinite(value) and (value > 0 or not axis.log)]
        if axis.log:
            known = [math.log10(value) for value in known]
        low, high = min(known, default=0.0), max(known, default=1.0)
        if high <= low:
            low, high = low - 0.5, high + 0.5
        if start > stop:
            # Heights: room above and below, so that no curve runs along the edge.
            low, high = low - 0.06 * (high - low), high + 0.12 * (high - low)
        return cls(low, high, start, stop, axis.log)

    def __call__(self, value: float) -> float:
        if self.log:
            value = math.log10(value) if value > 0 else self.low
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return self.start + (self.stop - self.start) * share

    def ticks(self) -> list[tuple[float, str]]:
        """A few round values and their places."""
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 3))
        step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= 6)
        step = max(step, 1.0) if self.log and span > 2 else step
        first = math.ceil(self.low / step - 1e-9)
        ticks = []
        for n in range(first, math.floor(self.high / step + 1e-9) + 1):
            value = n * step
            share = (value - self.low) / span
            text = f"{10**value:.2g}" if self.log else f"{value:.4g}"
            ticks.append((self.start + (self.stop - self.start) * share, text))
        return ticks


def _drawn(points: Iterable[tuple[float, float]], xs: _Scale, ys: _Scale) -> str:
    return " ".join(f"{xs(a):.1f},{ys(b):.1f}" for a, b in points)


def _frame(xs: _Scale, ys: _Scale, x: Axis, y: Axis) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for at, text in xs.ticks():
        parts.append(f'<path d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
    for at, text in ys.ticks():
        parts.append(f'<path d="M{LEFT} {at:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(x.label)}</text>'
    )
    parts.append(f'<text x="{LEFT + 4}" y="{TOP + 12}">{html.escape(y.label)}</text>')
    return "".join(parts)


def _free(height: float, taken: list[float]) -> float:
    """A height for a label that covers no other one."""
    while any(abs(height - other) < 13 for other in taken):
        height += 13
    taken.append(height)
    return height


def _svg(inner: str, title: str) -> str:
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' role="img" aria-label="{html.escape(title)}">{inner}</svg></figure>'
    )
