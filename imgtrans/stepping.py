"""The steps of a run, one after another: the same on each of its processes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgtrans.data import Waiting
from imgtrans.outcome import NonFiniteError
from imgtrans.training import train_step

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from imgtrans.data import TrainingData
    from imgtrans.outcome import Losses
    from imgtrans.training import Trainer


@dataclass(frozen=True)
class Ended:
    """A run that is over, for now or for good."""

    folder: Path
    exit_code: int
    """0 done, 130 or 143 stopped by a signal and resumable."""


@dataclass(frozen=True)
class Read:
    """A step that was made, as it is logged."""

    step: int
    losses: dict[str, float]
    rates: dict[str, float]
    waited: float


@dataclass(frozen=True)
class _Made:
    losses: Losses
    rates: dict[str, float]
    waited: float


@dataclass(frozen=True)
class Due:
    """What the recipe wants after a step."""

    last: bool
    saved: bool
    sampled: bool
    measured: bool

    @property
    def anything(self) -> bool:
        """Whether the first process has something to do, which the others wait for."""
        return self.last or self.saved or self.sampled or self.measured


@dataclass(frozen=True)
class Step:
    """A step that was just made."""

    trainer: Trainer
    broken: tuple[str, ...]
    """Why images of it were left out."""
    unread: list[_Made]
    """It and those before it whose losses nobody has read."""

    def read(self, *, everything: bool = False) -> Iterator[Read]:
        """The steps whose losses are there by now, or all.

        Raises:
            NonFiniteError: a loss is infinite or not a number.
        """
        # A GPU works beside us: its losses are there when the next step is under way.
        late = self.trainer.device.type == "cuda" and not everything
        while len(self.unread) > late:
            made = self.unread.pop(0)
            try:
                losses = made.losses.read()
            except NonFiniteError:
                self.trainer.step = made.losses.step - 1  # since then no weight has changed
                raise
            yield Read(made.losses.step, losses, made.rates, made.waited)

    def due(self, *, stops: bool) -> Due:
        """What is to be done after it; ``stops`` makes it the last one."""
        settings, step = self.trainer.settings, self.trainer.step
        last, every = stops or step >= settings.steps, settings.evaluate_every
        return Due(
            last,
            saved=last or step % settings.checkpoint_every == 0,
            sampled=last or step % settings.sample_every == 0,
            measured=not last and every is not None and step % every == 0,
        )


def steps(trainer: Trainer, training: TrainingData) -> Generator[Step, None, None]:
    """Make the steps that are left.

    Close it when it is not read to its end: that ends the processes that read images.
    """
    stop, unread = trainer.settings.steps, list[_Made]()
    with closing(training.batches(trainer.step, stop, trainer.device)) as batches:
        waiting = Waiting(batches)
        for batch in waiting:
            x, y = batch.to(trainer.device, trainer.dtype)
            rates = trainer.learning_rates()
            unread.append(_Made(train_step(trainer, x, y), rates, waiting.seconds))
            yield Step(trainer, batch.broken, unread)
