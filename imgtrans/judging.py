"""One run's metrics: measured as it trains and at its end, and which checkpoint is the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from imgtrans.components import dump
from imgtrans.evaluation import Evaluator, show_figures, write_figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.evaluation import Figures
    from imgtrans.evaluation.measuring import Built
    from imgtrans.journal import Journal
    from imgtrans.monitor.display import Display
    from imgtrans.monitor.folder import RunFolder
    from imgtrans.opening import Data
    from imgtrans.saving import Saver
    from imgtrans.training import Trainer


class Judging:
    """Measures one run's model on the held-out images."""

    def __init__(
        self, data: Data, built: Sequence[Built], unfit: Mapping[str, str], display: Display
    ) -> None:
        """Say which metrics cannot be measured; nothing is read yet."""
        self._data, self._built, self._unfit, self._display = data, built, unfit, display
        self._settings = data.recipe.train
        self._evaluator = Evaluator(data.recipe, data.test, built, display.warn)
        for name, why in unfit.items():
            also = "; no checkpoint is kept as the best" if name == self._settings.keep_best else ""
            display.warn(f"[metric.{name}] is not measured: {why}{also}")

    def due(self, step: int) -> bool:
        """Whether the recipe wants a measurement after this step."""
        every = self._settings.evaluate_every
        return bool(self._built) and every is not None and step % every == 0

    def measure(
        self, trainer: Trainer, journal: Journal, best: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        """The metrics, in a few lines.

        Returns:
            What a checkpoint of this step is kept for, where it is better than the best so far.

        Raises:
            ImgtransError: an image is broken.
        """
        figures = self._evaluator.measure(trainer.directions)
        return self._take(figures, trainer, journal, best)

    def finish(self, folder: RunFolder, trainer: Trainer, journal: Journal, saver: Saver) -> None:
        """The metrics of a run that is done, beside simpler translations: figures and pictures.

        Raises:
            ImgtransError: an image is broken, or saving failed.
            OSError: the figures could not be written.
        """
        if not self._built:
            return
        tick = self._display.counter("measuring, image", len(self._evaluator))
        figures = self._evaluator.measure(
            trainer.directions, self._data.train, whole=True, tick=tick
        )
        self._display.stop()
        best = self._take(figures, trainer, journal, saver.best)
        if best is not None:
            saver.save(last=False, best=best)
        write_figures(folder, figures, {"step": trainer.step}, self._unfit)
        self._display.say()
        show_figures(figures, self._display)

    def _take(
        self, figures: Figures, trainer: Trainer, journal: Journal, best: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        journal.leave_out(self._evaluator.held_out.broken)
        journal.measured(figures)
        name = self._settings.keep_best
        value = figures.means().get(name, math.nan) if name is not None else math.nan
        if name is None or not math.isfinite(value):
            return None
        metric = self._data.recipe.metric[name]
        found = {"step": trainer.step, "metric": name, "value": value, "by": dump(metric)}
        if best is None or best.get("by") != found["by"]:  # another metric's value says nothing
            return found
        gained = value - float(best["value"])
        better = gained > 0 if metric.better == "higher" else gained < 0
        return found if better else None
