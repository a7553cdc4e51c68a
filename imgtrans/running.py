"""One run from recipe to results: makes or continues a run folder, trains, shows and saves.

``run`` below reads in the order of what happens; each part lives in a module of its own.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgtrans.benchmarking.shortage import ran_out, shortage
from imgtrans.building import build_trainer, find_device
from imgtrans.data import Waiting, open_training
from imgtrans.describing import environment, footer, header, resume_command
from imgtrans.evaluation import build_metrics
from imgtrans.inference import MODEL, save_model
from imgtrans.journal import Journal
from imgtrans.judging import Judging
from imgtrans.monitor.clock import Clock, Stop
from imgtrans.monitor.folder import RunFolder
from imgtrans.monitor.samples import sample_images
from imgtrans.opening import find_data
from imgtrans.plan import make_plan
from imgtrans.problems import ImgtransError
from imgtrans.recipe import Recipe, to_toml
from imgtrans.resuming import check_environment, find_run, open_resumed
from imgtrans.saving import Saver
from imgtrans.starting import located, start
from imgtrans.training import NonFiniteLossError, train_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgtrans.data import HeldOut, TrainingData
    from imgtrans.monitor.display import Display
    from imgtrans.opening import Data
    from imgtrans.plan import Plan
    from imgtrans.training import Losses, Trainer


@dataclass(frozen=True)
class Ended:
    """A run that is over, for now or for good."""

    folder: Path
    exit_code: int
    """0 done, 130 or 143 stopped by a signal and resumable."""


def run(
    recipe: Recipe | None,
    display: Display,
    *,
    resume: bool | Path = False,
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> Ended:
    """Train a recipe, or continue a run.

    Args:
        recipe: with the overrides applied; None continues a run with its own recipe.
        display: shows how it goes.
        resume: True continues the newest unfinished run of the recipe, a path that run.
        overrides: ``--set`` values, for the run's own recipe.
        device: such as ``cuda:0``; default: the best there is.

    Returns:
        Where it is and how it ended.

    Raises:
        ImgtransError: it cannot start, or had to stop; the text says why and what to do.
    """
    where = find_device(device)
    folder = None
    if resume is True and recipe is not None:
        folder = find_run(recipe, display)
    if folder is not None or not isinstance(resume, bool):
        target = folder if folder is not None else resume
        assert not isinstance(target, bool)  # noqa: S101 - narrows the type
        folder, recipe = open_resumed(target, recipe, overrides, display)
    assert recipe is not None  # noqa: S101 - the command line sees to it
    recipe = recipe if folder is not None else located(recipe)
    data = find_data(recipe, display, where, folder)
    plan = make_plan(data.recipe)
    trainer = build_trainer(data.recipe, where, plan.images)
    both = len(trainer.directions) == 2
    built, unfit = build_metrics(data.recipe.metric, data.test, back=both)
    judging = Judging(data, built, unfit, display)
    if folder is None:
        start(trainer, data.recipe, display)
    to_toml(data.recipe)  # what cannot be saved is refused before there is a folder
    with folder or RunFolder.create(data.recipe.name) as opened:
        again = resume_command(opened.path, data.recipe, device)
        going = _Run(opened, data, plan, trainer, judging, display, again)
        return Ended(opened.path, going.go(resumed=folder is not None))


@dataclass(frozen=True)
class _Made:
    """A step that was made, and what is logged of it."""

    losses: Losses
    rates: dict[str, float]
    waited: float


class _Run:
    """A run in its locked folder."""

    def __init__(
        self,
        folder: RunFolder,
        data: Data,
        plan: Plan,
        trainer: Trainer,
        judging: Judging,
        display: Display,
        again: str,
    ) -> None:
        self.folder, self.data, self.plan, self.trainer = folder, data, plan, trainer
        self.display, self.again, self.recipe = display, again, data.recipe
        self.judging = judging
        self.steps = self.recipe.train.steps
        self.clock, self.stop = Clock(), Stop()
        self.unread: _Made | None = None
        self.training: TrainingData
        self.samples: HeldOut
        self.saver = Saver(folder, data, trainer, self.clock, display)
        self.journal = Journal(folder, data, trainer, self.clock, display)

    @property
    def done(self) -> bool:
        """Whether every step is made; what comes after them may still be missing."""
        return self.trainer.step >= self.steps

    def go(self, *, resumed: bool) -> int:
        """Everything from the first line shown to the last; a refused run loses nothing."""
        here = environment(self.data, self.plan, self.trainer.device, self.again)
        if resumed:
            check_environment(self.folder.read("environment.json"), here, self.display)
            try:
                self.saver.restore()
            except OSError as error:
                raise ImgtransError(self._in_words(error)) from error
        if self.done and self.folder.read("status.json").get("state") == "done":
            self.display.say(
                f"{self.folder.path} has done its {self.trainer.step:,} steps; nothing to do. To "
                "train longer, resume with more train.steps"
            )
            return 0
        with self.stop.listening():
            return self._guarded(here, resumed=resumed)

    def _guarded(self, here: dict[str, Any], *, resumed: bool) -> int:
        """However it ends, the folder says so, and the page in it can be read."""
        try:
            # The recipe comes last: it is what makes the folder one that can be continued.
            self.folder.write("environment.json", here)
            if self.recipe.train.start_from and not resumed:
                self.saver.save(last=True)  # so the file is needed no more, whatever happens
            self.folder.write("recipe.toml", to_toml(self.recipe))
            step = self.trainer.step
            self.display.rows(header(self.data, self.plan, here, self.folder.path, step))
            return self._train()
        except KeyboardInterrupt:
            self.stop.over = True
            lost = self.trainer.step - self.saver.saved
            how = f"stopped at once after step {self.trainer.step:,}"
            how += f"; {lost} of its steps were not saved and will be made again" if lost else ""
            self._leave("stopped", how)
            return self._goodbye(how)
        except BaseException as error:
            if isinstance(error, OSError) or ran_out(error):
                message = self._in_words(error)
                self._leave("failed", message)
                raise ImgtransError(message) from error
            known = isinstance(error, ImgtransError)
            self._leave("failed", str(error) if known else f"{type(error).__name__}: {error}")
            raise

    def _in_words(self, error: BaseException) -> str:
        if isinstance(error, OSError):
            at = f" ({error.filename})" if error.filename else ""
            what = f"{error.strerror or error}{at}"
            remedy = f"make room in {self.folder.path}, or get permission to write there"
        else:
            what = shortage(error, self.recipe, self.trainer.device)
            remedy = "free memory"
        return (
            f"after step {self.trainer.step:,}: {what}\n  the last good checkpoint is kept; "
            f"{remedy}, then continue with: {self.again}"
        )

    def _train(self) -> int:
        self.training = open_training(
            self.recipe, self.data.train, self.display.counter, self.display.warn
        )
        self.display.stop()
        self.journal.leave_out(self.training.broken)
        self.samples = sample_images(self.recipe, self.data.test)
        self.journal.leave_out(self.samples.broken)
        self.clock.begin(float(self.folder.read("status.json").get("seconds", 0.0)))
        if self.done or self.trainer.step % self.recipe.train.sample_every == 0:
            self.journal.sample(self.samples)  # at the start; and where a killed run had not yet
        self.journal.report(now=True)
        if not self.done:
            self.display.start("step", self.steps, self.trainer.step)
            self.stop.stepping = True
            self._loop()
            self.stop.stepping = False
            self.display.stop()
        return self._finish()

    def _loop(self) -> None:
        step, device = self.trainer.step, self.trainer.device
        with closing(self.training.batches(step, self.steps, device)) as batches:
            self._steps(Waiting(batches))

    def _steps(self, waiting: Waiting) -> None:
        settings, trainer = self.recipe.train, self.trainer
        for batch in waiting:
            self.journal.leave_out(batch.broken)
            x, y = batch.to(trainer.device, trainer.dtype)
            rates = trainer.learning_rates()
            made = _Made(train_step(trainer, x, y), rates, waiting.seconds)
            self.clock.tick()
            # A GPU works beside us: its losses are there when the next step is under way.
            late = trainer.device.type == "cuda"
            self._log(self.unread if late else made)
            self.unread = made if late else None
            while trainer.notes:
                self.display.warn(trainer.notes.pop())
            last = self.done or self.stop.signal is not None
            measured, best = not last and self.judging.due(trainer.step), None
            saved = last or trainer.step % settings.checkpoint_every == 0
            sampled = last or trainer.step % settings.sample_every == 0
            if measured or saved or sampled:
                self._log(self.unread)
                self.unread = None
            if measured:
                best = self.judging.measure(trainer, self.journal, self.saver.best)
                self.clock.skip()
            if saved or best is not None:
                self.saver.save(last=last, best=best)
            if sampled:
                self.journal.sample(self.samples)
            self.journal.report(now=sampled or measured)
            if last:
                return

    def _log(self, made: _Made | None) -> None:
        if made is None:
            return
        try:
            losses = made.losses.read()
        except NonFiniteLossError:
            self.trainer.step = made.losses.step - 1  # since then no weight has changed
            raise
        self.journal.step(made.losses.step, losses, made.rates, made.waited)

    def _finish(self) -> int:
        about = {
            "step": self.trainer.step,
            "generated": self.data.stands_in,
        }
        save_model(self.folder.path / MODEL, self.trainer, self.recipe, about)
        if not self.done:
            self._leave("stopped")
            return self._goodbye(f"stopped after step {self.trainer.step:,}")
        self.judging.finish(self.folder, self.trainer, self.journal, self.saver)
        self._leave("done")
        self._goodbye(f"done after step {self.trainer.step:,}")
        return 0

    def _leave(self, state: str, message: str = "") -> None:
        self.display.stop()
        self.journal.stands(state, message)

    def _goodbye(self, how: str) -> int:
        """The last lines; returns the exit code of a run that was stopped."""
        self.display.say()
        self.display.say(how)
        self.display.rows(
            footer(self.folder.path, self.again, self.recipe, self.saver.best, done=self.done)
        )
        return self.stop.exit_code
