"""A canvas that holds a scene's two seasons; whatever is painted is painted on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imgtrans_seasons.noise import Array, mix

Rgb: TypeAlias = tuple[float, float, float]

# Samples per pixel and direction: edges are then smooth without any per-shape care.
OVERSAMPLING = 2

# 0 in summer, 1 in winter, along the first axis of a canvas and of a pair of colours.
SEASON = np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1)


def pair(summer: Rgb, winter: Rgb | None = None) -> Array:
    """One colour in both seasons: shape 2×3×1×1, summer first; the same when only one is given."""
    return np.array([summer, winter or summer], np.float32).reshape(2, 3, 1, 1)


def rgb(colour: Rgb) -> Array:
    """One colour of no season: shape 3×1×1."""
    return np.array(colour, np.float32).reshape(3, 1, 1)


def cover(colour: Array, snow: Array, amount: Array) -> Array:
    """`colour` (2×3×h×w) with `snow` (3×h×w) laid over its winter half by `amount` (h×w)."""
    shape = (2, 3, *np.broadcast_shapes(colour.shape[-2:], amount.shape[-2:]))
    covered = np.broadcast_to(colour, shape).copy()
    covered[1] = mix(covered[1], snow, amount)
    return covered


@dataclass(frozen=True)
class Patch:
    """A window of the canvas: its rows and columns, and the coordinates of their centres."""

    rows: slice
    columns: slice
    x: Array
    y: Array


class Canvas:
    """Two seasons of one scene, at `OVERSAMPLING` samples per pixel.

    The unit of length is the picture's height: y runs from 0 (top) to 1 (bottom), x from -half
    to half with 0 in the middle, so that a composition is the same at every size.
    """

    def __init__(self, height: int, width: int) -> None:
        """A black canvas for pictures of `height`×`width` pixels."""
        rows, columns = height * OVERSAMPLING, width * OVERSAMPLING
        self.step = 1.0 / rows
        self.half = columns / rows / 2.0
        self.pixels = np.zeros((2, 3, rows, columns), np.float32)
        self.wet = np.zeros((rows, columns), np.bool_)
        """Where water lies: nothing that stands on the ground may stand there."""
        self.y = ((np.arange(rows, dtype=np.float32) + 0.5) / rows).reshape(-1, 1)
        self.x = ((np.arange(columns, dtype=np.float32) + 0.5) / rows - self.half).reshape(1, -1)
        self.x = self.x.astype(np.float32)

    def patch(
        self, top: float, bottom: float, left: float | None = None, right: float | None = None
    ) -> Patch | None:
        """The window between the given edges, or None where it holds no sample."""
        left, right = (-self.half if left is None else left), self.half if right is None else right
        rows = _span(top, bottom, self.step, self.y.size)
        columns = _span(left + self.half, right + self.half, self.step, self.x.size)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return Patch(rows, columns, self.x[:, columns], self.y[rows])

    def coverage(self, inside: Array) -> Array:
        """Share of each sample that lies inside, from the signed distance to the edge."""
        share: Array = np.clip(inside * np.float32(1.0 / self.step) + np.float32(0.5), 0.0, 1.0)
        return share

    def paint(self, patch: Patch, colour: Array, alpha: Array) -> None:
        """Lays `colour` (broadcasting to 2×3×h×w) over the patch by `alpha` in [0, 1]."""
        view = self.pixels[:, :, patch.rows, patch.columns]
        view += (colour - view) * alpha

    def is_wet(self, x: float, y: float) -> bool:
        """Whether water lies at a place, or a little above or beside it."""
        patch = self.patch(y - 0.015, y + 0.01, x - 0.02, x + 0.02)
        return patch is not None and bool(self.wet[patch.rows, patch.columns].any())

    def finish(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Summer and winter as H×W×3 bytes."""
        seasons, channels, rows, columns = self.pixels.shape
        fold = (seasons, channels, rows // 2, OVERSAMPLING, columns // 2, OVERSAMPLING)
        mean = self.pixels.reshape(fold).mean((3, 5)).transpose(0, 2, 3, 1)
        bytes_ = (np.clip(mean, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return np.ascontiguousarray(bytes_[0]), np.ascontiguousarray(bytes_[1])


def _span(low: float, high: float, step: float, count: int) -> slice:
    return slice(max(0, int(np.floor(low / step))), min(count, int(np.ceil(high / step))))
