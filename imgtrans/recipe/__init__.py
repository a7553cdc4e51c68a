"""Recipes: what to train, on what, and how; TOML in, one checked model out."""

from __future__ import annotations

from imgtrans.recipe.locking import lock, other_versions, plugin_versions
from imgtrans.recipe.model import Adam, Recipe, Train
from imgtrans.recipe.reading import find_recipe, read_recipe, shipped_recipes, to_toml
from imgtrans.recipe.resuming import Change, changes

__all__ = (
    "Adam",
    "Change",
    "Recipe",
    "Train",
    "changes",
    "find_recipe",
    "lock",
    "other_versions",
    "plugin_versions",
    "read_recipe",
    "shipped_recipes",
    "to_toml",
)
