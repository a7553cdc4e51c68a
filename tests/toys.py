"""Small recipes and trainers for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from imgtrans_cyclegan import (
    Convolutional,
    CycleConsistency,
    EncoderDecoder,
    Identity,
    LeastSquares,
    Residual,
)

from imgtrans import testing
from imgtrans.building import build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import Recipe
from imgtrans.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU = torch.device("cpu")


def tiny_recipe(*, train: Mapping[str, object] | None = None, **tables: object) -> Recipe:
    """The public one, where every table given takes the whole place of its own, losses too."""
    base = testing.tiny_recipe(train=train, metric=tables.get("metric", {}))
    return Recipe(**(dict(base) | tables))  # type: ignore[arg-type]


def tiny_paper_recipe(**changes: object) -> Recipe:
    """The original paper's choices on small networks: no batch statistics, pool, ½, identity."""
    return tiny_recipe(
        generator=EncoderDecoder(
            width=2, blocks=1, norm="instance", residual_block=Residual(norm="instance")
        ),
        discriminator=Convolutional(width=2, norm="instance"),
        loss={
            "adversarial": LeastSquares(discriminator_factor=0.5),
            "cycle": CycleConsistency(weight=10.0),
            "identity": Identity(weight=5.0),
        },
        train={"order": "generators-first", "pool_images": 3, "precision": "float64"},
        **changes,
    )


def trainer_of(recipe: Recipe) -> Trainer:
    """Built on the processor, at step 0."""
    return build_trainer(recipe, CPU, make_plan(recipe).images)


def batch_of(trainer: Trainer, seed: int = 0, size: int = 32, count: int = 2) -> list[torch.Tensor]:
    """X and y of random pixels in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, size, size)
    return [torch.rand(shape, generator=generator, dtype=trainer.dtype) * 2 - 1 for _ in range(2)]
