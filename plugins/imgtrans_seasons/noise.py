"""Smooth noise to draw with; the same coordinates give the same values at every resolution."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[np.floating[Any]]
Kind = Literal["cloud", "grain", "crag", "relief"]

SIZE = 512


def smooth(low: float, high: float, value: Array) -> Array:
    """A smooth step from 0 where `value` is at most `low` to 1 where it is at least `high`."""
    t = np.clip((value - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    step: Array = t * t * (3.0 - 2.0 * t)
    return step


def mix(first: Array, second: Array, share: Array | float) -> Array:
    """`first` where `share` is 0, `second` where it is 1; shapes broadcast."""
    blend: Array = first + (second - first) * share
    return blend


def sample(kind: Kind, u: Array, v: Array, step: float) -> Array:
    """Noise in [0, 1] (`relief`: about [-1, 1]) at tile coordinates of period 1.

    Args:
        kind: which tile to read.
        u: coordinates along the tile's rows; broadcasts with `v`.
        v: coordinates down the tile's columns.
        step: distance between neighbouring samples; finer detail than that is left out.
    """
    size = SIZE
    # A coarser tile where samples are further apart than texels: no shimmer, and less to fetch.
    while size > 64 and size * step > 1.5:
        size //= 2
    tile = _tile(kind, size)
    left, across = _split(u, size)
    top, down = _split(v, size)
    right, below = (left + 1) & (size - 1), ((top + 1) & (size - 1)) * size
    top = top * size
    upper = mix(tile.take(top + left), tile.take(top + right), across)
    lower = mix(tile.take(below + left), tile.take(below + right), across)
    return mix(upper, lower, down)


def line(kind: Kind, u: Array, row: float, step: float) -> Array:
    """One row of the tile `kind`, read at `u`: a noise of one coordinate."""
    # A slanted cut: a cut along the axis would come round again after one period.
    return sample(kind, u, (u * np.float32(0.31) + np.float32(row)), step)


def _split(coordinate: Array, size: int) -> tuple[npt.NDArray[np.int32], Array]:
    texel = np.asarray(coordinate, np.float32) * np.float32(size)
    floor = np.floor(texel)
    return floor.astype(np.int32) & (size - 1), texel - floor


@functools.cache
def _tile(kind: Kind, size: int) -> Array:
    """A flat, periodic `size`×`size` tile; each size is the larger one averaged over 2×2."""
    if size < SIZE:
        finer = _tile(kind, 2 * size).reshape(size, 2, size, 2)
        # Bilinear reading puts texel i at i/size, so the average is centred by half a fine texel.
        return np.ascontiguousarray(finer.mean((1, 3), dtype=np.float32)).reshape(-1)
    makers: dict[Kind, Callable[[], npt.NDArray[Any]]] = {
        "cloud": _cloud,
        "grain": _grain,
        "crag": _crag,
        "relief": _relief,
    }
    return np.ascontiguousarray(makers[kind]().astype(np.float32)).reshape(-1)


def _spectral(seed: int, slope: float, low: float, high: float) -> npt.NDArray[np.float64]:
    """Noise of amplitude f**-slope between two frequencies, of mean 0 and deviation 1."""
    white = np.random.default_rng(seed).standard_normal((SIZE, SIZE))
    axis = np.fft.fftfreq(SIZE, 1.0 / SIZE)
    f = np.hypot(axis[:, None], axis[None, :])
    gain = np.where((f >= low) & (f <= high), np.maximum(f, 1.0) ** -slope, 0.0)
    field = np.fft.ifft2(np.fft.fft2(white) * gain).real
    flat: npt.NDArray[np.float64] = field / field.std()
    return flat


def _even(field: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Every value replaced by its rank, so that a threshold is also a share of the area."""
    rank = np.empty(field.size)
    rank[np.argsort(field, axis=None)] = np.linspace(0.0, 1.0, field.size)
    return rank.reshape(field.shape)


def _cloud() -> npt.NDArray[np.float64]:
    return _even(_spectral(11, 1.75, 2.0, 128.0))


def _grain() -> npt.NDArray[np.float64]:
    return _even(_spectral(12, 0.9, 6.0, 160.0))


@functools.cache
def _crag() -> npt.NDArray[np.float64]:
    """Sharp crests between rounded hollows, in five octaves."""
    total = np.zeros((SIZE, SIZE))
    for octave in range(5):
        low = 3.0 * 2.0**octave
        crest = 1.0 - np.abs(_spectral(20 + octave, 1.0, low, 2.0 * low)) / 1.6
        total += 0.55**octave * crest
    return _even(total)


def _relief() -> npt.NDArray[np.float64]:
    """How the crags face a light from the left: positive towards it."""
    crag = _crag()
    face = np.roll(crag, -4, 1) - np.roll(crag, 4, 1)
    tilt: npt.NDArray[np.float64] = np.clip(face / (2.0 * face.std()), -1.2, 1.2)
    return tilt
