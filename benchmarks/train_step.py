"""Pairs per second of our training step against a textbook step, measured in one process.

Both start from the same weights and see the same batch, in alternating rounds, in float32. For
recipes that train discriminators first the textbook is the seed's: it makes the fakes again in each
discriminator step, detaches nothing and has torch's default Adam. For those that train generators
first it is the paper's, as its authors' code does it. Compare only the ratio: the rates depend on
the machine and on what else it does. The share is of the machine's rate of matrix products, for the
products that the step consists of by definition; computing them with fewer multiplications can make
it more than 100 %.

Usage: python benchmarks/train_step.py [RECIPE] [--rounds N] [--set KEY=VALUE]
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch

from imgtrans import RecipeError
from imgtrans.benchmarking.machine import measure_rates
from imgtrans.benchmarking.step import count_step
from imgtrans.benchmarking.work import PRODUCTS
from imgtrans.building import best_device, build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import Recipe, load_recipe
from imgtrans.training import Trainer, train_step

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from textbook import ImagePool, Networks, PaperTraining, SeedTraining

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command()
@click.argument("recipe", default="cyclegan_yosemite")
@click.option("--rounds", default=5, show_default=True, help="Of one step each, after a warm-up.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
def main(recipe: str, rounds: int, overrides: tuple[str, ...]) -> None:
    """Measure the training step of RECIPE, which must have two directions."""
    # In one precision: the textbook knows no autocast, and the comparison is of the steps.
    try:
        chosen = load_recipe(recipe, [*overrides, "train.precision=float32"])
    except RecipeError as error:
        raise click.ClickException(str(error)) from None
    if chosen.directions != "both":
        message = "the textbook step has two directions"
        raise click.UsageError(message)
    device = best_device()
    images = make_plan(chosen).images
    trainer = build_trainer(chosen, device, images)
    size, batch = chosen.dataset.image_size, chosen.train.batch_size
    shape = (batch, chosen.dataset.channels, size, size)
    x, y = (torch.rand(shape, device=device) * 2 - 1 for _ in range(2))
    textbook = _textbook(chosen, trainer)
    steps: dict[str, Callable[[], object]] = {
        "textbook": lambda: textbook(x, y),
        "imgtrans": lambda: train_step(trainer, x, y),
    }
    work = count_step(chosen, images, device).work
    shapes = work.largest_gemms(3)
    rates = measure_rates(device, "float32", shapes)
    medians = _medians(steps, rounds, device)
    rate = rates.or_better(measure_rates(device, "float32", shapes)).flops
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(
        f"{chosen.name}, {size}x{size}, batch {batch}, {where}, {torch.get_num_threads()} threads"
    )
    for name, median in medians.items():
        print(f"{name:<9} {median:8.3f} s a step  {batch / median:8.2f} pairs/s")
    print(f"ratio     {medians['textbook'] / medians['imgtrans']:8.2f}")
    share = work.flops(PRODUCTS) / medians["imgtrans"] / rate
    print(f"share     {share:8.0%} of {rate / 1e9:.0f} GFLOP/s in matrix products")


def _medians(
    steps: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _textbook(recipe: Recipe, trainer: Trainer) -> Callable[[torch.Tensor, torch.Tensor], None]:
    first, second = trainer.directions
    networks = deepcopy(
        Networks(first.generator, second.generator, second.discriminator, first.discriminator)  # type: ignore[arg-type]
    )
    if recipe.train.order == "discriminators-first":
        return SeedTraining(networks).step
    pools = (ImagePool(recipe.train.pool_images) for _ in range(2))
    training = PaperTraining(networks, *pools)
    draws = [random.Random(index) for index in range(2)]  # noqa: S311
    return lambda x, y: training.step(x, y, *draws)


if __name__ == "__main__":
    main()
