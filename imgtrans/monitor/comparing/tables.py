"""Tables with a column for each run: how they went, what was measured, how their recipes differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgtrans.monitor.charts import compact, spoken
from imgtrans.monitor.curves import number
from imgtrans.monitor.display import duration
from imgtrans.monitor.facts import mapping, moment, short
from imgtrans.monitor.figures import Cell, shown
from imgtrans.problems import RecipeError, as_toml
from imgtrans.recipe.toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imgtrans.monitor.comparing.runs import Compared

ROWS = 200
OWN_KEYS = frozenset(("name",))
"""Of a recipe: they differ between any two runs and change nothing."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    head: str
    note: str
    cells: Sequence[Cell]
    """One for each run."""


def facts_table(runs: Sequence[Compared]) -> list[Row]:
    """How each run went; without what is known of none."""
    columns = [_facts(run) for run in runs]
    return [
        Row(label, "", [Cell(column[label] or "–", best=False) for column in columns])
        for label in columns[0]
        if any(column[label] for column in columns)
    ]


def _facts(run: Compared) -> dict[str, str]:
    status, environment = run.status, run.environment
    seconds, epochs = number(status.get("seconds")), number(status.get("epochs"))
    step = number(status.get("step"))
    device = [short(environment.get(name), 100) for name in ("device", "precision")]
    pace = run.steps.scalars["images_per_second"].get("")
    networks = mapping(environment.get("networks"))
    return {
        "state": run.standing.state,
        "steps": run.standing.step.removeprefix("step ") if step is not None else "",
        "epochs": f"{epochs:,.4g}" if epochs is not None else "",
        "time": duration(seconds) if seconds is not None else "",
        "images per second": compact(pace.mean()) if pace is not None else "",
        "generator": _parameters(networks, "generators."),
        "discriminator": _parameters(networks, "discriminators."),
        "device": ", ".join(text for text in device if text),
        "data": short(environment.get("data"), 300),
        "list of files": short(environment.get("fingerprint"), 8).removesuffix(" …"),
        "started": moment(status.get("started")),
        "last sign of life": moment(status.get("updated")),
        "imgtrans": short(environment.get("imgtrans"), 40),
        "torch": short(environment.get("torch"), 40),
    }


def _parameters(networks: Mapping[str, Any], kind: str) -> str:
    counts = [number(count) for name, count in networks.items() if name.startswith(kind)]
    texts = dict.fromkeys(f"{count:,.0f}" for count in counts if count is not None)
    return f"{' and '.join(texts)} parameters" if texts else ""


def figures_table(runs: Sequence[Compared]) -> list[Row]:
    """The models' own scores; a row for each metric, judge, direction and set of images.

    Scores that another network judged, or on other images, are no neighbours: they get rows of
    their own, which say so.
    """
    measured: dict[tuple[str, ...], dict[int, dict[str, Any]]] = {}
    for index, run in enumerate(runs):
        for way, metric, score in _scores(run, runs[0]):
            unit, judge = short(metric.get("unit"), 20), mapping(metric.get("judge"))
            title = short(metric.get("title"), 100) + (f" ({unit})" if unit else "")
            by = f"{short(judge.get('name'), 60)} {short(judge.get('sha256'), 8)}" if judge else ""
            key = (title, way, str(metric.get("better")), by.removesuffix(" …"), measured_on(run))
            measured.setdefault(key, {})[index] = score
    several = len({key[-1] for key in measured}) > 1
    rows = []
    for (title, way, better, by, images), scores in list(measured.items())[:ROWS]:
        notes = [f"{better} is better" if better in ("lower", "higher") else "", by]
        note = ", ".join(text for text in (*notes, images if several else "") if text)
        rows.append(Row(f"{title}, {way}", note, _cells(scores, better, len(runs))))
    return rows


def measured_on(run: Compared) -> str:
    """What a run's figures were measured on."""
    return short(run.figures.get("title"), 300)


def _scores(run: Compared, first: Compared) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Direction, metric and score of everything that was measured of a run's own model."""
    found = []
    for name, value in mapping(run.figures.get("metrics")).items():
        metric = {"title": name, **mapping(value)}
        for way, each in mapping(metric.get("scores")).items():
            score = mapping(mapping(each).get("translated"))
            if score:
                found.append((spoken(as_first(str(way), run, first)), metric, score))
    return found


def as_first(way: str, run: Compared, first: Compared) -> str:
    """A run's direction by the first run's name of it, whatever their domains are called."""
    own, others = run.directions(), first.directions()
    return others[own.index(way)] if way in own and others else way


def _cells(scores: Mapping[int, dict[str, Any]], better: str, runs: int) -> list[Cell]:
    values = {index: number(score.get("value")) for index, score in scores.items()}
    known = [value for value in values.values() if value is not None]
    best = {"lower": min, "higher": max}.get(better)
    top = best(known) if best is not None and len(known) > 1 else None
    return [
        Cell(
            shown(scores[index]) if index in scores else "–",
            best=top is not None and values.get(index) == top,
        )
        for index in range(runs)
    ]


def recipes_table(runs: Sequence[Compared]) -> list[Row]:
    """Keys whose values differ, with every run's value."""
    recipes = [_flat(_read(run.folder / "recipe.toml")) for run in runs]
    found = dict.fromkeys(key for recipe in recipes for key in recipe)
    tables = list(dict.fromkeys(key.partition(".")[0] for key in found))
    keys = sorted(found, key=lambda key: tables.index(key.partition(".")[0]))
    return [
        Row(key, "", [Cell(recipe.get(key, "–"), best=False) for recipe in recipes])
        for key in keys
        if key not in OWN_KEYS and len({recipe.get(key) for recipe in recipes}) > 1
    ][:ROWS]


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except RecipeError:
        return {}


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Values as a recipe writes them, by ``[table] key`` written with dots."""
    flat: dict[str, str] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[short(f"{prefix}{key}", 200)] = as_toml(value)
    return flat
