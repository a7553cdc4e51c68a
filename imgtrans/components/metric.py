"""Metrics: what is measured of translations of held-out images, and the networks that judge."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from imgtrans.components.base import Component

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from imgtrans.evaluation import Translated


@dataclass(frozen=True)
class Judge:
    """The network behind a figure: without it the figure can be compared with no other."""

    name: str
    """Such as ``EfficientNet-Lite0``."""
    sha256: str
    """Of the file that its weights come from."""
    resizing: str
    """What is done to images first, such as ``bilinear with antialiasing to 224×224``."""


class FeatureNetwork(Component):
    """A network whose features of images are compared, such as a classifier without its last layer.

    Not trained, and never told of the domains.
    """

    trains: ClassVar[bool] = False

    @property
    @abstractmethod
    def judge(self) -> Judge:
        """Which network, weights and resizing it is; nothing is loaded for it."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A network from ``N×3×H×W`` in [-1, 1], H and W of any size, to features ``N×D``.

        In evaluation mode, on the processor, with the resizing inside.

        Raises:
            ImgtransError: its weights are not here; the text says how to get them.
        """


@dataclass(frozen=True)
class Score:
    """A figure, with the interval that it lies in with 95 % confidence where that is known."""

    value: float
    low: float | None = None
    high: float | None = None


PerImage: TypeAlias = "Callable[[Translated], Tensor]"
"""``N`` numbers, one for each image of a batch; their mean is the score."""


@dataclass(frozen=True)
class Comparison:
    """Compares all translations of one direction with all images of the target domain."""

    features: FeatureNetwork
    distance: Callable[[Tensor, Tensor], Score]
    """From features ``N×D`` of translations and ``M×D`` of real images of the target domain."""


class Metric(Component):
    """Says how good translations of held-out images are, one direction at a time."""

    trains: ClassVar[bool] = False
    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"
    """Which scores are better; ``neither`` for those that only describe."""
    unit: ClassVar[str] = ""
    needs_truth: ClassVar[bool] = False
    """Whether every held-out image must have its true counterpart in the other domain."""
    needs_reconstruction: ClassVar[bool] = False
    """Whether it asks for translations back, for which a model needs both directions."""
    fewest_images: ClassVar[int] = 1
    """Held-out images of each domain below which it says nothing and is left out."""
    judges_inputs: ClassVar[bool] = True
    """Whether untranslated images have a score that says something, to stand beside a model's."""

    @property
    def title(self) -> str:
        """What reports call it, such as ``PSNR``; with its network, where it has one."""
        return type(self).__name__

    @property
    def judge(self) -> Judge | None:
        """The network behind its figures."""
        return None

    @abstractmethod
    def build(self) -> PerImage | Comparison:
        """A function that gives each image a number, or a comparison of all with all.

        Raises:
            ImgtransError: something that it needs is not here; the text says how to get it.
        """

    def warning(self, score: Score) -> str | None:
        """What a training should warn of, where a score of its translations shows a failure."""
        del score
        return None
