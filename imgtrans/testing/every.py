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
from imgtrans.testing.errors import CheckError, in_short
from imgtrans.testing.examples import example, given

if TYPE_CHECKING:
    from imgtrans.components import Component

SECONDS: Final = 1.0
"""Importing a plugin's module may take so long, once imgtrans is imported."""
TRIES: Final = 3
"""The best counts: other programs run too."""

_IMPORT = """
import contextlib, importlib.machinery, json, sys, time, traceback
import imgtrans.components, imgtrans.hooks

asked = []

class Torch:
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "torch" else None

    def create_module(self, spec):
        frames = [f for f in traceback.extract_stack() if not f.filename.startswith("<")]
        asked.append(f"{frames[-1].filename}, line {frames[-1].lineno}")
        raise ImportError("not here")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Torch())
start, ended = time.perf_counter(), False
try:
    with contextlib.redirect_stdout(sys.stderr):
        importlib.import_module(sys.argv[1])
    ended = True
finally:
    print(json.dumps([time.perf_counter() - start, ended, *asked]))
"""
"""Imports a module where asking for torch, whoever does and why, is noted instead of slow."""


def imports_quickly_and_without_torch(component: type[Component]) -> None:
    """Listing components imports every plugin, and must not wait seconds for torch."""
    # A class may lie elsewhere than the hooks, and each module be slow by itself.
    for module in dict.fromkeys((given().module or component.__module__, component.__module__)):
        seconds = float("inf")
        for _ in range(TRIES):
            seconds = min(seconds, _import_seconds(module))
            if seconds <= SECONDS:
                break
        else:
            message = (
                f"importing {module} took {seconds:.1f} s (at most {SECONDS} s): import what is "
                "slow inside `build`"
            )
            raise CheckError(message)


def _import_seconds(module: str) -> float:
    done = subprocess.run(  # noqa: S603 - this Python, and a module that is imported already
        [sys.executable, "-c", _IMPORT, module],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    seconds, ended, *asked = json.loads(done.stdout.partition("\n")[0] or "[0, false]")
    if asked:
        message = (
            f"importing {module} imports torch ({asked[0]}): import torch, and what needs it, "
            "inside `build` or in a second module that is imported there"
        )
        raise CheckError(message)
    if not ended:
        cause = (done.stderr.strip().splitlines() or ["it ends Python"])[-1]
        message = (
            f"{module} cannot be imported in a fresh process: {cause}; let it depend on nothing "
            "that a test sets up"
        )
        raise CheckError(message)
    return float(seconds)


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
    try:
        tables = made.model_dump(mode="json", exclude_none=True)
        read = tomllib.loads(tomli_w.dumps(tables))
        again = component.model_validate_json(json.dumps(read), strict=True)  # as recipes are
    except Exception as error:
        message = (
            f"the fields of {component.__name__} cannot be saved in a recipe and read again: "
            f"{error}; use types that TOML has, or give the field a serializer and a validator"
        )
        raise CheckError(message) from error
    _require_equal(component, made, again, "saved in a recipe and read again")


def _require_equal(
    component: type[Component], made: Component, again: Component, what: str
) -> None:
    try:
        same = bool(again == made)
    except Exception as error:
        message = (
            f"{component.__name__} cannot be compared with itself, {what} ({in_short(error)}): "
            "let its fields be plain values, such as tuples instead of arrays"
        )
        raise CheckError(message) from error
    if not same:
        message = (
            f"{component.__name__} changes when it is {what}: {made!r} became {again!r}; a "
            "validator must leave alone what it has made, and nothing but fields may be kept"
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
    _require_equal(component, made, again, "pickled")


CHECKS: Final = (
    imports_quickly_and_without_torch,
    has_a_summary,
    describes_its_fields,
    is_made_from_defaults_or_an_example,
    survives_a_recipe,
    pickles,
)
