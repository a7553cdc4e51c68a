"""Which metrics are measured: a recipe's own, or all that are installed; each made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgtrans.components import Comparison, Metric
from imgtrans.evaluation.measuring import Built
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans.components import Images


def build_metrics(
    metrics: Mapping[str, Metric], test: Images, *, back: bool
) -> tuple[list[Built], dict[str, str]]:
    """Metrics ready to measure, and for the others why these images or this model have none.

    Args:
        metrics: by name.
        test: the held-out images.
        back: whether the model translates in both directions.

    Raises:
        ImgtransError: something that a metric needs is not installed; the text says how to get it.
    """
    ready: list[Built] = []
    unfit: dict[str, str] = {}
    fewest = min(len(test.x), len(test.y))
    for name, metric in metrics.items():
        if metric.needs_truth and not test.paired:
            unfit[name] = "the held-out images have no true counterparts"
        elif metric.needs_reconstruction and not back:
            unfit[name] = "the model translates in one direction only"
        elif fewest < metric.fewest_images:
            unfit[name] = (
                f"it needs {metric.fewest_images} held-out images of each domain, not {fewest}"
            )
        else:
            ready.append(Built(name, metric, _made(name, metric)))
    return ready, unfit


def _made(name: str, metric: Metric) -> Any:
    try:
        made = metric.build()
        if isinstance(made, Comparison):
            made.features.build()  # now, and not after hours, if its weights are not here
    except ImgtransError as error:
        message = f"[metric.{name}] {error}"
        raise RecipeError(message) from error
    if not callable(made) and not isinstance(made, Comparison):
        message = (
            f"[metric.{name}] {type(metric).__name__}.build must return a function or a "
            f"Comparison, not {made!r}"
        )
        raise RecipeError(message)
    return made


def every_metric(own: Mapping[str, Metric]) -> tuple[dict[str, Metric], dict[str, str]]:
    """A recipe's metrics and all that are installed besides, by their defaults.

    Returns:
        The metrics by name; and for those that cannot be had here, why.
    """
    used = {type(metric) for metric in own.values()}
    metrics: dict[str, Metric] = dict(own)
    missing: dict[str, str] = {}
    for full, component in registry().components(Metric).items():
        if component in used:
            continue
        name = full if full.rpartition("/")[2] in metrics else full.rpartition("/")[2]
        try:
            metric = component()
            assert isinstance(metric, Metric)  # noqa: S101 - narrows the type
            _made(name, metric)
        except (ImgtransError, ValueError) as error:  # pydantic's where it has no default
            missing[name] = str(error).removeprefix(f"[metric.{name}] ").partition("\n")[0]
        else:
            metrics[name] = metric
    return metrics, missing
