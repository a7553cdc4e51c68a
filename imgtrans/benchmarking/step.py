"""One training step, counted: run on the meta device, where it takes no memory and hardly time.

It is the step that trains, phases, freezing and going backward included, on throw-away copies of
the networks. Where meta cannot run a part, a small real batch is run and the counts are scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.overrides import TorchFunctionMode

from imgtrans.benchmarking.memory import Keeping, Memory, memory_of
from imgtrans.benchmarking.work import Counting, Work, adam
from imgtrans.building import build_trainer, precision_of
from imgtrans.problems import ImgtransError
from imgtrans.training import train_step

if TYPE_CHECKING:
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

META: Final = torch.device("meta")
FEW: Final = 2
"""Images of each domain where a real step is counted."""


@dataclass(frozen=True)
class CountedStep:
    """What one step costs."""

    work: Work
    memory: Memory
    scaled_from: int | None = None
    """Images of each domain that were really run; None where meta ran the whole batch."""


def count_step(recipe: Recipe, images: tuple[str, ...], device: torch.device) -> CountedStep:
    """Count one training step.

    Args:
        recipe: checked.
        images: what the plan found the losses to ask for.
        device: decides the precision where the recipe leaves that open; nothing runs there.

    Raises:
        ImgtransError: a component cannot be built, or a network or loss fails.
    """
    train = recipe.train.model_copy(update={"precision": precision_of(recipe, device)})
    recipe = recipe.model_copy(update={"train": train})
    batch = train.batch_size
    try:
        return _count(recipe, images, META, batch)
    except ImgtransError:
        raise
    except Exception:  # noqa: BLE001 - a component that meta cannot run may raise anything
        few = min(FEW, batch)
        counted = _count(recipe, images, torch.device("cpu"), few)
        factor = batch / few
        return CountedStep(counted.work.scaled(factor), counted.memory.scaled(factor), few)


def _count(
    recipe: Recipe, images: tuple[str, ...], device: torch.device, batch: int
) -> CountedStep:
    trainer = build_trainer(recipe, device, images)
    _prepare(trainer)
    size, channels = recipe.dataset.image_size, recipe.dataset.channels
    count = batch * recipe.train.accumulate
    with torch.random.fork_rng(devices=[]):
        shape = (count, channels, size, size)
        x, y = (torch.rand(shape, device=device, dtype=trainer.dtype) * 2 - 1 for _ in range(2))
        keeping = Keeping(trainer.networks, (x, y))
        with keeping.watching(), Counting() as counting:
            train_step(trainer, x, y)
    updates = [
        adam(parameter.numel(), parameter.element_size())
        for phase in trainer.phases
        for parameter in phase.parameters.values()
        if parameter.grad is not None
    ]
    work = Work((*counting.operations, *updates))
    return CountedStep(work, memory_of(trainer, (x, y), keeping.most))


def _prepare(trainer: Trainer) -> None:
    """Take out of a throw-away trainer what must not run, cannot on meta, or would count less."""
    trainer.compute = None
    for direction in trainer.directions:
        direction.pool = None
        if trainer.device == META and trainer.settings.precision == "bfloat16":
            direction.autocast = _Bfloat16


class _Bfloat16(TorchFunctionMode):
    """Autocast as far as counts and memory see it; meta has none of its own."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Convolutions and matrix products take and give half the bytes."""
        del types
        if func in _PRODUCTS:
            args = tuple(_cast(each) for each in args)
            kwargs = {name: _cast(each) for name, each in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))


def _cast(value: Any) -> Any:
    floats = isinstance(value, torch.Tensor) and value.dtype == torch.float32
    return value.to(torch.bfloat16) if floats else value


_PRODUCTS: Final = frozenset(
    (
        torch.conv1d, torch.conv2d, torch.conv3d,
        torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
        torch.nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__,
        torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum,
    )
)  # fmt: skip
