"""Pairs per second of our training step against the seed's textbook step, measured in one process.

Both start from the same weights and see the same batch, in alternating rounds. The textbook step
makes the fakes again in each discriminator step, detaches nothing and has torch's default Adam, as
the seed does; ours has the fused one. Compare only the ratio: the rates depend on the machine and
on what else it does.

Usage: python benchmarks/train_step.py [RECIPE] [--rounds N] [--set KEY=VALUE]
"""

from __future__ import annotations

import statistics
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch

from imgtrans import RecipeError
from imgtrans.building import best_device, build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import load_recipe
from imgtrans.training import Trainer, train_step

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from textbook import Networks, SeedTraining

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
    trainer = build_trainer(chosen, device, make_plan(chosen).images)
    textbook = SeedTraining(_networks(trainer))
    size, batch = chosen.dataset.image_size, chosen.train.batch_size
    shape = (batch, chosen.dataset.channels, size, size)
    x, y = (torch.rand(shape, device=device) * 2 - 1 for _ in range(2))
    steps: dict[str, Callable[[], object]] = {
        "textbook": lambda: textbook.step(x, y),
        "imgtrans": lambda: train_step(trainer, x, y),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(
        f"{chosen.name}, {size}x{size}, batch {batch}, {where}, {torch.get_num_threads()} threads"
    )
    for name, median in medians.items():
        print(f"{name:<9} {median:8.3f} s a step  {batch / median:8.2f} pairs/s")
    print(f"ratio     {medians['textbook'] / medians['imgtrans']:8.2f}")


def _networks(trainer: Trainer) -> Networks:
    first, second = trainer.directions
    return deepcopy(
        Networks(first.generator, second.generator, second.discriminator, first.discriminator)  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    main()
