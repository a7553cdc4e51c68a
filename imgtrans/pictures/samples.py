"""Arithmetic on samples, ``H×W×C`` uint8 or uint16: alpha, grey, colour, depth, orientation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.unsignedinteger[Any]]

TURNED: Final = (5, 6, 7, 8)
"""The EXIF orientations that swap height and width."""


def over_white(samples: Samples) -> Samples:
    """Lay (H, W, 1 or 3, plus alpha) over white, if it has alpha; 65535² + 32767 fit 32 bits."""
    if samples.shape[2] in (1, 3):
        return samples
    white = int(np.iinfo(samples.dtype).max)
    colour, alpha = samples[..., :-1].astype(np.uint32), samples[..., -1:].astype(np.uint32)
    return ((colour * alpha + white * (white - alpha) + white // 2) // white).astype(samples.dtype)


def with_channels(samples: Samples, channels: int) -> Samples:
    """Make (H, W, 1 or 3) into (H, W, channels)."""
    if samples.shape[2] == channels:
        return samples
    if samples.shape[2] == 1:
        return np.repeat(samples, channels, axis=2)
    # Pillow's own weights in 1/65536, which keep white white and fit 32 bits at either depth.
    luma = samples.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    return ((luma + 0x8000) >> 16).astype(samples.dtype)[..., None]


def upright(samples: Samples, orientation: int) -> Samples:
    """Undo an EXIF orientation; values other than 2..8 mean upright."""
    if orientation in (3, 4, 6, 7):
        samples = samples[::-1]
    if orientation in (2, 3, 7, 8):
        samples = samples[:, ::-1]
    return samples.swapaxes(0, 1) if orientation in TURNED else samples


def stored_as(samples: Samples, orientation: int) -> Samples:
    """What `upright` undoes: samples as a file with that EXIF orientation holds them."""
    samples = samples.swapaxes(0, 1) if orientation in TURNED else samples
    if orientation in (3, 4, 6, 7):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 7, 8) else samples


def without_alpha(samples: Samples) -> Samples:
    """The grey or colour samples alone."""
    return samples if samples.shape[2] in (1, 3) else samples[..., :-1]


def alpha_of(samples: Samples) -> Samples | None:
    """``H×W×1``, or None where every pixel is opaque by nature."""
    return None if samples.shape[2] in (1, 3) else samples[..., -1:]


def at_eight_bits(samples: Samples) -> Samples:
    """Rounded to the nearest of 256 levels."""
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
