"""One position of a batch after another: which images, and what is cut out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from imgtrans.data.batch import Batch
from imgtrans.data.flat import Cut, Flat
from imgtrans.data.store import Store, unit
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from imgtrans.data.order import Order

_T = TypeVar("_T")


@dataclass(frozen=True)
class Sample:
    """One position of a batch, cropped, still in the image's own type."""

    x: Tensor
    y: Tensor
    flips: tuple[bool, bool]
    broken: tuple[str, ...]


@dataclass
class Samples(torch.utils.data.Dataset[Sample | ImgtransError]):
    """What every position shows."""

    x: Store
    y: Store
    order: Order
    image_size: int
    flip: bool

    @property
    def kept(self) -> bool:
        """Whether no image has to be read any more."""
        return self.x.kept is not None and self.y.kept is not None

    @property
    def bytes_kept(self) -> int:
        """Of all images that are kept."""
        return sum(each.kept.pixels.numel() for each in (self.x, self.y) if each.kept is not None)

    @property
    def mapped(self) -> bool:
        """Whether some of them are in a file, so that reading may wait for a disk."""
        return any(
            each.kept is not None and each.kept.path is not None for each in (self.x, self.y)
        )

    def __getitem__(self, position: int) -> Sample | ImgtransError:
        """A sample, or why there is none."""
        try:
            return self.read(position)
        except ImgtransError as error:
            return error  # raised in a worker, it would arrive with the worker's traceback as text

    def read(self, position: int) -> Sample:
        """A sample.

        Raises:
            ImgtransError: it cannot be read, and the recipe does not leave such images out.
        """
        (x, y), reasons = self._chosen(position, self.x.read, self.y.read)
        size = self.image_size
        place_x, place_y = self._places(position, (_size(x), _size(y)))
        x, y = (
            image[:, top : top + size, left : left + size]
            for image, (top, left, _) in ((x, place_x), (y, place_y))
        )
        return Sample(x, y, (place_x[2], place_y[2]), reasons)

    def gathered(self, positions: Sequence[int], x: Flat, y: Flat) -> Batch:
        """A batch cropped and flipped where copies of the kept images are."""
        cuts: tuple[list[Cut], list[Cut]] = ([], [])
        reasons: list[str] = []
        for position in positions:
            indices, why = self._chosen(position, _known(x), _known(y))
            reasons += why
            sizes = (x.size(indices[0]), y.size(indices[1]))
            places = self._places(position, sizes)
            for each, index, place in zip(cuts, indices, places, strict=True):
                each.append(Cut(index, *place))
        images = [
            _gather(flat, each, self.image_size) for flat, each in zip((x, y), cuts, strict=True)
        ]
        return Batch(images[0], images[1], None, None, tuple(reasons))

    def _chosen(
        self,
        position: int,
        read_x: Callable[[int], tuple[_T, str | None]],
        read_y: Callable[[int], tuple[_T, str | None]],
    ) -> tuple[tuple[_T, _T], tuple[str, ...]]:
        """The images of a position, and why others were left out; a pair only as a whole."""
        reasons: list[str] = []
        index_x, index_y = self.order.indices(position)
        for offset in range(len(self.x) if self.order.paired else 1):
            x, why_x = read_x((index_x + offset) % len(self.x))
            y, why_y = read_y((index_y + offset) % len(self.y))
            broken = [why for why in (why_x, why_y) if why]
            reasons += broken
            if not (self.order.paired and broken):
                return (x, y), tuple(reasons)
        message = f"no pair of images is whole; the first: {reasons[0]}"
        raise ImgtransError(message)

    def _places(
        self, position: int, sizes: tuple[tuple[int, int], tuple[int, int]]
    ) -> tuple[tuple[int, int, bool], tuple[int, int, bool]]:
        """Top and left of both crops, and whether they are mirrored."""
        whole = (self.image_size, self.image_size)
        if not self.flip and sizes == (whole, whole):  # nothing to draw, which takes its time
            return (0, 0, False), (0, 0, False)
        draws = self.order.draws(position)
        x, y = (self._place(*size, draw) for size, draw in zip(sizes, draws, strict=True))
        return x, y

    def _place(self, height: int, width: int, draw: random.Random) -> tuple[int, int, bool]:
        size = self.image_size
        top, left = draw.randint(0, height - size), draw.randint(0, width - size)
        return top, left, self.flip and draw.random() < 0.5


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _known(flat: Flat) -> Callable[[int], tuple[int, str | None]]:
    return lambda index: (index, flat.broken.get(index))


def _gather(flat: Flat, cuts: Sequence[Cut], size: int) -> Tensor:
    if flat.of_one_type([cut.number for cut in cuts]):
        return flat.crops(cuts, size)
    return torch.cat([unit(flat.crops([cut], size)) for cut in cuts])


def collate(read: Sequence[Sample | ImgtransError]) -> Batch | ImgtransError:
    """Samples as a batch, or the error of one of them."""
    samples = []
    for each in read:
        if isinstance(each, ImgtransError):
            return each
        samples.append(each)
    flips = torch.tensor([sample.flips for sample in samples])
    broken = tuple(reason for sample in samples for reason in sample.broken)
    return Batch(
        _stack([sample.x for sample in samples]),
        _stack([sample.y for sample in samples]),
        flips[:, 0],
        flips[:, 1],
        broken,
    )


def _stack(images: Sequence[Tensor]) -> Tensor:
    if len({image.dtype for image in images}) > 1:  # 8-bit and 16-bit files in one folder
        images = [unit(image) for image in images]
    return torch.stack(list(images))
