"""The core loop: what one training step does. Read top to bottom.

A step makes the planned images, then goes through the phases, generators and discriminators, in the
recipe's order. A phase sums its weighted losses over the directions, goes backward once, and steps.
"""

from __future__ import annotations

import math
import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from imgtrans.problems import ImgtransError
from imgtrans.translation import Direction, Pool, Translation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imgtrans.components import Term
    from imgtrans.recipe import Train

PhaseName = Literal["generators", "discriminators"]


class NonFiniteLossError(ImgtransError):
    """A loss became infinite or not a number; the last good checkpoint is kept."""


@dataclass(frozen=True)
class WeightedTerm:
    """One loss in one direction."""

    name: str
    """``adversarial/summer_to_winter``, as logged."""
    direction: int
    weight: float
    term: Term


@dataclass(eq=False)
class Phase:
    """What trains together: one optimizer and the terms it makes small."""

    name: PhaseName
    optimizer: torch.optim.Optimizer
    parameters: Mapping[str, nn.Parameter]
    """By the names that checkpoints use."""
    terms: Sequence[WeightedTerm]
    learning_rate: float


@dataclass(eq=False)
class Trainer:
    """Everything that training changes, and what a step needs to change it."""

    settings: Train
    device: torch.device
    networks: dict[str, nn.Module]
    """``generators.summer_to_winter``, ``discriminators.winter``, ``losses.NAME.DIRECTION``."""
    directions: list[Direction]
    phases: list[Phase]
    pools: dict[str, Pool]
    images: tuple[str, ...]
    """What the plan found the losses to ask for, in the order it is made."""
    dtype: torch.dtype = torch.float32
    step: int = 0
    """Steps done."""

    @property
    def discriminators(self) -> list[nn.Module]:
        """What the generators' phase freezes."""
        return [net for name, net in self.networks.items() if name.startswith("discriminators.")]

    def learning_rates(self) -> dict[str, float]:
        """Of each phase in the coming step."""
        factor = self.settings.rate_factor(self.step)
        return {phase.name: phase.learning_rate * factor for phase in self.phases}


def train_step(trainer: Trainer, x: Tensor, y: Tensor) -> dict[str, float]:
    """One training step.

    Args:
        trainer: changed in place, its ``step`` counted up.
        x: ``N×C×H×W`` float in [-1, 1], images of the first domain.
        y: the same of the second.

    Returns:
        Every loss by its name, unweighted.

    Raises:
        NonFiniteLossError: before the phase with the loss changes any weight; an earlier phase of
            the same step has changed its own.
    """
    seed_everything(trainer.settings.seed, trainer.step)
    translations = [
        Translation(direction, *((x, y) if index == 0 else (y, x)), trainer.step)
        for index, direction in enumerate(trainer.directions)
    ]
    # Made in a fixed order, so that reordering losses cannot change what dropout draws.
    for translation in translations:
        for image in trainer.images:
            getattr(translation, image)
    rates = trainer.learning_rates()
    losses: dict[str, float] = {}
    for phase in trainer.phases:
        with _frozen([] if phase.name == "discriminators" else trainer.discriminators):
            values = {term.name: term.term(translations[term.direction]) for term in phase.terms}
            total = sum(term.weight * values[term.name] for term in phase.terms)
            losses |= _finite(values, trainer.step)
            phase.optimizer.zero_grad(set_to_none=True)
            assert isinstance(total, Tensor)  # noqa: S101 - a phase has at least one term
            total.backward()
            _step(phase, rates[phase.name])
    trainer.step += 1
    return losses


def _step(phase: Phase, rate: float) -> None:
    for group in phase.optimizer.param_groups:
        group["lr"] = rate
    phase.optimizer.step()


@contextmanager
def _frozen(discriminators: Sequence[nn.Module]) -> Iterator[None]:
    # Only discriminators, never generators: an image made while its generator is frozen has no
    # graph, is kept for later losses, and their gradient would silently vanish.
    parameters = [p for net in discriminators for p in net.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)  # noqa: FBT003
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)  # noqa: FBT003


def _finite(values: Mapping[str, Tensor], step: int) -> dict[str, float]:
    # Together, because every copy from a GPU waits for all that it still has to do.
    copied = torch.stack([value.detach() for value in values.values()]).tolist()
    losses: dict[str, float] = dict(zip(values, copied, strict=True))
    bad = [f"{name} = {value}" for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        message = (
            f"step {step + 1}: {', '.join(bad)}; training cannot go on from a loss that is not "
            "finite\n  the last good checkpoint is kept; lower the learning rates, or look at the "
            "images of this step"
        )
        raise NonFiniteLossError(message)
    return losses


def seed_everything(seed: int, step: int) -> None:
    """Make the coming step's random numbers a pure function of seed and step.

    So a resumed run draws what an uninterrupted one would, and no random state needs saving.
    Python's and numpy's generators are seeded too, for components that use them.
    """
    mixed = random.Random(f"{seed}/{step}").getrandbits(64)  # noqa: S311
    torch.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(mixed % 2**32)  # noqa: NPY002 - the legacy state is the one plugins share


@contextmanager
def evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode without gradients, and back."""
    modes: list[tuple[nn.Module, Any]] = [(net, net.training) for net in networks]
    try:
        for net in networks:
            net.eval()
        with torch.no_grad():
            yield
    finally:
        for net, mode in modes:
            net.train(mode)
