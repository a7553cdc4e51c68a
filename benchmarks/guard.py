"""What it costs to look at every loss and gradient before each step of the optimizers.

The step as it is, and without the norms of the gradients, in alternating rounds; medians.

Usage: python benchmarks/guard.py [RECIPE] [--rounds N] [--set KEY=VALUE]...
"""

from __future__ import annotations

import statistics
import time

import click
import torch

from imgtrans import RecipeError, training
from imgtrans.building import build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import load_recipe


@click.command()
@click.argument("recipe", default="quickstart")
@click.option("--rounds", default=20, show_default=True)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
def main(recipe: str, rounds: int, overrides: tuple[str, ...]) -> None:
    """Measure the step of RECIPE on the processor."""
    try:
        chosen = load_recipe(recipe, overrides)
    except RecipeError as error:
        raise click.ClickException(str(error)) from None
    trainer = build_trainer(chosen, torch.device("cpu"), make_plan(chosen).images)
    size = chosen.dataset.image_size
    shape = (chosen.train.images_per_step, chosen.dataset.channels, size, size)
    x, y = (torch.rand(shape, dtype=trainer.dtype) * 2 - 1 for _ in range(2))
    norms = training._norms  # noqa: SLF001 - what is measured
    seconds: dict[str, list[float]] = {"with": [], "without": [], "norms": []}

    def timed(phase: training.Phase) -> torch.Tensor:
        began = time.perf_counter()
        found = norms(phase)
        seconds["norms"].append(time.perf_counter() - began)
        return found

    ways = {"with": timed, "without": lambda phase: torch.zeros(len(phase.networks))}
    for number in range(rounds + 1):
        for name, way in ways.items():
            training._norms = way  # noqa: SLF001
            began = time.perf_counter()
            training.train_step(trainer, x, y).read()
            if number:
                seconds[name].append(time.perf_counter() - began)
    step, bare = (statistics.median(seconds[name]) for name in ("with", "without"))
    own = 2 * statistics.median(seconds["norms"])
    print(f"{recipe}: {1000 * step:.1f} ms, without {1000 * bare:.1f} ms")
    print(f"the norms themselves: {1000 * own:.2f} ms, {own / step:.2%} of the step")


if __name__ == "__main__":
    main()
