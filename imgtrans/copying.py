"""Copies a recipe to where it is edited, with the schema that editors complete it from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from imgtrans.problems import RecipeError
from imgtrans.recipe import find_recipe, load_recipe, to_toml
from imgtrans.schema import recipe_schema

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
    original = load_recipe(name)
    lines = find_recipe(name).read_text(encoding="utf-8-sig").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#:schema"))
    schema = file.parent / SCHEMA
    try:
        schema.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(_headed(text))
        if not _means(file, original.tables()):
            file.write_text(_headed(to_toml(original)), encoding="utf-8")
        schema.write_text(json.dumps(recipe_schema(), indent=1), encoding="utf-8")
    except FileExistsError:
        message = f"{file} exists, and nothing is written over; choose another name"
        raise RecipeError(message) from None
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
