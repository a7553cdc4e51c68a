"""Batches of pictures through one network, some of them at the same time.

On a processor each batch has one core and runs beside the others: no core waits for another, and
what reads and writes files takes what it needs. Only a batch that takes more than its share of the
memory has more cores, up to all of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from imgtrans.data import to_range
from imgtrans.padding import padded, padded_side, through
from imgtrans.pictures.values import quantised
from imgtrans.problems import ImgtransError
from imgtrans.tiling import Tiler
from imgtrans.translating.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from imgtrans.inference import Translator
    from imgtrans.pictures.samples import Samples
    from imgtrans.tiling import Statistics
    from imgtrans.translating.opened import Opened

MOST: Final = 64
"""So many pictures are translated at once, at most."""
PIXELS: Final = 2**17
"""So many are translated at once on a processor, at most; a larger picture goes alone. Batches of
more are not faster: they leave its caches."""
GPU_PIXELS: Final = 2**20
"""The same on a GPU, which fewer do not fill."""


class Batches:
    """One direction of a model, for pictures of many sizes."""

    def __init__(
        self,
        model: Translator,
        direction: str,
        memory: int,
        statistics: Statistics,
        tell: Callable[[str], None],
    ) -> None:
        """Measure the network.

        Args:
            model: as it was loaded.
            direction: one of its own.
            memory: bytes that layers may take, in all batches together.
            statistics: of normalisation over tiles.
            tell: what is done of a large picture.
        """
        self.model, self.memory = model, memory
        self.statistics, self.tell = statistics, tell
        self.on_cpu = model.device.type == "cpu"
        # On a GPU one batch is brought there or back while another is translated.
        self.slots = Slots(torch.get_num_threads() if self.on_cpu else 2)
        runners = {deep: model.runner(direction, deep=deep) for deep in (False, True)}
        tilers = {runner: self._tiler(runner) for runner in set(runners.values())}
        self._tilers = {deep: tilers[runner] for deep, runner in runners.items()}

    def _tiler(self, runner: nn.Module) -> Tiler:
        return Tiler(
            runner,
            channels=self.model.channels,
            multiple=self.model.multiple,
            device=self.model.device,
            memory=self.memory,
        )

    def at_once(self, opened: Opened) -> int:
        """How many pictures of this size make a batch."""
        pixels = math.prod(self._seen(opened))
        room = self.memory / (pixels * self._tilers[opened.deep].per_pixel)
        return max(1, int(min(MOST, room, (PIXELS if self.on_cpu else GPU_PIXELS) / pixels)))

    def wanted(self, batch: Sequence[Opened], pictures: int) -> int:
        """The slots of a batch, of so many pictures in all: of few, each has more of them."""
        needed = math.prod(self._seen(batch[0])) * self._tilers[batch[0].deep].per_pixel
        share = math.ceil(self.slots.count * len(batch) * needed / self.memory)
        return min(max(share, self.slots.count // pictures), self.slots.count)

    def run(self, batch: Sequence[Opened], slots: int) -> list[tuple[Opened, Samples | str]]:
        """Wait for so many slots, and translate pictures of one size in them.

        Returns:
            Each with its translation, or with what kept it from being translated.
        """
        with self.slots.taken(slots):
            if not self.on_cpu:
                return self._each(batch)
            torch.set_num_threads(slots)  # of this thread; the others keep theirs
            try:
                return self._each(batch)
            finally:
                torch.set_num_threads(self.slots.count)  # of threads that the program starts later

    def _each(self, batch: Sequence[Opened]) -> list[tuple[Opened, Samples | str]]:
        try:
            return list(zip(batch, self._translated(batch), strict=True))
        except (ImgtransError, RuntimeError, ValueError, MemoryError) as error:
            why = str(error).partition("\n")[0] or "out of memory"
        # Here the error is gone, and with it what the batch held of the memory that it may lack.
        if len(batch) > 1:
            return [made for each in batch for made in self._each([each])]
        return [(batch[0], why)]

    def _seen(self, opened: Opened) -> tuple[int, int]:
        """Height and width of a picture with its padding."""
        height, width = (padded_side(s, self.model.multiple) for s in opened.pixels.shape[:2])
        return height, width

    def _translated(self, batch: Sequence[Opened]) -> Sequence[Samples]:
        first = batch[0]
        tiler = self._tilers[first.deep]
        if not tiler.fits(*self._seen(first)):
            return [self._tiled(each, tiler) for each in batch]
        pixels = torch.from_numpy(np.stack([each.pixels for each in batch]))
        images = to_range(pixels.to(self.model.device).permute(0, 3, 1, 2))
        made = through(tiler.network, images, self.model.multiple)
        return list(quantised(made, first.stored.samples.dtype))

    def _tiled(self, opened: Opened, tiler: Tiler) -> Samples:
        height, width = opened.pixels.shape[:2]
        pixels = np.ascontiguousarray(opened.pixels.transpose(2, 0, 1))
        image = padded(torch.from_numpy(pixels)[None], self.model.multiple)[0]
        rows, columns = image.shape[-2:]
        total, count = tiler.ticks(rows, columns, self.statistics), 0

        def tick() -> None:
            nonlocal count
            count += 1
            self.tell(f"{opened.source.name}: tile {count:,} of {total:,}")

        like = opened.stored.samples.dtype
        strips = [
            quantised(strip[:, : max(0, height - top), :width], like)
            for top, strip in tiler.translate(image, self.statistics, tick)
        ]
        return np.concatenate(strips)
