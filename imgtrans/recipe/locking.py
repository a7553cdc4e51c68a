"""Which versions of which plugins a recipe was made with, and which are here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from imgtrans.components import Component
from imgtrans.plugins import LOCAL, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.recipe.model import Recipe


def lock(recipe: Recipe) -> Recipe:
    """The recipe with the packages, as they are here, that its components come from."""
    return recipe.model_copy(update={"plugins": plugin_versions(recipe)})


def plugin_versions(recipe: Recipe) -> dict[str, str]:
    """Plugin name to ``distribution version`` of every plugin that a recipe uses."""
    used = {name.rpartition("/")[0] for name in _uses(recipe.tables()) if "/" in name}
    plugins = registry().plugins
    return {name: plugins[name].package for name in sorted(used) if name in plugins}


def local_classes(recipe: Recipe) -> list[str]:
    """Names of the classes of one's own program that a recipe is made with."""
    local = {name for name in _uses(recipe.tables()) if name.startswith(LOCAL)}
    return sorted(name.rpartition(".")[2] for name in local)


def classes_of(value: Any) -> Iterator[type[Component]]:
    """The class of every component in a recipe, however deep."""
    if isinstance(value, Component):
        yield type(value)
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for each in value:
            yield from classes_of(each)


def _uses(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("use"), str):
            yield value["use"]
        for inner in value.values():
            yield from _uses(inner)


def other_versions(recipe: Recipe) -> list[str]:
    """A line for each plugin that is here in another version than the recipe was made with."""
    here = plugin_versions(recipe)
    return [
        f'plugin "{name}" is {here[name]} here and was {before} when the recipe was made; '
        "results may differ"
        for name, before in recipe.plugins.items()
        if name in here and here[name] != before
    ]
