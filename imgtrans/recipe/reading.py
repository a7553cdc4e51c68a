"""Reads recipes: finds the file, applies ``extends`` and ``--set``, reports every problem.

Merging happens on plain tables before anything is checked, so the whole result is validated once.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from imgtrans.components import Dataset, Generator
from imgtrans.problems import RecipeError, as_toml, describe
from imgtrans.recipe.finding import find_recipe
from imgtrans.recipe.fitting import late_decay, misfits
from imgtrans.recipe.model import Recipe
from imgtrans.recipe.toml import DEEPEST, beyond, parse_toml, read_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from pydantic_core import ErrorDetails


def load_recipe(
    name: str | Path,
    overrides: Sequence[str] = (),
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """Read, merge and check a recipe.

    Args:
        name: a file, or the name of an installed recipe.
        overrides: ``key.key=value``, the value in TOML or a plain word.
        say: shows notes, such as keys that a changed ``use`` discards.

    Raises:
        RecipeError: it cannot be found, read or used; the text lists every problem.
    """
    file = find_recipe(str(name))
    tables = read_toml(file)
    base_name = tables.pop("extends", None)
    if base_name is not None:
        tables = _extend(base_name, tables, file, say)
    wrong = []
    for override in overrides:
        try:
            _override(tables, override, say)
        except RecipeError as error:
            wrong.append(str(error))
    if wrong:
        raise RecipeError("\n".join(wrong))
    where = f"{name} (with --set)" if overrides else str(name)
    return check(tables, where)


def check(tables: dict[str, Any], where: str) -> Recipe:
    """A recipe from tables.

    Raises:
        RecipeError: with every problem, in the notation of the file.
    """
    if reason := beyond(tables):  # as a model file's recipe may be, which is JSON
        message = f"{where}: {reason}"
        raise RecipeError(message)
    # TOML has JSON's types, so as JSON every value must be of its field's type, and nothing is
    # made to fit: neither "yes" into true nor true into 1. An array still becomes a tuple.
    text = json.dumps(tables, default=str)
    plugins = tables.get("plugins")
    context = {"plugins": plugins if isinstance(plugins, dict) else {}}
    try:
        return Recipe.model_validate_json(text, strict=True, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise describe([*found, *_between_tables(tables, found)], Recipe, tables, where) from None


def _between_tables(tables: dict[str, Any], found: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Problems between keys that are right by themselves, which other problems would hide."""
    parts: dict[str, Any] = {}
    for name, kind in (("dataset", Dataset), ("fallback", Dataset), ("generator", Generator)):
        with suppress(ValidationError):
            text = json.dumps(tables.get(name), default=str)
            parts[name] = TypeAdapter(kind).validate_json(text, strict=True)
    between = misfits(parts)
    train = tables.get("train")
    if isinstance(train, dict):
        steps, decay = (train.get(name) for name in ("steps", "decay_steps"))
        late = late_decay(decay, steps) if type(steps) is int and type(decay) is int else None
        between += [{**late, "loc": ("train", *late["loc"])}] if late else []
    told = {each["loc"] for each in found}
    if ("train", "steps") in told:
        told.add(("train", "decay_steps"))
    new = [each for each in between if each["loc"] not in told]
    return ValidationError.from_exception_data("recipe", new).errors() if new else []


def _extend(
    base_name: object, tables: dict[str, Any], file: Traversable, say: Callable[[str], None]
) -> dict[str, Any]:
    if not isinstance(base_name, str):
        message = f"{file}: extends = {as_toml(base_name)} must be a recipe's name or file"
        raise RecipeError(message)
    try:
        base_file = find_recipe(base_name, Path(str(file)).parent)
    except RecipeError as error:
        message = f"{file}: extends = {as_toml(base_name)}: {error}"
        raise RecipeError(message) from None
    base = read_toml(base_file)
    if "extends" in base:
        message = (
            f"{file} extends {base_name}, which itself extends {as_toml(base['extends'])}; "
            "only one level is read: extend the last one and repeat what differs"
        )
        raise RecipeError(message)
    _merge(base, tables, (), say)
    return base


def _merge(
    base: dict[str, Any],
    over: Mapping[str, Any],
    path: tuple[str, ...],
    say: Callable[[str], None],
) -> None:
    for key, value in over.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            if "use" in value:
                _choose(below, value["use"], (*path, key), say)
            _merge(below, value, (*path, key), say)
        else:
            base[key] = value


def _choose(
    table: dict[str, Any], use: object, path: tuple[str, ...], say: Callable[[str], None]
) -> None:
    """Another component takes over a table: the old one's keys would not fit it."""
    old = table.get("use")
    others = [key for key in table if key != "use"]
    if old is not None and others and not _may_be_same(old, use):
        say(
            f"[{'.'.join(path)}] use is now {as_toml(use)} instead of {as_toml(old)}; "
            f"discarded the keys of the old one: {', '.join(others)}"
        )
        table.clear()
    table["use"] = use


def _may_be_same(old: object, use: object) -> bool:
    """Whether two names may mean one component: the short form of a full name does.

    Where the short form means another plugin's too, it is refused as ambiguous later.
    """
    one, other = str(old).rpartition("/"), str(use).rpartition("/")
    return one[2] == other[2] and (one[0] == other[0] or not one[0] or not other[0])


def _override(tables: dict[str, Any], override: str, say: Callable[[str], None]) -> None:
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in keys):
        message = f'--set {override}: write key.key=value, such as "train.steps=100"'
        raise RecipeError(message)
    if len(keys) > DEEPEST:
        message = f"--set {as_toml(override)}: a key has more than {DEEPEST} parts"
        raise RecipeError(message)
    table: Any = tables
    for depth, key in enumerate(keys[:-1]):
        if isinstance(table.get(key), str):
            table[key] = {"use": table[key]}  # the short form: block = "haar"
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            message = f"--set {override}: {'.'.join(keys[: depth + 1])} is a value, not a table"
            raise RecipeError(message)
    value = _value(text.strip())
    if keys[-1] == "use" and len(keys) > 1:
        _choose(table, value, tuple(keys[:-1]), say)
    else:
        table[keys[-1]] = value


def _value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as a file that reads back as an equal recipe.

    Raises:
        RecipeError: a component has a value that TOML cannot hold.
    """
    try:
        return tomli_w.dumps(recipe.tables())
    except (TypeError, ValueError) as error:
        message = f"{recipe.name} cannot be saved as a recipe: {error} (TOML has no null in arrays)"
        raise RecipeError(message) from None
