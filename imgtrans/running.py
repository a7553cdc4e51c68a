"""One run from recipe to results: makes or continues a run folder, trains, shows and saves.

``run`` below reads in the order of what happens; each part lives in a module of its own.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from imgtrans.building import build_trainer
from imgtrans.describing import environment, footer, header, resume_command
from imgtrans.distributed.following import follow, open_share, tell_recipe
from imgtrans.distributed.handing import hand_over
from imgtrans.distributed.joining import joined, refuse_uneven
from imgtrans.evaluation import build_metrics
from imgtrans.failing import in_words, with_traces
from imgtrans.inference import MODEL, save_model
from imgtrans.journal import Journal
from imgtrans.judging import Judging
from imgtrans.monitor.clock import Clock, Stop
from imgtrans.monitor.folder import RunFolder
from imgtrans.monitor.samples import sample_images
from imgtrans.opening import find_data
from imgtrans.outcome import NonFiniteError
from imgtrans.plan import make_plan
from imgtrans.problems import ImgtransError
from imgtrans.recipe import Recipe, to_toml
from imgtrans.resuming import check_environment, find_run, open_resumed
from imgtrans.saving import Saver
from imgtrans.starting import located, start
from imgtrans.stepping import Ended, steps

RESTART_SECONDS: Final = 60.0
"""What a killed process has left behind, such as readers of images, may hold its folder so long."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from imgtrans.data import HeldOut, TrainingData
    from imgtrans.distributed.group import Group
    from imgtrans.monitor.display import Display
    from imgtrans.opening import Data
    from imgtrans.plan import Plan
    from imgtrans.stepping import Due, Read
    from imgtrans.training import Trainer


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
    with joined(device) as group:
        if not group.ranks.first:
            return follow(group)
        try:
            ended = _lead(recipe, display, group, resume, overrides, device)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            group.over(130 if interrupted else getattr(error, "exit_code", 1))
            raise
        group.over(ended.exit_code)
        return ended


