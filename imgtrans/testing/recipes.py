"""A recipe that trains in seconds, for tests to put a component of theirs into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgtrans.components import Generator
from imgtrans.recipe import Recipe
from imgtrans.testing.examples import side_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans.components import Loss, ResidualBlock


def tiny_recipe(
    *,
    residual_block: ResidualBlock | None = None,
    loss: Mapping[str, Loss | Mapping[str, Any]] | None = None,
    train: Mapping[str, Any] | None = None,
    **tables: Any,
) -> Recipe:
    """Eight steps in two directions on 32×32 landscapes, with networks of a few channels.

    Args:
        residual_block: stands in the middle of the recipe's generator.
        loss: by name, trained beside ``adversarial`` and ``cycle``; one of those names takes the
            other's place.
        train: settings that differ, such as ``{"steps": 2}``.
        tables: what takes a table's place: dataset, generator, discriminator, or another key of a
            recipe, such as ``metric={"mine": Mine()}``; components, or tables with ``use``.

    Raises:
        TypeError: both a generator and a residual block are given.
        ValidationError: together they are no recipe; the text lists every problem.
    """
    if residual_block is not None and "generator" in tables:
        message = "give the residual block to your generator, or leave one of them out"
        raise TypeError(message)
    middle = {} if residual_block is None else {"residual_block": residual_block}
    generator = tables.get("generator")
    side = side_for(generator, 32) if isinstance(generator, Generator) else 32
    recipe: dict[str, Any] = {
        "name": "tiny",
        "domains": ("summer", "winter"),
        "dataset": {
            "use": "seasons/landscapes", "image_size": side, "scenes": 6, "test_scenes": 3,
        },
        "generator": {"use": "cyclegan/encoder-decoder", "width": 2, "blocks": 1, **middle},
        "discriminator": {"use": "cyclegan/convolutional", "width": 2},
        "loss": {
            "adversarial": {"use": "cyclegan/least-squares"},
            "cycle": {"use": "cyclegan/cycle-consistency", "weight": 10.0},
            **(loss or {}),
        },
        "train": {"steps": 8, "batch_size": 2, "order": "discriminators-first", **(train or {})},
    }  # fmt: skip
    return Recipe(**(recipe | tables))
