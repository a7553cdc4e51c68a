"""The step of two processes against that of one, with the same global batch and a core for each.

Two processes stay alive, each on a core of its own with one thread, and gloo between them. In
alternating rounds the first one makes a step of the whole batch, while the other waits; both make
a step of half of it each; and both do that without exchanging anything, which shows what the
machine's memory and clock leave of two cores. Nothing else should run on them.

Usage: python benchmarks/processes.py [RECIPE] [--rounds N] [--set KEY=VALUE]
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from torch import distributed, multiprocessing

from imgtrans import RecipeError
from imgtrans.building import build_trainer
from imgtrans.distributed import ALONE, Ranks
from imgtrans.plan import make_plan
from imgtrans.recipe import Recipe, load_recipe
from imgtrans.recipe.reading import check
from imgtrans.training import train_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from imgtrans.training import Trainer

CPU = torch.device("cpu")


class Exchanges:
    """Every exchange, and the seconds all took, waiting for the other process included."""

    def __init__(self) -> None:
        """Take the place of torch's functions."""
        self.seconds = 0.0
        for name in ("all_reduce", "all_gather"):
            setattr(distributed, name, partial(self._timed, getattr(distributed, name)))

    def _timed(self, exchange: Callable[..., object], *arguments: object) -> None:
        start = time.perf_counter()
        exchange(*arguments)
        self.seconds += time.perf_counter() - start


@click.command()
@click.argument("recipe", default="cyclegan_yosemite")
@click.option("--rounds", default=5, show_default=True, help="Of one step each, after a warm-up.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
def main(recipe: str, rounds: int, overrides: tuple[str, ...]) -> None:
    """Measure the training step of RECIPE on a processor with two cores or more."""
    try:
        chosen = load_recipe(recipe, [*overrides, "train.precision=float32"])
    except RecipeError as error:
        raise click.ClickException(str(error)) from None
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        multiprocessing.spawn(_measure, (chosen.tables(), rounds, place), nprocs=2)


def _measure(rank: int, tables: dict[str, object], rounds: int, place: str) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank]})
    torch.set_num_threads(1)
    meeting = f"file://{Path(place, 'meeting')}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    recipe = check(tables, "the recipe")
    images = make_plan(recipe).images
    alone = build_trainer(recipe, CPU, images, ALONE)
    together = build_trainer(recipe, CPU, images, Ranks(rank, 2))
    x, y = _batch(recipe)
    mine = [together.ranks.share(each) for each in (x, y)]
    exchanges = Exchanges()
    seconds: dict[str, list[float]] = {"one": [], "two": [], "apart": [], "exchanges": []}
    for round_ in range(rounds + 1):
        distributed.barrier()
        one = _timed(lambda: train_step(alone, x, y).read()) if rank == 0 else 0.0
        distributed.barrier()
        exchanges.seconds = 0.0
        two = _timed(lambda: train_step(together, *mine).read())
        distributed.barrier()
        apart = _timed(lambda: train_step(alone, *mine).read())
        if round_:  # the first one warms up
            for name, value in zip(seconds, (one, two, apart, exchanges.seconds), strict=True):
                seconds[name].append(value)
    bare = [_bare(together) for _ in range(rounds)]
    if rank == 0:
        _show(recipe, {name: statistics.median(values) for name, values in seconds.items()}, bare)
    distributed.destroy_process_group()


def _batch(recipe: Recipe) -> tuple[Tensor, Tensor]:
    size, batch = recipe.dataset.image_size, recipe.train.images_per_step
    generator = torch.Generator().manual_seed(0)
    shape = (batch, recipe.dataset.channels, size, size)
    x, y = (torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))
    return x, y


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _bare(trainer: Trainer) -> float:
    """One exchange of every gradient, both processes at the ready."""
    flat = [
        torch.zeros(sum(each.numel() for each in phase.parameters.values()))
        for phase in trainer.phases
    ]
    distributed.barrier()
    return sum(_timed(lambda each=each: distributed.all_reduce(each)) for each in flat)


def _show(recipe: Recipe, medians: dict[str, float], bare: list[float]) -> None:
    size, batch = recipe.dataset.image_size, recipe.train.images_per_step
    print(f"{recipe.name}, {size}x{size}, batch {batch}, a core and a thread for each process")
    for name, what in (("one", "one process"), ("two", "two"), ("apart", "two, each for itself")):
        ratio = medians["one"] / medians[name]
        print(f"{what:<20} {medians[name]:8.3f} s a step  {ratio:5.2f} × one process")
    share = medians["exchanges"] / medians["two"]
    print(f"in exchanges, waiting for the other included  {share:6.1%}")
    share = statistics.median(bare) / medians["two"]
    print(f"every gradient once, both at the ready        {share:6.1%}")


if __name__ == "__main__":
    main()
