"""Training from Python, with a residual block that is in no package.

    python docs/examples/from_python.py

Runs in seconds on the processor and writes ``runs/from_python``. In a notebook, leave out the last
line and call ``train()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans_cyclegan import Convolutional, CycleConsistency, EncoderDecoder, LeastSquares
from imgtrans_seasons import Landscapes

from imgtrans import Field, Recipe, ResidualBlock, Run, Train, run

if TYPE_CHECKING:
    from torch import Tensor, nn


class Scaled(ResidualBlock):
    """A 3×3 convolution whose result is scaled before it is added."""

    scale: float = Field(default=0.1, gt=0, description="factor on the branch")

    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""
        from torch import nn

        class Block(nn.Module):
            def __init__(self, scale: float) -> None:
                super().__init__()
                self.convolution, self.scale = nn.Conv2d(channels, channels, 3, padding=1), scale

            def forward(self, images: Tensor) -> Tensor:
                branch: Tensor = self.convolution(images)
                return images + self.scale * branch

        return Block(self.scale)


def train(steps: int = 20) -> Run:
    """Summer into winter on a few generated landscapes."""
    recipe = Recipe(
        name="from_python",
        domains=("summer", "winter"),
        dataset=Landscapes(image_size=32, scenes=16, test_scenes=4),
        generator=EncoderDecoder(width=8, blocks=2, residual_block=Scaled(scale=0.5)),
        discriminator=Convolutional(width=8),
        loss={"adversarial": LeastSquares(), "cycle": CycleConsistency(weight=10.0)},
        train=Train(steps=steps, batch_size=2),
    )
    return run(recipe)


def main() -> None:
    """Train, and translate a tensor as `N×3×H×W` in [-1, 1]."""
    import torch

    trained = train()
    winter = trained.model().translate(torch.zeros(1, 3, 64, 64), "summer_to_winter")
    print(f"{tuple(winter.shape)} from {winter.min():.2f} to {winter.max():.2f}")


if __name__ == "__main__":
    main()
