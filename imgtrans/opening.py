"""What a run works on: the images that a recipe names, downloads or falls back to.

Everything that can be refused is refused here, before any training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from imgtrans.building import build_trainer
from imgtrans.monitor.display import duration
from imgtrans.problems import DataNotFoundError, NoHeldOutError, RecipeError
from imgtrans.recipe import lock, other_versions
from imgtrans.training import train_step

if TYPE_CHECKING:
    from imgtrans.components import Images
    from imgtrans.monitor.display import Display
    from imgtrans.monitor.folder import RunFolder
    from imgtrans.recipe import Recipe


@dataclass(frozen=True)
class Data:
    """The images of a recipe."""

    recipe: Recipe
    """With its dataset found: every path absolute; the fallback's where that stands in."""
    train: Images
    test: Images
    stands_in: bool
    """Whether generated images stand in for the ones that the recipe names."""
    held_out: bool
    """Whether ``test`` is a split of its own."""

    def describe(self) -> str:
        """Both domains with their numbers of images."""
        domains = " · ".join(
            f"{name} {len(images):,}"
            for name, images in zip(self.recipe.domains, (self.train.x, self.train.y), strict=True)
        )
        paired = ", each with its true counterpart" if self.test.paired else ""
        held = f"{len(self.test.x):,} · {len(self.test.y):,} held out{paired}"
        return f"{domains} to train on; {held if self.held_out else 'none held out'}"


def find_data(
    recipe: Recipe, display: Display, device: torch.device, run: RunFolder | None = None
) -> Data:
    """Find, download or replace a recipe's images.

    Args:
        recipe: says what images.
        display: told what is downloaded, and loudly what stands in.
        device: to estimate how long a training on a fallback takes.
        run: the one that is continued, on images of the kind it began with.

    Raises:
        DataNotFoundError: they are missing, cannot be downloaded, and there is no fallback.
        ImgtransError: they cannot be used; the text says why.
    """
    for line in other_versions(recipe):
        display.warn(line)
    stands_in = run is not None and generated(run)
    if stands_in:
        display.warn("this run is on GENERATED IMAGES: its results say nothing about photographs")
    try:
        dataset = recipe.dataset.prepare(recipe.domains, display.say)
    except DataNotFoundError as error:
        if run is not None:
            message = f"{error}\n  or, if they have moved since: --set dataset.root=FOLDER"
            raise DataNotFoundError(message) from error
        if recipe.fallback is None:
            raise
        recipe = recipe.model_copy(
            update={"dataset": recipe.fallback, "name": f"{recipe.name}-generated"}
        )
        _announce_fallback(recipe, error, display, device)
        stands_in = True
        dataset = recipe.dataset.prepare(recipe.domains, display.say)
    recipe = lock(recipe.model_copy(update={"dataset": dataset, "fallback": None}))
    train = dataset.build("train", recipe.domains)
    try:
        test, held_out = dataset.build("test", recipe.domains), True
    except NoHeldOutError as error:
        display.warn(f"{error}; sample grids show training images")
        test, held_out = train, False
    _refuse_unpaired(recipe, train)
    return Data(recipe, train, test, stands_in, held_out)


def generated(run: RunFolder) -> bool:
    """Whether a run began on generated images in place of those its recipe names.

    Its folder's name tells too, should ``environment.json`` be lost.
    """
    told = run.read("environment.json").get("generated")
    return bool(told) if told is not None else "-generated" in run.path.name


def _refuse_unpaired(recipe: Recipe, train: Images) -> None:
    asking = [name for name, loss in recipe.loss.items() if loss.needs_pairs]
    if asking and not train.paired:
        message = (
            f"[loss.{asking[0]}] needs pairs of images that show the same scene, "
            "but the training images of [dataset] are unpaired"
        )
        raise RecipeError(message)


def _announce_fallback(
    recipe: Recipe, error: DataNotFoundError, display: Display, device: torch.device
) -> None:
    size = recipe.dataset.image_size
    spent = duration(_seconds_per_step(recipe, device) * recipe.train.steps)
    display.warn(
        f"THE IMAGES OF THIS RECIPE ARE NOT HERE: TRAINING ON GENERATED ONES INSTEAD.\n"
        f"  This takes about {spent} here, and its results say nothing about the photographs.\n"
        "  To see in minutes what imgtrans does, stop this and use: imgtrans run quickstart\n"
        f"  The keys of [fallback] count, not those of [dataset]: {size}×{size} pixels.\n\n"
        f"  Why: {error}\n"
    )


def _seconds_per_step(recipe: Recipe, device: torch.device) -> float:
    """Measured on a throw-away copy and two images a domain, scaled to the batch."""
    from imgtrans.plan import make_plan

    few, parts = min(2, recipe.train.batch_size), recipe.train.accumulate
    trainer = build_trainer(recipe, device, make_plan(recipe).images)
    size, channels = recipe.dataset.image_size, recipe.dataset.channels
    images = torch.zeros(few * parts, channels, size, size, device=device, dtype=trainer.dtype)
    images.uniform_(-1, 1)
    start = 0.0
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        train_step(trainer, images, images).read()
    return (time.perf_counter() - start) * recipe.train.batch_size / few


def dry_run_data(recipe: Recipe) -> str:
    """What images a run would find now; downloads nothing.

    Raises:
        RecipeError: a loss needs pairs, and they are none.
    """
    try:
        train = recipe.dataset.build("train", recipe.domains)
        test = recipe.dataset.build("test", recipe.domains)
    except NoHeldOutError:
        return Data(recipe, train, train, stands_in=False, held_out=False).describe()
    except DataNotFoundError as error:
        download = getattr(recipe.dataset, "download", None)
        then = "a run would download it" if download else "a run would stop here"
        if recipe.fallback is not None:
            then += "; where that fails it would use generated images, with a warning"
        return f"{error}\n{then}"
    _refuse_unpaired(recipe, train)
    return Data(recipe, train, test, stands_in=False, held_out=True).describe()
