"""KID and FID: how far all translations are from all real images of the target domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import PositiveInt

from imgtrans import Comparison, FeatureNetwork, Field, Metric
from imgtrans_metrics.judges import INCEPTION_SHA256, EfficientNetLite0

if TYPE_CHECKING:
    from torch import Tensor

    from imgtrans import Judge, Score


FEWEST: Final = 10
"""Fewer images say nothing of a distribution."""


def _title(name: str, judge: Judge) -> str:
    """The bare word only for what published figures were made with."""
    return name if judge.sha256 == INCEPTION_SHA256 else f"{name} on {judge.name}"


class KID(Metric):
    """Kernel distance between translations and real images: unbiased, so few images will do.

    The squared maximum mean discrepancy of the features under the kernel (x·y / D + 1)³, a mean
    over subsets. Two samples of one domain score 0 on average, and below 0 half of the time.
    """

    paper = 'Bińkowski et al., 2018, "Demystifying MMD GANs", arXiv:1801.01401'

    fewest_images = FEWEST

    features: FeatureNetwork = Field(
        default=EfficientNetLite0(), description="the network whose features are compared"
    )
    subsets: PositiveInt = Field(
        default=100, le=10_000, description="random subsets that are compared"
    )
    subset_size: int | None = Field(
        default=None,
        ge=2,
        description="images in each; default: half of the smaller set, at most 1000",
    )

    @property
    def title(self) -> str:
        """With its network, unless that is the Inception of published figures."""
        return _title("KID", self.judge)

    @property
    def judge(self) -> Judge:
        """The network that gives the features."""
        return self.features.judge

    def build(self) -> Comparison:
        """A comparison that is repeatable: the subsets are always the same."""

        def distance(fakes: Tensor, reals: Tensor) -> Score:
            from imgtrans_metrics import sets

            return sets.kid(fakes, reals, self.subsets, self.subset_size)

        return Comparison(self.features, distance)


class FID(Metric):
    """Fréchet distance between translations and real images: well known, but biased by numbers.

    Both sets of features are taken for normal distributions. The fewer images, the larger the
    figure, by a lot below some thousands: compare only figures of the same numbers of images, and
    trust KID where the two disagree.
    """

    paper = (
        'Heusel et al., 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local '
        'Nash Equilibrium", arXiv:1706.08500'
    )

    fewest_images = FEWEST

    features: FeatureNetwork = Field(
        default=EfficientNetLite0(), description="the network whose features are compared"
    )

    @property
    def title(self) -> str:
        """With its network, unless that is the Inception of published figures."""
        return _title("FID", self.judge)

    @property
    def judge(self) -> Judge:
        """The network that gives the features."""
        return self.features.judge

    def build(self) -> Comparison:
        """A comparison without an interval: the bias is larger than the spread."""

        def distance(fakes: Tensor, reals: Tensor) -> Score:
            from imgtrans_metrics import sets

            return sets.fid(fakes, reals)

        return Comparison(self.features, distance)
