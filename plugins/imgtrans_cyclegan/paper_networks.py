"""The published networks, layer for layer: a state dict has their names, in their order.

A convolution that instance normalisation follows has a bias, one that batch normalisation follows
has none. Shapes in comments are for 256×256 pixels at width 64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence


def _norm(name: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if name == "batch" else nn.InstanceNorm2d(channels)


def _draw_weights(layers: Sequence[nn.Module]) -> None:
    """The paper's first weights: N(0, 0.02), those of batch normalisation N(1, 0.02)."""
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            mean = 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
            nn.init.normal_(layer.weight, mean, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class ReflectedResidual(nn.Module):
    """``N×channels×H×W`` to the same shape: two convolutions and a shortcut."""

    def __init__(self, channels: int, norm: str, *, dropout: bool) -> None:
        """Both convolutions keep the size; what leaves the picture is mirrored."""
        super().__init__()
        bias = norm == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            _norm(norm, channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            _norm(norm, channels),
        )
        _draw_weights([*self.conv_block])

    def forward(self, images: Tensor) -> Tensor:
        """Nothing follows the sum."""
        changed: Tensor = self.conv_block(images)
        return images + changed


def _binomial(weights: Sequence[float], channels: int) -> Tensor:
    """``channels×1×k×k``: the same blur for every channel; its values add up to 1."""
    row = torch.tensor(weights)
    kernel = row[:, None] * row[None, :]
    return (kernel / kernel.sum()).repeat(channels, 1, 1, 1)


class BlurredHalf(nn.Module):
    """Every second pixel of a blurred image (Zhang, 2019)."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        """The blur is no parameter; the published state dicts have it all the same."""
        super().__init__()
        self.register_buffer("filt", _binomial((1.0, 2.0, 1.0), channels))

    def forward(self, images: Tensor) -> Tensor:
        """``N×C×H×W`` to ``N×C×H/2×W/2``."""
        mirrored = functional.pad(images, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(mirrored, self.filt, stride=2, groups=len(self.filt))


class BlurredDouble(nn.Module):
    """Pixels set apart, and a blur between them."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        """Four times the blur, because three of four pixels are set to 0."""
        super().__init__()
        self.register_buffer("filt", 4 * _binomial((1.0, 3.0, 3.0, 1.0), channels))

    def forward(self, images: Tensor) -> Tensor:
        """``N×C×H×W`` to ``N×C×2H×2W``."""
        wider = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        doubled = functional.conv_transpose2d(
            wider, self.filt, stride=2, padding=2, groups=len(self.filt)
        )
        return doubled[..., 1:-1, 1:-1]


def _down(before: int, after: int, norm: str, how: str) -> list[nn.Module]:
    """``N×before×H×W`` to ``N×after×H/2×W/2``."""
    strided = how == "strided"
    stride = 2 if strided else 1
    return [
        nn.Conv2d(before, after, 3, stride, padding=1, bias=norm == "instance"),
        _norm(norm, after),
        nn.ReLU(inplace=True),
        *([] if strided else [BlurredHalf(after)]),
    ]


def _up(before: int, after: int, norm: str, how: str) -> list[nn.Module]:
    """``N×before×H×W`` to ``N×after×2H×2W``."""
    bias = norm == "instance"
    larger: list[nn.Module]
    if how == "transposed":
        larger = [
            nn.ConvTranspose2d(before, after, 3, 2, padding=1, output_padding=1, bias=bias),
        ]
    else:
        larger = [
            BlurredDouble(before) if how == "antialiased" else nn.Upsample(scale_factor=2),
            nn.Conv2d(before, after, 3, padding=1, bias=bias),
        ]
    return [*larger, _norm(norm, after), nn.ReLU(inplace=True)]


class ResNet(nn.Module):
    """``N×C×H×W`` in [-1, 1] to the same size in [-1, 1]; H and W are multiples of 4."""

    def __init__(
        self,
        channels: tuple[int, int],
        width: int,
        middle: Sequence[nn.Module],
        norm: str,
        how: tuple[str, str],
    ) -> None:
        """Build it.

        Args:
            channels: of the images that go in, and of those that come out.
            width: channels after the first convolution.
            middle: blocks of ``4·width`` channels, whose first weights are their own.
            norm: batch or instance.
            how: it halves, and how it doubles.
        """
        super().__init__()
        before = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels[0], width, 7, bias=norm == "instance"),
            _norm(norm, width),
            nn.ReLU(inplace=True),  # N×64×256×256
            *_down(width, 2 * width, norm, how[0]),  # N×128×128×128
            *_down(2 * width, 4 * width, norm, how[0]),  # N×256×64×64
        ]
        after = [
            *_up(4 * width, 2 * width, norm, how[1]),  # N×128×128×128
            *_up(2 * width, width, norm, how[1]),  # N×64×256×256
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, channels[1], 7),
            nn.Tanh(),  # N×3×256×256
        ]
        _draw_weights([*before, *after])
        self.model = nn.Sequential(*before, *middle, *after)

    def forward(self, images: Tensor) -> Tensor:
        """Translate a batch."""
        translated: Tensor = self.model(images)
        return translated


class _Level(nn.Module):
    """A halving, what lies deeper, and the doubling, beside a shortcut around all of it."""

    def __init__(self, *layers: nn.Module, outermost: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.outermost = outermost
        _draw_weights(layers)

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.model(images)
        # The published code changes ``images`` in place, so that its shortcut carries them after
        # the leaky ReLU. The ReLU that comes next makes the same of either.
        return made if self.outermost else torch.cat([images, made], 1)


class UNet(nn.Module):
    """``N×C×H×W`` in [-1, 1] to the same size in [-1, 1]; H and W are multiples of 2^depth."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int,
        norm: str,
        *,
        dropout: bool,
    ) -> None:
        """Every level but the outermost and the innermost is normalised on both ways."""
        super().__init__()
        bias = norm == "instance"
        widths = [width * min(2**level, 8) for level in range(depth)]
        inside: list[nn.Module] = []
        for level in range(depth - 1, 0, -1):
            outer, inner = widths[level - 1], widths[level]
            innermost = level == depth - 1
            inside = [
                _Level(
                    nn.LeakyReLU(0.2),
                    nn.Conv2d(outer, inner, 4, 2, padding=1, bias=bias),
                    *([] if innermost else [_norm(norm, inner)]),
                    *inside,
                    nn.ReLU(inplace=True),
                    nn.ConvTranspose2d(
                        inner if innermost else 2 * inner, outer, 4, 2, padding=1, bias=bias
                    ),
                    _norm(norm, outer),
                    *([nn.Dropout(0.5)] if dropout and outer == inner and not innermost else []),
                )
            ]
        self.model = _Level(
            nn.Conv2d(channels_in, width, 4, 2, padding=1, bias=bias),
            *inside,
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, channels_out, 4, 2, padding=1),
            nn.Tanh(),
            outermost=True,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Translate a batch."""
        translated: Tensor = self.model(images)
        return translated


class Patch(nn.Module):
    """``N×C×H×W`` in [-1, 1] to ``N×1×h×w`` logits; 256×256 pixels give 30×30."""

    def __init__(self, channels: int, width: int, layers: int, norm: str, how: str) -> None:
        """Neither the first nor the last convolution is normalised; both have a bias."""
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(layers + 1)]
        stack: list[nn.Module] = []
        for layer, after in enumerate(widths):
            halves = layer < layers
            before = widths[layer - 1] if layer else channels
            stride = 2 if halves and how == "strided" else 1
            bias = norm == "instance" or not layer
            stack += [
                nn.Conv2d(before, after, 4, stride, padding=1, bias=bias),
                *([_norm(norm, after)] if layer else []),
                nn.LeakyReLU(0.2, inplace=True),
                *([BlurredHalf(after)] if halves and how == "antialiased" else []),
            ]
        self.model = nn.Sequential(*stack, nn.Conv2d(widths[-1], 1, 4, padding=1))
        _draw_weights([*self.model])

    def forward(self, images: Tensor) -> Tensor:
        """Score a batch."""
        scores: Tensor = self.model(images)
        return scores
