"""One picture file on its way: opened as the network sees it, and written as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.nn import functional

from imgtrans.checkpoint import write_bytes
from imgtrans.data.store import unit
from imgtrans.pictures.decoding import pixels_of, read, seen
from imgtrans.pictures.files import encode

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from imgtrans.pictures.decoding import Stored
    from imgtrans.pictures.samples import Samples


@dataclass(frozen=True)
class Opened:
    """A picture that was read."""

    source: Path
    target: Path
    stored: Stored
    pixels: npt.NDArray[Any]
    """``H×W×C`` uint8, uint16 or float32 in [0, 1], upright, as the network sees it."""

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits."""
        return self.stored.samples.dtype != np.uint8


def open_picture(source: Path, target: Path, channels: int, size: int | None) -> Opened:
    """Read a picture file.

    Args:
        source: the file.
        target: its translation's place.
        channels: 1 or 3, of the network.
        size: that the shorter side becomes; None leaves it.

    Raises:
        DecodingError: it cannot be read.
    """
    stored = read(source)
    if size is not None:
        return Opened(source, target, stored, _resized(stored, channels, size))
    return Opened(source, target, stored, seen(stored.samples, stored.orientation, channels))


def _resized(stored: Stored, channels: int, size: int) -> npt.NDArray[np.float32]:
    pixels = pixels_of(stored.samples, stored.orientation, channels)
    scale = size / min(pixels.shape[1:])
    resized = functional.interpolate(
        unit(pixels[None]),
        [max(1, round(side * scale)) for side in pixels.shape[1:]],
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    array: npt.NDArray[np.float32] = resized[0].clamp(0, 1).permute(1, 2, 0).numpy()
    return array


def write_picture(opened: Opened, translated: Samples, format_: str) -> None:
    """Put a translation at its place, whole or not at all.

    Raises:
        Exception: the format cannot hold it, or the file cannot be written.
    """
    data = encode(translated, opened.stored, format_)
    try:
        write_bytes(opened.target, data, durable=False)  # it can be made again
    except FileNotFoundError:
        opened.target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(opened.target, data, durable=False)
