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
    from collections.abc import Callable

    from imgtrans.components import Dataset, ImageList


def unit(image: Tensor) -> Tensor:
    """An image of any of the allowed types as float32 in [0, 1]."""
    if image.dtype == torch.uint8:
        return image.float() / 255
    if image.dtype == torch.uint16:
        return image.float() / 65535
    return image.float()


def fit(image: Tensor, size: int, mode: InterpolationMode) -> Tensor:
    """Resize so that the shorter side has ``size`` pixels, keeping the aspect, with antialiasing.

    A uint8 image stays uint8; another becomes float32 in [0, 1].
    """
    if image.dtype != torch.uint8:
        image = unit(image)
    height, width = image.shape[-2:]
    if min(height, width) == size:
        return image
    # torchvision would do the same from one number, but floors the longer side.
    scaled = [max(size, round(side * size / min(height, width))) for side in (height, width)]
    resized: Tensor = transforms.resize(image, scaled, mode, antialias=True)
    return resized if image.dtype == torch.uint8 else resized.clamp(0, 1)


def to_range(images: Tensor) -> Tensor:
    """Images of any allowed type as float32 in [-1, 1], the range of the networks."""
    return unit(images) * 2 - 1


@dataclass
class Store:
    """The images of one domain at load size, read when asked for or kept in memory."""

    images: ImageList
    size: int
    mode: InterpolationMode
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
                return fit(image, self.size, self.mode), reason
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
        """Memory for all images, judged by the largest of a few."""
        few = [self.read(index)[0] for index in spread(len(self), 16)]
        return max(image.numel() * image.element_size() for image in few) * len(self)


def open_store(images: ImageList, dataset: Dataset, size: int | None = None) -> Store:
    """One domain at the recipe's load size, or at ``size``.

    Plain resizing is bilinear, as in the seed; resizing before a crop bicubic, as in the paper.
    """
    plain = dataset.load_size is None
    mode = InterpolationMode.BILINEAR if plain else InterpolationMode.BICUBIC
    return Store(images, size or dataset.loaded, mode, dataset.broken_images == "skip")


def center_crop(image: Tensor, size: int) -> Tensor:
    """The middle ``size × size`` pixels."""
    height, width = image.shape[-2:]
    top, left = (height - size) // 2, (width - size) // 2
    return image[:, top : top + size, left : left + size]


@dataclass(frozen=True)
class HeldOut:
    """Images to look at or to measure, cropped in the middle, never flipped."""

    x: Tensor
    """``N×C×H×W`` float32 in [-1, 1]."""
    y: Tensor
    broken: tuple[str, ...]
    """Why images were left out."""


def held_out(stores: tuple[Store, Store], count: int, size: int) -> HeldOut:
    """``count`` images of each domain, spread evenly; fewer where there are fewer.

    The next image takes the place of a broken one; `HeldOutImages` leaves them out.

    Args:
        stores: of x and y.
        count: at most so many.
        size: height and width of the crops.

    Raises:
        ImgtransError: an image is broken, and the recipe does not leave such images out.
    """
    sides: list[Tensor] = []
    broken: dict[str, None] = {}
    for store in stores:
        read = [store.read(place) for place in spread(len(store), count)]
        broken |= dict.fromkeys(reason for _, reason in read if reason)
        sides.append(torch.stack([unit(center_crop(image, size)) for image, _ in read]) * 2 - 1)
    x, y = sides
    return HeldOut(x, y, tuple(broken))


def spread(length: int, count: int) -> list[int]:
    """``count`` indices evenly over ``length``, fewer where there are fewer."""
    count = min(count, length)
    return [index * length // count for index in range(count)]
