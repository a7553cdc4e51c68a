"""Writes one page about several runs: curves over each other, images side by side, differences.

Like a run's own page it needs no network and no file beside it, and shows whatever a run's folder
holds as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from imgtrans.monitor.comparing.curves import loss_charts, pace_charts, score_charts
from imgtrans.monitor.comparing.runs import labels_of, read_run
from imgtrans.monitor.comparing.tables import (
    facts_table,
    figures_table,
    measured_on,
    recipes_table,
)
from imgtrans.monitor.page import is_page, write_page
from imgtrans.monitor.pictures import read_samples
from imgtrans.problems import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgtrans.monitor.charts import Chart
    from imgtrans.monitor.comparing.runs import Compared

MOST: Final = 8
"""Runs on one page: so many colours can be told apart."""


def write_comparison(folders: Sequence[Path], target: Path) -> Path:
    """Write a page that shows several runs.

    Args:
        folders: of the runs; any of their files may be missing or unfinished.
        target: the page; one of ours is replaced.

    Returns:
        The page's path.

    Raises:
        RecipeError: there are too many runs.
        OSError: the page could not be written; the one before it is still whole.
    """
    if len(folders) > MOST:
        message = f"a page shows at most {MOST} runs, not {len(folders)}"
        raise RecipeError(message)
    runs = [read_run(*each) for each in zip(labels_of(folders), folders, strict=True)]
    return write_page(target, "comparison.html.jinja", _content(runs))


def refuse_foreign(target: Path) -> None:
    """Leave alone what is no page of ours.

    Raises:
        RecipeError: the file is there and is something else.
    """
    if target.exists() and not is_page(target):
        message = f"{target} is there already and is no page of imgtrans; choose another --output"
        raise RecipeError(message)


def _content(runs: Sequence[Compared]) -> dict[str, Any]:
    from imgtrans.monitor.comparing.images import through_each  # imports torch

    losses, scores, pace = loss_charts(runs), score_charts(runs), pace_charts(runs)
    images = through_each(runs)
    samples = [] if images.grids else _own_samples(runs)
    return {
        "runs": runs,
        "grids": images.grids,
        "notes": images.notes,
        "samples": samples,
        "figures": figures_table(runs),
        "measured_on": list(dict.fromkeys(filter(None, map(measured_on, runs)))),
        "scores": scores,
        "losses": losses,
        "pace": pace,
        "facts": facts_table(runs),
        "recipes": recipes_table(runs),
        "data": _data([*losses, *scores, *pace]),
    }


def _own_samples(runs: Sequence[Compared]) -> list[tuple[int, Any]]:
    """Each run's newest sample grids, where the same images cannot be shown."""
    found = []
    for index, run in enumerate(runs):
        samples = read_samples((run.folder / "samples").absolute(), run.domains)
        if samples is not None:
            found.append((index, samples))
    return found


def _data(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the page's script needs; it is that of a run's own page."""
    return {
        "steps": [],
        "pictures": [],
        "directions": [],
        "charts": [chart.data for chart in charts],
    }
