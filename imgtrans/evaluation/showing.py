"""Figures for people and programs: a table, ``figures.json``, pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.evaluation import Figures
    from imgtrans.evaluation.measuring import Measured
    from imgtrans.monitor.display import Display
    from imgtrans.monitor.folder import RunFolder

FIGURES: Final = "figures.json"
EXTREMES: Final = "extremes"
"""Folder of the pictures that were translated best and worst."""


def write_figures(
    folder: RunFolder, figures: Figures, about: Mapping[str, Any], missing: Mapping[str, str]
) -> None:
    """``figures.json`` and the best and worst pictures of a run.

    Raises:
        OSError: they could not be written.
    """
    pictures = folder.path / EXTREMES
    pictures.mkdir(exist_ok=True)
    for each in figures.extremes:
        each.write(pictures)
    folder.write(FIGURES, {**about, **figures.as_json(missing)})


def show_figures(figures: Figures, display: Display) -> None:
    """A table for each direction: a row per metric, a column for what was measured."""
    display.say(figures.title)
    ways = dict.fromkeys(way for each in figures.scores.values() for way in each)
    for way in ways:
        measured = {name: each[way] for name, each in figures.scores.items() if way in each}
        columns = list(dict.fromkeys(what for each in measured.values() for what in each))
        rows = [_row(figures, name, each, columns) for name, each in measured.items()]
        display.say()
        display.table(way.replace("_", " "), ["metric", "better", *columns], rows)


def _row(
    figures: Figures, name: str, measured: Mapping[str, Measured], columns: Sequence[str]
) -> list[str]:
    metric = next(built.metric for built in figures.built if built.name == name)
    unit = f" ({metric.unit})" if metric.unit else ""
    better = "" if metric.better == "neither" else metric.better
    cells = [shown(measured[what]) if what in measured else "" for what in columns]
    return [f"{metric.title}{unit}", better, *cells]


def shown(measured: Measured) -> str:
    """``15.63 ± 0.21``, as many digits as the interval leaves."""
    score = measured.score
    if score.low is None or score.high is None or not math.isfinite(score.high - score.low):
        return f"{score.value:.4g}"
    margin = (score.high - score.low) / 2
    digits = max(0, min(6, 1 - math.floor(math.log10(margin)))) if margin > 0 else 4
    return f"{score.value:.{digits}f} ± {margin:.{digits}f}"
