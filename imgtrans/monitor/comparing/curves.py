"""Charts with a line for each run: the same colour in every one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans.monitor.charts import SMALL_TITLES, UNSMOOTHED, chart_of, spoken
from imgtrans.monitor.comparing.tables import as_first
from imgtrans.monitor.curves import CURVES, SCALARS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.monitor.charts import Chart
    from imgtrans.monitor.comparing.runs import Compared
    from imgtrans.monitor.curves import Curve


def loss_charts(runs: Sequence[Compared]) -> list[Chart]:
    """One chart for each loss and direction."""
    return _charts(runs, [run.steps.losses for run in runs])


def score_charts(runs: Sequence[Compared]) -> list[Chart]:
    """One chart for each metric and direction, as they were measured during training."""
    return _charts(runs, [run.scores.scores for run in runs], smooth=False)


def pace_charts(runs: Sequence[Compared]) -> list[Chart]:
    """The small charts: learning rates, pace, waiting and memory."""
    charts = []
    for name in SCALARS:
        curves = [
            {f"{name}/{part}": curve for part, curve in run.steps.scalars[name].items()}
            for run in runs
        ]
        smooth, title = name not in UNSMOOTHED, SMALL_TITLES[name]
        charts += _charts(runs, curves, title=title, smooth=smooth, small=True)
    return charts


def _charts(
    runs: Sequence[Compared],
    curves: Sequence[Mapping[str, Curve]],
    *,
    title: str = "",
    smooth: bool = True,
    small: bool = False,
) -> list[Chart]:
    named: dict[tuple[str, str], dict[int, Curve]] = {}
    for index, (run, each) in enumerate(zip(runs, curves, strict=True)):
        for name, curve in each.items():
            first, _, rest = name.partition("/")
            named.setdefault((first, as_first(rest, run, runs[0])), {})[index] = curve
    return [
        chart_of(
            " · ".join(text for text in (title or spoken(first), spoken(rest)) if text),
            [(runs[index].label, curve) for index, curve in lines.items()],
            colours=list(lines),
            smooth=smooth,
            small=small,
        )
        for (first, rest), lines in list(named.items())[:CURVES]
    ]
