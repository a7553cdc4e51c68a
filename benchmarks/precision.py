"""Seconds and memory of one training step in float32 and in bfloat16, on a GPU.

The same recipe and batch in one process, in alternating rounds. Compare only within one run.

Usage: python benchmarks/precision.py [RECIPE] [--rounds N] [--set KEY=VALUE]
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING

import click
import torch

from imgtrans import RecipeError
from imgtrans.building import build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import load_recipe
from imgtrans.training import train_step

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command()
@click.argument("recipe", default="cyclegan_yosemite")
@click.option("--rounds", default=20, show_default=True, help="Of one step each, after warm-ups.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
def main(recipe: str, rounds: int, overrides: tuple[str, ...]) -> None:
    """Measure the training step of RECIPE in both precisions."""
    if not torch.cuda.is_available():
        message = "no GPU here; on a CPU everything is float32"
        raise click.ClickException(message)
    names = ("float32", "bfloat16")
    settings = {name: (*overrides, f"train.precision={name}") for name in names}
    try:
        memory = {name: _most_memory(recipe, each) for name, each in settings.items()}
        steps = {name: _step(recipe, each) for name, each in settings.items()}
    except RecipeError as error:
        raise click.ClickException(str(error)) from None
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 5):
        for name, step in steps.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            step()
            torch.cuda.synchronize()
            if round_ >= 5:  # the first ones choose kernels
                seconds[name].append(time.perf_counter() - start)
    print(torch.cuda.get_device_name())
    for name, values in seconds.items():
        milliseconds = 1e3 * statistics.median(values)
        print(f"{name:<9} {milliseconds:7.1f} ms a step  {memory[name]:6.0f} MiB at most")


def _step(recipe: str, overrides: tuple[str, ...]) -> Callable[[], object]:
    chosen, device = load_recipe(recipe, overrides), torch.device("cuda")
    trainer = build_trainer(chosen, device, make_plan(chosen).images)
    size = chosen.dataset.image_size
    shape = (chosen.train.batch_size, chosen.dataset.channels, size, size)
    x, y = (
        (torch.rand(shape, device=device) * 2 - 1).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    return lambda: train_step(trainer, x, y)


def _most_memory(recipe: str, overrides: tuple[str, ...]) -> float:
    """In MiB, with nothing else on the GPU; all of it is free again afterwards."""
    step = _step(recipe, overrides)
    for _ in range(5):
        step()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated() / 2**20
    del step
    gc.collect()
    return most


if __name__ == "__main__":
    main()
