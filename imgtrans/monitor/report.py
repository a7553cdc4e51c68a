"""Writes ``report.html``: one page that shows how a run went, readable at any time.

The page needs no network, no file beside it and no script to be read; whatever the run folder
holds, it is shown as text and never as markup; and a reader never sees half a page.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from imgtrans.monitor.charts import loss_charts, scalar_charts, score_charts
from imgtrans.monitor.curves import metrics_of
from imgtrans.monitor.facts import (
    domains_of,
    facts,
    read_json,
    read_recipe_text,
    short,
    standing,
)
from imgtrans.monitor.figures import figures_of
from imgtrans.monitor.folder import SCORES
from imgtrans.monitor.page import write_page
from imgtrans.monitor.pictures import read_samples

if TYPE_CHECKING:
    from pathlib import Path

    from imgtrans.monitor.charts import Chart
    from imgtrans.monitor.pictures import Samples

REPORT: Final = "report.html"


def write_report(
    folder: Path, target: Path | None = None, status: dict[str, Any] | None = None
) -> Path:
    """Rewrite a run folder's ``report.html`` from what is in the folder now.

    Called again and again while a run goes on: what was read or recompressed for the last page is
    kept in memory, so a further page costs little.

    Args:
        folder: of the run; any of its files may be missing or unfinished.
        target: write the page there instead.
        status: how the run stands; by default what ``status.json`` says.

    Returns:
        The page's path.

    Raises:
        OSError: the page could not be written; the one before it is still whole.
    """
    status = read_json(folder / "status.json") if status is None else status
    content = _content(folder, status)
    return write_page(target or folder / REPORT, "report.html.jinja", content)


def _content(folder: Path, status: dict[str, Any]) -> dict[str, Any]:
    environment = read_json(folder / "environment.json")
    metrics = metrics_of((folder / "metrics.jsonl").absolute())
    metrics.read()
    measured = metrics_of((folder / SCORES).absolute())
    measured.read()
    domains = domains_of(environment)
    samples = read_samples((folder / "samples").absolute(), domains)
    losses, scores, scalars = loss_charts(metrics), score_charts(measured), scalar_charts(metrics)
    return {
        "name": short(environment.get("name"), 200) or folder.absolute().name,
        "domains": domains,
        "generated": environment.get("generated") is True,
        "standing": standing(status),
        "resume": short(environment.get("resume"))
        or f"imgtrans run --resume {shlex.quote(str(folder))}",
        "samples": samples,
        "figures": figures_of(folder, read_json(folder / "figures.json")),
        "scores": scores,
        "losses": losses,
        "scalars": scalars,
        "left_out": len(metrics.left_out),
        "facts": facts(environment, status),
        "recipe": read_recipe_text(folder / "recipe.toml"),
        "data": _data(samples, [*losses, *scores, *scalars]),
    }


def _data(samples: Samples | None, charts: list[Chart]) -> dict[str, Any]:
    """What the page's script needs; the newest pictures are in the page already."""
    steps = samples.steps if samples else ()
    pictures = samples.pictures[:-1] if samples else ()
    directions = samples.directions if samples else ()
    return {
        "steps": steps,
        "pictures": [[picture.uri for picture in row] for row in pictures],
        "directions": [direction.title for direction in directions],
        "charts": [chart.data for chart in charts],
    }
