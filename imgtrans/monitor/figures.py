"""Turns ``figures.json`` into tables, and the best and worst pictures into a page's.

Nothing is taken on trust: the file may be missing, cut short or hold any JSON, and still be shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from imgtrans.monitor.charts import spoken
from imgtrans.monitor.curves import number
from imgtrans.monitor.facts import mapping, short
from imgtrans.monitor.pictures import pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgtrans.monitor.pictures import Picture

METRICS: Final = 40
"""Rows of a table at most."""
WHATS: Final = 8
"""Columns of a table at most."""
SHOWN_BYTES: Final = 120_000
EXTREMES: Final = "extremes"


@dataclass(frozen=True)
class Cell:
    """One figure of a table."""

    text: str
    best: bool


@dataclass(frozen=True)
class Row:
    """One metric in one direction."""

    metric: str
    note: str
    """Which way is better, and which network judged."""
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """One direction's figures."""

    direction: str
    columns: Sequence[str]
    """What was measured: the model's translations, and what stands beside them."""
    rows: Sequence[Row]


@dataclass(frozen=True)
class Extreme:
    """The pictures of a direction that its metric likes most or least."""

    title: str
    columns: Sequence[str]
    names: Sequence[str]
    picture: Picture


@dataclass(frozen=True)
class Figures:
    """What a page shows of a measurement."""

    title: str
    tables: Sequence[Table]
    missing: Sequence[str]
    """Metrics that were not measured, and why."""
    extremes: Sequence[Extreme]


def figures_of(folder: Path, content: dict[str, Any]) -> Figures | None:
    """The figures of a run's folder; None where there are none."""
    metrics = dict(list(mapping(content.get("metrics")).items())[:METRICS])
    ways = dict.fromkeys(way for each in metrics.values() for way in _scores(each))
    tables = [table for way in ways if (table := _table(way, metrics))]
    if not tables:
        return None
    missing = [
        f"{short(name, 100)}: {short(why, 500).partition(chr(10))[0]}"
        for name, why in mapping(content.get("not_measured")).items()
    ]
    step = number(content.get("step"))
    after = f", after step {step:,.0f}" if step is not None else ""
    title = f"{short(content.get('title'), 300)}{after}"
    return Figures(title, tables, missing, _extremes(folder, content, metrics))


def _scores(metric: Any) -> dict[str, Any]:
    return mapping(mapping(metric).get("scores"))


def _table(way: str, metrics: dict[str, Any]) -> Table | None:
    measured = {name: mapping(_scores(each).get(way)) for name, each in metrics.items()}
    columns = list(dict.fromkeys(what for each in measured.values() for what in each))[:WHATS]
    rows = [
        _row(name, mapping(metrics[name]), each, columns) for name, each in measured.items() if each
    ]
    named = [short(what, 100) for what in columns]
    return Table(spoken(short(way, 100)), named, rows) if rows and columns else None


def _row(
    name: str, metric: dict[str, Any], measured: dict[str, Any], columns: Sequence[str]
) -> Row:
    better, unit = metric.get("better"), short(metric.get("unit"), 20)
    values = [number(mapping(measured.get(what)).get("value")) for what in columns]
    known = [value for value in values if value is not None]
    best = {"lower": min, "higher": max}.get(str(better))
    top = best(known) if best is not None and len(known) > 1 else None
    notes = [f"{better} is better" if best is not None else "", *_judged(metric, measured)]
    title = short(metric.get("title"), 100) or short(name, 100)
    cells = [
        Cell(shown(mapping(measured.get(what))), best=value is not None and value == top)
        for what, value in zip(columns, values, strict=True)
    ]
    note = ", ".join(note for note in notes if note)
    return Row(f"{title} ({unit})" if unit else title, note, cells)


def _judged(metric: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Network, weights, resizing and counts: what the figure can be compared by."""
    judge, counted = mapping(metric.get("judge")), mapping(measured.get("translated"))
    images, targets = number(counted.get("images")), number(counted.get("targets"))
    if not judge:
        return []
    texts = [
        f"{short(judge.get('name'), 60)} {short(judge.get('sha256'), 8).removesuffix(' …')}",
        short(judge.get("resizing"), 100),
        f"{images:,.0f} images" if images is not None else "",
    ]
    return [*texts, f"against {targets:,.0f}"] if targets is not None else texts


def shown(measured: dict[str, Any]) -> str:
    """A score as ``15.63 ± 0.21``, with as many digits as its interval leaves."""
    value, low, high = (number(measured.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return short(measured.get("value"), 20)
    if low is None or high is None or not 0 < high - low < math.inf:
        return f"{value:.4g}"
    margin = (high - low) / 2
    digits = max(0, min(6, 1 - math.floor(math.log10(margin))))
    return f"{value:,.{digits}f} ± {margin:,.{digits}f}"


def _extremes(folder: Path, content: dict[str, Any], metrics: dict[str, Any]) -> list[Extreme]:
    found = []
    for way, each in mapping(content.get("extremes")).items():
        about = mapping(each)
        by = mapping(metrics.get(str(about.get("metric")))).get("title") or about.get("metric")
        for what in ("best", "worst"):
            listed = about.get(what)
            kept = [mapping(one) for one in listed] if isinstance(listed, list) else []
            picture = pack(folder / EXTREMES / f"{way}-{what}.png", SHOWN_BYTES)
            if picture is None or not kept:
                continue
            names = [f"{short(one.get('name'), 80)}: {shown(one)}" for one in kept[:16]]
            title = f"{spoken(short(way, 100))}, {what} by {short(by, 60)}"
            columns = about.get("columns")
            listed = columns if isinstance(columns, list) else []
            found.append(Extreme(title, [short(one, 40) for one in listed[:4]], names, picture))
    return found
