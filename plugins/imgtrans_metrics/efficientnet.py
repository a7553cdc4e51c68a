"""EfficientNet-Lite0 without its classifier, as its published weights need it.

A plain stack of inverted residuals: no squeeze-and-excitation, ReLU6 everywhere. Padding is
TensorFlow's, which puts the odd pixel of a stride-2 convolution right and below. Modules are named
as in the file of weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE: Final = 224
# Channels, blocks, kernel, the first block's stride, expansion.
_STAGES: Final = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)


class EfficientNetLite0(nn.Module):
    """``N×3×H×W`` or ``N×1×H×W`` in [-1, 1] to ``N×1280``: what the classifier would see.

    Images are resized to 224×224, bilinearly and with antialiasing.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """From the published weights, of which the classifier's are left out."""
        super().__init__()
        with torch.device("meta"):  # the weights are given, so none are made
            self._conv_stem, self._bn0 = _Convolution(3, 32, 3, 2), _norm(32)
            self._blocks, channels = nn.ModuleList(), 32
            for channels_out, count, kernel, stride, expansion in _STAGES:
                for step in [stride, *[1] * (count - 1)]:
                    self._blocks.append(_Block(channels, channels_out, kernel, step, expansion))
                    channels = channels_out
            self._conv_head, self._bn1 = _Convolution(320, 1280, 1), _norm(1280)
        trunk = {name: value for name, value in state.items() if not name.startswith("_fc.")}
        self.load_state_dict(trunk, assign=True)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch of any size."""
        inner = functional.interpolate(
            images.expand(-1, 3, -1, -1), (SIZE, SIZE), mode="bilinear", antialias=True
        )
        # It was trained on pixels of 0 to 255 less 127, divided by 128.
        inner = (inner * 127.5 + 0.5) / 128
        inner = functional.relu6(self._bn0(self._conv_stem(inner)))
        for block in self._blocks:
            inner = block(inner)
        return functional.relu6(self._bn1(self._conv_head(inner))).mean(dim=(2, 3))


class _Convolution(nn.Conv2d):
    """The output's size is the input's over the stride, which divides it."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        self.around = (total // 2, total - total // 2) * 2

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(functional.pad(images, self.around))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Widen with 1×1, filter each channel, narrow with 1×1; a shortcut where shapes allow it."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = expansion * channels_in
        self.widens, self.shortcut = expansion > 1, stride == 1 and channels_in == channels_out
        if self.widens:
            self._expand_conv, self._bn0 = _Convolution(channels_in, wide, 1), _norm(wide)
        self._depthwise_conv = _Convolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv, self._bn2 = _Convolution(wide, channels_out, 1), _norm(channels_out)

    def forward(self, images: Tensor) -> Tensor:
        inner = images
        if self.widens:
            inner = functional.relu6(self._bn0(self._expand_conv(inner)))
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        made: Tensor = self._bn2(self._project_conv(inner))
        return made + images if self.shortcut else made
