"""What a run works on: the data a recipe names or falls back to, and the run it continues.

Everything that can be refused is refused here, before any training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from imgtrans.building import build_trainer
from imgtrans.monitor.display import duration
from imgtrans.monitor.folder import RunFolder, open_run, unfinished
from imgtrans.problems import DataNotFoundError, ImgtransError, NoHeldOutError, RecipeError
from imgtrans.recipe import Recipe, changes, read_recipe
from imgtrans.training import train_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgtrans.components import Images
    from imgtrans.monitor.display import Display


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
    stands_in = run is not None and generated(run)
    try:
        dataset = recipe.dataset.prepare(recipe.domains, display.say)
    except DataNotFoundError as error:
        if recipe.fallback is None or run is not None:
            raise
        _announce_fallback(recipe, error, display, device)
        stands_in = True
        dataset = recipe.fallback.prepare(recipe.domains, display.say)
        recipe = recipe.model_copy(update={"name": f"{recipe.name}-generated"})
    recipe = recipe.model_copy(update={"dataset": dataset, "fallback": None})
    train = dataset.build("train", recipe.domains)
    try:
        test, held_out = dataset.build("test", recipe.domains), True
    except NoHeldOutError as error:
        display.warn(f"{error}; sample grids show training images")
        test, held_out = train, False
    _refuse_unpaired(recipe, train)
    return Data(recipe, train, test, stands_in, held_out)


def generated(run: RunFolder) -> bool:
    """Whether a run began on generated images in place of those its recipe names."""
    return run.read("environment.json").get("generated") is True


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
    spent = duration(_seconds_per_step(recipe, device) * recipe.train.steps)
    display.warn(
        f"{error}\n\n"
        f"  THE IMAGES OF THIS RECIPE ARE NOT HERE: TRAINING ON GENERATED ONES INSTEAD.\n"
        f"  This takes about {spent} here, and its results say nothing about the photographs.\n"
        "  To see in minutes what imgtrans does, stop this and use: imgtrans run quickstart\n"
    )


def _seconds_per_step(recipe: Recipe, device: torch.device) -> float:
    """Measured on a throw-away copy and two images a domain, scaled to the batch."""
    from imgtrans.plan import make_plan

    few = min(2, recipe.train.batch_size)
    trainer = build_trainer(recipe, device, make_plan(recipe).images)
    size, channels = recipe.dataset.image_size, recipe.dataset.channels
    images = torch.zeros(few, channels, size, size, device=device, dtype=trainer.dtype)
    images.uniform_(-1, 1)
    start = 0.0
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        train_step(trainer, images, images)
    return (time.perf_counter() - start) * recipe.train.batch_size / few


def find_run(recipe: Recipe, display: Display) -> RunFolder | None:
    """The newest unfinished run of a recipe; one on generated images only where there is no other.

    A run on the named images is never continued on generated ones, nor the other way round.
    """
    folder = unfinished(recipe.name)
    if folder is None and recipe.fallback is not None:
        folder = unfinished(f"{recipe.name}-generated")
        if folder is not None and _has_data(recipe):
            display.say(f"{folder.path} used generated images, but the named ones are here now")
            folder = None
    if folder is None:
        display.say(f"there is no unfinished run of {recipe.name}; starting one")
    return folder


def _has_data(recipe: Recipe) -> bool:
    try:
        recipe.dataset.build("train", recipe.domains)
    except DataNotFoundError:
        return False
    return True


def open_resumed(
    run: Path | RunFolder, asked: Recipe | None, overrides: Sequence[str], display: Display
) -> tuple[RunFolder, Recipe]:
    """A run to continue, and the recipe to continue it with: its own, with what may change.

    Args:
        run: its folder, or its name under ``runs``.
        asked: the recipe that was given beside it; None takes the run's own.
        overrides: ``--set`` values; already part of ``asked`` where that is given.
        display: told what changes.

    Raises:
        RecipeError: something differs that would make the continued run a wrong one.
    """
    folder = run if isinstance(run, RunFolder) else open_run(run)
    file = str(folder.path / "recipe.toml")
    own = read_recipe(file)
    if asked is None:
        asked = read_recipe(file, overrides, say=display.say)
    elif generated(folder) and asked.fallback is not None:
        asked = asked.model_copy(update={"dataset": asked.fallback})
    found = [c for c in changes(own, asked) if c.key != "name" and not c.key.startswith("fallback")]
    if not any(override.startswith("dataset.") for override in overrides):
        # The run's own images are used, wherever the recipe's would be looked up today.
        found = [c for c in found if not (c.free and c.key.startswith("dataset."))]
        asked = (
            asked.model_copy(update={"dataset": own.dataset}) if _same_kind(own, asked) else asked
        )
    fixed = [change for change in found if not change.free]
    if fixed:
        listed = "\n".join(f"    {change}" for change in fixed)
        message = (
            f"{folder.path} cannot be continued with this recipe; it differs in\n{listed}\n"
            "  undo these changes, or start a new run without --resume"
        )
        raise RecipeError(message)
    for change in found:
        display.say(f"changed since the run began: {change}")
    return folder, asked.model_copy(update={"name": own.name, "fallback": None})


def _same_kind(own: Recipe, asked: Recipe) -> bool:
    return type(own.dataset) is type(asked.dataset)


def check_environment(before: dict[str, Any], now: dict[str, Any], display: Display) -> None:
    """What must be the same for a continued run to equal an uninterrupted one.

    Raises:
        ImgtransError: the list of training images is another.
    """
    if before.get("fingerprint") not in (None, now["fingerprint"]):
        message = (
            "the training images are not those that the run began with: files were added, removed "
            f"or renamed\n  data now: {now['data']}\n  data then: {before.get('data')}\n"
            "  restore them, or start a new run without --resume"
        )
        raise ImgtransError(message)
    for key in ("threads", "device", "torch", "plugins"):
        if key in before and before[key] != now[key]:
            display.warn(
                f"{key} was {before[key]} when the run began and is {now[key]} now; "
                "results may differ from an uninterrupted run"
            )


def dry_run_data(recipe: Recipe) -> str:
    """What images a run would find now; downloads nothing."""
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
    return Data(recipe, train, test, stands_in=False, held_out=True).describe()
