"""Figures for people and programs: a table, ``figures.json``, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from imgtrans.monitor.figures import EXTREMES, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.evaluation import Figures
    from imgtrans.evaluation.measuring import Measured
    from imgtrans.monitor.display import Display
    from imgtrans.monitor.folder import RunFolder

FIGURES: Final = "figures.json"


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
    display.say()
    for built in figures.built:
        if judge := built.metric.judge:
            counted = next(iter(figures.scores[built.name].values()))["translated"]
            counts = f"{counted.images:,} images"
            counts += f" against {counted.targets:,}" if counted.targets else ""
            known = f"{judge.name}, weights {judge.sha256[:8]}, {judge.resizing}"
            display.say(f"{built.metric.title}: {known}; {counts}")


def _row(
    figures: Figures, name: str, measured: Mapping[str, Measured], columns: Sequence[str]
) -> list[str]:
    metric = next(built.metric for built in figures.built if built.name == name)
    unit = f" ({metric.unit})" if metric.unit else ""
    better = "" if metric.better == "neither" else metric.better
    cells = [shown(measured[what].as_json()) if what in measured else "" for what in columns]
    return [f"{metric.title}{unit}", better, *cells]
