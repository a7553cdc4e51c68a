"""From images to the batches that steps see, with or without worker processes.

Cropping happens as an image is read, flipping and scaling on the device, a batch at a time.
"""

from __future__ import annotations

import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from imgtrans.data.batch import Batch
from imgtrans.data.order import Order
from imgtrans.data.store import Store, open_store, unit
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Iterator, Sequence

    from imgtrans.components import Images
    from imgtrans.recipe import Recipe

CACHE_SHARE = 0.5
"""Of the memory that is free at the start, at most this share holds decoded images."""
CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells the limits of the container that a process is in."""


def open_training(
    recipe: Recipe, images: Images, progress: Callable[[str, int], Callable[[], None]]
) -> TrainingData:
    """Decide on cache and workers, and fill the cache.

    Args:
        recipe: for sizes, seed and the cache's settings.
        images: the training split.
        progress: called with a label and a total when decoding starts; returns a tick.

    Raises:
        ImgtransError: an image cannot be read, and the recipe does not leave such images out.
    """
    dataset, settings = recipe.dataset, recipe.train
    x, y = (open_store(each, dataset) for each in (images.x, images.y))
    order = Order(settings.seed, settings.images_per_step, (len(x), len(y)), images.paired)
    cached = settings.cache == "memory" or (settings.cache == "auto" and fits_in_memory(x, y))
    if cached:
        tick = progress("reading images", len(x) + len(y))
        for store in (x, y):
            store.keep(tick)
    workers = 0 if cached else min(4, psutil.cpu_count() or 1)
    if settings.workers != "auto":
        workers = settings.workers
    samples = _Samples(x, y, order, dataset.image_size, dataset.flip)
    return TrainingData(samples, workers, cached)


def fits_in_memory(*stores: Store) -> bool:
    """Whether decoded images may be kept: half of what is free is for them."""
    needed = sum(store.bytes_needed() for store in stores)
    return needed <= CACHE_SHARE * _free_bytes()


def _free_bytes() -> int:
    """Memory that is free, on this machine and in the container that this process may be in."""
    free: int = psutil.virtual_memory().available
    try:
        most, used = (
            int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no such limit: another system, or "max"
        return free
    return min(free, most - used)


@dataclass
class TrainingData:
    """The training images of a recipe, in the order that steps see them."""

    samples: _Samples
    workers: int
    cached: bool

    @property
    def order(self) -> Order:
        """Which image when."""
        return self.samples.order

    @property
    def broken(self) -> list[str]:
        """Why images were left out, as far as known before training."""
        return [*self.samples.x.broken.values(), *self.samples.y.broken.values()]

    def batches(self, start: int, stop: int, device: torch.device) -> Generator[Batch, None, None]:
        """The batches of steps ``start`` to ``stop - 1``, the same for any number of workers.

        Close it when it is not read to its end: that ends the workers.
        """
        with warnings.catch_warnings():
            # More workers than processors is what the recipe asks for, and right for slow disks.
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            loader = DataLoader(
                self.samples,
                batch_sampler=_Steps(start, stop, self.order.batch_size),
                collate_fn=_collate,
                num_workers=self.workers,
                # Python 3.14 would start them afresh, where plugins given as files are unknown.
                multiprocessing_context=(
                    "fork" if self.workers and sys.platform == "linux" else None
                ),
                worker_init_fn=_ignore_signals,
                pin_memory=device.type == "cuda",
                # Its own, so that starting a loader leaves the global random state alone.
                generator=torch.Generator(),
            )
            return _whole(iter(loader))


def _whole(loaded: Any) -> Generator[Batch, None, None]:
    """Batches, or the error of the process that could not make one; ends the workers with it."""
    try:
        yield from _each(loaded)
    finally:
        # Not left to the garbage collector: a traceback may keep the loader until Python exits,
        # which would then wait forever for workers that ignore its SIGTERM.
        if hasattr(loaded, "_shutdown_workers"):
            loaded._shutdown_workers()  # noqa: SLF001 - torch has no public name for it


def _each(loaded: Iterator[Batch | ImgtransError]) -> Iterator[Batch]:
    while True:
        try:
            batch = next(loaded, None)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            message = (
                f"a process that reads images is gone: {error}\n  often memory ran out: lower "
                "train.workers (0 needs no process), or give containers more shared memory"
            )
            raise ImgtransError(message) from error
        if isinstance(batch, ImgtransError):
            raise batch
        if batch is None:
            return
        yield batch


def _ignore_signals(worker: int) -> None:
    # Ctrl-C, and what job schedulers send, reach the whole process group. The main process finishes
    # its step and then ends its workers through their queues.
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True)
class _Sample:
    """One position of a batch, cropped, still in the image's own type."""

    x: Tensor
    y: Tensor
    flips: tuple[bool, bool]
    broken: tuple[str, ...]


@dataclass
class _Samples(torch.utils.data.Dataset[_Sample | ImgtransError]):
    x: Store
    y: Store
    order: Order
    image_size: int
    flip: bool

    def __getitem__(self, position: int) -> _Sample | ImgtransError:
        try:
            return self._read(position)
        except ImgtransError as error:
            return error  # raised in a worker, it would arrive with the worker's traceback as text

    def _read(self, position: int) -> _Sample:
        (x, y), reasons = self._chosen(position)
        draws = self.order.draws(position)
        x, y = (_crop(i, self.image_size, d) for i, d in zip((x, y), draws, strict=True))
        flips = [self.flip and draw.random() < 0.5 for draw in draws]
        return _Sample(x, y, (flips[0], flips[1]), reasons)

    def _chosen(self, position: int) -> tuple[tuple[Tensor, Tensor], tuple[str, ...]]:
        """The images of a position, and why others were left out; a pair only as a whole."""
        reasons: list[str] = []
        index_x, index_y = self.order.indices(position)
        for offset in range(len(self.x) if self.order.paired else 1):
            x, why_x = self.x.read((index_x + offset) % len(self.x))
            y, why_y = self.y.read((index_y + offset) % len(self.y))
            broken = [why for why in (why_x, why_y) if why]
            reasons += broken
            if not (self.order.paired and broken):
                return (x, y), tuple(reasons)
        message = f"no pair of images is whole; the first: {reasons[0]}"
        raise ImgtransError(message)


def _crop(image: Tensor, size: int, draw: random.Random) -> Tensor:
    height, width = image.shape[-2:]
    top, left = draw.randint(0, height - size), draw.randint(0, width - size)
    return image[:, top : top + size, left : left + size]


def _collate(read: Sequence[_Sample | ImgtransError]) -> Batch | ImgtransError:
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


class _Steps(Sampler[list[int]]):
    """The positions of each step from ``start`` on: all the loader needs to know to go on."""

    def __init__(self, start: int, stop: int, batch_size: int) -> None:
        self.start, self.stop, self.batch_size = start, stop, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = step * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return self.stop - self.start


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
