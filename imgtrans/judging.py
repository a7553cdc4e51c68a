"""One run's metrics: measured as it trains and at its end, and which checkpoint is the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

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
            display.warn(f"[metric.{name}] is not measured: {why}")

    def due(self, step: int) -> bool:
        """Whether the recipe wants a measurement after this step."""
        every = self._settings.evaluate_every
        return bool(self._built) and every is not None and step % every == 0

    def measure(self, trainer: Trainer, journal: Journal, saver: Saver) -> None:
        """The metrics, in a few lines; a checkpoint that is the best so far is kept.

        Raises:
            ImgtransError: a metric gives what it must not, an image is broken, or saving failed.
        """
        self._take(self._evaluator.measure(trainer.directions), trainer, journal, saver)

    def finish(self, folder: RunFolder, trainer: Trainer, journal: Journal, saver: Saver) -> None:
        """The metrics of a run that is done, beside simpler translations: figures and pictures.

        Raises:
            ImgtransError: as for `measure`.
            OSError: the figures could not be written.
        """
        if not self._built:
            return
        tick = self._display.counter("measuring, image", len(self._evaluator))
        figures = self._evaluator.measure(
            trainer.directions, self._data.train, whole=True, tick=tick
        )
        self._display.stop()
        self._take(figures, trainer, journal, saver)
        write_figures(folder, figures, {"step": trainer.step}, self._unfit)
        self._display.say()
        show_figures(figures, self._display)

    def _take(self, figures: Figures, trainer: Trainer, journal: Journal, saver: Saver) -> None:
        journal.leave_out(self._evaluator.held_out.broken)
        journal.measured(figures)
        if self._is_better(figures.means(), saver.best):
            name = str(self._settings.keep_best)
            value = figures.means()[name]
            saver.best = {"step": trainer.step, "metric": name, "value": value}
            saver.save(last=False)

    def _is_better(self, means: Mapping[str, float], best: Mapping[str, Any] | None) -> bool:
        name = self._settings.keep_best
        if name is None or not math.isfinite(means.get(name, math.nan)):
            return False
        if best is None or best["metric"] != name:
            return True
        gained = means[name] - float(best["value"])
        return gained > 0 if self._data.recipe.metric[name].better == "higher" else gained < 0
