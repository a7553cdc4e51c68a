"""The networks that the CycleGAN, pix2pix and CUT papers published weights of.

``paper_networks`` imports torch, so it is imported in ``build``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from imgtrans import FIXED, Discriminator, Field, Generator, ResidualBlock
from imgtrans_cyclegan import published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from imgtrans import Recognised

Norm = Literal["batch", "instance"]
Down = Literal["strided", "antialiased"]
Up = Literal["transposed", "resize", "antialiased"]

_PIX2PIX = (
    'Isola et al., 2017, "Image-to-Image Translation with Conditional Adversarial Networks", '
    "arXiv:1611.07004"
)
_HALVING = (
    "how sizes are halved: by a stride, or by a blur after the convolution, as CUT does (Zhang, "
    "2019)"
)


class ReflectedResidual(ResidualBlock):
    """Two 3×3 convolutions over mirrored borders and a shortcut, nothing after the sum.

    The block of the CycleGAN paper; weights start as N(0, 0.02).
    """

    paper = 'He et al., 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385'

    norm: Norm = Field(
        default="instance",
        description="normalisation after each convolution",
        json_schema_extra=FIXED,
    )
    dropout: bool = Field(
        default=False,
        description="drop half of the values between the convolutions, in training",
        json_schema_extra=FIXED,
    )

    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""
        from imgtrans_cyclegan import paper_networks

        return paper_networks.ReflectedResidual(channels, self.norm, dropout=self.dropout)


class ResNet(Generator):
    """The generator of the CycleGAN paper: two halvings, residual blocks, two doublings, tanh.

    Layer for layer, and in the names of its state dict, the published one: 11,378,179 parameters
    at width 64 with nine blocks, the paper's choice for 256×256 pixels; 7,837,699 with six, for
    128×128. With both samplings antialiased it is that of CUT. Weights start as N(0, 0.02).
    """

    paper = (
        'Johnson et al., 2016, "Perceptual Losses for Real-Time Style Transfer and '
        'Super-Resolution", arXiv:1603.08155'
    )

    width: PositiveInt = Field(
        default=64, description="channels after the first convolution", json_schema_extra=FIXED
    )
    blocks: PositiveInt = Field(
        default=9, le=1000, description="residual blocks in the middle", json_schema_extra=FIXED
    )
    norm: Norm = Field(
        default="instance",
        description="normalisation outside the residual blocks",
        json_schema_extra=FIXED,
    )
    downsampling: Down = Field(default="strided", description=_HALVING, json_schema_extra=FIXED)
    upsampling: Up = Field(
        default="transposed",
        description="how sizes are doubled: by transposed convolutions, which can leave a "
        "checkerboard; by repeating pixels before a convolution (Odena et al., 2016); or by a "
        "blur before it, as CUT does",
        json_schema_extra=FIXED,
    )
    residual_block: ResidualBlock = Field(
        default=ReflectedResidual(),
        description="what stands in the middle",
        json_schema_extra=FIXED,
    )

    @property
    def multiple(self) -> int:
        """Two halvings need a multiple of 4 pixels."""
        return 4

    def build(self, channels_in: int, channels_out: int) -> nn.Module:
        """A network from ``N×channels_in×H×W`` to ``N×channels_out×H×W``, both in [-1, 1]."""
        from imgtrans_cyclegan import paper_networks

        middle = [self.residual_block.build(4 * self.width) for _ in range(self.blocks)]
        how = (self.downsampling, self.upsampling)
        channels = (channels_in, channels_out)
        return paper_networks.ResNet(channels, self.width, middle, self.norm, how)

    @classmethod
    def recognise(cls, shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
        """The published CycleGAN's and CUT's, of any width and number of blocks."""
        return published.resnet(shapes)


class UNet(Generator):
    """The generator of pix2pix: halved until little is left and doubled again, with shortcuts.

    Layer for layer, and in the names of its state dict, the published one. Depth 8 is its
    ``unet_256`` of 54,413,955 parameters, depth 7 its ``unet_128`` of 41,828,995. It looks at the
    whole picture, so large ones cannot be translated in tiles. Weights start as N(0, 0.02).
    """

    paper = _PIX2PIX

    width: PositiveInt = Field(
        default=64, description="channels after the first convolution", json_schema_extra=FIXED
    )
    depth: int = Field(
        default=8,
        ge=2,
        le=12,
        description="halvings; sides are multiples of 2 to the power of it",
        json_schema_extra=FIXED,
    )
    norm: Norm = Field(default="batch", description="normalisation", json_schema_extra=FIXED)
    dropout: bool = Field(
        default=False,
        description="drop half of the values on the way up from the deepest levels, in training, "
        "as pix2pix does",
        json_schema_extra=FIXED,
    )

    @property
    def multiple(self) -> int:
        """Each halving needs an even size."""
        return int(2**self.depth)

    def build(self, channels_in: int, channels_out: int) -> nn.Module:
        """A network from ``N×channels_in×H×W`` to ``N×channels_out×H×W``, both in [-1, 1]."""
        from imgtrans_cyclegan import paper_networks

        return paper_networks.UNet(
            channels_in, channels_out, self.width, self.depth, self.norm, dropout=self.dropout
        )

    @classmethod
    def recognise(cls, shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
        """The published one, of any width and depth."""
        return published.unet(shapes)


class Patch(Discriminator):
    """The discriminator of the CycleGAN and pix2pix papers: one logit per patch of 70×70 pixels.

    4×4 convolutions, as many of stride 2 as there are layers, then two of stride 1; leaky ReLU.
    Layer for layer, and in the names of its state dict, the published one: 2,764,737 parameters.
    With antialiased downsampling it is that of CUT. Weights start as N(0, 0.02).
    """

    paper = _PIX2PIX

    width: PositiveInt = Field(
        default=64, description="channels after the first convolution", json_schema_extra=FIXED
    )
    layers: PositiveInt = Field(
        default=3, le=12, description="halvings; more see larger patches", json_schema_extra=FIXED
    )
    norm: Norm = Field(
        default="instance",
        description="normalisation in the middle layers",
        json_schema_extra=FIXED,
    )
    downsampling: Down = Field(default="strided", description=_HALVING, json_schema_extra=FIXED)

    def build(self, channels: int) -> nn.Module:
        """A network from ``N×channels×H×W`` in [-1, 1] to ``N×1×h×w`` logits."""
        from imgtrans_cyclegan import paper_networks

        return paper_networks.Patch(channels, self.width, self.layers, self.norm, self.downsampling)

    @classmethod
    def recognise(cls, shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
        """The published CycleGAN's, pix2pix's and CUT's, of any width and number of layers."""
        return published.patch(shapes)
