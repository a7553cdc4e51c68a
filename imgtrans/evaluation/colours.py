"""The simplest translation there is, which any useful one must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ColourMatch:
    """Each channel moved and stretched to the target domain's mean and deviation."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, source: Tensor, target: Tensor) -> ColourMatch:
        """From training images of both domains, ``N×C×H×W``."""
        (m_source, d_source), (m_target, d_target) = (
            (images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))) for images in (source, target)
        )
        scale = d_target / d_source.clamp_min(1e-6)
        return cls(scale.view(-1, 1, 1), (m_target - scale * m_source).view(-1, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """Apply to ``N×C×H×W`` in [-1, 1]; stays in [-1, 1]."""
        scale, shift = self.scale.to(images.device), self.shift.to(images.device)
        return (images * scale + shift).clamp(-1, 1)
