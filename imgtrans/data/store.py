"""One domain at load size: resized, kept or read again, broken images named."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from imgtrans.checkpoint import CorruptFileError
from imgtrans.data.flat import Broken, none_whole
from imgtrans.data.image_file import key, open_file, path_for
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from imgtrans.components import Dataset, ImageList, StampedImages
    from imgtrans.data.flat import Flat
    from imgtrans.data.image_file import ImageFile


Resizing = Literal["bilinear", "bicubic"]


def unit(image: Tensor) -> Tensor:
    """An image of any of the allowed types as float32 in [0, 1]."""
    if image.dtype == torch.uint8:
        return image.float() / 255
    if image.dtype == torch.uint16:
        return image.float() / 65535
    return image.float()


def fit(image: Tensor, size: int, mode: Resizing) -> Tensor:
    """Resize so that the shorter side has ``size`` pixels, keeping the aspect, with antialiasing.

    A uint8 image stays uint8; another becomes float32 in [0, 1].
    """
    if image.dtype != torch.uint8:
        image = unit(image)
    height, width = image.shape[-2:]
    if min(height, width) == size:
        return image
    # What torchvision does, whose import takes two seconds; given one number it would floor the
    # longer side.
    scaled = [max(size, round(side * size / min(height, width))) for side in (height, width)]
    resized = interpolate(image[None], scaled, mode=mode, align_corners=False, antialias=True)[0]
    return resized if image.dtype == torch.uint8 else resized.clamp(0, 1)


def to_range(images: Tensor) -> Tensor:
    """Images of any allowed type as float32 in [-1, 1], the range of the networks."""
    half = {torch.uint8: 255 / 2, torch.uint16: 65535 / 2}.get(images.dtype)
    if half is None:
        return images.float() * 2 - 1
    return images.float().div_(half).sub_(1)  # to the bit what twice their unit less 1 is


_STAMPED = (FileNotFoundError, PermissionError, IsADirectoryError)
"""What a stamp tells of too, once it is mended."""


def loudly(text: str) -> None:
    """Warn on standard error."""
    sys.stderr.write(f"warning: {text}\n")


@dataclass
class Store:
    """The images of one domain at load size: read when asked for, or kept."""

    images: ImageList
    size: int
    mode: Resizing
    skip_broken: bool
    path: Path | None = None
    """Of the file that may hold them, decoded by an earlier run."""
    kept: Flat | None = None
    warn: Callable[[str], None] = loudly
    """Told of a damaged file, and of what cannot be kept."""

    def __len__(self) -> int:
        """How many there are, broken ones included."""
        return len(self.images)

    @property
    def broken(self) -> Mapping[int, str]:
        """Index of an unreadable image to the reason, as far as known."""
        return {} if self.kept is None else self.kept.broken

    def read(self, index: int) -> tuple[Tensor, str | None]:
        """An image at load size; for a broken one the next that is not, and why.

        Raises:
            ImgtransError: it is broken, and the recipe does not leave such images out.
        """
        if self.kept is not None:
            return self.kept.view(index), self.kept.broken.get(index)
        reason = None
        for offset in range(len(self)):
            image = self.one((index + offset) % len(self))
            if isinstance(image, Tensor):
                return image, reason
            reason = reason or image.reason
        raise none_whole(len(self), reason)

    def one(self, index: int) -> Tensor | Broken:
        """An image at load size, out of the file if it is there as it is now.

        Raises:
            ImgtransError: it is broken, and the recipe does not leave such images out.
        """
        image: Tensor | Broken | None = None
        if self.file is not None:
            try:
                image = self.file.find(key(self.stamped, index), index)
            except CorruptFileError as error:
                self.warn(str(error))
                self.file = None  # nothing of it is trusted any more, and all is read again
        if image is None:
            image = self._decoded(index)
        if isinstance(image, Broken) and not self.skip_broken:
            raise ImgtransError(image.reason)
        return image

    def _decoded(self, index: int) -> Tensor | Broken:
        try:
            return fit(self.images[index], self.size, self.mode)
        except ImgtransError as error:
            cause = error.__cause__
            system = isinstance(cause, OSError) and cause.errno is not None
            return Broken(str(error), system and not isinstance(cause, _STAMPED))

    @property
    def stamped(self) -> StampedImages:
        """The images, where there may be a file of them."""
        return cast("StampedImages", self.images)

    @cached_property
    def file(self) -> ImageFile | None:
        """What an earlier run left, with images that may have changed since."""
        try:
            return None if self.path is None else open_file(self.path)
        except (OSError, CorruptFileError):
            return None  # whoever keeps images there says so

    def forget_file(self) -> None:
        """Look for the file again when it is next needed."""
        self.__dict__.pop("file", None)


def open_store(
    images: ImageList,
    dataset: Dataset,
    size: int | None = None,
    *,
    files: bool = True,
    warn: Callable[[str], None] = loudly,
) -> Store:
    """One domain at the recipe's load size, or at ``size``.

    Plain resizing is bilinear, as in the seed; resizing before a crop bicubic, as in the paper.
    With ``files``, images that an earlier run left in a file are taken from there; ``warn`` is told
    if it is damaged.
    """
    plain = dataset.load_size is None
    mode: Resizing = "bilinear" if plain else "bicubic"
    size = size or dataset.loaded
    path = path_for(images, dataset, size, mode) if files else None
    return Store(images, size, mode, dataset.broken_images == "skip", path, warn=warn)


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


def held_out(stores: Sequence[Store], count: int, size: int) -> HeldOut:
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
