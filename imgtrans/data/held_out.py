"""Every held-out image of a recipe, a batch at a time, as metrics see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from imgtrans.data.keeping import keep
from imgtrans.data.store import center_crop, loudly, open_store, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from imgtrans.components import Dataset, Images


@dataclass(frozen=True)
class HeldOutBatch:
    """Neighbouring images of one domain."""

    names: Sequence[str]
    images: Tensor
    """``N×C×H×W`` float32 in [-1, 1], the middle of each image."""
    truth: Tensor | None
    """Their true counterparts, where the images are paired."""


class HeldOutImages:
    """Both domains of a test split; read again for each pass, or kept where memory allows."""

    def __init__(
        self,
        images: Images,
        dataset: Dataset,
        *,
        files: bool = True,
        warn: Callable[[str], None] = loudly,
    ) -> None:
        """Nothing is read yet.

        Args:
            images: the test split.
            dataset: for sizes.
            files: whether what takes long to read may be kept in files, for later runs.
            warn: told of what could not be kept, or was damaged.
        """
        self.paired = images.paired
        self._size = dataset.image_size
        # As much of each image as fits into the square: only training crops at random from more.
        self._stores = tuple(
            open_store(each, dataset, self._size, files=files, warn=warn)
            for each in (images.x, images.y)
        )
        self.broken: dict[str, None] = {}
        """Why images were left out; a pair goes as a whole."""
        self._left_out: tuple[set[int], set[int]] = (set(), set())

    def __len__(self) -> int:
        """Images of both domains together."""
        return sum(map(len, self._stores))

    def count(self, domain: int) -> int:
        """Images of a domain, 0 for x and 1 for y, without those that were left out so far."""
        return len(self._stores[domain]) - len(self._left_out[domain])

    def keep(self) -> None:
        """Read every image once and keep them, where there is room.

        Raises:
            ImgtransError: an image is broken, and the recipe does not leave such images out.
        """
        keep(self._stores, "auto", lambda *_: lambda: None)

    def batches(self, domain: int, size: int) -> Iterator[HeldOutBatch]:
        """The images of a domain, 0 for x and 1 for y, in their order, ``size`` at a time.

        Raises:
            ImgtransError: an image is broken, and the recipe does not leave such images out.
        """
        names: list[str] = []
        images: list[Tensor] = []
        truths: list[Tensor] = []
        for index in range(len(self._stores[domain])):
            image, truth = self._read(domain, index), None
            if self.paired:
                truth = self._read(1 - domain, index)
            if image is None or (self.paired and truth is None):
                for each in (domain, *([1 - domain] if self.paired else [])):
                    self._left_out[each].add(index)
                continue
            names.append(self._stores[domain].images.name(index))
            images.append(image)
            if truth is not None:
                truths.append(truth)
            if len(images) == size:
                yield _batch(names, images, truths)
                names, images, truths = [], [], []
        if images:
            yield _batch(names, images, truths)

    def _read(self, domain: int, index: int) -> Tensor | None:
        image, reason = self._stores[domain].read(index)
        if reason is not None:
            self.broken[reason] = None
            return None
        return unit(center_crop(image, self._size))


def _batch(names: list[str], images: list[Tensor], truths: list[Tensor]) -> HeldOutBatch:
    truth = torch.stack(truths) * 2 - 1 if truths else None
    return HeldOutBatch(names, torch.stack(images) * 2 - 1, truth)
