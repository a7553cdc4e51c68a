"""Real training steps on real images: their time, the wait for images, and the memory they take."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil
import torch

from imgtrans.benchmarking.machine import wait_for
from imgtrans.benchmarking.operators import Share, profiled
from imgtrans.building import build_trainer
from imgtrans.data import Waiting
from imgtrans.execution import EAGER_STEPS
from imgtrans.training import train_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from imgtrans.data import TrainingData
    from imgtrans.outcome import Losses
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

WARM_UP: Final = {"cpu": 2, "cuda": EAGER_STEPS + 3}
"""Steps before any is measured: memory is taken, kernels are chosen, a graph is recorded."""
LEAST, MOST, SECONDS = 3, 50, 10.0
"""So many spans are measured, and between these as many as take so long."""
SPAN: Final = {"cuda": 10}
"""Steps between two looks at the clock: on a GPU, where looking means waiting for it, several."""
SAMPLED: Final = 0.005
"""Seconds between two looks at the memory of the process."""


@dataclass(frozen=True)
class MeasuredSteps:
    """What real steps took."""

    seconds: float
    """Of a step, the wait for its images included; the median."""
    fastest: float
    """The same of the fastest: on a machine that does other things too, nearer to what it can."""
    waited_share: float
    """Of all measured time, what nothing happened in but waiting for images."""
    steps: int
    """That were measured."""
    peak_bytes: int
    """Of memory, networks included: allocated on the GPU, or resident where that is the CPU."""
    operators: tuple[Share, ...]
    """Where the time of one more step went."""
    notes: tuple[str, ...]
    """What the trainer had to say, such as why steps are slower than they could be."""


def measure_steps(
    recipe: Recipe, images: tuple[str, ...], training: TrainingData, device: torch.device
) -> MeasuredSteps:
    """Train a fresh trainer for some steps, as a run does.

    Args:
        recipe: checked.
        images: what the plan found the losses to ask for.
        training: where batches come from.
        device: where it trains.

    Raises:
        ImgtransError: an image cannot be read, or a loss is not finite.
    """
    together, warm_up = SPAN.get(device.type, 1), WARM_UP.get(device.type, WARM_UP["cpu"])
    spans: list[float] = []
    waited = 0.0
    with _Peak(device) as peak:
        trainer = build_trainer(recipe, device, images)
        total = warm_up + MOST * together + 1
        with closing(training.batches(0, total, device)) as batches:
            waiting = Waiting(batches)
            steps = _steps(trainer, waiting)
            for _ in range(warm_up):
                next(steps)
            wait_for(device)
            while len(spans) < LEAST or (len(spans) < MOST and sum(spans) < SECONDS):
                start = time.perf_counter()
                for _ in range(together):
                    losses = next(steps)
                    waited += waiting.seconds
                wait_for(device)
                spans.append(time.perf_counter() - start)
                losses.read()
            operators = profiled(lambda: next(steps), device)
    count = len(spans) * together
    seconds, fastest = statistics.median(spans) / together, min(spans) / together
    share, notes = waited / sum(spans), tuple(trainer.notes)
    return MeasuredSteps(seconds, fastest, share, count, peak.bytes, operators, notes)


def _steps(trainer: Trainer, waiting: Waiting) -> Iterator[Losses]:
    for batch in waiting:
        yield train_step(trainer, *batch.to(trainer.device, trainer.dtype))


class _Peak:
    """The most memory that is taken inside, above what was taken before."""

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0
        self._device = device
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._before = self._taken()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
        else:
            self._over.set()
            self._thread.join()

    def _watch(self) -> None:
        # The system's own peak would do, but nothing portable sets it back to what is now.
        while not self._over.wait(SAMPLED):
            self.bytes = max(self.bytes, self._taken() - self._before)

    def _taken(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.memory_allocated(self._device))
        return int(psutil.Process().memory_info().rss)
