"""One run from recipe to results: makes or continues a run folder, trains, shows and saves.

``run`` below reads in the order of what happens; each part lives in a module of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from imgtrans.building import build_trainer, find_device
from imgtrans.data import Waiting, held_out, open_store, open_training, spread
from imgtrans.describing import environment, epochs, footer, header, plugin_versions
from imgtrans.evaluation import compare
from imgtrans.inference import MODEL, save_model
from imgtrans.monitor.clock import Clock, Stop, memory_mib
from imgtrans.monitor.display import losses_line
from imgtrans.monitor.folder import RunFolder
from imgtrans.monitor.report import write_report
from imgtrans.monitor.samples import write_samples
from imgtrans.opening import Data, check_environment, find_data, find_run, open_resumed
from imgtrans.plan import make_plan
from imgtrans.problems import ImgtransError
from imgtrans.recipe import Recipe, to_toml
from imgtrans.saving import Saver
from imgtrans.training import train_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from imgtrans.data import TrainingData
    from imgtrans.monitor.display import Display
    from imgtrans.plan import Plan

SAMPLES: Final = 8
REPORT_SECONDS: Final = 30.0


def run(
    recipe: Recipe | None,
    display: Display,
    *,
    resume: bool | Path = False,
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> int:
    """Train a recipe, or continue a run.

    Args:
        recipe: with the overrides applied; None continues a run with its own recipe.
        display: shows how it goes.
        resume: True continues the newest unfinished run of the recipe, a path that run.
        overrides: ``--set`` values, for the run's own recipe.
        device: such as ``cuda:0``; default: the best there is.

    Returns:
        The exit code: 0 done, 130 or 143 stopped by a signal and resumable.

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
    data = find_data(recipe, display, may_fall_back=folder is None)
    plan = make_plan(data.recipe)
    with folder or RunFolder.create(data.recipe.name) as opened:
        return _Run(opened, data, plan, display, where).go(resumed=folder is not None)


