"""Draws thinned curves as SVG paths, with axes that need no script.

A chart is drawn in a box of ``WIDTH`` by ``HEIGHT`` that the page stretches, so labels are no part
of the drawing: they stand beside it, placed by their share of the box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imgtrans.monitor.curves import Bucket, Curve, Metrics

WIDTH: Final = 2000
HEIGHT: Final = 1000
COLOURS: Final = 8
SMALL_TITLES: Final = {
    "learning_rate": "learning rate",
    "images_per_second": "images per second",
    "data_wait": "data wait (s per step)",
    "memory_mib": "memory (MiB)",
}
UNSMOOTHED: Final = {"learning_rate", "memory_mib"}


@dataclass(frozen=True)
class Scale:
    """One axis: from ``low`` to ``high``, by the logarithm if asked."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Whether only whole numbers are worth a label."""

    def share(self, value: float) -> float:
        """Where a value stands between the ends, 0 to 1."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(max(value, self.low)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Shares and labels of the values worth a label."""
        if self.log:
            values = _decades(self.low, self.high)
        else:
            values = _round_values(self.low, self.high, whole=self.whole)
        return [(round(self.share(value), 4), compact(value)) for value in values]


@dataclass(frozen=True)
class Line:
    """One curve as drawn on one axis."""

    raw: str
    smooth: str


@dataclass(frozen=True)
class Drawing:
    """Every curve of a chart on one y axis, linear or logarithmic."""

    kind: str
    y: Scale
    lines: Sequence[Line]


@dataclass(frozen=True)
class Chart:
    """What the page needs to show some curves in one box."""

    title: str
    labels: Sequence[str]
    latest: Sequence[str]
    x: Scale
    drawings: Sequence[Drawing]
    data: Mapping[str, Any] = field(repr=False)
    """For the tooltip: the numbers behind the curves."""
    colours: Sequence[int]
    """Of each curve: counted on beyond those that the page has."""
    small: bool = False


def loss_charts(metrics: Metrics) -> list[Chart]:
    """One chart for each first part of the losses' names."""
    return [chart_of(spoken(title), _spoken(curves)) for title, curves in _grouped(metrics.losses)]


def score_charts(metrics: Metrics) -> list[Chart]:
    """One chart for each metric, of the scores as they were measured during training."""
    return [
        chart_of(spoken(title), _spoken(curves), smooth=False)
        for title, curves in _grouped(metrics.scores)
    ]


def _grouped(named: Mapping[str, Curve]) -> Iterable[tuple[str, dict[str, Curve]]]:
    groups: dict[str, dict[str, Curve]] = {}
    for name, curve in named.items():
        first, _, rest = name.partition("/")
        groups.setdefault(first, {})[rest or first] = curve
    return groups.items()


def scalar_charts(metrics: Metrics) -> list[Chart]:
    """The small charts: learning rates, pace, waiting and memory."""
    return [
        chart_of(SMALL_TITLES[name], _spoken(curves), smooth=name not in UNSMOOTHED, small=True)
        for name, curves in metrics.scalars.items()
        if curves
    ]


def _spoken(curves: Mapping[str, Curve]) -> list[tuple[str, Curve]]:
    return [(spoken(name), curve) for name, curve in curves.items()]


def chart_of(
    title: str,
    labelled: Sequence[tuple[str, Curve]],
    *,
    smooth: bool = True,
    small: bool = False,
    colours: Sequence[int] | None = None,
) -> Chart:
    """Curves in one box.

    Args:
        title: of the chart.
        labelled: curves with their labels; there is at least one, and each has a step.
        smooth: draw moving averages over the faint curves.
        small: whether it is one of the small charts, from zero and without a logarithmic scale.
        colours: of the curves; default: one after the other.
    """
    averages = [
        curve.smoothed() if smooth else [bucket.mean for bucket in curve.buckets]
        for _, curve in labelled
    ]
    buckets = [curve.buckets for _, curve in labelled]
    first = min(line[0].step for line in buckets)
    x = Scale(first, max(first + 1, *(line[-1].step for line in buckets)), whole=True)
    every = [bucket for line in buckets for bucket in line]
    scales = [("linear", _linear(every, from_zero=small))]
    if not small and (log := _logarithmic(every)):
        scales.append(("log", log))
    drawings = [
        Drawing(
            kind,
            y,
            [_line(*pair, x, y, smooth=smooth) for pair in zip(buckets, averages, strict=True)],
        )
        for kind, y in scales
    ]
    latest = [compact(line[-1]) for line in averages]
    labels = [label for label, _ in labelled]
    colours = range(len(labels)) if colours is None else colours
    data = _data(buckets, averages, labels, colours, x, drawings)
    return Chart(title, labels, latest, x, drawings, data, colours, small)


