"""What every process but the first does: the same steps, and nothing else.

It neither speaks nor writes. What the first one decides, it is told.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtrans.benchmarking.shortage import ran_out, shortage
from imgtrans.building import build_trainer
from imgtrans.data import fingerprint, open_training
from imgtrans.data.loading import reader_gone
from imgtrans.distributed import GoneError
from imgtrans.distributed.group import Group, OverError
from imgtrans.distributed.handing import hand_over
from imgtrans.monitor.clock import Stop
from imgtrans.monitor.display import Display
from imgtrans.outcome import NonFiniteError
from imgtrans.plan import make_plan
from imgtrans.problems import ImgtransError, ProcessError
from imgtrans.recipe.reading import check
from imgtrans.stepping import Ended, Read, steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgtrans.components import Images
    from imgtrans.data import TrainingData
    from imgtrans.distributed import Ranks
    from imgtrans.opening import Data
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer


def tell_recipe(group: Group, data: Data) -> None:
    """The first process: what to train, as soon as it is known."""
    if group.ranks.count > 1:
        told = {"recipe": data.recipe.tables(), "fingerprint": fingerprint(data.train)}
        group.tell("recipe", told)


def open_share(recipe: Recipe, images: Images, display: Display, ranks: Ranks) -> TrainingData:
    """The training images in the order that this process sees them: its part of each batch."""
    return open_training(
        recipe,
        images,
        display.counter,
        display.warn,
        share=(ranks.rank, ranks.count),
    )


def follow(group: Group) -> Ended:
    """Train with the first process until it is over.

    Raises:
        ProcessError: this process failed, or the first one is gone without a word.
    """
    return _Follower(group).go()


class _Follower:
    def __init__(self, group: Group) -> None:
        self.group, self.stop = group, Stop()
        self.run = {"folder": ".", "again": ""}
        self.recipe: Recipe | None = None

    def go(self) -> Ended:
        with self.stop.listening():
            try:
                code = self._train()
            except OverError as over:
                code = over.exit_code
            except KeyboardInterrupt:
                code = self.stop.exit_code
            except GoneError as error:
                code = self._when_gone(error)
            except NonFiniteError as error:  # as all processes find, so the first one says it
                # It also writes down what it finds, so this one waits: torchrun ends all with one.
                code = self._told_over(error.exit_code)
            except Exception as error:
                message = f"process {self.group.ranks.rank}: {self._in_words(error)}"
                self.group.failed(message)
                known = isinstance(error, (ImgtransError, OSError))
                if known or ran_out(error) or reader_gone(error):
                    raise ProcessError(message) from error
                raise
        return Ended(Path(self.run["folder"]), code)

    def _train(self) -> int:
        group = self.group
        told = group.ask("recipe")
        recipe, trainer, images = group.together("built", lambda: _built(told, group))
        self.recipe = recipe
        self.run = group.ask("run")
        hand_over(trainer, group)
        training = group.together(
            "opened", lambda: open_share(recipe, images, Display(), group.ranks)
        )
        group.wait(trainer.step)
        self.stop.stepping = True
        with closing(steps(trainer, training)) as made:
            for step in made:
                group.leave_out(step.broken)
                _discard(step.read())
                due = step.due(stops=group.stops(self.stop, trainer.step))
                if due.last:
                    break
                if due.anything:
                    _discard(step.read(everything=True))
                    group.wait(trainer.step)
        self.stop.stepping = False
        return int(group.ask("over"))

    def _told_over(self, code: int) -> int:
        try:
            return int(self.group.ask("over"))
        except OverError as over:
            return over.exit_code
        except GoneError:
            return code

    def _in_words(self, error: Exception) -> str:
        if self.recipe is None or not ran_out(error):
            return reader_gone(error) or str(error)
        return shortage(error, self.recipe, self.group.device, self.group.ranks.count)

    def _when_gone(self, error: GoneError) -> int:
        code = self.group.last_word()
        if code is not None:
            return code
        if not self.group.first_to_tell():
            return error.exit_code
        message = str(error)
        if again := self.run["again"]:  # else there is no run yet
            message += f"\n  the last good checkpoint is kept; continue with: {again}"
        raise ProcessError(message) from error


def _built(told: dict[str, Any], group: Group) -> tuple[Recipe, Trainer, Images]:
    recipe = check(told["recipe"], "the recipe of the first process")
    images = recipe.dataset.build("train", recipe.domains)
    if fingerprint(images) != told["fingerprint"]:
        message = "the training images here are not those of the first process"
        raise ImgtransError(message)
    trainer = build_trainer(recipe, group.device, make_plan(recipe).images, group.ranks)
    return recipe, trainer, images


def _discard(read: Iterable[Read]) -> None:
    """Losses are read where the first process reads them, so that all find a broken one there."""
    for _ in read:
        pass
