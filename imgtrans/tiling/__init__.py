"""Large images through a network in tiles, as if it had seen the whole image at once.

A tile is a core and a halo around it, as wide as the network reaches, so every pixel of the core
sees what it would see in the whole image. What instance and group normalisation need of the whole
image, means and variances, is gathered first: one pass over the tiles for each of their calls, with
those before it fixed. Cores are blended across their borders.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from imgtrans.data import to_range
from imgtrans.tiling.measuring import bytes_per_pixel, reach, refuse_unlike
from imgtrans.tiling.normalising import (
    Moments,
    ReachedError,
    Sums,
    UntileableError,
    fixing,
    moments,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("Statistics", "Tiler", "UntileableError")

Statistics = Literal["exact", "reduced"]
Span = tuple[int, int]

BLEND: Final = 8
"""Pixels on either side of a border between cores, over which they are blended."""


class Tiler:
    """Translates large images in tiles, with no more than so many bytes for the layers."""

    def __init__(
        self, network: nn.Module, *, channels: int, multiple: int, device: torch.device, memory: int
    ) -> None:
        """Measure what the network holds for each pixel.

        Args:
            network: in evaluation mode, on the device.
            channels: of its input.
            multiple: its sides are multiples of so many pixels.
            device: where it is.
            memory: bytes that its layers may take at once.
        """
        self.network, self.channels, self.multiple = network, channels, multiple
        self.device, self.memory = device, memory
        self.per_pixel = bytes_per_pixel(network, channels, multiple, device)
        self._halo: int | None = None

    def fits(self, height: int, width: int) -> bool:
        """Whether an image of this size needs no tiles."""
        return height * width * self.per_pixel <= self.memory

    @property
    def halo(self) -> int:
        """Pixels around a core that decide what it becomes, and those that are blended."""
        if self._halo is None:
            seen = reach(self.network, self.channels, self.multiple, self.device)
            halo = -(-(seen + BLEND) // self.multiple) * self.multiple
            refuse_unlike(self.network, self.channels, self.multiple, halo, self.device)
            self._halo = halo
        return self._halo

    def ticks(self, height: int, width: int, statistics: Statistics = "exact") -> int:
        """How many tiles will be run for an image, in all passes."""
        seen: list[Tensor] = []
        if statistics == "exact":
            small = torch.zeros(1, self.channels, 4 * self.multiple, 4 * self.multiple)
            with torch.no_grad(), fixing(self.network, (), seen.append, go_on=True):
                self.network(small.to(self.device))
        return (len(seen) + 1) * len(self._spans(height)) * len(self._spans(width))

    def translate(
        self,
        image: Tensor,
        statistics: Statistics = "exact",
        tick: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Translate an image, strip after strip from the top.

        Args:
            image: ``C×H×W`` uint8, uint16 or float in [0, 1]; sides multiples of ``multiple``.
            statistics: of normalisation: those of the whole image, or of it shrunk into one tile,
                which is as many times faster as the network has normalisations, and not the same.
            tick: called after each tile of each pass.

        Yields:
            The first row of a strip, and the strip as ``C×h×W`` float in [-1, 1].

        Raises:
            UntileableError: the network sees the whole image, or the memory is too little.
        """
        rows, columns = (self._spans(side) for side in image.shape[-2:])
        work = _Work(self, image, rows, columns, tick)
        yield from work.strips(work.reduced() if statistics == "reduced" else work.exact())

    def _spans(self, length: int) -> list[tuple[Span, Span]]:
        """Cores along one side, and what is shown for each; at the image's own border it ends."""
        side = int((self.memory / self.per_pixel) ** 0.5) // self.multiple * self.multiple
        core, least = side - 2 * self.halo, max(self.multiple, 2 * BLEND)
        if core < least:
            wanted = math.ceil((2 * self.halo + least) ** 2 * self.per_pixel / 2**20)
            message = (
                f"the memory is too little for any tile: this network reaches {self.halo} pixels "
                f"far, so allow {wanted:,} MiB or more, or translate at a smaller size"
            )
            raise UntileableError(message)
        cores = [(start, min(start + core, length)) for start in range(0, length, core)]
        if len(cores) > 1 and cores[-1][1] - cores[-1][0] < 2 * BLEND:  # too narrow to blend
            cores[-2:] = [(cores[-2][0], length)]
        halo = self.halo
        return [(core, (max(0, core[0] - halo), min(core[1] + halo, length))) for core in cores]


