"""Losses that keep edges for imgtrans.

Torch is imported inside `build`: listing components must not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans import Field, Loss, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans import Term, Translation
    from torch import Tensor


class NormalizedGradients(Loss):
    """Edges stay where they are and as they run; which side is bright, and by how much, may change.

    Of s and f, the gradients of the source's and the fake's brightness, at every pixel

        1 - (s·f + flat²)² / ((s·s + flat²) (f·f + flat²))

    and the mean of that: 0 for equal images, at most 1. Where both are far above ``flat`` it is the
    squared sine of the angle between them; where one is far below, it asks the other to be flat
    too.
    """

    paper = (
        'Haber and Modersitzki, 2007, "Intensity Gradient Based Registration and Fusion of '
        'Multi-modal Images"'
    )

    flat: float = Field(
        default=0.05,
        gt=0,
        le=2,
        description="gradient that is no edge yet, per pixel; brightness spans 2",
    )

    def build(self) -> Term:
        """The generators' term: a number from 0 to 1."""
        import torch

        def gradients(images: Tensor) -> Tensor:
            brightness = images.mean(1)
            corner = brightness[:, :-1, :-1]
            return torch.stack((brightness[:, :-1, 1:] - corner, brightness[:, 1:, :-1] - corner))

        def product(one: Tensor, other: Tensor) -> Tensor:
            return (one * other).sum(0) + self.flat**2  # never 0 where it divides

        def edges_changed(translation: Translation) -> Tensor:
            source, fake = gradients(translation.source), gradients(translation.fake)
            alike = product(source, fake).square()
            return 1 - (alike / (product(source, source) * product(fake, fake))).mean()

        return edges_changed


@hookimpl
def imgtrans_losses() -> Mapping[str, type[Loss]]:
    return {"normalized-gradients": NormalizedGradients}
