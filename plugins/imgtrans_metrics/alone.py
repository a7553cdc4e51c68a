"""What needs neither truth nor real images: translations beside their sources, or by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans import Metric

if TYPE_CHECKING:
    from imgtrans import PerImage, Score


class CycleError(Metric):
    """Mean absolute difference between images and themselves, translated there and back.

    In levels of 8 bits, which are 0 to 255. What training makes small as cycle consistency; a small
    one does not mean that translations are any good.
    """

    paper = (
        'Zhu et al., 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent '
        'Adversarial Networks", arXiv:1703.10593'
    )
    unit = "of 255"
    needs_reconstruction = True
    judges_inputs = False

    @property
    def title(self) -> str:
        """In words."""
        return "cycle error"

    def build(self) -> PerImage:
        """The error of each image."""
        return lambda batch: (
            (batch.reconstructed - batch.source).double().abs().mean(dim=(1, 2, 3)) * 127.5
        )


class Content(Metric):
    """Whether edges stay where they were: the correlation of gradients before and after.

    Of the steepness of luminance at each pixel, so colour, brightness, contrast and inversion
    change nothing. 1 is an untouched image, 0 another scene; a true counterpart lies between, where
    the domains differ in texture.
    """

    better = "higher"
    judges_inputs = False

    @property
    def title(self) -> str:
        """In words."""
        return "content preservation"

    def build(self) -> PerImage:
        """The correlation of each image; 0 where one has no edges."""
        from imgtrans_metrics import images

        return lambda batch: images.correlation(
            images.edges(batch.source), images.edges(batch.fake)
        )


class LuminanceCorrelation(Metric):
    """Whether bright stays bright: the correlation of luminance before and after.

    1 where brightness keeps its order, about 0 where it has no common order, clearly below 0 where
    images were inverted: a failure that cycle consistency cannot see, as the way back inverts
    again.
    """

    better = "neither"
    judges_inputs = False

    @property
    def title(self) -> str:
        """In words."""
        return "luminance correlation"

    def build(self) -> PerImage:
        """The correlation of each image; 0 where one has no contrast."""
        from imgtrans_metrics import images

        return lambda batch: images.correlation(
            images.luminance(batch.source), images.luminance(batch.fake)
        )

    def warning(self, score: Score) -> str | None:
        """Of inverted images, where the mean is below -0.2 and its interval below 0."""
        if score.value > -0.2 or (score.high is not None and score.high > 0):
            return None
        return (
            f"bright parts of images become dark and dark ones bright (luminance correlation "
            f"{score.value:.2f}): the generators have settled on inverting, which cycle "
            "consistency allows, and seldom leave it again; train anew with an identity loss "
            '([loss.identity] use = "cyclegan/identity"), or with another train.seed'
        )


class Checkerboard(Metric):
    """Patterns of an upsampling grid: energy at periods of 2, 4 and 8 pixels against that around.

    In decibels; photographs lie near 0, outputs of transposed convolutions often above. Only
    luminance is looked at.
    """

    paper = (
        'Odena et al., 2016, "Deconvolution and Checkerboard Artifacts", Distill, '
        "doi:10.23915/distill.00003"
    )
    unit = "dB"

    @property
    def title(self) -> str:
        """In a word."""
        return "checkerboard"

    def build(self) -> PerImage:
        """Decibels of each image."""
        from imgtrans_metrics import images

        return lambda batch: images.checkerboard(batch.fake)
