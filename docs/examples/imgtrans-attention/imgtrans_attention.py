"""Residual blocks with attention for imgtrans.

Torch is imported inside `build`: listing components must not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from imgtrans import Field, ResidualBlock, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class SqueezeExcitation(ResidualBlock):
    """Two 3×3 convolutions and a shortcut; each image decides how much each channel adds to it.

    The mean of every channel (squeeze) goes through two small layers that give every channel its
    factor (excitation). The paper's is at most 1; this one is at most 2 and 1 at first, so that a
    new block does what ``cyclegan/residual`` does.
    """

    paper = 'Hu, Shen and Sun, 2018, "Squeeze-and-Excitation Networks", arXiv:1709.01507'

    norm: Literal["batch", "instance", "none"] = Field(
        default="batch", description="normalisation after each convolution"
    )
    reduction: int = Field(
        default=8,
        gt=0,
        description="channels for each unit between the two layers; there is at least one",
    )

    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""
        from torch import nn

        norms = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "none": nn.Identity}
        norm, hidden = norms[self.norm], max(1, channels // self.reduction)

        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolutions = nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                    norm(channels),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                )
                self.norm = norm(channels)
                last = nn.Linear(hidden, channels)
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)
                self.gate = nn.Sequential(
                    nn.Linear(channels, hidden), nn.ReLU(), last, nn.Sigmoid()
                )

            def forward(self, images: Tensor) -> Tensor:
                branch = self.convolutions(images)
                # Before the normalisation: after an instance's, every mean is 0.
                factors = 2 * self.gate(branch.mean((2, 3)))
                added: Tensor = factors[:, :, None, None] * self.norm(branch)
                return images + added

        return Block()


@hookimpl
def imgtrans_residual_blocks() -> Mapping[str, type[ResidualBlock]]:
    return {"squeeze-excitation": SqueezeExcitation}
