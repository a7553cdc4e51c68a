"""Which image when: order, crop, flip and cache.

Every choice is a pure function of (seed, step, position in the batch), so neither the number of
workers, nor caching, nor a restart changes what a step sees, and resuming needs no loader state.
"""

from __future__ import annotations

import hashlib
import random
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgtrans.components import Dataset, ImageList, Images
    from imgtrans.recipe import Recipe

CACHE_SHARE = 0.5
"""Of the memory that is free at the start, at most this share holds decoded images."""


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


@dataclass(frozen=True)
class Order:
    """Which images a step sees, and how they are cropped and flipped."""

    seed: int
    batch_size: int
    lengths: tuple[int, int]
    paired: bool

    def indices(self, position: int) -> tuple[int, int]:
        """The images of x and y at a position (step × batch size + place in the batch).

        Each domain goes through all its images in a new random order every pass, however many the
        other has; paired ones go together.
        """
        domains = ("pair", "pair") if self.paired else ("x", "y")
        x, y = (
            _permutation(f"{self.seed}/{domain}/{position // length}", length)[position % length]
            for domain, length in zip(domains, self.lengths, strict=True)
        )
        return x, y

    def draws(self, position: int) -> tuple[random.Random, random.Random]:
        """Random numbers for crop and flip of x and y; the same for both where they are paired."""
        domains = ("pair", "pair") if self.paired else ("x", "y")
        x, y = (random.Random(f"{self.seed}/crop/{name}/{position}") for name in domains)  # noqa: S311
        return x, y

    def epochs(self, steps: int) -> float:
        """Passes through the larger domain that these steps make."""
        return steps * self.batch_size / max(self.lengths)


@lru_cache(maxsize=8)
def _permutation(seed: str, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(random.Random(seed).getrandbits(63))  # noqa: S311
    permutation: list[int] = torch.randperm(length, generator=generator).tolist()
    return permutation


@dataclass(frozen=True)
class _Sample:
    """One position of a batch, cropped, still in the image's own type."""

    x: Tensor
    y: Tensor
    flips: tuple[bool, bool]
    broken: tuple[str, ...]


@dataclass
class _Samples(torch.utils.data.Dataset[_Sample]):
    x: Store
    y: Store
    order: Order
    image_size: int
    flip: bool

    def __getitem__(self, position: int) -> _Sample:
        images, flips, reasons = [], [], []
        chosen = zip(
            (self.x, self.y), self.order.indices(position), self.order.draws(position), strict=True
        )
        for store, index, draw in chosen:
            image, reason = store.read(index)
            images.append(_crop(image, self.image_size, draw))
            flips.append(self.flip and draw.random() < 0.5)
            reasons.append(reason)
        return _Sample(images[0], images[1], (flips[0], flips[1]), tuple(r for r in reasons if r))


def _crop(image: Tensor, size: int, draw: random.Random) -> Tensor:
    height, width = image.shape[-2:]
    top, left = draw.randint(0, height - size), draw.randint(0, width - size)
    return image[:, top : top + size, left : left + size]


def center_crop(image: Tensor, size: int) -> Tensor:
    """The middle ``size × size`` pixels."""
    height, width = image.shape[-2:]
    top, left = (height - size) // 2, (width - size) // 2
    return image[:, top : top + size, left : left + size]


@dataclass(frozen=True)
class Batch:
    """What one step sees, as read; ``to`` makes it what networks take."""

    x: Tensor
    y: Tensor
    flip_x: Tensor
    flip_y: Tensor
    broken: tuple[str, ...] = ()

    def pin_memory(self) -> Batch:
        """In memory that a GPU can copy from by itself."""
        tensors = (self.x, self.y, self.flip_x, self.flip_y)
        x, y, flip_x, flip_y = (tensor.pin_memory() for tensor in tensors)
        return Batch(x, y, flip_x, flip_y, self.broken)

    def to(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both as ``N×C×H×W`` in [-1, 1], flipped and scaled on the device."""
        pairs = ((self.x, self.flip_x), (self.y, self.flip_y))
        x, y = (_finish(images, flips, device, dtype) for images, flips in pairs)
        return x, y


def _finish(images: Tensor, flips: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    scaled = to_range(images.to(device, non_blocking=True)).to(dtype)
    mirror = flips.to(device, non_blocking=True).view(-1, 1, 1, 1)
    flipped = torch.where(mirror, scaled.flip(-1), scaled)
    return flipped.contiguous(
        memory_format=torch.channels_last if device.type == "cuda" else torch.contiguous_format
    )


def to_range(images: Tensor) -> Tensor:
    """Images of any allowed type as float32 in [-1, 1], the range of the networks."""
    return unit(images) * 2 - 1


def _collate(samples: Sequence[_Sample]) -> Batch:
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

    def batches(self, start: int, stop: int, device: torch.device) -> Iterator[Batch]:
        """The batches of steps ``start`` to ``stop - 1``, the same for any number of workers."""
        with warnings.catch_warnings():
            # More workers than processors is what the recipe asks for, and right for slow disks.
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            return iter(
                DataLoader(
                    self.samples,
                    batch_sampler=_Steps(start, stop, self.order.batch_size),
                    collate_fn=_collate,
                    num_workers=self.workers,
                    worker_init_fn=_ignore_interrupts,
                    pin_memory=device.type == "cuda",
                    # Its own, so that starting a loader leaves the global random state alone.
                    generator=torch.Generator(),
                )
            )


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C goes to the whole process group; the main process finishes its step and says goodbye.
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
    order = Order(settings.seed, settings.batch_size, (len(x), len(y)), images.paired)
    cached = settings.cache == "memory" or (settings.cache == "auto" and _fits(x, y))
    if cached:
        tick = progress("reading images", len(x) + len(y))
        for store in (x, y):
            store.keep(tick)
    workers = 0 if cached else min(4, psutil.cpu_count() or 1)
    if settings.workers != "auto":
        workers = settings.workers
    samples = _Samples(x, y, order, dataset.image_size, dataset.flip)
    return TrainingData(samples, workers, cached)


def open_store(images: ImageList, dataset: Dataset) -> Store:
    """One domain at the recipe's load size."""
    return Store(images, dataset.loaded, dataset.broken_images == "skip")


def _fits(*stores: Store) -> bool:
    needed = sum(store.bytes_needed() for store in stores)
    return needed <= CACHE_SHARE * psutil.virtual_memory().available


def held_out(store: Store, indices: Sequence[int], size: int) -> Tensor:
    """``N×C×H×W`` float32 in [-1, 1]: these images, cropped in the middle, never flipped."""
    crops = [unit(center_crop(store.read(index)[0], size)) for index in indices]
    return torch.stack(crops) * 2 - 1


def spread(length: int, count: int) -> list[int]:
    """``count`` indices evenly over ``length``, fewer where there are fewer."""
    count = min(count, length)
    return [index * length // count for index in range(count)]


def fingerprint(images: Images) -> str:
    """SHA-256 over the names of all images, in order: changes when the file list does."""
    digest = hashlib.sha256()
    for domain in (images.x, images.y):
        digest.update(f"{len(domain)}\n".encode())
        for index in range(len(domain)):
            digest.update(domain.name(index).encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


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
