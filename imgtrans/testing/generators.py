"""What generators and residual blocks promise: images of the same shape, and a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from imgtrans.components import kind_noun
from imgtrans.testing import weights
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.examples import example
from imgtrans.testing.material import toy_images
from imgtrans.testing.networks import (
    build,
    images_for,
    outputs,
    require_finite,
    require_shape,
    smallest_side,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from imgtrans.components import Component


def keeps_shape(component: type[Component]) -> None:
    """Square images and others, grey and in colour; sides are multiples of ``multiple``."""
    side = smallest_side(component)
    more = side + example(component).multiple  # type: ignore[attr-defined]
    for channels in (1, 3):
        network = build(component, channels, channels)
        for count, size in ((1, (side, side)), (2, (side, side)), (2, (side, more))):
            _require_type(component, network, toy_images(count, size, channels))


def block_keeps_shape(component: type[Component]) -> None:
    """Whatever the channels, the size and the batch: blocks are put one after the other."""
    for channels in (8, 64):
        block = build(component, channels)
        for count, size in ((1, (16, 16)), (2, (16, 16)), (2, (8, 12))):
            _require_type(component, block, toy_images(count, size, channels))


def _require_type(component: type[Component], network: nn.Module, images: Tensor) -> None:
    (made,) = outputs(component, network, images)
    if made.dtype != images.dtype:
        message = (
            f"the {kind_noun(component)} {component.__name__} makes {made.dtype} of "
            f"{images.dtype}; it must keep the type: make new tensors with dtype=images.dtype"
        )
        raise CheckError(message)


def stays_in_range(component: type[Component]) -> None:
    """Images are in [-1, 1], also what is made of extreme ones."""
    network, images = build(component), images_for(component)
    for case, which in ((images, "random images"), (torch.ones_like(images), "white images")):
        made = outputs(component, network, case)
        change = "keep divisions, roots and logarithms away from 0"
        require_finite(component, made, f"of {which}", change)
        _require_range(component, made[0])
    # No image is so bright: it stands for weights that have grown, and need not end in numbers.
    _require_range(component, outputs(component, network, 50 * images)[0].nan_to_num())


def _require_range(component: type[Component], made: Tensor) -> None:
    largest = made.abs().max().item()
    if largest > 1.0:
        message = (
            f"the generator {component.__name__} makes values up to {largest:.3g}; end it in a "
            "tanh, which keeps them in [-1, 1]"
        )
        raise CheckError(message)


def exports(component: type[Component]) -> None:
    """Trained models leave as graphs, which `torch.export` must be able to trace."""
    network, images = build(component).eval(), images_for(component)
    change = "let `forward` hold tensor operations only, without branches on their values"
    with attempt(f"torch.export of {component.__name__}", change):
        made = torch.export.export(network, (images,)).module()(images)
    require_shape(component, images, made, " once it is exported")


GENERATOR: Final = (
    keeps_shape,
    stays_in_range,
    weights.leaves_images_alone,
    *weights.CHECKS,
    exports,
    weights.recognises_only_its_own,
)
RESIDUAL_BLOCK: Final = (block_keeps_shape, *weights.CHECKS, exports)
