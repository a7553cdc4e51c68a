"""Finds recipes: files, and what installed packages bring, by name."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

from imgtrans.problems import RecipeError, did_you_mean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def shipped_recipes() -> dict[str, Traversable]:
    """Recipes that installed packages bring, by name; a plugin's also as ``plugin/name``."""
    from imgtrans.plugins import registry

    package = importlib.resources.files("imgtrans")
    inside = package / "recipes"  # in a wheel; in a checkout they stand beside the package
    folder = inside if inside.is_dir() else Path(str(package)).parent / "recipes"
    found = _recipes_in(folder)
    for plugin in registry().load_all():
        for each in plugin.recipes:
            for name, file in _recipes_in(each).items():
                found[f"{plugin.name}/{name}"] = file
    return found


def _recipes_in(folder: Traversable) -> dict[str, Traversable]:
    if not folder.is_dir():
        return {}
    files = [file for file in folder.iterdir() if file.name.endswith(".toml") and file.is_file()]
    return {file.name.removesuffix(".toml"): file for file in sorted(files, key=lambda f: f.name)}


def find_recipe(name: str, beside: Path | None = None) -> Traversable:
    """A recipe file, or an installed recipe by its name.

    Args:
        name: a path, or a name such as ``cyclegan_yosemite``.
        beside: the folder that a relative path starts from; default: the current one.

    Raises:
        RecipeError: there is no such recipe.
    """
    try:
        path = (beside or Path()) / Path(name).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # a name that is too long; a home that is not there
        message = f"{name[:80]} is no recipe: {error}"
        raise RecipeError(message) from None
    shipped = shipped_recipes()
    matches = [full for full in shipped if name in (full, full.rpartition("/")[2])]
    if name in shipped or len(matches) == 1:
        return shipped[name if name in shipped else matches[0]]
    if len(matches) > 1:
        message = f'several recipes are called "{name}": {", ".join(matches)}; write the full name'
        raise RecipeError(message)
    stem = Path(name).stem
    guess = f"; did you mean the installed recipe {stem}?" if stem in shipped else (
        did_you_mean(stem, shipped)
    )  # fmt: skip
    message = (
        f"there is no recipe {name}{guess}\n"
        f"  a recipe is a TOML file or one of: {', '.join(shipped) or 'none installed'}"
    )
    raise RecipeError(message)
