"""Which metrics are measured: a recipe's own, or all that are installed; each made once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from imgtrans.components import Comparison, FeatureNetwork, Metric
from imgtrans.evaluation.measuring import Built
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgtrans.components import Component, Images, PerImage


def build_metrics(
    metrics: Mapping[str, Metric], test: Images, *, back: bool
) -> tuple[list[Built], dict[str, str]]:
    """A recipe's metrics, ready; and for the others why these images or this model have none.

    Args:
        metrics: by name.
        test: the held-out images.
        back: whether the model translates in both directions.

    Raises:
        RecipeError: something that a metric needs is not installed; the text says how to get it.
    """
    unfit = {name: why for name, m in metrics.items() if (why := _unfit(m, test, back=back))}
    ready = [Built(name, m, make(name, m)) for name, m in metrics.items() if name not in unfit]
    return ready, unfit


def every_metric(
    own: Mapping[str, Metric], test: Images, *, back: bool
) -> tuple[list[Built], dict[str, str]]:
    """A recipe's metrics and all that are installed besides; and why others are not measured.

    One that compares features is measured with each feature network whose weights are here.
    """
    ready: list[Built] = []
    missing: dict[str, str] = {}
    for name, metric in {**own, **_others(own, missing)}.items():
        why = _unfit(metric, test, back=back)
        try:
            if why is None:
                ready.append(Built(name, metric, make(name, metric)))
        except RecipeError as error:
            why = str(error).removeprefix(f"[metric.{name}] ")
        if why is not None:
            missing[name] = why
    return ready, missing


def _others(own: Mapping[str, Metric], missing: dict[str, str]) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    used = list(own.values())
    for full, component in registry().components(Metric).items():
        short = full.rpartition("/")[2]
        for suffix, fields in _variants(component):
            name = short + suffix if short + suffix not in own else full + suffix
            try:
                metric = component(**fields)
            except ValueError as error:  # pydantic's, where a field has no default
                missing[name] = f"it needs values: {str(error).splitlines()[0]}"
                continue
            assert isinstance(metric, Metric)  # noqa: S101 - narrows the type
            if metric not in used:
                found[name] = metric
                used.append(metric)
    return found


def _variants(component: type[Component]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A metric as it is by default, and with each other feature network."""
    yield "", {}
    if "features" in component.model_fields:
        for full, network in registry().components(FeatureNetwork).items():
            with suppress(ValueError):  # a network that needs values is for recipes to name
                yield f"-{full.rpartition('/')[2]}", {"features": network()}


def _unfit(metric: Metric, test: Images, *, back: bool) -> str | None:
    """Why a metric says nothing of these images or of such a model."""
    fewest = min(len(test.x), len(test.y))
    if metric.needs_truth and not test.paired:
        return "the held-out images have no true counterparts"
    if metric.needs_reconstruction and not back:
        return "the model translates in one direction only"
    if fewest < metric.fewest_images:
        return f"it needs {metric.fewest_images} held-out images of each domain, not {fewest}"
    return None


def make(name: str, metric: Metric) -> PerImage | Comparison:
    """Build a metric, and the network that it asks, so that what is missing is told at once.

    Raises:
        RecipeError: something that it needs is not installed, or it builds something else.
    """
    try:
        made: Any = metric.build()
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
    ready: PerImage | Comparison = made
    return ready
