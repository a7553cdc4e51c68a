"""Images of any size through networks whose sides are multiples of so many pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST: Final = 8


def through(network: nn.Module, images: Tensor, multiple: int) -> Tensor:
    """``N×C×H×W`` in [-1, 1] of any size through a network that takes multiples, without graph."""
    height, width = images.shape[-2:]
    with torch.no_grad():
        translated: Tensor = network(padded(images, multiple))
    return translated[..., :height, :width]


def padded(images: Tensor, multiple: int) -> Tensor:
    """``N×C×H×W`` with sides of whole multiples: mirrored at the right and at the bottom.

    Of a picture that is smaller than what it needs, it is mirrored to and fro.
    """
    for dimension in (-1, -2):
        length = images.shape[dimension]
        whole = padded_side(length, multiple)
        if whole > length:
            to_and_fro = [*range(length), *range(length - 2, 0, -1)]
            at = [to_and_fro[place % len(to_and_fro)] for place in range(whole)]
            images = images.index_select(dimension, torch.tensor(at, device=images.device))
    return images


def padded_side(length: int, multiple: int) -> int:
    """The side that a network sees of a picture's.

    It has `LEAST` pixels at least: networks that mirror what leaves them need some to mirror.
    """
    return -(-max(length, LEAST) // multiple) * multiple
