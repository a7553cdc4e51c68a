"""Recipes: what to train, on what, and how; TOML in, one checked model out."""

from __future__ import annotations

from imgtrans.recipe.finding import find_recipe, shipped_recipes
from imgtrans.recipe.locking import classes_of, local_classes, lock, other_versions, plugin_versions
from imgtrans.recipe.model import Adam, Recipe, Train
from imgtrans.recipe.reading import load_recipe, to_toml
from imgtrans.recipe.resuming import Change, changes

__all__ = (
    "Adam",
    "Change",
    "Recipe",
    "Train",
    "changes",
    "classes_of",
    "find_recipe",
    "load_recipe",
    "local_classes",
    "lock",
    "other_versions",
    "plugin_versions",
    "shipped_recipes",
    "to_toml",
)
