"""One model over many pictures: read ahead, batches of equal size or tiles, written behind."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn import functional

from imgtrans.checkpoint import write_bytes
from imgtrans.data import to_range
from imgtrans.data.store import unit
from imgtrans.inference import padded
from imgtrans.pictures.decoding import pixels_of, read
from imgtrans.pictures.files import encode, lost
from imgtrans.pictures.values import quantised
from imgtrans.problems import ImgtransError
from imgtrans.tiling import Tiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from torch import Tensor

    from imgtrans.inference import Translator
    from imgtrans.monitor.display import Display
    from imgtrans.pictures.decoding import Stored
    from imgtrans.pictures.samples import Samples
    from imgtrans.tiling import Statistics

BATCH: Final = 16
"""So many pictures of one size are translated at once, at most."""
THREADS: Final = min(16, os.cpu_count() or 1)
"""That read pictures before their turn, and as many that write them after it."""


@dataclass(frozen=True)
class Options:
    """How pictures are translated."""

    direction: str | None = None
    resize: bool = False
    """Work at the training size: the shorter side becomes image_size."""
    format: str | None = None
    """One of ``SUFFIXES``; None keeps each file's own."""
    overwrite: bool = False
    memory: int = 2 * 2**30
    """Bytes that a network's layers may take at once; larger pictures go in tiles."""
    statistics: Statistics = "exact"


@dataclass
class Summary:
    """How it went."""

    done: int = 0
    skipped: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Opened:
    source: Path
    target: Path
    stored: Stored
    pixels: Tensor
    """``C×H×W`` uint8 or uint16, upright, as the network sees it."""


