"""What a step will do, found out before training: each term runs once on the meta device.

Gives networks, parameter counts, forwards per step and output shapes, and a clear error for an
image that the recipe cannot make. It uses throw-away copies and never touches a pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from imgtrans.building import build_trainer
from imgtrans.problems import ImgtransError, RecipeError
from imgtrans.translation import Translation

if TYPE_CHECKING:
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
        ImgtransError: a component cannot be built, or a network or loss fails; the text says which.
    """
    try:
        return _run(recipe, torch.device("meta"), recipe.train.batch_size)
    except ImgtransError:
        raise
    except Exception:  # noqa: BLE001 - a component that meta cannot run may raise anything
        # Masks and data-dependent shapes need real numbers: run a small batch, which tells
        # everything but the batch in the shapes. What fails there is a real fault.
        return _really(recipe)


def _really(recipe: Recipe) -> Plan:
    recorder = _Recorder()
    try:
        return _run(recipe, torch.device("cpu"), min(2, recipe.train.batch_size), recorder)
    except ImgtransError:
        raise
    except Exception as error:
        # Of all networks that an image goes through, the innermost that began and did not end.
        size = recipe.dataset.image_size
        if recorder.begun:
            name = recorder.begun[-1]
            where = f"[{_table(name)}] {name} fails on images of {size}×{size} pixels"
        else:
            where = f"[loss.{recorder.loss}] fails"
        remedy = "choose another dataset.image_size or other settings of this component"
        message = f"{where}: {type(error).__name__}: {error}\n  {remedy}"
        raise RecipeError(message) from error


def _table(network: str) -> str:
    """The recipe's table that a network comes from."""
    kind, _, name = network.partition(".")
    return f"loss.{name.partition('.')[0]}" if kind == "losses" else kind.removesuffix("s")


class _Recorder:
    """Which networks ran, on what, and which did not come to an end."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}
        self.begun: list[str] = []
        self.again = False
        """Whether the phase that comes first is the discriminators' and asks for fakes."""
        self.loss = ""

    def watch(self, name: str, network: nn.Module) -> None:
        self.shapes[name] = []

        def begin(network: nn.Module, inputs: Any) -> None:
            del network, inputs
            self.begun.append(name)

        def end(network: nn.Module, inputs: Any, output: Any) -> None:
            del network, inputs
            self.begun.pop()
            first = output[0] if isinstance(output, (tuple, list)) else output
            self.shapes[name].append(tuple(first.shape))

        network.register_forward_pre_hook(begin)
        network.register_forward_hook(end)


def _run(
    recipe: Recipe, device: torch.device, batch: int, recorder: _Recorder | None = None
) -> Plan:
    recorder = recorder or _Recorder()
    trainer = build_trainer(recipe, device, ())
    for name, network in trainer.networks.items():
        recorder.watch(name, network)
    size, channels = recipe.dataset.image_size, recipe.dataset.channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = (batch, channels, size, size)
        x, y = (torch.rand(shape, device=device, dtype=trainer.dtype) * 2 - 1 for _ in range(2))
        asked = _ask(trainer, x, y, recorder)
    forwards = _forwards(recipe, trainer, recorder)
    networks = tuple(
        NetworkPlan(name, _count(network), forwards[name], shapes[0] if shapes else None)
        for (name, network), shapes in zip(
            trainer.networks.items(), recorder.shapes.values(), strict=True
        )
    )
    terms = [term for phase in trainer.phases for term in phase.terms]
    images = tuple(image for image in IMAGES if image in asked)
    return Plan(images, networks, tuple(t.name for t in terms), tuple(t.weight for t in terms))


def _forwards(recipe: Recipe, trainer: Trainer, recorder: _Recorder) -> dict[str, int]:
    """Per step and network; a step that accumulates goes through all for each of its parts."""
    parts = recipe.train.accumulate
    counts = {name: parts * len(shapes) for name, shapes in recorder.shapes.items()}
    if parts > 1 and recorder.again:  # made for the discriminators, and again for the generators
        for direction in trainer.directions:
            counts[f"generators.{direction.name}"] += parts
    return counts


def _ask(trainer: Trainer, x: torch.Tensor, y: torch.Tensor, recorder: _Recorder) -> set[str]:
    asked: set[str] = set()
    for direction in trainer.directions:
        direction.pool = None
    translations = [
        Translation(direction, *((x, y) if index == 0 else (y, x)))
        for index, direction in enumerate(trainer.directions)
    ]
    for phase in trainer.phases:
        for term in phase.terms:
            recorder.loss = term.name.partition("/")[0].partition(".")[0]
            try:
                value = term.term(translations[term.direction])
            except ImgtransError as error:
                message = f"[loss.{recorder.loss}] {error}"
                raise type(error)(message) from None
            _check_scalar(term.name, value)
        if phase is trainer.phases[0] and phase.name == "discriminators":
            recorder.again = any("fake" in made.__dict__ for made in translations)
    for translation in translations:
        asked |= set(translation.__dict__) & set(IMAGES)
    return asked


def _check_scalar(name: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor) or value.ndim != 0:
        what = (
            f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else value
        )
        message = f"[loss.{name.partition('/')[0]}] must return a scalar tensor, not {what}"
        raise RecipeError(message)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
