"""Conformance checks for plugin authors: the whole test file of a plugin is one line long.

    from imgtrans.testing import parametrize_with_checks

    @parametrize_with_checks("imgtrans_wavelet")
    def test_component(component, check):
        check(component)

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
from imgtrans.testing import data, every, losses, networks
from imgtrans.testing.material import CheckError, example, toy_folder, toy_images, translation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[type[Component]], None]

__all__ = (
    "CheckError",
    "checks_of",
    "components_of",
    "example",
    "parametrize_with_checks",
    "toy_folder",
    "toy_images",
    "translation_of",
)


def parametrize_with_checks(module: str) -> pytest.MarkDecorator:
    """One test for each component of a plugin's module and each check of its kind.

    Args:
        module: what the plugin's entry point names; it need not be installed.

    Raises:
        TypeError: a hook is misspelt or returns what hooks must not, or the module offers no
            component; the text says which.
    """
    cases = [
        pytest.param(component, check, id=f"{name}-{check.__name__}")
        for name, component in components_of(module).items()
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
    "generator": networks.GENERATOR,
    "discriminator": networks.DISCRIMINATOR,
    "residual_block": networks.RESIDUAL_BLOCK,
    "loss": losses.CHECKS,
    "dataset": data.CHECKS,
}