class _Work:
    """One image in tiles."""

    def __init__(
        self,
        tiler: Tiler,
        image: Tensor,
        rows: list[tuple[Span, Span]],
        columns: list[tuple[Span, Span]],
        tick: Callable[[], None],
    ) -> None:
        self.network, self.device, self.image = tiler.network, tiler.device, image
        self.scale = (tiler.memory / (tiler.per_pixel * image.shape[-2] * image.shape[-1])) ** 0.5
        self.multiple = tiler.multiple
        self.rows, self.columns, self.tick = rows, columns, tick

    def _run(self, rows: Span, columns: Span) -> Tensor:
        tile = self.image[:, slice(*rows), slice(*columns)]
        made: Tensor = self.network(to_range(tile[None].to(self.device)))
        return made[0]

    @torch.no_grad()
    def exact(self) -> list[Moments]:
        """The statistics of the whole image, one normalisation after the other."""
        fixed: list[Moments] = []
        while True:
            sums, reached = Sums(), True
            for core_rows, rows in self.rows:
                for core_columns, columns in self.columns:

                    def gather(
                        values: Tensor,
                        down: tuple[Span, Span] = (core_rows, rows),
                        across: tuple[Span, Span] = (core_columns, columns),
                        sums: Sums = sums,
                    ) -> None:
                        at_rows, at_columns = (
                            _inside(*spans, length)
                            for spans, length in zip((down, across), values.shape[-2:], strict=True)
                        )
                        sums.add(values[0, :, at_rows, at_columns])

                    with fixing(self.network, fixed, gather):
                        try:
                            self._run(rows, columns)
                        except ReachedError:
                            self.tick()
                        else:
                            reached = False
                    if not reached:
                        return fixed
            fixed.append(sums.moments())

    @torch.no_grad()
    def reduced(self) -> list[Moments]:
        """The statistics of the image shrunk until it fits."""
        size = [
            max(self.multiple, int(side * min(1.0, self.scale)) // self.multiple * self.multiple)
            for side in self.image.shape[-2:]
        ]
        small = functional.interpolate(
            to_range(self.image)[None], size, mode="bilinear", antialias=True, align_corners=False
        )
        found: list[Moments] = []
        with fixing(self.network, (), lambda v: found.append(moments(v)), go_on=True):
            self.network(small.to(self.device))
        return found

    @torch.no_grad()
    def strips(self, fixed: list[Moments]) -> Iterator[tuple[int, Tensor]]:
        """The result, as far as no further tile adds to it."""
        height, width = self.image.shape[-2:]
        kept: Tensor | None = None
        for core_rows, rows in self.rows:
            top, bottom = _widened(core_rows, height)
            strip = torch.zeros(self.image.shape[0], bottom - top, width)
            for core_columns, columns in self.columns:
                with fixing(self.network, fixed):
                    made = self._run(rows, columns).float().cpu()
                left, right = _widened(core_columns, width)
                part = made[:, top - rows[0] : bottom - rows[0],
                            left - columns[0] : right - columns[0]]  # fmt: skip
                weight = _ramp(core_rows, height)[:, None] * _ramp(core_columns, width)
                strip[:, :, left:right] += part * weight
                self.tick()
            if kept is not None:
                strip[:, : kept.shape[1]] += kept
            done = strip.shape[1] - (0 if bottom == height else 2 * BLEND)
            yield top, strip[:, :done]
            kept = strip[:, done:]


def _inside(core: Span, seen: Span, length: int) -> slice:
    """Where a core lies in a tile's features, of which there are ``length`` along this side.

    Raises:
        UntileableError: they are no whole number of times fewer, so padding is among them.
    """
    if (seen[1] - seen[0]) % length:
        message = (
            f"a layer normalises {length} rows or columns of a tile of {seen[1] - seen[0]} pixels, "
            "padding among them; this network cannot be tiled"
        )
        raise UntileableError(message)
    first, last = ((at - seen[0]) * length // (seen[1] - seen[0]) for at in core)
    return slice(first, last)


def _widened(core: Span, length: int) -> Span:
    """A core and what of its neighbours is blended with it."""
    return max(0, core[0] - BLEND), min(length, core[1] + BLEND)


def _ramp(core: Span, length: int) -> Tensor:
    """Weights of a widened core along one side; those of neighbours add up to 1."""
    first, last = _widened(core, length)
    at, weight = torch.arange(first, last) + 0.5, torch.ones(last - first)
    if core[0] > 0:
        weight = weight.minimum((at - (core[0] - BLEND)) / (2 * BLEND))
    if core[1] < length:
        weight = weight.minimum((core[1] + BLEND - at) / (2 * BLEND))
    return weight
