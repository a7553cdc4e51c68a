"""The hooks a plugin may implement: one per kind, no arguments, one typed return.

Hooks only register. There are no lifecycle hooks, so the order of plugins cannot matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.resources.abc import Traversable

    from imgtrans.components import (
        Dataset,
        Discriminator,
        FeatureNetwork,
        Generator,
        Loss,
        Metric,
        ResidualBlock,
    )

hookspec = pluggy.HookspecMarker("imgtrans")
hookimpl = pluggy.HookimplMarker("imgtrans")

HOOKS: Final[dict[str, str]] = {
    "generator": "imgtrans_generators",
    "discriminator": "imgtrans_discriminators",
    "residual_block": "imgtrans_residual_blocks",
    "loss": "imgtrans_losses",
    "dataset": "imgtrans_datasets",
    "metric": "imgtrans_metrics",
    "feature_network": "imgtrans_feature_networks",
}
"""The hook of each kind."""

TABLES: Final[dict[str, str]] = {
    "generator": "generator",
    "discriminator": "discriminator",
    "residual_block": "generator.residual_block",
    "loss": "loss.{}",
    "dataset": "dataset",
    "metric": "metric.{}",
    "feature_network": "metric.kid.features",
}
"""The table of a recipe that each kind stands in; ``{}`` is a name of one's choice."""

AROUND: Final[dict[str, str]] = {"feature_network": '[metric.kid]\nuse = "metrics/kid"\n\n'}
"""What a recipe must say for that table to belong to something; other recipes say the rest."""


@hookspec
def imgtrans_generators() -> Mapping[str, type[Generator]]:  # type: ignore[empty-body]
    """Generators this plugin offers, by name: ``return {"unet": UNet}``."""


@hookspec
def imgtrans_discriminators() -> Mapping[str, type[Discriminator]]:  # type: ignore[empty-body]
    """Discriminators this plugin offers, by name: ``return {"patch": Patch}``."""


@hookspec
def imgtrans_residual_blocks() -> Mapping[str, type[ResidualBlock]]:  # type: ignore[empty-body]
    """Residual blocks this plugin offers, by name: ``return {"haar": Haar}``."""


@hookspec
def imgtrans_losses() -> Mapping[str, type[Loss]]:  # type: ignore[empty-body]
    """Losses this plugin offers, by name: ``return {"edge": Edge}``."""


@hookspec
def imgtrans_datasets() -> Mapping[str, type[Dataset]]:  # type: ignore[empty-body]
    """Datasets this plugin offers, by name: ``return {"dicom": Dicom}``."""


@hookspec
def imgtrans_metrics() -> Mapping[str, type[Metric]]:  # type: ignore[empty-body]
    """Metrics this plugin offers, by name: ``return {"sharpness": Sharpness}``."""


@hookspec
def imgtrans_feature_networks() -> Mapping[str, type[FeatureNetwork]]:  # type: ignore[empty-body]
    """Feature networks this plugin offers, by name: ``return {"dino": Dino}``."""


@hookspec
def imgtrans_recipes() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Folders of ready recipes: ``return [pathlib.Path(__file__).parent / "edges"]``."""