def _lead(
    recipe: Recipe | None,
    display: Display,
    group: Group,
    resume: bool | Path,  # noqa: FBT001 - as `run` takes it
    overrides: Sequence[str],
    device: str | None,
) -> Ended:
    """The only process of a training, or the one that decides, speaks and writes for all."""
    folder, begun = None, group.begun()
    if begun is not None:  # with what torchrun's first attempt has made of recipe and options
        display.say(f"started again by torchrun; continuing {begun}")
        recipe, resume, overrides = None, begun, ()
    if resume is True and recipe is not None:
        folder = find_run(recipe, display)
    if folder is not None or not isinstance(resume, bool):
        target = folder if folder is not None else resume
        assert not isinstance(target, bool)  # noqa: S101 - narrows the type
        folder, recipe = open_resumed(target, recipe, overrides, display)
        folder.patience = RESTART_SECONDS if begun is not None else 0.0
    assert recipe is not None  # noqa: S101 - the command line sees to it
    refuse_uneven(recipe, group.ranks)
    recipe = recipe if folder is not None else located(recipe)
    data = find_data(recipe, display, group.device, folder)
    tell_recipe(group, data)
    plan = make_plan(data.recipe)
    trainer = build_trainer(data.recipe, group.device, plan.images, group.ranks)
    both = len(trainer.directions) == 2
    built, unfit = build_metrics(data.recipe.metric, data.test, back=both)
    judging = Judging(data, built, unfit, display)
    if folder is None:
        start(trainer, data.recipe, display)
    to_toml(data.recipe)  # what cannot be saved is refused before there is a folder
    with folder or RunFolder.create(data.recipe.name) as opened:
        again = resume_command(opened.path, data.recipe, device)
        going = _Run(opened, data, plan, trainer, judging, display, again, group)
        return Ended(opened.path, going.go(resumed=folder is not None))


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
        group: Group,
    ) -> None:
        self.group = group
        self.folder, self.data, self.plan, self.trainer = folder, data, plan, trainer
        self.display, self.again, self.recipe = display, again, data.recipe
        self.judging = judging
        self.steps = self.recipe.train.steps
        self.clock, self.stop = Clock(), Stop()
        self.training: TrainingData | None = None
        self.samples: HeldOut
        self.saver = Saver(folder, data, trainer, self.clock, display, again)
        self.journal = Journal(folder, data, trainer, self.clock, display)

    @property
    def done(self) -> bool:
        """Whether every step is made; what comes after them may still be missing."""
        return self.trainer.step >= self.steps

    def go(self, *, resumed: bool) -> int:
        """Everything from the first line shown to the last; a refused run loses nothing."""
        count = self.group.ranks.count
        here = environment(self.data, self.plan, self.trainer.device, self.again, count)
        if resumed:
            check_environment(self.folder.read("environment.json"), here, self.display)
            try:
                self.saver.restore()
            except OSError as error:
                raise ImgtransError(self._in_words(error) or str(error)) from error
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
            self.group.begin(self.folder.path)
            self.group.tell("run", {"folder": str(self.folder.path), "again": self.again})
            self.group.together("built", lambda: None)
            hand_over(self.trainer, self.group)
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
        except NonFiniteError as error:
            self.stop.over = True
            told = with_traces(error, self.folder.path, self.trainer, self.training)
            self._leave("failed", str(told))
            raise told from error
        except BaseException as error:
            self.stop.over = True
            if message := self._in_words(error):
                self._leave("failed", message)
                raise ImgtransError(message) from error
            known = isinstance(error, ImgtransError)
            self._leave("failed", str(error) if known else f"{type(error).__name__}: {error}")
            raise

    def _in_words(self, error: BaseException) -> str | None:
        path, group = self.folder.path, self.group
        return in_words(error, self.trainer, self.recipe, path, group, self.again)

    def _train(self) -> int:
        self.training = training = self.group.together("opened", self._open)
        self.display.stop()
        self.journal.leave_out(training.broken)
        self.samples = sample_images(self.recipe, self.data.test, self.display.warn)
        self.journal.leave_out(self.samples.broken)
        spent = self.folder.read("status.json").get("seconds")
        self.clock.begin(float(spent) if isinstance(spent, (int, float)) else 0.0)
        if self.done or self.trainer.step % self.recipe.train.sample_every == 0:
            self.journal.sample(self.samples)  # at the start; and where a killed run had not yet
        self.journal.report(now=True)
        if not self.done:
            self.display.start("step", self.steps, self.trainer.step)
            self.stop.stepping = True
            self._loop(training)
            self.stop.stepping = False
            self.display.stop()
        return self._finish()

    def _open(self) -> TrainingData:
        return open_share(self.recipe, self.data.train, self.display, self.group.ranks)

    def _loop(self, training: TrainingData) -> None:
        self.group.passed(self.trainer.step)
        with closing(steps(self.trainer, training)) as made:
            for step in made:
                self.clock.tick()
                self.journal.leave_out(step.broken)
                self._log(step.read())
                while self.trainer.notes:
                    self.display.warn(self.trainer.notes.pop())
                due = step.due(stops=self.group.stops(self.stop, self.trainer.step))
                if due.anything:
                    self._log(step.read(everything=True))
                self._after(due)
                if due.last:
                    break

    def _log(self, read: Iterable[Read]) -> None:
        for step in read:
            self.journal.step(step.step, step.losses, step.rates, step.waited)

    def _after(self, due: Due) -> None:
        trainer, best = self.trainer, None
        measured = due.measured and self.judging.due(trainer.step)
        if measured:
            best = self.judging.measure(trainer, self.journal, self.saver.best)
            self.clock.skip()
        if due.saved or best is not None:
            self.saver.save(last=due.last, best=best)
        if due.sampled:
            self.journal.sample(self.samples)
        if due.anything:
            self.journal.leave_out(self.group.left_out())
            self.group.passed(trainer.step)
        self.journal.report(now=due.sampled or measured)

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
