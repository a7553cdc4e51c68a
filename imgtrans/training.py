"""The core loop: what one training step does. Read top to bottom.

A step makes the planned images, then goes through the phases, generators and discriminators, in
the recipe's order. A phase sums its weighted losses over the directions, goes backward once,
averages the gradients over the processes, and steps. One that accumulates goes backward for each
part of the batch before it steps.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from imgtrans.distributed import ALONE, Ranks
from imgtrans.outcome import Losses, NonFiniteError
from imgtrans.parts import Part, parts_of, seed_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imgtrans.components import Term
    from imgtrans.recipe import Train
    from imgtrans.replay import Pool
    from imgtrans.translation import Direction

PhaseName = Literal["generators", "discriminators"]
Compute: TypeAlias = "Callable[[Trainer, Tensor, Tensor], Tensor]"


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
    networks: Mapping[str, Sequence[nn.Parameter]]
    """The same by the name of the network, as in `Trainer.networks`; none without parameters."""
    terms: Sequence[WeightedTerm]
    learning_rate: float


@dataclass(eq=False)
class Trainer:
    """Everything that training changes, and what a step needs to change it."""

    settings: Train
    device: torch.device
    networks: dict[str, nn.Module]
    """``generators.summer_to_winter``, ``discriminators.winter``, ``losses.NAME.DIRECTION``
    and ``losses.NAME.discriminators.DIRECTION``."""
    directions: list[Direction]
    phases: list[Phase]
    pools: dict[str, Pool]
    images: tuple[str, ...]
    """What the plan found the losses to ask for, in the order it is made."""
    dtype: torch.dtype = torch.float32
    ranks: Ranks = ALONE
    step: int = 0
    """Steps done."""
    broken: Tensor | None = None
    """1 on the device once a loss or gradient was not finite: from then on no weight changes."""
    compute: Compute | None = None
    """How the device goes through a step, see ``execution``; None operation by operation."""
    notes: list[str] = field(default_factory=list)
    """What whoever trains should be told, once."""

    @property
    def discriminators(self) -> list[nn.Module]:
        """What the generators' phase freezes."""
        return [net for name, net in self.networks.items() if name.startswith("discriminators.")]

    @property
    def losses(self) -> tuple[str, ...]:
        """Their names, in the order of a step."""
        return tuple(term.name for phase in self.phases for term in phase.terms)

    @property
    def gradients(self) -> tuple[str, ...]:
        """What the norms of a step's gradients are called, by network, in their order."""
        return tuple(f"gradient of {name}" for phase in self.phases for name in phase.networks)

    def learning_rates(self) -> dict[str, float]:
        """Of each phase in the coming step."""
        factor = self.settings.rate_factor(self.step)
        return {phase.name: phase.learning_rate * factor for phase in self.phases}


def train_step(trainer: Trainer, x: Tensor, y: Tensor) -> Losses:
    """One training step; nothing in it waits for the device.

    A loss or gradient that is not finite stops the trainer for good: from then on no phase changes
    a weight, which reading the losses tells.

    Args:
        trainer: changed in place, its ``step`` counted up.
        x: ``N×C×H×W`` float in [-1, 1], this process's images of the first domain, those of all
            parts of the step one after another.
        y: the same of the second.

    Returns:
        Every loss.
    """
    prepare(trainer, len(x))
    values = (trainer.compute or compute)(trainer, x, y)
    trainer.step += 1
    return _on_the_way(trainer, values)


def prepare(trainer: Trainer, images: int) -> None:
    """What the host decides before a step: random seed, learning rates, which fakes are shown.

    Raises:
        NonFiniteError: a learning rate is.
    """
    parts = trainer.settings.accumulate
    seed_everything(trainer.settings.seed, trainer.step, trainer.ranks.rank)
    for pool in trainer.pools.values():
        pool.draw(trainer.step, images // parts, parts, trainer.device)
    rates = trainer.learning_rates()
    if bad := [f"{name}: {rate}" for name, rate in rates.items() if not math.isfinite(rate)]:
        message = f"step {trainer.step + 1}: the learning rate is not finite ({', '.join(bad)})"
        message += "\n  the last good checkpoint is kept"
        raise NonFiniteError(message, trainer.step + 1)
    for phase in trainer.phases:
        for group in phase.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # where a CUDA graph reads it
                group["lr"].fill_(rates[phase.name])
            else:
                group["lr"] = rates[phase.name]


def compute(trainer: Trainer, x: Tensor, y: Tensor) -> Tensor:
    """What the device does in a step; returns `Trainer.losses`, then `Trainer.gradients`."""
    parts = parts_of(trainer, x, y)
    losses, norms = [], []
    for phase in trainer.phases:
        with _frozen([] if phase.name == "discriminators" else trainer.discriminators):
            phase.optimizer.zero_grad(set_to_none=True)
            values = torch.stack([_learn(trainer, phase, part) for part in parts]).mean(0)
            trainer.ranks.average([*_gradients(trainer, phase), values])
            norms.append(_norms(phase))
            _step(trainer, phase, torch.cat([values, norms[-1]]))
        losses.append(values)
    return torch.cat([*losses, *norms])


def _learn(trainer: Trainer, phase: Phase, part: Part) -> Tensor:
    """Add the gradients of a phase's losses in one part of the batch; returns those losses."""
    translations = part.translations(trainer, phase)
    values = [term.term(translations[term.direction]) for term in phase.terms]
    total = sum(term.weight * value for term, value in zip(phase.terms, values, strict=True))
    assert isinstance(total, Tensor)  # noqa: S101 - a phase has at least one term
    (total / trainer.settings.accumulate).backward()
    return torch.stack([value.detach() for value in values])


def _gradients(trainer: Trainer, phase: Phase) -> list[Tensor]:
    """Of every parameter of a phase, zeros where a process has none: all exchange the same."""
    gradients = []
    if trainer.ranks.count > 1:
        for parameter in phase.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    return gradients


def _norms(phase: Phase) -> Tensor:
    """Of the gradient of each network; infinite already where its square is, which Adam needs."""
    norms = []
    for parameters in phase.networks.values():
        gradients = [each.grad for each in parameters if each.grad is not None]
        norms.append(get_total_norm(gradients) if gradients else parameters[0].new_zeros(()))
    found = torch.stack(norms)
    return torch.where(found.square().isfinite(), found, found * math.inf)


def _step(trainer: Trainer, phase: Phase, values: Tensor) -> None:
    """Change the weights, unless a value of this step or of one before was not finite."""
    if trainer.broken is None:
        trainer.broken = torch.zeros((), device=values.device)
    trainer.broken.logical_or_(~values.isfinite().all())
    if phase.optimizer.defaults["fused"]:  # which looks at it on the device, so we need not wait
        phase.optimizer.found_inf = trainer.broken  # type: ignore[attr-defined]
    phase.optimizer.step()


def _on_the_way(trainer: Trainer, values: Tensor) -> Losses:
    copied = None
    if trainer.device.type == "cuda":
        there = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        values = there.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
    return Losses(trainer.step, trainer.losses, trainer.gradients, values, copied)


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
