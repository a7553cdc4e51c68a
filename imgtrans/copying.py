"""Copies a recipe to where it is edited, with the schema that editors complete it from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from imgtrans.problems import RecipeError
from imgtrans.recipe import find_recipe, load_recipe, to_toml
from imgtrans.schema import as_json, recipe_schema

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = ".imgtrans/recipe.schema.json"


def copy_recipe(name: str, file: Path) -> list[Path]:
    """Write a recipe to a new file, and the schema of what is installed beside it.

    The text is copied as it is, comments too; unless it extends a file that cannot be reached
    from its new place: then the resolved recipe is written.

    Args:
        name: a recipe's file, or its name.
        file: must not be there yet.

    Returns:
        The files written.

    Raises:
        RecipeError: there is no such recipe, it is wrong, or the file is there or cannot be made.
    """
    original, schema_text = load_recipe(name), as_json(recipe_schema())
    lines = find_recipe(name).read_text(encoding="utf-8-sig").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#:schema"))
    schema = file.parent / SCHEMA
    if os.path.lexists(file):
        message = f"{file} exists, and nothing is written over; choose another name"
        raise RecipeError(message)
    try:
        schema.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(schema_text, encoding="utf-8")
        with file.open("x", encoding="utf-8") as opened:
            opened.write(_headed(text))
        if not _means(file, original.tables()):
            file.write_text(_headed(to_toml(original)), encoding="utf-8")
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise RecipeError(message) from None
    return [file, schema]


def _headed(text: str) -> str:
    return f"#:schema {SCHEMA}\n\n{text.lstrip()}"  # Tombi wants the empty line


def _means(file: Path, tables: object) -> bool:
    """Whether a file is the same recipe."""
    try:
        return load_recipe(str(file)).tables() == tables
    except RecipeError:
        return False
