"""Landscapes drawn from a seed, in summer and in winter: data that is always there, with a truth.

The pictures are drawn by ``scenes``; here is only what a recipe may set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import NonNegativeInt, PositiveInt

from imgtrans import FIXED, Dataset, Field, Images, Split, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

SUMMER: Final = 0
WINTER: Final = 1
TEST_SCENES_FROM: Final = 10_000_000
"""Held-out scenes are numbered from here, far from any training scene."""


class Landscapes(Dataset):
    """Generated landscapes, summer (x) and winter (y), held-out ones with their counterparts.

    Training is unpaired: no scene is shown in both seasons. In the test split ``x[i]`` and ``y[i]``
    are one scene.
    """

    scenes: PositiveInt = Field(
        default=1000,
        le=TEST_SCENES_FROM // 2,
        description="training scenes of each season",
        json_schema_extra=FIXED,
    )
    test_scenes: PositiveInt = Field(
        default=100, description="held-out scenes, drawn in both seasons", json_schema_extra=FIXED
    )
    scene_seed: NonNegativeInt = Field(
        default=0, description="which landscapes are drawn", json_schema_extra=FIXED
    )

    def build(self, split: Split, domains: tuple[str, str]) -> Images:
        """Scenes of one split, drawn at load size when they are asked for."""
        del domains
        if split == "test":
            first = TEST_SCENES_FROM
            x, y = (self._scenes(season, first, self.test_scenes) for season in (SUMMER, WINTER))
            return Images(x, y, paired=True)
        return Images(
            self._scenes(SUMMER, 0, self.scenes), self._scenes(WINTER, self.scenes, self.scenes)
        )

    def _scenes(self, season: int, first: int, count: int) -> Scenes:
        return Scenes(season, first, count, self.scene_seed, self.loaded, self.channels)


@dataclass(frozen=True)
class Scenes:
    """Consecutive scenes in one season."""

    season: int
    first: int
    count: int
    seed: int
    size: int
    channels: int

    def __len__(self) -> int:
        """How many scenes there are."""
        return self.count

    def __getitem__(self, index: int, /) -> Tensor:
        """``C×size×size`` uint8."""
        import torch

        from imgtrans_seasons.scenes import draw

        if not 0 <= index < self.count:
            raise IndexError(index)
        picture = draw(self.seed, self.first + index, self.size, self.size)[self.season]
        pixels = torch.from_numpy(picture).permute(2, 0, 1)
        if self.channels == 1:
            weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
            pixels = (pixels.float() * weights).sum(0, keepdim=True).round().byte()
        return pixels.contiguous()

    def name(self, index: int, /) -> str:
        """Which scene of which world in which season."""
        season = ("summer", "winter")[self.season]
        return f"landscape {self.seed}/{self.first + index} in {season}, {self.size} pixels"

    def stamp(self, index: int, /) -> str:
        """Of the code that draws: whoever changes it sees what it draws now."""
        del index
        return _code()


@cache
def _code() -> str:
    import hashlib

    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@hookimpl
def imgtrans_datasets() -> Mapping[str, type[Dataset]]:
    """Generated landscapes."""
    return {"landscapes": Landscapes}
