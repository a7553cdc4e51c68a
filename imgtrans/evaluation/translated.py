"""A batch of held-out images in one direction, as metrics see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans.problems import RecipeError
from imgtrans.training import evaluating
from imgtrans.translation import once

if TYPE_CHECKING:
    from torch import Tensor, nn

    from imgtrans.translation import Direction


class Translated:
    """Held-out images and their translations, by networks in evaluation mode, without gradients.

    Attributes:
        source: ``N×C×H×W`` float32 in [-1, 1], from the domain we start in.
        fake: ``N×C×H×W`` float32 in [-1, 1], the source translated; for comparison also what a
            simpler change makes of it.
    """

    def __init__(
        self,
        source: Tensor,
        fake: Tensor,
        truth: Tensor | None = None,
        direction: Direction | None = None,
    ) -> None:
        """``direction`` has the generator back, where there is one."""
        self.source, self.fake = source, fake
        self._truth, self._direction = truth, direction

    @property
    def truth(self) -> Tensor:
        """``N×C×H×W`` float32 in [-1, 1]: the true counterparts of the source.

        Raises:
            RecipeError: these images have none; the metric must say ``needs_truth``.
        """
        if self._truth is None:
            message = (
                "a metric asks for the truth, but these images have no counterparts; let it say "
                "needs_truth = True"
            )
            raise RecipeError(message)
        return self._truth

    @once
    def reconstructed(self) -> Tensor:
        """``N×C×H×W`` float32 in [-1, 1]: the fake, translated back.

        Raises:
            RecipeError: there is no generator back; the metric must say ``needs_reconstruction``.
        """
        back = self._direction.back if self._direction is not None else None
        if back is None or self._direction is None:
            message = (
                "a metric asks for translations back, for which there is no generator; let it say "
                "needs_reconstruction = True"
            )
            raise RecipeError(message)
        return through(back, self.fake)


def through(network: nn.Module, images: Tensor) -> Tensor:
    """Images through a network in evaluation mode, as float32, where the network is."""
    with evaluating([network]):  # in full precision, so that any machine measures the same
        like = next(network.parameters(), images)
        made: Tensor = network(images.to(like.device, like.dtype))
    return made.float()