class _Run:
    """A run in its locked folder."""

    def __init__(
        self, folder: RunFolder, data: Data, plan: Plan, display: Display, device: torch.device
    ) -> None:
        self.folder, self.data, self.plan, self.display = folder, data, plan, display
        self.recipe = data.recipe
        self.steps = self.recipe.train.steps
        self.trainer = build_trainer(self.recipe, device, plan.images)
        self.clock, self.stop = Clock(), Stop()
        self.training: TrainingData
        self.samples: tuple[Tensor, Tensor]
        self.saver = Saver(folder, data, self.trainer, self.clock, display)
        self._reported = 0.0

    def go(self, *, resumed: bool) -> int:
        """Everything from the first line shown to the last."""
        here = environment(self.data, self.plan, self.trainer.device)
        if resumed:
            check_environment(self.folder.read("environment.json"), here, self.display)
            self.saver.restore()
        if self.trainer.step >= self.steps:
            self.display.say(
                f"{self.folder.path} has done its {self.steps:,} steps; nothing to do. To train "
                "longer, resume with --set train.steps=…"
            )
            return 0
        self.folder.write("recipe.toml", to_toml(self.recipe))
        self.folder.write("environment.json", here)
        self.display.rows(header(self.data, self.plan, here, self.folder.path, self.trainer.step))
        try:
            return self._train()
        except KeyboardInterrupt:
            self._leave("stopped", "stopped before the step was saved")
            raise
        except ImgtransError as error:
            self._leave("failed", str(error))
            raise
        except Exception as error:
            self._leave("failed", f"{type(error).__name__}: {error}")
            raise

    def _train(self) -> int:
        self.training = open_training(self.recipe, self.data.train, self.display.counter)
        self.display.stop()
        self._warn_of_broken(self.training.broken)
        self.samples = self._held_out()
        self.clock.begin(float(self.folder.read("status.json").get("seconds", 0.0)))
        if self.trainer.step == 0:
            self._sample()
        self._status("running")
        self.display.start("step", self.steps, self.trainer.step)
        with self.stop.listening():
            self._loop()
        self.display.stop()
        return self._finish()

    def _loop(self) -> None:
        settings, trainer = self.recipe.train, self.trainer
        batches = self.training.batches(trainer.step, self.steps, trainer.device)
        waiting = Waiting(batches)
        for batch in waiting:
            self._warn_of_broken(batch.broken)
            x, y = batch.to(trainer.device, trainer.dtype)
            rates = trainer.learning_rates()
            values = train_step(trainer, x, y)
            losses = {name: value.item() for name, value in values.items()}
            self.clock.tick()
            self._log(losses, rates, waiting.seconds)
            last = trainer.step == self.steps or self.stop.signal is not None
            if last or trainer.step % settings.checkpoint_every == 0:
                self.saver.save(last=last)
                self._status("running")
            if last or trainer.step % settings.sample_every == 0:
                self._attempt("the sample grids", self._sample)
                self._report()
            elif time.monotonic() - self._reported > REPORT_SECONDS:
                self._report()
            if last:
                return

    def _log(self, losses: dict[str, float], rates: dict[str, float], waited: float) -> None:
        pace = self.clock.pace or 1e-9
        memory = memory_mib(self.trainer.device)
        speed = 2 * self.recipe.train.batch_size / pace
        self.folder.log(
            {
                "step": self.trainer.step,
                "epoch": epochs(self.data, self.trainer.step),
                "losses": losses,
                "learning_rate": rates,
                "images_per_second": round(speed, 3),
                "data_wait": round(waited, 6),
                "memory_mib": round(memory, 1),
                "seconds": round(self.clock.seconds, 3),
            }
        )
        self.display.update(
            self.trainer.step,
            lambda: (
                f"{losses_line(losses)}  {speed:.1f} images/s  "
                f"data wait {100 * waited / pace:.0f} %  {memory:,.0f} MiB"
            ),
        )

    def _sample(self) -> None:
        write_samples(self.folder.samples, self.trainer, *self.samples)

    def _report(self) -> None:
        self._status("running")
        self._attempt("the report", lambda: write_report(self.folder.path))
        self._reported = time.monotonic()

    def _attempt(self, what: str, action: Callable[[], Any]) -> None:
        """Something to look at must not end a training that could go on."""
        try:
            action()
        except OSError as error:
            self.display.warn(f"{what} could not be written: {error}")

    def _finish(self) -> int:
        number, done = self.stop.signal, self.trainer.step == self.steps
        about = {
            "step": self.trainer.step,
            "generated": self.data.stands_in,
            "plugins": plugin_versions(self.recipe),
        }
        save_model(self.folder.path / MODEL, self.trainer, self.recipe, about)
        if done:
            self._compare()
        self._leave("done" if done else "stopped", "")
        path = self.folder.path
        self.display.say()
        self.display.say(f"{'done' if done else 'stopped'} after step {self.trainer.step:,}")
        self.display.rows(footer(path, self.steps, done=done))
        return 0 if done or number is None else 128 + number

    def _compare(self) -> None:
        if not self.data.test.paired:
            return
        size = self.recipe.dataset.image_size
        stores = (self.training.samples.x, self.training.samples.y)
        train = [held_out(store, spread(len(store), 200), size) for store in stores]
        figures = compare(self.recipe, self.trainer, train, self.data.test)
        if figures is None:
            return
        self.folder.write("figures.json", figures.as_json())
        rows = [(r.direction, r.what, f"{r.psnr_db:.2f}", f"{r.ssim:.3f}") for r in figures.rows]
        self.display.say()
        self.display.table(figures.title, ["direction", "what", "PSNR (dB)", "SSIM"], rows)

    def _held_out(self) -> tuple[Tensor, Tensor]:
        size = self.recipe.dataset.image_size
        stores = [
            open_store(each, self.recipe.dataset) for each in (self.data.test.x, self.data.test.y)
        ]
        x, y = (held_out(store, spread(len(store), SAMPLES), size) for store in stores)
        return x, y

    def _warn_of_broken(self, reasons: Sequence[str]) -> None:
        for reason in reasons:
            self.display.warn(f'left out, as [dataset] broken_images = "skip" allows: {reason}')

    def _leave(self, state: str, message: str) -> None:
        """The last word in the folder: the page must be readable however a run ends."""
        self.display.stop()
        self._status(state, message)
        self._attempt("the report", lambda: write_report(self.folder.path))

    def _status(self, state: str, message: str = "") -> None:
        self.folder.status(
            state=state,
            step=self.trainer.step,
            steps=self.steps,
            epochs=epochs(self.data, self.trainer.step),
            seconds=self.clock.seconds,
            message=message,
        )
