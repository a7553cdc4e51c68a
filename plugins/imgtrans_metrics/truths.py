"""How near each translation comes to the true counterpart of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans import Field, Judge, Metric

if TYPE_CHECKING:
    from torch import Tensor, nn

    from imgtrans import PerImage, Translated


class PSNR(Metric):
    """Peak signal-to-noise ratio: the mean squared error of pixels, in decibels; at most 100."""

    better = "higher"
    unit = "dB"
    needs_truth = True

    @property
    def title(self) -> str:
        """Its usual name."""
        return "PSNR"

    def build(self) -> PerImage:
        """Decibels of each image; the peak is the whole range."""
        from imgtrans_metrics import images

        return lambda batch: images.psnr(batch.fake, batch.truth)


class SSIM(Metric):
    """Structural similarity: brightness, contrast and structure within small windows; at most 1."""

    paper = (
        'Wang et al., 2004, "Image Quality Assessment: From Error Visibility to Structural '
        'Similarity", IEEE Transactions on Image Processing 13'
    )
    better = "higher"
    needs_truth = True

    @property
    def title(self) -> str:
        """Its usual name."""
        return "SSIM"

    def build(self) -> PerImage:
        """The similarity of each image."""
        from imgtrans_metrics import images

        return lambda batch: images.ssim(batch.fake, batch.truth)


class LPIPS(Metric):
    """How different translation and truth look, by SqueezeNet's features; a file of yours.

    No package brings SqueezeNet's weights and nothing is downloaded: get torchvision's
    ``squeezenet1_1-b8a52dc0.pth``. ``st-lpips`` needs no file.
    """

    paper = (
        'Zhang et al., 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual '
        'Metric", arXiv:1801.03924'
    )
    needs_truth = True

    weights: str | None = Field(
        default=None,
        description="SqueezeNet's file; looked up in $IMGTRANS_WEIGHTS and torch's hub cache",
    )

    @property
    def title(self) -> str:
        """With its network: figures of others differ."""
        return "LPIPS on SqueezeNet"

    @property
    def judge(self) -> Judge:
        """Another file than torchvision's is refused."""
        return Judge(
            name="SqueezeNet 1.1",
            sha256="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
            resizing="none",
        )

    def build(self) -> PerImage:
        """The distance of each image.

        Raises:
            ImgtransError: the file is not here, or is another one.
        """
        from imgtrans_metrics import perceptual, weights

        names = ("squeezenet1_1-b8a52dc0.pth",)
        file = weights.of_user(self.weights, names, "SqueezeNet 1.1")
        network = perceptual.SqueezeNet(weights.read(file, self.judge.sha256))
        return lambda batch: _apart(network, batch)


class ShiftTolerantLPIPS(Metric):
    """How different translation and truth look, by an AlexNet that forgives shifts of a pixel.

    Its weights come with ``imgtrans[metrics]``, in the package ``stlpips-pytorch``.
    """

    paper = (
        'Ghildyal and Liu, 2022, "Shift-tolerant Perceptual Similarity Metric", arXiv:2207.13686'
    )
    needs_truth = True

    @property
    def title(self) -> str:
        """As its authors call it."""
        return "ST-LPIPS"

    @property
    def judge(self) -> Judge:
        """The file is the same for everybody."""
        return Judge(
            name="shift-tolerant AlexNet",
            sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
            resizing="none",
        )

    def build(self) -> PerImage:
        """The distance of each image.

        Raises:
            ImgtransError: its package is not installed, or brought another file.
        """
        from imgtrans_metrics import perceptual, weights

        file = weights.of_package(
            "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth", "ST-LPIPS"
        )
        network = perceptual.ShiftTolerantAlexNet(weights.read(file, self.judge.sha256))
        return lambda batch: _apart(network, batch)


def _apart(network: nn.Module, batch: Translated) -> Tensor:
    """Distances from fakes to truths, computed where the fakes are."""
    distances: Tensor = network.to(batch.fake.device)(batch.fake, batch.truth)
    return distances
