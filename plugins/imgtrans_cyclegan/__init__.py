"""The reference plugin set: CycleGAN as the seed project trains it, and its paper's choices.

Components only; ``networks`` imports torch, so it is imported in ``build``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from imgtrans import (
    FIXED,
    FREE,
    Dataset,
    Discriminator,
    Field,
    Generator,
    Loss,
    ResidualBlock,
    Terms,
    hookimpl,
)
from imgtrans_cyclegan import published
from imgtrans_cyclegan.folders import UnpairedFolders
from imgtrans_cyclegan.paper import Patch, ReflectedResidual, ResNet, UNet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from imgtrans import Recognised, Term, Translation

Norm = Literal["batch", "instance", "none"]

_CYCLEGAN = (
    'Zhu et al., 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial '
    'Networks", arXiv:1703.10593'
)


class Residual(ResidualBlock):
    """Two 3×3 convolutions and a shortcut, nothing after the sum.

    The block of the seed project, zero-padded.
    """

    paper = 'He et al., 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385'

    norm: Norm = Field(
        default="batch", description="normalisation after each convolution", json_schema_extra=FIXED
    )

    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""
        from imgtrans_cyclegan import networks

        return networks.Residual(channels, self.norm)


class EncoderDecoder(Generator):
    """Three stride-2 convolutions, residual blocks, three transposed convolutions, tanh.

    The generator of the seed project: 4×4 kernels without bias, ReLU, batch normalisation
    everywhere but after the last layer; 8,402,176 parameters at width 64 with six blocks.
    """

    paper = (
        'Johnson et al., 2016, "Perceptual Losses for Real-Time Style Transfer and '
        'Super-Resolution", arXiv:1603.08155'
    )

    width: PositiveInt = Field(
        default=64, description="channels after the first convolution", json_schema_extra=FIXED
    )
    blocks: PositiveInt = Field(
        default=6,
        le=1000,
        description="residual blocks between encoder and decoder",
        json_schema_extra=FIXED,
    )
    norm: Norm = Field(
        default="batch", description="normalisation in encoder and decoder", json_schema_extra=FIXED
    )
    residual_block: ResidualBlock = Field(
        default=Residual(), description="what stands in the middle", json_schema_extra=FIXED
    )

    @property
    def multiple(self) -> int:
        """Three halvings need a multiple of 8 pixels."""
        return 8

    def build(self, channels_in: int, channels_out: int) -> nn.Module:
        """A network from ``N×channels_in×H×W`` to ``N×channels_out×H×W``, both in [-1, 1]."""
        from imgtrans_cyclegan import networks

        middle = [self.residual_block.build(4 * self.width) for _ in range(self.blocks)]
        return networks.EncoderDecoder(channels_in, channels_out, self.width, middle, self.norm)

    @classmethod
    def recognise(cls, shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
        """The seed's ``G_XtoY.pkl`` and ``G_YtoX.pkl``."""
        return published.encoder_decoder(shapes)


class Convolutional(Discriminator):
    """Four stride-2 convolutions and a fifth of stride 1: one logit per patch.

    The discriminator of the seed project: 4×4 kernels without bias, ReLU, batch normalisation in
    the second to fourth layer; 2,765,568 parameters at width 64; 128×128 pixels give 7×7 logits.
    """

    paper = (
        'Isola et al., 2017, "Image-to-Image Translation with Conditional Adversarial Networks", '
        "arXiv:1611.07004"
    )

    width: PositiveInt = Field(
        default=64, description="channels after the first convolution", json_schema_extra=FIXED
    )
    norm: Norm = Field(
        default="batch", description="normalisation in the middle layers", json_schema_extra=FIXED
    )

    def build(self, channels: int) -> nn.Module:
        """A network from ``N×channels×H×W`` in [-1, 1] to ``N×1×h×w`` logits."""
        from imgtrans_cyclegan import networks

        return networks.Convolutional(channels, self.width, self.norm)

    @classmethod
    def recognise(cls, shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
        """The seed's ``D_X.pkl`` and ``D_Y.pkl``."""
        return published.convolutional(shapes)


class LeastSquares(Loss):
    """Least-squares adversarial loss: scores of real images near 1, of fakes near 0.

    The seed's ``real_mse_loss`` is the mean squared distance from 1, its ``fake_mse_loss`` from 0;
    several scales are averaged.
    """

    paper = 'Mao et al., 2017, "Least Squares Generative Adversarial Networks", arXiv:1611.04076'

    discriminator_factor: float = Field(
        default=1.0,
        ge=0,
        description="on the discriminators' half: 1 in the seed, 0.5 in the paper",
        json_schema_extra=FREE,
    )

    def build(self) -> Terms:
        """Generators' and discriminators' halves."""

        def generators(translation: Translation) -> Tensor:
            return _mean_square(translation.discriminate(translation.fake), 1.0)

        def discriminators(translation: Translation) -> Tensor:
            real = _mean_square(translation.discriminate(translation.target), 1.0)
            fake = _mean_square(translation.discriminate(translation.replayed), 0.0)
            return self.discriminator_factor * (real + fake)

        return Terms(generators, discriminators)


def _mean_square(scales: tuple[Tensor, ...], goal: float) -> Tensor:
    losses = [(scores - goal).square().mean() for scores in scales]
    return sum(losses[1:], start=losses[0]) / len(losses)


class CycleConsistency(Loss):
    """Mean absolute error between an image and itself, translated there and back.

    Its weight, 10 in the paper, is the seed's ``lambda_weight``.
    """

    paper = _CYCLEGAN

    def build(self) -> Term:
        """The generators' term."""
        return lambda translation: (translation.reconstructed - translation.source).abs().mean()


class Identity(Loss):
    """Mean absolute error between a target image and itself through the same generator.

    Keeps colours that need no translation (the paper's section 5.2, after Taigman et al., 2017);
    the paper's weight is 5.
    """

    paper = _CYCLEGAN

    def build(self) -> Term:
        """The generators' term."""
        return lambda translation: (translation.same - translation.target).abs().mean()


@hookimpl
def imgtrans_generators() -> Mapping[str, type[Generator]]:
    """The seed's generator, and those of the papers."""
    return {"encoder-decoder": EncoderDecoder, "resnet": ResNet, "unet": UNet}


@hookimpl
def imgtrans_discriminators() -> Mapping[str, type[Discriminator]]:
    """The seed's discriminator, and the papers'."""
    return {"convolutional": Convolutional, "patch": Patch}


@hookimpl
def imgtrans_residual_blocks() -> Mapping[str, type[ResidualBlock]]:
    """The seed's residual block, and the paper's."""
    return {"residual": Residual, "reflected-residual": ReflectedResidual}


@hookimpl
def imgtrans_losses() -> Mapping[str, type[Loss]]:
    """The losses of CycleGAN."""
    return {
        "least-squares": LeastSquares,
        "cycle-consistency": CycleConsistency,
        "identity": Identity,
    }


@hookimpl
def imgtrans_datasets() -> Mapping[str, type[Dataset]]:
    """Two folders of photographs."""
    return {"unpaired-folders": UnpairedFolders}
