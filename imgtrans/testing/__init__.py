"""Conformance checks for plugin authors: the whole test file of a plugin is one line long.

    from imgtrans.testing import parametrize_with_checks

    @parametrize_with_checks("imgtrans_wavelet")
    def test_component(component, check):
        check(component)

What a component does in a training is told by a recipe that takes seconds, and by the command line:

    from imgtrans.testing import run_imgtrans, tiny_recipe

    def test_it_trains(tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # runs are written below it
        recipe = tiny_recipe(residual_block=Haar(levels=1), train={"steps": 2})
        assert run_imgtrans("run", recipe, "--device", "cpu").exit_code == 0

    def test_levels_are_few():
        recipe = tiny_recipe(residual_block=Haar())
        done = run_imgtrans("validate", recipe, "--set", "generator.residual_block.levels=9")
        assert done.exit_code == 2
        assert "levels" in done.stderr

Imported explicitly, by tests; needs pytest. Nothing here changes what pytest does elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from imgtrans.components import Component, kind_name
from imgtrans.hooks import HOOKS
from imgtrans.plugins import registry
from imgtrans.plugins.offers import check_hooks, check_offer
from imgtrans.testing import (
    data,
    discriminators,
    every,
    feature_networks,
    generators,
    losses,
    metrics,
)
from imgtrans.testing.command_line import Outcome, run_imgtrans
from imgtrans.testing.errors import CheckError
from imgtrans.testing.examples import Given, by_class, example, with_given
from imgtrans.testing.material import (
    toy_folder,
    toy_images,
    translated_of,
    translation_of,
)
from imgtrans.testing.recipes import tiny_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgtrans.testing.examples import Check

__all__ = (
    "CheckError",
    "Outcome",
    "checks_of",
    "components_of",
    "example",
    "parametrize_with_checks",
    "run_imgtrans",
    "tiny_recipe",
    "toy_folder",
    "toy_images",
    "translated_of",
    "translation_of",
)


def parametrize_with_checks(
    module: str, *, examples: Sequence[Component] = ()
) -> pytest.MarkDecorator:
    """One test for each component of a plugin's module and each check of its kind.

    Args:
        module: what the plugin's entry point names; it need not be installed.
        examples: components to check in place of what their defaults make, such as
            ``[Dicom(root=folder)]``; one at most of each class.

    Raises:
        TypeError: a hook is misspelt or returns what hooks must not, the module offers no
            component, or an example is none of its components; the text says which.
    """
    offered = components_of(module)
    given = Given(module, by_class(examples, offered.values(), module))
    cases = [
        pytest.param(component, with_given(check, given), id=f"{name}-{check.__name__}")
        for name, component in offered.items()
        for check in checks_of(component)
    ]
    return pytest.mark.parametrize(("component", "check"), cases)


def components_of(module: str) -> dict[str, type[Component]]:
    """Every component that a plugin's module offers, by ``kind/name``.

    Raises:
        TypeError: as `parametrize_with_checks`.
    """
    plugin: Any = import_module(module)
    check_hooks(plugin, module)
    found: dict[str, type[Component]] = {}
    for kind, hook in HOOKS.items():
        offered = getattr(plugin, hook, None)
        for name, component in check_offer(kind, offered() if offered else None).items():
            found[f"{kind}/{name}"] = component
            registry().remember(component)  # nested ones are found though nothing is installed
    if not found:
        message = f"{module} offers no component, so there is nothing to check"
        raise TypeError(message)
    return found


def checks_of(component: type[Component]) -> list[Check]:
    """The checks that a component of this kind must pass."""
    return [*every.CHECKS, *_OF_KIND[kind_name(component)]]


_OF_KIND: dict[str, tuple[Check, ...]] = {
    "generator": generators.GENERATOR,
    "discriminator": discriminators.CHECKS,
    "residual_block": generators.RESIDUAL_BLOCK,
    "loss": losses.CHECKS,
    "dataset": data.CHECKS,
    "metric": metrics.CHECKS,
    "feature_network": feature_networks.CHECKS,
}
