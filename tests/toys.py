"""Small recipes and trainers for tests."""

from __future__ import annotations

import torch
from imgtrans_cyclegan import (
    Convolutional,
    CycleConsistency,
    EncoderDecoder,
    Identity,
    LeastSquares,
    Residual,
)
from imgtrans_seasons import Landscapes

from imgtrans.building import build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import Recipe, Train
from imgtrans.training import Trainer

CPU = torch.device("cpu")


def tiny_recipe(**changes: object) -> Recipe:
    """Two directions on 32×32 landscapes, networks of a few channels."""
    settings: dict[str, object] = {"steps": 8, "batch_size": 2, "order": "discriminators-first"}
    settings |= changes.pop("train", {})  # type: ignore[operator]
    fields: dict[str, object] = {
        "name": "tiny",
        "domains": ("summer", "winter"),
        "dataset": Landscapes(image_size=32, scenes=6, test_scenes=3),
        "generator": EncoderDecoder(width=2, blocks=1, residual_block=Residual()),
        "discriminator": Convolutional(width=2),
        "loss": {"adversarial": LeastSquares(), "cycle": CycleConsistency(weight=10.0)},
        "train": Train(**settings),  # type: ignore[arg-type]
    }
    return Recipe(**(fields | changes))  # type: ignore[arg-type]


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
