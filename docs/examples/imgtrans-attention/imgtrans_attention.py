"""Residual blocks for imgtrans.

Torch is imported inside `build`: listing components must not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans import Field, ResidualBlock, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class AttentionResidualBlock(ResidualBlock):
    """Two 3×3 convolutions whose branch begins small and grows as it learns."""

    start: float = Field(0.1, gt=0, description="factor on the branch at first")

    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""
        import torch
        from torch import nn

        class Block(nn.Module):
            def __init__(self, start: float) -> None:
                super().__init__()
                self.branch = nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, padding=1),
                )
                self.factor = nn.Parameter(torch.tensor(start))

            def forward(self, images: Tensor) -> Tensor:
                return images + self.factor * self.branch(images)

        return Block(self.start)


@hookimpl
def imgtrans_residual_blocks() -> Mapping[str, type[ResidualBlock]]:
    return {"attention": AttentionResidualBlock}
