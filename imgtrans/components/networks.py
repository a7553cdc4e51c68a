"""The kinds of network: what a recipe's generators and discriminators are built from."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from imgtrans.components.base import Component

if TYPE_CHECKING:
    from torch import nn


class ResidualBlock(Component):
    """What stands between a generator's encoder and decoder, several times."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""


class Generator(Component):
    """A network that translates images."""

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        return 1

    @abstractmethod
    def build(self, channels_in: int, channels_out: int) -> nn.Module:
        """A network from ``N×channels_in×H×W`` to ``N×channels_out×H×W``, both in [-1, 1]."""


class Discriminator(Component):
    """A network that tells real images of a domain from translated ones."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """A network from ``N×channels×H×W`` in [-1, 1] to logits, one per image or per patch.

        Several scales are a tuple of tensors, one per scale.
        """
