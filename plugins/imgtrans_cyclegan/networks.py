"""The seed project's networks, layer for layer; where its prose and code differ, its code.

No convolution has a bias, padding is zeros, weights start as torch initialises them.
Shapes in comments are for 128×128 pixels at width 64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


def _norm(name: str, channels: int) -> list[nn.Module]:
    match name:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "instance":
            return [nn.InstanceNorm2d(channels)]
        case _:
            return []


def _down(channels_in: int, channels_out: int, norm: str, stride: int = 2) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 4, stride, padding=1, bias=False)
    return nn.Sequential(convolution, *_norm(norm, channels_out))


def _up(channels_in: int, channels_out: int, norm: str) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(channels_in, channels_out, 4, 2, padding=1, bias=False)
    return nn.Sequential(convolution, *_norm(norm, channels_out))


class Residual(nn.Module):
    """``N×channels×H×W`` to the same shape: two convolutions and a shortcut."""

    def __init__(self, channels: int, norm: str) -> None:
        """Both convolutions keep the size."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            *_norm(norm, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            *_norm(norm, channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Nothing follows the sum: the seed has no activation there."""
        changed: Tensor = self.layers(image)
        return image + changed


class EncoderDecoder(nn.Module):
    """``N×C×H×W`` in [-1, 1] to the same size in [-1, 1]; H and W are multiples of 8."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        middle: Sequence[nn.Module],
        norm: str,
    ) -> None:
        """Every layer but the last is normalised, the first included."""
        super().__init__()
        self.encoder = nn.Sequential(
            *_down(channels_in, width, norm), nn.ReLU(inplace=True),  # N×64×64×64
            *_down(width, 2 * width, norm), nn.ReLU(inplace=True),  # N×128×32×32
            *_down(2 * width, 4 * width, norm), nn.ReLU(inplace=True),  # N×256×16×16
        )  # fmt: skip
        self.blocks = nn.Sequential(*middle)
        self.decoder = nn.Sequential(
            *_up(4 * width, 2 * width, norm), nn.ReLU(inplace=True),  # N×128×32×32
            *_up(2 * width, width, norm), nn.ReLU(inplace=True),  # N×64×64×64
            *_up(width, channels_out, "none"), nn.Tanh(),  # N×3×128×128
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch."""
        translated: Tensor = self.decoder(self.blocks(self.encoder(image)))
        return translated


class Convolutional(nn.Sequential):
    """``N×C×H×W`` in [-1, 1] to ``N×1×h×w`` logits."""

    def __init__(self, channels: int, width: int, norm: str) -> None:
        """Neither the first nor the last layer is normalised."""
        super().__init__(
            *_down(channels, width, "none"), nn.ReLU(inplace=True),  # N×64×64×64
            *_down(width, 2 * width, norm), nn.ReLU(inplace=True),  # N×128×32×32
            *_down(2 * width, 4 * width, norm), nn.ReLU(inplace=True),  # N×256×16×16
            *_down(4 * width, 8 * width, norm), nn.ReLU(inplace=True),  # N×512×8×8
            *_down(8 * width, 1, "none", stride=1),  # N×1×7×7
        )  # fmt: skip
