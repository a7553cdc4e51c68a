"""Figures of a model on held-out images, by the metrics that a recipe names.

Two simpler translations stand beside every model: the untranslated image, and one whose colours are
matched to the target domain's, which any useful model must beat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from imgtrans.components import Comparison
from imgtrans.data import HeldOutImages, held_out, open_store
from imgtrans.evaluation.choosing import build_metrics, every_metric
from imgtrans.evaluation.colours import ColourMatch
from imgtrans.evaluation.extremes import Extremes
from imgtrans.evaluation.figures import Figures
from imgtrans.evaluation.measuring import Built, Measured, measure
from imgtrans.evaluation.references import References
from imgtrans.evaluation.showing import show_figures, write_figures
from imgtrans.evaluation.translated import Translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgtrans.components import Images
    from imgtrans.data import HeldOut
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


class Evaluator:
    """Measures the same held-out images again and again, as a model learns."""

    def __init__(
        self, recipe: Recipe, test: Images, built: Sequence[Built], warn: Callable[[str], None]
    ) -> None:
        """Nothing is read yet."""
        self._recipe, self._built, self._warn = recipe, built, warn
        files = recipe.train.cache not in ("memory", "none")
        self.held_out = HeldOutImages(test, recipe.dataset, files=files, warn=warn)
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
            ImgtransError: an image is broken.
        """
        if self._references is None:
            device = next(directions[0].generator.parameters(), torch.zeros(())).device
            self._references = References(self.held_out, device, self._warn)
            self.held_out.keep()  # each is looked at again and again
        scores: dict[str, dict[str, dict[str, Measured]]] = {b.name: {} for b in self._built}
        failed: dict[str, str] = {}
        extremes: list[Extremes] = []
        few = _few(self._recipe, train, self._warn) if whole and train is not None else None
        for index, direction in enumerate(directions):
            best = self._extremes(direction) if whole else None
            measured = measure(
                self._built,
                direction,
                index,
                self.held_out,
                self._references,
                _simpler(few, index) if whole else {},
                failed,
                seen=best.see if best is not None else lambda *_: None,
                tick=tick,
            )
            extremes += [best] if best is not None else []
            for name, each in measured.items():
                scores[name][direction.name] = each
        images = dict(zip(self._recipe.domains, map(self.held_out.count, (0, 1)), strict=True))
        size = self._recipe.dataset.image_size
        kept = [built for built in self._built if built.name not in failed]
        whole_scores = {built.name: scores[built.name] for built in kept}
        shown = [each for each in extremes if each.by.name not in failed]
        return Figures(kept, whole_scores, images, self.held_out.paired, size, shown, failed)

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


def _few(recipe: Recipe, train: Images, warn: Callable[[str], None]) -> HeldOut:
    """Training images that tell the colours of both domains."""
    stores = tuple(open_store(each, recipe.dataset, warn=warn) for each in (train.x, train.y))
    return held_out(stores, FITTED, recipe.dataset.image_size)


def _simpler(few: HeldOut | None, index: int) -> dict[str, Change]:
    changes: dict[str, Change] = {"untranslated": None}
    if few is not None:
        fitted = (few.x, few.y)[:: 1 if index == 0 else -1]
        changes["colour match"] = ColourMatch.fit(*fitted)
    return changes
