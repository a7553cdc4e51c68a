"""What a step will do, found out before training: each term runs once on the meta device.

Gives networks, parameter counts, forwards per step and output shapes, and a clear error for an
image that the recipe cannot make. It uses throw-away copies and never touches a pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from imgtrans.building import build_trainer
from imgtrans.problems import ImgtransError
from imgtrans.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

IMAGES: Final = ("fake", "reconstructed", "same")
"""In the order a step makes them."""


@dataclass(frozen=True)
class NetworkPlan:
    """One network of the plan."""

    name: str
    parameters: int
    forwards: int
    """Per training step."""
    output: tuple[int, ...] | None
    """Shape for one batch; None where no loss uses the network."""


@dataclass(frozen=True)
class Plan:
    """What one step makes."""

    images: tuple[str, ...]
    networks: tuple[NetworkPlan, ...]
    losses: tuple[str, ...]
    weights: tuple[float, ...]

    @property
    def forwards(self) -> int:
        """Network forwards per step, all together."""
        return sum(network.forwards for network in self.networks)


def make_plan(recipe: Recipe) -> Plan:
    """Run every term once and record what it asks for.

    Raises:
        ImgtransError: a component cannot be built, or a loss fails; the text says which.
    """
    try:
        return _run(recipe, torch.device("meta"), recipe.train.batch_size)
    except ImgtransError:
        raise
    except Exception:  # noqa: BLE001 - a component that meta cannot run may raise anything
        # Masks and data-dependent shapes need real numbers: run once at batch 1, which tells
        # everything but the batch in the shapes. What fails there is a real fault.
        return _run(recipe, torch.device("cpu"), 1)


def _run(recipe: Recipe, device: torch.device, batch: int) -> Plan:
    trainer = build_trainer(recipe, device, ())
    recorded: dict[str, list[tuple[int, ...]]] = {name: [] for name in trainer.networks}
    for name, network in trainer.networks.items():
        network.register_forward_hook(_recorder(recorded[name]))
    size, channels = recipe.dataset.image_size, recipe.dataset.channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = (batch, channels, size, size)
        x, y = (torch.rand(shape, device=device, dtype=trainer.dtype) * 2 - 1 for _ in range(2))
        asked = _ask(trainer, x, y)
    networks = tuple(
        NetworkPlan(name, _count(network), len(recorded[name]), _first(recorded[name]))
        for name, network in trainer.networks.items()
    )
    terms = [term for phase in trainer.phases for term in phase.terms]
    images = tuple(image for image in IMAGES if image in asked)
    return Plan(images, networks, tuple(t.name for t in terms), tuple(t.weight for t in terms))


def _ask(trainer: Trainer, x: torch.Tensor, y: torch.Tensor) -> set[str]:
    asked: set[str] = set()
    for direction in trainer.directions:
        direction.pool = None
    translations = [
        Translation(direction, *((x, y) if index == 0 else (y, x)))
        for index, direction in enumerate(trainer.directions)
    ]
    for phase in trainer.phases:
        for term in phase.terms:
            try:
                value = term.term(translations[term.direction])
            except ImgtransError as error:
                message = f"[loss.{term.name.partition('/')[0].partition('.')[0]}] {error}"
                raise type(error)(message) from None
            _check_scalar(term.name, value)
    for translation in translations:
        asked |= set(translation.__dict__) & set(IMAGES)
    return asked


def _check_scalar(name: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor) or value.ndim != 0:
        what = (
            f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else value
        )
        message = f"[loss.{name.partition('/')[0]}] must return a scalar tensor, not {what}"
        raise ImgtransError(message)


def _recorder(shapes: list[tuple[int, ...]]) -> Callable[..., None]:
    def record(network: nn.Module, inputs: Any, output: Any) -> None:
        del network, inputs
        first = output[0] if isinstance(output, (tuple, list)) else output
        shapes.append(tuple(first.shape))

    return record


def _first(shapes: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    return shapes[0] if shapes else None


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