class Job:
    """Pictures through one model: read ahead, translated in batches, written behind."""

    def __init__(self, model: Translator, options: Options, display: Display) -> None:
        """Measure the network; nothing is read yet.

        Raises:
            ImgtransError: the model has no such direction.
        """
        self.model, self.options, self.display = model, options, display
        self.direction = model.direction(options.direction)
        self.summary = Summary()
        self.began = time.perf_counter()
        self.tiler = Tiler(
            model.network(self.direction),
            channels=model.channels,
            multiple=model.multiple,
            device=model.device,
            memory=options.memory,
        )

    def run(self, targets: dict[Path, Path]) -> None:
        """Translate pictures, each to its place; what fails is in the summary."""
        waiting: dict[tuple[torch.Size, torch.dtype], list[_Opened]] = defaultdict(list)
        written: list[tuple[Path, Future[None]]] = []
        with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
            for source, reading in self._ahead(readers, targets):
                opened = self._try(source, reading)
                if opened is not None:
                    key = (opened.pixels.shape, opened.pixels.dtype)
                    waiting[key].append(opened)
                    if len(waiting[key]) >= self._batch(opened.pixels):
                        self._translate(waiting.pop(key), writers, written)
                if sum(map(len, waiting.values())) >= 4 * BATCH:
                    largest = max(waiting, key=lambda each: len(waiting[each]))
                    self._translate(waiting.pop(largest), writers, written)
                self._settle(written, keep=2 * BATCH)
            for batch in waiting.values():
                self._translate(batch, writers, written)
            self._settle(written, keep=0)

    def _ahead(
        self, readers: ThreadPoolExecutor, targets: dict[Path, Path]
    ) -> Iterator[tuple[Path, Future[_Opened]]]:
        """Pictures in their order, a few of them read before their turn."""
        coming: list[tuple[Path, Future[_Opened]]] = []
        for source, target in targets.items():
            coming.append((source, readers.submit(self._open, source, target)))
            if len(coming) > 2 * THREADS:
                yield coming.pop(0)
        yield from coming

    def _try(self, source: Path, reading: Future[_Opened]) -> _Opened | None:
        try:
            opened = reading.result()
        except ImgtransError as error:
            self._failed(source, str(error))
            return None
        format_ = self.options.format or opened.stored.format
        if gone := lost(opened.stored, format_):
            self.display.warn(f"{source}: the {format_} file has not its {' and '.join(gone)}")
        return opened

    def _open(self, source: Path, target: Path) -> _Opened:
        stored = read(source)
        pixels = pixels_of(stored.samples, stored.orientation, self.model.channels)
        pixels = self._resized(pixels) if self.options.resize else pixels
        return _Opened(source, target, stored, pixels)

    def _batch(self, pixels: Tensor) -> int:
        """How many pictures of this size the memory allows at once."""
        height, width = self._seen(pixels)
        each = height * width * self.tiler.per_pixel
        return max(1, min(BATCH, int(self.options.memory / each)))

    def _seen(self, pixels: Tensor) -> tuple[int, int]:
        """Height and width of a picture with its padding."""
        height, width = (
            -(-s // self.model.multiple) * self.model.multiple for s in pixels.shape[1:]
        )
        return height, width

    def _resized(self, pixels: Tensor) -> Tensor:
        """Float in [0, 1], the shorter side at the training size."""
        scale = self.model.recipe.dataset.image_size / min(pixels.shape[1:])
        size = [max(1, round(side * scale)) for side in pixels.shape[1:]]
        resized: Tensor = functional.interpolate(
            unit(pixels[None]), size, mode="bilinear", antialias=True, align_corners=False
        )[0]
        return resized.clamp(0, 1)

    def _translate(
        self,
        batch: list[_Opened],
        writers: ThreadPoolExecutor,
        written: list[tuple[Path, Future[None]]],
    ) -> None:
        try:
            made = self._translated(batch)
        except (ImgtransError, RuntimeError, ValueError) as error:  # also what memory lacks
            if len(batch) > 1:
                for each in batch:
                    self._translate([each], writers, written)
            else:
                self._failed(batch[0].source, str(error).partition("\n")[0])
            return
        for opened, samples in zip(batch, made, strict=True):
            written.append((opened.source, writers.submit(self._write, opened, samples)))

    def _translated(self, batch: list[_Opened]) -> list[Samples]:
        if not self.tiler.fits(*self._seen(batch[0].pixels)):
            return [self._tiled(each) for each in batch]
        images = to_range(torch.stack([each.pixels for each in batch]))
        made = self.model.translate(images, self.direction)
        kinds = [each.stored.samples.dtype for each in batch]
        return [quantised(each, kind) for each, kind in zip(made, kinds, strict=True)]

    def _tiled(self, opened: _Opened) -> Samples:
        height, width = opened.pixels.shape[-2:]
        image = padded(opened.pixels[None], self.model.multiple)[0]
        rows, columns = image.shape[-2:]
        total, count = self.tiler.ticks(rows, columns, self.options.statistics), 0

        def tick() -> None:
            nonlocal count
            count += 1
            self._show(f"{opened.source.name}: tile {count:,} of {total:,}")

        like = opened.stored.samples.dtype
        strips = [
            quantised(strip[:, : max(0, height - top), :width], like)
            for top, strip in self.tiler.translate(image, self.options.statistics, tick)
        ]
        return np.concatenate(strips)

    def _write(self, opened: _Opened, samples: Samples) -> None:
        format_ = self.options.format or opened.stored.format
        data = encode(samples, opened.stored, format_)
        opened.target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(opened.target, data, durable=False)  # it can be made again

    def _settle(self, written: list[tuple[Path, Future[None]]], keep: int) -> None:
        while len(written) > keep or (written and written[0][1].done()):
            source, writing = written.pop(0)
            try:
                writing.result()
            except Exception as error:  # noqa: BLE001 - a format's writer may raise anything
                why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._failed(source, f"cannot be written: {why}")
            else:
                self.summary.done += 1
                self._show()

    def _failed(self, source: Path, why: str) -> None:
        self.summary.failed[source] = why
        self.display.warn(why if str(source) in why else f"{source}: {why}")
        self._show()

    def _show(self, *facts: str) -> None:
        rate = self.summary.done / (time.perf_counter() - self.began)
        done = self.summary.done + len(self.summary.failed)
        self.display.update(done, lambda: [f"{rate:.1f} images/s", *facts])
