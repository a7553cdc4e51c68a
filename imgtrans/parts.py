"""The parts of a step's batch, and the images that each phase makes of them.

A step that does not accumulate has one part, whose images both phases share. One that accumulates
makes the images of a part for one phase, goes backward, and lets them go.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from imgtrans.translation import Translation

if TYPE_CHECKING:
    from imgtrans.training import Phase, Trainer


def parts_of(trainer: Trainer, x: Tensor, y: Tensor) -> list[Part]:
    """The batch of a step in as many parts as the recipe says."""
    count = trainer.settings.accumulate
    return [
        Part(n, *both) for n, both in enumerate(zip(x.chunk(count), y.chunk(count), strict=True))
    ]


@dataclass(eq=False)
class Part:
    """The images that go through the networks together: a whole step's, unless it accumulates."""

    index: int
    x: Tensor
    y: Tensor
    fakes: list[Tensor] | None = None
    """What the generators' phase made, where that came first and its graph is gone."""
    made: list[Translation] | None = None
    """What both phases share, where the part is all there is."""

    def translations(self, trainer: Trainer, phase: Phase) -> list[Translation]:
        """One for each direction, with the images that the phase is known to need."""
        if trainer.settings.accumulate == 1:
            self.made = self.made or self._make(trainer, graph=True)
            return self.made
        # Keeping the graphs of all parts until the other phase would take the memory that
        # accumulating is there to save.
        if phase.name == "generators":
            made = self._make(trainer, graph=True)
            if "fake" in trainer.images:
                self.fakes = [translation.fake.detach() for translation in made]
            return made
        return self._make(trainer, graph=False)

    def _make(self, trainer: Trainer, *, graph: bool) -> list[Translation]:
        settings, ranks = trainer.settings, trainer.ranks
        place = self.index * ranks.count + ranks.rank
        made = []
        for index, direction in enumerate(trainer.directions):
            images = (self.x, self.y) if index == 0 else (self.y, self.x)
            made.append(Translation(direction, *images, self.index, graph=graph))
        # Made in a fixed order, so that reordering losses cannot change what dropout draws.
        for index, translation in enumerate(made):
            if settings.accumulate > 1:  # the fake comes first, so both phases make the same one
                seed_everything(settings.seed, trainer.step, 2 * place + index)
            if not graph and self.fakes is not None:
                translation.fake = self.fakes[index]
            for image in trainer.images:
                if graph or image == "fake":
                    getattr(translation, image)
        return made


def seed_everything(seed: int, step: int, part: int = 0) -> None:
    """Make the coming random numbers a pure function of seed, step and part of the batch.

    So a resumed run draws what an uninterrupted one would, and no random state needs saving.
    Python's and numpy's generators are seeded too, for components that use them.
    """
    mixed = random.Random(f"{seed}/{step}/{part}" if part else f"{seed}/{step}").getrandbits(64)  # noqa: S311
    # Without an accelerator `torch.manual_seed` would, for each kind that there might yet be,
    # note down where it was called from: a millisecond of every step.
    accelerated = torch.accelerator.is_available()
    (torch.manual_seed if accelerated else torch.default_generator.manual_seed)(mixed)
    random.seed(mixed)
    np.random.seed(mixed % 2**32)  # noqa: NPY002 - the legacy state is the one plugins share
