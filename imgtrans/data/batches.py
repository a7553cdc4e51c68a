"""From images to the batches that steps see, with or without worker processes.

Cropping happens as an image is read, flipping and scaling on the device, a batch at a time; images
that are kept on a GPU are cropped there too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import torch

from imgtrans.data.batch import Batch, ahead
from imgtrans.data.keeping import fits_in_memory, keep
from imgtrans.data.loading import by_workers, here
from imgtrans.data.order import Order
from imgtrans.data.samples import Samples
from imgtrans.data.store import loudly, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from imgtrans.components import Images
    from imgtrans.data.flat import Flat
    from imgtrans.data.keeping import Wish
    from imgtrans.recipe import Recipe

DEVICE_SHARE = 0.1
"""Of a GPU's free memory, "auto" gives at most this share to decoded images."""


def open_training(
    recipe: Recipe,
    images: Images,
    progress: Callable[[str, int], Callable[[], None]],
    warn: Callable[[str], None] = loudly,
    *,
    share: tuple[int, int] = (0, 1),
) -> TrainingData:
    """Decide on cache and workers, and fill the cache.

    Args:
        recipe: for sizes, seed and the cache's settings.
        images: the training split.
        progress: called with a label and a total when decoding starts; returns a tick.
        warn: told what could not be kept, or was damaged.
        share: which of how many processes this one is; they share every batch evenly.

    Raises:
        ImgtransError: an image cannot be read, and the recipe does not leave such images out.
        RecipeError: the cache cannot be as wished.
    """
    dataset, settings = recipe.dataset, recipe.train
    files = settings.cache not in ("memory", "none")
    x, y = (open_store(each, dataset, files=files, warn=warn) for each in (images.x, images.y))
    lengths = (len(x), len(y))
    order = Order(
        settings.seed, settings.batch_size, lengths, images.paired, settings.accumulate, share
    )
    keep((x, y), settings.cache, progress)
    samples = Samples(x, y, order, dataset.image_size, dataset.flip)
    waits = samples.mapped and not fits_in_memory(samples.bytes_kept)
    workers = 0 if samples.kept and not waits else min(4, psutil.cpu_count() or 1)
    if settings.workers != "auto":
        workers = settings.workers
    return TrainingData(samples, workers, settings.cache)


@dataclass
class TrainingData:
    """The training images of a recipe, in the order that steps see them."""

    samples: Samples
    workers: int
    cache: Wish = "auto"
    _there: dict[torch.device, tuple[Flat, Flat]] = field(default_factory=dict, repr=False)
    """Copies of the kept images on GPUs."""

    @property
    def cached(self) -> bool:
        """Whether no image has to be read any more."""
        return self.samples.kept

    @property
    def order(self) -> Order:
        """Which image when."""
        return self.samples.order

    @property
    def broken(self) -> list[str]:
        """Why images were left out, as far as known before training."""
        return [*self.samples.x.broken.values(), *self.samples.y.broken.values()]

    def batches(self, start: int, stop: int, device: torch.device) -> Generator[Batch, None, None]:
        """The batches of steps ``start`` to ``stop - 1``, the same for any cache and workers.

        Close it when it is not read to its end: that ends the workers.
        """
        if self._belongs_on(device):
            return self._made_on(device, start, stop)
        on_gpu = device.type == "cuda"
        if self.workers:
            batches = by_workers(self.samples, start, stop, self.workers, pin=on_gpu)
        else:
            batches = here(self.samples, start, stop)
        return ahead(batches, device) if on_gpu else batches

    def _belongs_on(self, device: torch.device) -> bool:
        """Whether the kept images are copied to a device, to be cropped there."""
        if device.type != "cuda" or not self.cached or self.cache not in ("auto", "device"):
            return False
        free, _ = torch.cuda.mem_get_info(device)
        room = self.samples.bytes_kept <= DEVICE_SHARE * free
        return room or self.cache == "device" or device in self._there

    def _made_on(self, device: torch.device, start: int, stop: int) -> Generator[Batch, None, None]:
        kept_x, kept_y = self.samples.x.kept, self.samples.y.kept
        assert kept_x is not None and kept_y is not None  # noqa: S101, PT018 - narrows the types
        if device not in self._there:
            self._there[device] = (kept_x.to(device), kept_y.to(device))
        for step in range(start, stop):
            yield self.samples.gathered(self.order.positions(step), *self._there[device])


class Waiting:
    """Iterates batches and counts the seconds spent waiting for them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        """Nothing waited for yet."""
        self._batches = batches
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        """Pass the batches on."""
        while True:
            start = time.perf_counter()
            batch = next(self._batches, None)
            self.seconds = time.perf_counter() - start
            if batch is None:
                return
            yield batch
