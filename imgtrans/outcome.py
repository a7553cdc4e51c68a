"""What came of a step: its losses, read once the device is done, or what was not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class NonFiniteError(ImgtransError):
    """A number of a step is infinite or not a number; the last good checkpoint is kept."""

    def __init__(self, message: str, step: int, figures: Mapping[str, float] | None = None) -> None:
        """With the step, counted from 1, and what is known of it: losses, norms of gradients."""
        super().__init__(message)
        self.step, self.figures = step, dict(figures or {})


@dataclass(frozen=True)
class Losses:
    """Of one step, unweighted, the mean over its parts and processes; still on the device."""

    step: int
    """Counted from 1."""
    names: tuple[str, ...]
    gradients: tuple[str, ...]
    """Whose norms come after the losses."""
    values: Tensor
    """On the host once ``copied``."""
    copied: torch.cuda.Event | None = None

    def read(self) -> dict[str, float]:
        """Every loss by its name; waits for the device.

        Raises:
            NonFiniteError: one is infinite or not a number, or a network's gradient is, so the
                phase it belongs to and all after it have changed no weight.
        """
        if self.copied is not None:
            self.copied.synchronize()
        figures = dict(zip((*self.names, *self.gradients), self.values.tolist(), strict=True))
        bad = [f"{name} = {value}" for name, value in figures.items() if not math.isfinite(value)]
        if bad:
            message = (
                f"step {self.step}: {', '.join(bad)}; training cannot go on from what is not "
                "finite\n  the last good checkpoint is kept; lower the learning rates, or look "
                "at the images of this step"
            )
            raise NonFiniteError(message, self.step, figures)
        return {name: figures[name] for name in self.names}
