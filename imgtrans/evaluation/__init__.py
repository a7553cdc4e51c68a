"""Figures of a model on held-out images, by the metrics that a recipe names.

Two simpler translations stand beside every model: the untranslated image, and one whose colours are
matched to the target domain's, which any useful model must beat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from imgtrans.components import Comparison, Metric
from imgtrans.data import HeldOutImages, held_out, open_store
from imgtrans.evaluation.colours import ColourMatch
from imgtrans.evaluation.extremes import Extremes
from imgtrans.evaluation.measuring import Built, Measured, measure
from imgtrans.evaluation.references import References
from imgtrans.evaluation.showing import show_figures, write_figures
from imgtrans.evaluation.translated import Translated
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imgtrans.components import Images
    from imgtrans.evaluation.measuring import Change
    from imgtrans.recipe import Recipe
    from imgtrans.translation import Direction

__all__ = (
    "Evaluator",
    "Figures",
    "Translated",
    "build_metrics",
    "every_metric",
    "show_figures",
    "write_figures",
)

FITTED: Final = 200
"""At most so many training images of each domain tell its colours."""


def build_metrics(
    metrics: Mapping[str, Metric], *, truth: bool, back: bool
) -> tuple[list[Built], dict[str, str]]:
    """Metrics ready to measure, and for the others why these images or this model have none.

    Args:
        metrics: by name.
        truth: whether the held-out images have their true counterparts.
        back: whether the model translates in both directions.

    Raises:
        ImgtransError: something that a metric needs is not installed; the text says how to get it.
    """
    ready: list[Built] = []
    unfit: dict[str, str] = {}
    for name, metric in metrics.items():
        if metric.needs_truth and not truth:
            unfit[name] = "the held-out images have no true counterparts"
        elif metric.needs_reconstruction and not back:
            unfit[name] = "the model translates in one direction only"
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


@dataclass(frozen=True)
class Figures:
    """What was measured of one model."""

    built: Sequence[Built]
    scores: Mapping[str, Mapping[str, Mapping[str, Measured]]]
    """By metric, direction, and what was measured: ``translated``, ``untranslated``, …"""
    images: Mapping[str, int]
    """Held-out images by domain."""
    paired: bool
    size: int
    extremes: Sequence[Extremes] = ()

    @property
    def title(self) -> str:
        """What was measured on."""
        counts = " and ".join(f"{count:,} {domain}" for domain, count in self.images.items())
        pairs = ", each with its true counterpart" if self.paired else ""
        return f"{counts} held-out images at {self.size}×{self.size} pixels{pairs}"

    def means(self) -> dict[str, float]:
        """The model's score by each metric, averaged over the directions."""
        return {
            name: sum(each["translated"].score.value for each in ways.values()) / len(ways)
            for name, ways in self.scores.items()
        }

    def values(self) -> dict[str, float]:
        """The model's scores by ``METRIC/DIRECTION``."""
        return {
            f"{name}/{way}": each["translated"].score.value
            for name, ways in self.scores.items()
            for way, each in ways.items()
        }

    def warnings(self) -> list[str]:
        """What the metrics think that somebody should be warned of."""
        return [
            f"{way.replace('_', ' ')}: {text}"
            for built in self.built
            for way, each in self.scores[built.name].items()
            if (text := built.metric.warning(each["translated"].score))
        ]

    def as_json(self, missing: Mapping[str, str]) -> dict[str, Any]:
        """For ``figures.json``, ``--json`` and the report.

        Args:
            missing: metrics that were not measured, and why.
        """
        return {
            "title": self.title,
            "images": dict(self.images),
            "paired": self.paired,
            "size": self.size,
            "metrics": {built.name: self._metric(built) for built in self.built},
            "not_measured": dict(missing),
            "extremes": {each.direction: each.as_json() for each in self.extremes},
        }

    def _metric(self, built: Built) -> dict[str, Any]:
        metric, judge = built.metric, built.metric.judge
        return {
            "use": registry().name_of(type(metric)),
            "title": metric.title,
            "unit": metric.unit,
            "better": metric.better,
            **({} if judge is None else {"judge": vars(judge)}),
            "scores": {
                way: {what: _finite(measured.as_json()) for what, measured in each.items()}
                for way, each in self.scores[built.name].items()
            },
        }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinities: as text, which the report shows as it is."""
    return {
        key: value if isinstance(value, int) or math.isfinite(value) else str(value)
        for key, value in values.items()
    }


class Evaluator:
    """Measures the same held-out images again and again, as a model learns."""

    def __init__(
        self, recipe: Recipe, test: Images, built: Sequence[Built], warn: Callable[[str], None]
    ) -> None:
        """Nothing is read yet."""
        self._recipe, self._built, self._warn = recipe, built, warn
        self.held_out = HeldOutImages(test, recipe.dataset)
        self._references: References | None = None

    def __len__(self) -> int:
        """Images that a measurement translates."""
        ways = len(self._recipe.direction_names)
        return len(self.held_out) if ways == 2 else self.held_out.count(0)

    def measure(
        self,
        directions: Sequence[Direction],
        train: Images | None = None,
        *,
        whole: bool = False,
        tick: Callable[[], None] = lambda: None,
    ) -> Figures:
        """Every metric, in every direction.

        Args:
            directions: whose generators translate.
            train: training images, to fit the colours of the simpler translation.
            whole: also measure simpler translations, and keep the best and the worst images.
            tick: called for each image.

        Raises:
            ImgtransError: a metric gives what it must not, or an image is broken.
        """
        if self._references is None:
            device = next(directions[0].generator.parameters()).device
            self._references = References(self.held_out, device, self._warn)
        scores: dict[str, dict[str, dict[str, Measured]]] = {b.name: {} for b in self._built}
        extremes: list[Extremes] = []
        for index, direction in enumerate(directions):
            kept = self._extremes(direction) if whole else None
            measured = measure(
                self._built,
                direction,
                index,
                self.held_out,
                self._references,
                _simpler(self._recipe, train, index) if whole else {},
                seen=kept.see if kept is not None else lambda *_: None,
                tick=tick,
            )
            extremes += [kept] if kept is not None else []
            for name, each in measured.items():
                scores[name][direction.name] = each
        images = dict(zip(self._recipe.domains, map(self.held_out.count, (0, 1)), strict=True))
        size = self._recipe.dataset.image_size
        return Figures(self._built, scores, images, self.held_out.paired, size, extremes)

    def _extremes(self, direction: Direction) -> Extremes | None:
        """By the first metric that is better or worse for each image, with a truth if any has."""
        each = [
            built
            for built in self._built
            if not isinstance(built.made, Comparison) and built.metric.better != "neither"
        ]
        if not each:
            return None
        by = min(each, key=lambda built: not built.metric.needs_truth)
        back = "reconstructed" if direction.back is not None else None
        third = "truth" if self.held_out.paired else back
        return Extremes(by, direction.name, third=third)


def _simpler(recipe: Recipe, train: Images | None, index: int) -> dict[str, Change]:
    changes: dict[str, Change] = {"untranslated": lambda images: images}
    if train is not None:
        stores = (open_store(train.x, recipe.dataset), open_store(train.y, recipe.dataset))
        few = held_out(stores, FITTED, recipe.dataset.image_size, paired=False)
        assert few is not None  # noqa: S101 - unpaired images are never left out as pairs
        fitted = (few.x, few.y)[:: 1 if index == 0 else -1]
        changes["colour match"] = ColourMatch.fit(*fitted)
    return changes
