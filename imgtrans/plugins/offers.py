"""What a plugin's module offers, checked: whatever is wrong is a ``TypeError`` that says so."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PydanticUndefinedAnnotation

from imgtrans.components import KINDS, Component, is_abstract
from imgtrans.hooks import HOOKS
from imgtrans.problems import did_you_mean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path


def check_hooks(module: Any, name: str) -> None:
    """Catch misspelt hooks, which pluggy would leave unseen, and modules without any.

    Raises:
        TypeError: the text says which.
    """
    known = {*HOOKS.values(), "imgtrans_recipes"}
    for attribute in dir(module):
        value = getattr(module, attribute, None)
        marked = hasattr(value, "imgtrans_impl")
        if attribute in known and callable(value) and not marked:
            message = f'"{attribute}" is not marked: put @hookimpl above it'
            raise TypeError(message)
        if marked and attribute not in known:
            message = f'"{attribute}" is no hook of imgtrans{did_you_mean(attribute, known)}'
            raise TypeError(message)
    if not any(hasattr(getattr(module, hook, None), "imgtrans_impl") for hook in known):
        message = f'plugin "{name}" implements no hook; mark its functions with @hookimpl'
        raise TypeError(message)


def check_offer(kind: str, offered: Any) -> dict[str, type[Component]]:
    """What the hook of a kind returned, if it is what the hook promises.

    Raises:
        TypeError: it is something else; the text says what.
    """
    hook, base = HOOKS[kind], KINDS[kind]
    if offered is None:
        return {}
    if not isinstance(offered, Mapping):
        message = f"{hook} must return a mapping of names to classes, not {offered!r}"
        raise TypeError(message)
    for key, component in offered.items():
        if not isinstance(key, str) or not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", key):
            message = f"{hook}: {key!r} is no name: use lower-case letters, digits and . _ -"
            raise TypeError(message)
        if not isinstance(component, type) or not issubclass(component, base):
            message = f'{hook}: "{key}" must be a subclass of {base.__name__}, not {component}'
            raise TypeError(message)
        if is_abstract(component):
            missing = ", ".join(sorted(component.__abstractmethods__))
            message = f'{hook}: "{key}" does not define {missing}'
            raise TypeError(message)
        _prepare(hook, key, component)
        same = next(name for name, other in offered.items() if other is component)
        if same != key:
            message = f'{hook}: "{same}" and "{key}" are one class; a class has one name'
            raise TypeError(message)
    return dict(offered)


def _prepare(hook: str, key: str, component: type[Component]) -> None:
    """Let pydantic look at the fields' types now, and not when a recipe first names it."""
    try:
        component.model_rebuild(raise_errors=True)
    except PydanticUndefinedAnnotation as error:
        message = (
            f'{hook}: "{key}" has a field whose type cannot be found: {error.message}; import '
            "it outside of `if TYPE_CHECKING`"
        )
        raise TypeError(message) from error


def check_recipes(offered: Any) -> list[Traversable]:
    """The folders that a plugin's recipes are in.

    Raises:
        TypeError: they are something else; the text says what.
    """
    hook = "imgtrans_recipes"
    if offered is None:
        return []
    if isinstance(offered, str) or not hasattr(offered, "__iter__"):
        message = f"{hook} must return a list of folders, not {offered!r}"
        raise TypeError(message)
    folders = list(offered)
    for folder in folders:
        if not hasattr(folder, "iterdir"):
            message = (
                f"{hook} must return folders as importlib.resources.files or pathlib give them, "
                f"not {folder!r}"
            )
            raise TypeError(message)
    return folders


def import_file(path: Path) -> Any:
    """A Python file as a module of a name that no other module has."""
    name = f"imgtrans_file_{path.stem}"  # a file may be called as torch or numpy are
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} is not a Python module"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic and pickle look a class's module up by its name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