def _line(
    buckets: Sequence[Bucket], averages: Sequence[float], x: Scale, y: Scale, *, smooth: bool
) -> Line:
    def raw() -> Iterable[tuple[float, float]]:
        for bucket in buckets:
            ends = (bucket.low, bucket.high) if bucket.rising else (bucket.high, bucket.low)
            for value in ends if bucket.high > bucket.low else ends[:1]:
                yield bucket.step, value

    steps = [bucket.step for bucket in buckets]
    strong = _path(zip(steps, averages, strict=True), x, y)
    return Line(_path(raw(), x, y) if smooth else "", strong)


def _path(points: Iterable[tuple[float, float]], x: Scale, y: Scale) -> str:
    # Whole numbers, each relative to the point before: half the size of absolute ones.
    parts: list[str] = []
    at = (0, 0)
    for step, value in points:
        to = (round(x.share(step) * WIDTH), round((1 - y.share(value)) * HEIGHT))
        parts.append(f"{'l' if parts else 'M'}{to[0] - at[0]} {to[1] - at[1]}")
        at = to
    # A lone point is drawn as a dot: a line of no length with round ends.
    return "".join(parts) + ("h0" if len(parts) == 1 else "")


def _linear(buckets: Sequence[Bucket], *, from_zero: bool) -> Scale:
    low = min(bucket.low for bucket in buckets)
    high = max(bucket.high for bucket in buckets)
    if low >= 0 and (from_zero or low < 0.7 * high or low == high):
        low = 0.0
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return Scale(low if low == 0 else low - room, high + room)


def _logarithmic(buckets: Sequence[Bucket]) -> Scale | None:
    positive = [bucket.low for bucket in buckets if bucket.low > 0]
    high = max(bucket.high for bucket in buckets)
    if len(positive) < len(buckets) or min(positive) == high:
        return None
    return Scale(min(positive) / 1.1, high * 1.1, log=True)


def _data(
    buckets: Sequence[Sequence[Bucket]],
    averages: Sequence[Sequence[float]],
    labels: Sequence[str],
    colours: Sequence[int],
    x: Scale,
    drawings: Sequence[Drawing],
) -> dict[str, Any]:
    return {
        "x": [x.low, x.high],
        "y": {drawing.kind: [drawing.y.low, drawing.y.high] for drawing in drawings},
        "series": [
            {
                "name": label,
                "colour": colour,
                "step": [bucket.step for bucket in line],
                "mean": [_digits(value) for value in means],
                "low": [_digits(bucket.low) for bucket in line],
                "high": [_digits(bucket.high) for bucket in line],
            }
            for label, colour, line, means in zip(labels, colours, buckets, averages, strict=True)
        ],
    }


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _round_values(low: float, high: float, *, whole: bool) -> list[float]:
    rough = max((high - low) / 4, 1 if whole else 0)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [power * factor for factor in (1, 2, 2.5, 5, 10)]
    step = next(step for step in steps if step >= rough * 0.999 and not (whole and step % 1))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, len(powers) // 5)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)
    values = [10.0**power * factor for power in powers[::every] for factor in factors]
    return [value for value in values if low <= value <= high]


def compact(value: float) -> str:
    """A number in few characters."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"


def spoken(name: str) -> str:
    """A logged name as a person would write it, cut to one short line."""
    text = name.replace("_", " ").replace(".", " ").replace("/", " · ")
    return text if len(text) <= 80 else text[:79] + "…"
