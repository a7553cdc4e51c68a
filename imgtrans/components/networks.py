"""The kinds of network: what a recipe's generators and discriminators are built from."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgtrans.components.base import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


@dataclass(frozen=True)
class Recognised:
    """Published weights, as a component that can hold them."""

    component: Component
    channels: tuple[int, ...]
    """What ``build`` is called with."""
    names: Mapping[str, str | None] = field(default_factory=dict)
    """Names in the file to those of the network's state dict; None leaves a tensor out, a name that
    is not here stays as it is."""
    decisions: tuple[str, ...] = ()
    """What was concluded from what, a line each; ``imgtrans import`` prints them."""
    recipe: str = "cyclegan"
    """An installed recipe that trains networks like this one."""


class ResidualBlock(Component):
    """What stands between a generator's encoder and decoder, several times."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""


class Recognisable:
    """A network of which somebody may have published weights; no kind of its own."""

    @classmethod
    def recognise(cls, shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
        """What ``imgtrans import`` asks: whether tensors of these shapes are weights of this one.

        Args:
            shapes: by the names in the file; prefixes that wrappers add are stripped.

        Returns:
            The component to build, or None where they are another network's. Whether every tensor
            fits is compared afterwards, so one that is missing need not be looked for.
        """
        del shapes
        return None


class Generator(Component, Recognisable):
    """A network that translates images."""

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        return 1

    @abstractmethod
    def build(self, channels_in: int, channels_out: int) -> nn.Module:
        """A network from ``N×channels_in×H×W`` to ``N×channels_out×H×W``, both in [-1, 1]."""


class Discriminator(Component, Recognisable):
    """A network that tells real images of a domain from translated ones."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """A network from ``N×channels×H×W`` in [-1, 1] to logits, one per image or per patch.

        Several scales are a tuple of tensors, one per scale.
        """
