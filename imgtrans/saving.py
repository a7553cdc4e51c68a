"""Checkpoints of a run: when one is refused, what a failed one means, going on from the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from imgtrans import checkpoint, state
from imgtrans.data import fingerprint
from imgtrans.failing import with_file
from imgtrans.outcome import NonFiniteError
from imgtrans.problems import ImgtransError, RecipeError
from imgtrans.recipe import changes, load_recipe
from imgtrans.recipe.reading import check
from imgtrans.resuming import check_same_images, check_same_recipe
from imgtrans.starting import start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from imgtrans.monitor.clock import Clock
    from imgtrans.monitor.display import Display
    from imgtrans.monitor.folder import RunFolder
    from imgtrans.opening import Data
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

FAILED_SAVES: Final = 2
"""After so many failed saves in a row a run ends: what it still learns could not be kept."""


class Saver:
    """Saves one run's trainer, and restores it."""

    def __init__(
        self,
        folder: RunFolder,
        data: Data,
        trainer: Trainer,
        clock: Clock,
        display: Display,
        again: str,
    ) -> None:
        """Nothing is saved or restored yet; ``again`` is the command that continues the run."""
        self._again = again
        self._folder, self._data, self._trainer = folder, data, trainer
        self._clock, self._display = clock, display
        self.saved = 0
        """The step of the newest checkpoint."""
        self.best: dict[str, Any] | None = None
        """Step, metric and value of the best checkpoint, where the recipe keeps one."""
        self._failed = 0
        self._fingerprint = fingerprint(data.train)

    def save(self, *, last: bool, best: dict[str, Any] | None = None) -> None:
        """A checkpoint; a failed one is loud, keeps the last good one, and is tried again.

        Args:
            last: nothing is saved after this one, so it must not fail.
            best: step, metric and value, where this is the best so far.

        Raises:
            NonFiniteError: something to be saved is not finite.
            ImgtransError: saving failed too often, or for the last time.
        """
        trainer = self._trainer
        tensors = state.collect(trainer)
        bad = [n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]
        if bad:
            message = (
                f"step {trainer.step}: {bad[0]} holds values that are not finite; it is not saved, "
                "the last good checkpoint is kept. Lower the learning rates"
            )
            raise NonFiniteError(message, trainer.step)
        path = self._folder.checkpoints / checkpoint.name_of(trainer.step)
        try:
            if not self._folder.sync_metrics():
                self._display.warn(
                    f"metrics.jsonl was removed or replaced before step {trainer.step}; the lines "
                    "since then are lost, the coming ones are written to a new one"
                )
            best = best or self.best
            checkpoint.write(path, tensors, self._about(best))
        except OSError as error:
            self._failed += 1
            why = with_file(error)
            message = f"the checkpoint of step {trainer.step} could not be written: {why}"
            if last or self._failed >= FAILED_SAVES:
                message += "; the last good one is kept"
                message += f"\n  once that is mended, continue with: {self._again}"
                raise ImgtransError(message) from error
            self._display.warn(f"{message}; the last good one is kept, trying again later")
        else:
            self._failed, self.saved, self.best = 0, trainer.step, best
            self._tidy()

    def _tidy(self) -> None:
        """What comes after a checkpoint, and is no reason to call it lost."""
        best, train = self.best, self._data.recipe.train
        final = self._trainer.step >= train.steps
        spared = checkpoint.name_of(best["step"]) if best else ""
        try:
            checkpoint.prune(self._folder.checkpoints, train.keep + final, spared)
            if best is not None:
                self._folder.status(best=best)
        except OSError as error:
            why = with_file(error)
            self._display.warn(f"older checkpoints or status.json could not be changed: {why}")

    def _about(self, best: dict[str, Any] | None) -> dict[str, Any]:
        recipe = self._data.recipe
        return {
            "kind": "checkpoint",
            "step": self._trainer.step,
            "recipe": recipe.tables(),
            "fingerprint": self._fingerprint,
            "generated": self._data.stands_in,
            "seconds": self._clock.seconds,
            **({"best": best} if best else {}),
        }

    def restore(self) -> None:
        """Go on from the newest checkpoint that is whole; without one, from step 0.

        Raises:
            ImgtransError: it belongs to other images, networks or another recipe, all are damaged,
                or the recipe asks for fewer steps than are done.
        """
        content = checkpoint.newest(self._folder.checkpoints, self._display.warn)
        if content is None:
            self._display.say("there is no checkpoint yet; the run starts from step 0")
            start(self._trainer, self._data.recipe, self._display)
            self._folder.cut_metrics(0)
            return
        step, recipe = int(content.about["step"]), self._data.recipe
        check_same_images(content.about, self._fingerprint, self._data.describe())
        saved = check(content.about["recipe"], "the checkpoint")
        check_same_recipe(self._folder.path, saved, recipe)
        self._tell_changes(saved)
        if recipe.train.steps < step:
            message = f"{step:,} steps are done; [train] steps = {recipe.train.steps} is fewer"
            raise RecipeError(message)
        refuse_other_pools(content.tensors, recipe)
        state.restore(self._trainer, content.tensors, step)
        self.saved, self.best = step, content.about.get("best")
        self._folder.status(seconds=content.about["seconds"])
        kept = self._folder.cut_metrics(step)
        if kept < step:
            self._display.warn(
                f"metrics.jsonl holds {kept:,} of the {step:,} steps done: it was changed or "
                "deleted; curves will show what is left"
            )

    def _tell_changes(self, saved: Recipe) -> None:
        """Say what was changed in the run's recipe.toml since its newest checkpoint."""
        file = self._folder.path / "recipe.toml"
        followed = changes(saved, self._data.recipe)  # where no --set says otherwise
        found = [c for c in changes(saved, load_recipe(file)) if c.free and c in followed]
        # Where images are is no part of what is learnt, and may be another path on each machine.
        if told := [str(c) for c in found if not c.key.startswith("dataset.")]:
            self._display.warn(
                f"{file} is not that of the newest checkpoint, and is followed: {', '.join(told)}"
            )


def refuse_other_pools(tensors: Mapping[str, Tensor], recipe: Recipe) -> None:
    """Raise where past fakes could not have been made by a recipe's run."""
    size = recipe.dataset.image_size
    for name, images in state.below(tensors, "pool/").items():
        fits = images.shape[1:] == (recipe.dataset.channels, size, size)
        if not fits or len(images) > recipe.train.pool_images or not images.is_floating_point():
            message = (
                f"the checkpoint's pool of {name} holds {tuple(images.shape)}, which are not the "
                f"{recipe.train.pool_images} past images at most that this recipe keeps"
            )
            raise ImgtransError(message)
