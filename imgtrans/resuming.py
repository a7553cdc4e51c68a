"""The run to continue: which one it is, with what recipe, and whether it may go on.

Everything that would make a continued run a wrong one is refused here, before any training.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtrans.monitor.folder import RunFolder, open_run, unfinished
from imgtrans.opening import generated
from imgtrans.problems import DataNotFoundError, ImgtransError, RecipeError
from imgtrans.recipe import Change, Recipe, changes, load_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.monitor.display import Display


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
    own = load_recipe(file)
    if asked is None:
        asked = load_recipe(file, overrides, say=display.say)
    elif generated(folder) and asked.fallback is not None:
        asked = asked.model_copy(update={"dataset": asked.fallback})
    asked = _same_start(own, asked)
    aside = ("name", "fallback", "plugins")
    found = [c for c in changes(own, asked) if c.key.partition(".")[0] not in aside]
    if not any(override.startswith("dataset.") for override in overrides):
        # The run's own images are used, wherever the recipe's would be looked up today.
        kept = [c for c in found if c.free and c.key.startswith("dataset.") and not _found(c)]
        found = [c for c in found if not (c.free and c.key.startswith("dataset."))]
        asked = (
            asked.model_copy(update={"dataset": own.dataset}) if _same_kind(own, asked) else asked
        )
        for change in kept:
            display.say(
                f"the run keeps its own images, so this change is left out: {change}; "
                f"to make it: --set {change.key}=…"
            )
    _refuse_fixed(folder.path, found)
    for change in found:
        display.say(f"changed since the run began: {change}")
    kept_as_is = {"name": own.name, "fallback": None, "plugins": own.plugins}
    return folder, asked.model_copy(update=kept_as_is)


def _same_start(own: Recipe, asked: Recipe) -> Recipe:
    """A run saves the whole path that it started from; a recipe may name it from anywhere."""
    before, after = own.train.start_from, asked.train.start_from
    if before is None or after is None:
        return asked
    whole = os.path.abspath(Path(after).expanduser())  # noqa: PTH100 - as it was saved
    if whole == before or _found(Change("train.start_from", before, after, free=False)):
        train = asked.train.model_copy(update={"start_from": before})
        return asked.model_copy(update={"train": train})
    return asked


def _found(change: Change) -> bool:
    """Whether a path differs only in that the run has saved it whole, as it was found."""
    before, after = change.before, change.after
    whole = isinstance(before, str) and isinstance(after, str)
    return whole and Path(before).parts[-len(Path(after).parts) :] == Path(after).parts


def _refuse_fixed(run: Path, found: Sequence[Change]) -> None:
    fixed = [change for change in found if not change.free]
    if fixed:
        listed = "\n".join(f"    {change}" for change in fixed)
        message = (
            f"{run} cannot be continued with this recipe; it differs in\n{listed}\n"
            "  undo these changes, or start a new run without --resume"
        )
        raise RecipeError(message)


def check_same_recipe(run: Path, before: Recipe, now: Recipe) -> None:
    """A checkpoint's own recipe, whose hash was verified, against the one to continue with.

    Raises:
        RecipeError: something differs that would make the continued run a wrong one.
    """
    _refuse_fixed(run, [c for c in changes(before, now) if c.key.partition(".")[0] != "fallback"])


def check_same_images(before: Mapping[str, Any], fingerprint: str, data: str) -> None:
    """What the images were, as a checkpoint or ``environment.json`` tells, against what they are.

    Raises:
        ImgtransError: the list of training images is another.
    """
    if before.get("fingerprint") not in (None, fingerprint):
        then = f"\n  data then: {before['data']}" if "data" in before else ""
        message = (
            "the training images are not those that the run began with: files were added, removed "
            f"or renamed\n  data now: {data}{then}\n"
            "  restore them, or start a new run without --resume"
        )
        raise ImgtransError(message)


def _same_kind(own: Recipe, asked: Recipe) -> bool:
    return type(own.dataset) is type(asked.dataset)


def check_environment(before: dict[str, Any], now: dict[str, Any], display: Display) -> None:
    """What must be the same for a continued run to equal an uninterrupted one.

    Raises:
        ImgtransError: the list of training images is another.
    """
    check_same_images(before, now["fingerprint"], now["data"])
    alike = ["device", "torch"]
    if before.get("processes", 1) == now["processes"]:
        alike.append("threads")
    else:
        display.warn(
            f"trained by {_processes(before.get('processes', 1))} before and by "
            f"{_processes(now['processes'])} now: the images and their order are the same, sums "
            "are rounded differently"
        )
    for key in alike:
        if key in before and before[key] != now[key]:
            display.warn(
                f"{key} was {before[key]} before and is {now[key]} now; "
                "results may differ from an uninterrupted run"
            )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
