"""What a run writes of itself as it goes: every step, how it stands, samples, the report.

Something to look at must not end a training that could go on: what cannot be written is a warning
here, and only the log of steps, which resuming needs, is not forgiven.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

from imgtrans.describing import epochs
from imgtrans.monitor.clock import memory_mib
from imgtrans.monitor.display import losses_line
from imgtrans.monitor.folder import SCORES
from imgtrans.monitor.report import write_report
from imgtrans.monitor.samples import write_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgtrans.data import HeldOut
    from imgtrans.evaluation import Figures
    from imgtrans.monitor.clock import Clock
    from imgtrans.monitor.display import Display
    from imgtrans.monitor.folder import RunFolder
    from imgtrans.opening import Data
    from imgtrans.training import Trainer

REPORT_SECONDS: Final = 30.0


class Journal:
    """Keeps one run's folder and display up to date."""

    def __init__(
        self, folder: RunFolder, data: Data, trainer: Trainer, clock: Clock, display: Display
    ) -> None:
        """Nothing is written yet."""
        self._folder, self._data, self._trainer = folder, data, trainer
        self._clock, self._display = clock, display
        self._left_out: dict[str, None] = {}
        told = folder.read("status.json").get("warnings")
        self._warnings: dict[str, str] = told if isinstance(told, dict) else {}
        self._reported = 0.0

    def step(
        self, step: int, losses: dict[str, float], rates: dict[str, float], waited: float
    ) -> None:
        """One line of ``metrics.jsonl``, and the display.

        Args:
            step: which, counted from 1.
            losses: by name.
            rates: the learning rates of the step, by phase.
            waited: seconds that the step's images took to come.

        Raises:
            OSError: the line could not be written.
        """
        pace = self._clock.pace or 1e-9
        memory = memory_mib(self._trainer.device)
        speed = 2 * self._data.recipe.train.images_per_step / pace
        self._folder.log(
            {
                "step": step,
                "epoch": epochs(self._data, step),
                "losses": losses,
                "learning_rate": rates,
                "images_per_second": round(speed, 3),
                "data_wait": round(waited, 6),
                "memory_mib": round(memory, 1),
                "seconds": round(self._clock.seconds, 3),
            }
        )
        wait = f"data wait {100 * waited / (self._clock.step or 1e-9):.0f} %"
        facts = f"{speed:.1f} images/s  {wait}  {memory:,.0f} MiB"
        self._display.update(step, lambda: (losses_line(losses), facts))

    def leave_out(self, reasons: Iterable[str]) -> None:
        """Images that could not be read: warned of once each, and kept for the report."""
        for reason in reasons:
            self._left_out[reason] = None
            self._display.warn(f'left out, as [dataset] broken_images = "skip" allows: {reason}')

    def measured(self, figures: Figures) -> None:
        """One line of ``scores.jsonl``, a line for the eye, and what is to be warned of."""
        step = self._trainer.step
        scores = {k: v for k, v in figures.values().items() if math.isfinite(v)}
        line = {"step": step, "scores": scores, "images": figures.images}
        line |= {"judges": figures.judges()}
        self._attempt(SCORES, lambda: self._folder.log_scores(line))
        self._display.say(f"measured after step {step:,}: {losses_line(scores)}")
        for name, why in figures.failed.items():
            self._display.warn(f"[metric.{name}] is not measured: {why}")
        for key, text in figures.warnings().items():
            if key not in self._warnings:
                self._warnings[key] = f"after step {step:,}: {text}"
                self._display.warn(self._warnings[key])

    def sample(self, images: HeldOut) -> None:
        """The sample grids of this step."""
        self._attempt(
            "the sample grids",
            lambda: write_samples(self._folder.samples, self._trainer, images.x, images.y),
        )

    def report(self, *, now: bool) -> None:
        """Rewrite status and report; unless ``now``, only where they are half a minute old."""
        if now or time.monotonic() - self._reported > REPORT_SECONDS:
            self.stands("running")
            self._reported = time.monotonic()

    def stands(self, state: str, message: str = "") -> None:
        """Write the report and how the run stands; that comes last, for a run that is done, is."""
        folder, step = self._folder, self._trainer.step
        changes = {
            "state": state,
            "step": step,
            "steps": self._data.recipe.train.steps,
            "epochs": epochs(self._data, step),
            "seconds": self._clock.seconds,
            "message": message,
            "left_out": list(self._left_out),
            "warnings": self._warnings,
        }
        standing = folder.standing(**changes)
        self._attempt("the report", lambda: write_report(folder.path, status=standing))
        self._attempt("status.json", lambda: folder.status(**changes))

    def _attempt(self, what: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError as error:
            self._display.warn(f"{what} could not be written: {error}")
