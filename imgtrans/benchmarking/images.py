"""What a benchmark trains on: the recipe's images if they are here, else random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from imgtrans.components import Images
from imgtrans.problems import DataNotFoundError

if TYPE_CHECKING:
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import Recipe


def images_of(recipe: Recipe, display: Display) -> tuple[Images, str]:
    """The training images, and what they are; nothing is downloaded.

    Random images stand in for missing ones, not those of ``[fallback]``: they have the size that
    the recipe trains at, and no step's time depends on what they show.

    Raises:
        ImgtransError: the images are here and cannot be used.
    """
    try:
        images = recipe.dataset.build("train", recipe.domains)
    except DataNotFoundError as error:
        why = str(error).partition("\n")[0]
        display.warn(f"random images stand in for the recipe's, which are not here: {why}")
        count = max(16, 2 * recipe.train.batch_size)
        paired = any(loss.needs_pairs for loss in recipe.loss.values())
        channels, side = recipe.dataset.channels, recipe.dataset.loaded
        x, y = (_Random(count, channels, side, seed) for seed in range(2))
        return Images(x, y, paired), "random images"
    sizes = zip(recipe.domains, (images.x, images.y), strict=True)
    return images, " · ".join(f"{name} {len(each):,}" for name, each in sizes)


@dataclass(frozen=True)
class _Random:
    """Noise, the same for the same index."""

    count: int
    channels: int
    side: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> torch.Tensor:
        generator = torch.Generator().manual_seed(2 * index + self.seed)
        shape = (self.channels, self.side, self.side)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8)

    def name(self, index: int, /) -> str:
        return f"random {index}"
