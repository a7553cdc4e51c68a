"""The Inception network of published FIDs (TensorFlow, 2015-12-05), up to its last pooling.

torchvision has the same layers under the same names. Its averages count the padding and its last
block takes another average, so the way through the blocks is told here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import inception

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE: Final = 299
_STEM: Final = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "halve"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "halve"),
)
# What each block puts side by side: the layers of each branch, in turn.
_A: Final = (
    ("branch1x1",),
    ("branch5x5_1", "branch5x5_2"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    ("average", "branch_pool"),
)
_B: Final = (
    ("branch3x3",),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    ("halve",),
)
_C: Final = (
    ("branch1x1",),
    ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
    tuple(f"branch7x7dbl_{number}" for number in range(1, 6)),
    ("average", "branch_pool"),
)
_D: Final = (
    ("branch3x3_1", "branch3x3_2"),
    ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"),
    ("halve",),
)
_E: Final = (
    ("branch1x1",),
    ("branch3x3_1", "branch3x3_2a"),
    ("branch3x3_1", "branch3x3_2b"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3b"),
)
_BLOCKS: Final = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _A),
    "Mixed_6a": _B,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _C),
    "Mixed_7a": _D,
    "Mixed_7b": (*_E, ("average", "branch_pool")),
    "Mixed_7c": (*_E, ("maximum", "branch_pool")),
}


class Inception(nn.Module):
    """``N×3×H×W`` or ``N×1×H×W`` in [-1, 1] to ``N×2048``: the third pooling layer.

    Images are rounded to 8 bits first, as published figures are of saved pictures, and resized to
    299×299 as TensorFlow 1 did: bilinearly, without antialiasing, from the corner.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """From the published weights."""
        super().__init__()
        with torch.device("meta"):  # the weights are given, so none are made
            self.layers = inception.Inception3(
                num_classes=1008, aux_logits=False, init_weights=False
            )
        self.layers.load_state_dict(dict(state), assign=True)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch of any size."""
        pixels = ((images.expand(-1, 3, -1, -1) + 1) * 127.5).round().clamp(0, 255)
        inner = (resize(pixels, SIZE) - 128) / 128
        for layers in _STEM:
            inner = _path(self.layers, layers, inner)
        for name, branches in _BLOCKS.items():
            block = self.layers.get_submodule(name)
            inner = torch.cat([_path(block, layers, inner) for layers in branches], dim=1)
        return inner.mean(dim=(2, 3))


def _path(block: nn.Module, layers: tuple[str, ...], images: Tensor) -> Tensor:
    for layer in layers:
        match layer:
            case "halve":
                images = functional.max_pool2d(images, 3, stride=2)
            case "maximum":
                images = functional.max_pool2d(images, 3, stride=1, padding=1)
            case "average":
                images = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
            case _:
                images = block.get_submodule(layer)(images)
    return images


def resize(images: Tensor, size: int) -> Tensor:
    """``N×C×H×W`` to ``N×C×size×size`` as TensorFlow 1 does it.

    Output pixel i lies at i·H/size of the input, so the first is the input's first, and past the
    last pixel there is more of it.
    """
    for axis in (2, 3):
        count = images.shape[axis]
        place = torch.arange(size, dtype=images.dtype, device=images.device) * (count / size)
        before = place.long()
        after = (before + 1).clamp_max(count - 1)
        share = (place - before).view((-1, 1) if axis == 2 else (-1,))
        low, high = images.index_select(axis, before), images.index_select(axis, after)
        images = low + (high - low) * share
    return images
