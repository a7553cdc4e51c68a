"""What every component of every kind promises."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Final

import tomli_w

from imgtrans.components import kind_noun
from imgtrans.testing.material import CheckError, example

if TYPE_CHECKING:
    from imgtrans.components import Component

SECONDS: Final = 1.0
"""Importing a plugin's module may take so long, once imgtrans is imported."""

_IMPORT = """
import sys, time
sys.modules["torch"] = None
import imgtrans.components, imgtrans.hooks
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def imports_quickly_and_without_torch(component: type[Component]) -> None:
    """Listing components imports every plugin, and must not wait seconds for torch."""
    module = component.__module__
    done = subprocess.run(  # noqa: S603 - this Python, and a module that is imported already
        [sys.executable, "-c", _IMPORT.format(module=module)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    if done.returncode:
        cause = (done.stderr.strip().splitlines() or ["it ends Python"])[-1]
        message = f"{module} cannot be imported in a fresh process: {cause}"
        if "torch" in cause:
            message += "; import torch, and what needs it, inside `build` or in a second module"
        raise CheckError(message)
    seconds = float(done.stdout.splitlines()[-1])
    if seconds > SECONDS:
        message = (
            f"importing {module} took {seconds:.1f} s (at most {SECONDS} s): import what is slow "
            "inside `build`"
        )
        raise CheckError(message)


def has_a_summary(component: type[Component]) -> None:
    """``list-components`` shows the first line of the class's own docstring."""
    summary = component.summary()
    if not summary or len(summary) > 100:
        message = (
            f"give {component.__name__} a docstring whose first line says in at most 100 "
            f"characters what it is; it is {summary!r}"
        )
        raise CheckError(message)


def describes_its_fields(component: type[Component]) -> None:
    """``show``, editors and the report explain fields by their descriptions."""
    bare = [name for name, field in component.model_fields.items() if not field.description]
    if bare:
        message = (
            f"{component.__name__}.{bare[0]} has no description: "
            f'{bare[0]}: … = Field(…, description="…") with its unit and its meaning'
        )
        raise CheckError(message)


def is_made_from_defaults_or_an_example(component: type[Component]) -> None:
    """The smallest recipe table, ``use`` alone or the declared example, is valid."""
    example(component)


def survives_a_recipe(component: type[Component]) -> None:
    """What a run saves in its recipe is read again as the same component."""
    made = example(component)
    tables = made.model_dump(mode="json", exclude_none=True)
    try:
        read = tomllib.loads(tomli_w.dumps(tables))
        again = component.model_validate_json(json.dumps(read), strict=True)  # as recipes are
    except (TypeError, ValueError) as error:
        message = (
            f"the fields of {component.__name__} cannot be saved in a recipe and read again: "
            f"{error}; use types that TOML has, or give the field a serializer and a validator"
        )
        raise CheckError(message) from error
    if again != made:
        message = (
            f"{component.__name__} changes when it is saved in a recipe and read again: {made!r} "
            f"became {again!r}; a validator must leave alone what it has made"
        )
        raise CheckError(message)


def pickles(component: type[Component]) -> None:
    """Processes that read data get their components pickled."""
    made = example(component)
    try:
        again = pickle.loads(pickle.dumps(made))  # noqa: S301 - what was pickled right here
    except Exception as error:
        message = (
            f"the {kind_noun(component)} {component.__name__} cannot be pickled ({error}): define "
            "its class at a module's top level, and keep open files and functions out of it"
        )
        raise CheckError(message) from error
    if again != made:
        message = f"{component.__name__} changes when it is pickled: {made!r} became {again!r}"
        raise CheckError(message)


CHECKS: Final = (
    imports_quickly_and_without_torch,
    has_a_summary,
    describes_its_fields,
    is_made_from_defaults_or_an_example,
    survives_a_recipe,
    pickles,
)
