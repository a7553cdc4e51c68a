"""One domain at load size: resized, kept in memory or read again, broken images named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgtrans.components import Dataset, ImageList


def unit(image: Tensor) -> Tensor:
    """An image of any of the allowed types as float32 in [0, 1]."""
    if image.dtype == torch.uint8:
        return image.float() / 255
    if image.dtype == torch.uint16:
        return image.float() / 65535
    return image.float()


def fit(image: Tensor, size: int) -> Tensor:
    """Resize so that the shorter side has ``size`` pixels, keeping the aspect (bicubic).

    A uint8 image stays uint8; another becomes float32 in [0, 1].
    """
    if image.dtype != torch.uint8:
        image = unit(image)
    height, width = image.shape[-2:]
    if min(height, width) == size:
        return image
    # torchvision would do the same from one number, but floors the longer side.
    scaled = [max(size, round(side * size / min(height, width))) for side in (height, width)]
    resized: Tensor = transforms.resize(image, scaled, InterpolationMode.BICUBIC, antialias=True)
    return resized if image.dtype == torch.uint8 else resized.clamp(0, 1)


def to_range(images: Tensor) -> Tensor:
    """Images of any allowed type as float32 in [-1, 1], the range of the networks."""
    return unit(images) * 2 - 1


@dataclass
class Store:
    """The images of one domain at load size, read when asked for or kept in memory."""

    images: ImageList
    size: int
    skip_broken: bool
    kept: list[Tensor] | None = None
    broken: dict[int, str] = field(default_factory=dict)
    """Index of an unreadable image to the reason, where the recipe lets them be left out."""

    def __len__(self) -> int:
        """How many there are, broken ones included."""
        return len(self.images)

    def read(self, index: int) -> tuple[Tensor, str | None]:
        """An image at load size; for a broken one the next that is not, and why.

        Raises:
            ImgtransError: it is broken, and the recipe does not leave such images out.
        """
        if self.kept is not None:
            return self.kept[index], self.broken.get(index)
        reason = None
        for offset in range(len(self)):
            try:
                image = self.images[(index + offset) % len(self)]
            except ImgtransError as error:
                if not self.skip_broken:
                    raise
                reason = reason or str(error)
            else:
                return fit(image, self.size), reason
        message = f"none of the {len(self)} images can be read; the first: {reason}"
        raise ImgtransError(message)

    def keep(self, tick: Callable[[], None]) -> None:
        """Read every image once and keep them all; ``tick`` is called for each."""

        def one(index: int) -> tuple[Tensor, str | None]:
            image, reason = self.read(index)
            tick()
            return image, reason

        with ThreadPoolExecutor() as pool:
            try:
                read = list(pool.map(one, range(len(self))))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self.kept = [image for image, _ in read]
        self.broken = {index: reason for index, (_, reason) in enumerate(read) if reason}

    def bytes_needed(self) -> int:
        """Memory for all images, judged by the first."""
        image, _ = self.read(0)
        return image.numel() * image.element_size() * len(self)


def open_store(images: ImageList, dataset: Dataset) -> Store:
    """One domain at the recipe's load size."""
    return Store(images, dataset.loaded, dataset.broken_images == "skip")


def center_crop(image: Tensor, size: int) -> Tensor:
    """The middle ``size × size`` pixels."""
    height, width = image.shape[-2:]
    top, left = (height - size) // 2, (width - size) // 2
    return image[:, top : top + size, left : left + size]


def held_out(store: Store, indices: Sequence[int], size: int) -> Tensor:
    """``N×C×H×W`` float32 in [-1, 1]: these images, cropped in the middle, never flipped."""
    crops = [unit(center_crop(store.read(index)[0], size)) for index in indices]
    return torch.stack(crops) * 2 - 1


def spread(length: int, count: int) -> list[int]:
    """``count`` indices evenly over ``length``, fewer where there are fewer."""
    count = min(count, length)
    return [index * length // count for index in range(count)]
