"""Many images of one domain, one after another in one buffer: in memory, on a GPU, or in a file.

Bytes of uint8 images, or of float32 ones where a file has more than 8 bits. A crop of any image is
then a view, and a batch of crops one gather.
"""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imgtrans.checkpoint import CorruptFileError
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

PLACE = np.dtype(
    [
        *(("offset", "<i8"), ("channels", "<i4"), ("height", "<i4"), ("width", "<i4")),
        *(("deep", "<i4"), ("sum", "<u4")),
    ]
)
"""Where an image begins, in bytes, and its shape; deep ones are float32; its bytes' CRC-32."""
ALIGNED = 4
"""Every image begins at a multiple of so many bytes, so that float32 can be read in place."""


class Broken(NamedTuple):
    """What stands in the place of an image that cannot be read."""

    reason: str
    passing: bool = False
    """Whether the system is to blame and not the file, so that it may be read another time."""


class Cut(NamedTuple):
    """A square of an image, perhaps mirrored."""

    number: int
    top: int
    left: int
    mirrored: bool


@dataclass(frozen=True)
class Flat:
    """The images of one domain."""

    pixels: Tensor
    """All bytes, uint8."""
    places: npt.NDArray[np.void]
    """Of each image; that of a broken one is the next whole one's."""
    broken: Mapping[int, str]
    """Index of an unreadable image to the reason."""
    path: Path | None = None
    """Of the file whose bytes these are, so that reading them may wait for a disk."""
    _seen: set[int] = field(default_factory=set, init=False)

    def __len__(self) -> int:
        """How many there are, broken ones included."""
        return len(self.places)

    def view(self, index: int) -> Tensor:
        """``C×H×W`` uint8 or float32, without a copy.

        Raises:
            CorruptFileError: it is one of a file, and not what was written.
        """
        self._look(index)
        _, channels, height, width, deep, _ = self.places[index].item()
        flat = self._bytes(index)
        return (flat.view(torch.float32) if deep else flat).view(channels, height, width)

    def _bytes(self, index: int) -> Tensor:
        offset, channels, height, width, deep, _ = self.places[index].item()
        return self.pixels[offset : offset + channels * height * width * (4 if deep else 1)]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image."""
        _, _, height, width, _, _ = self.places[index].item()
        return height, width

    def _look(self, index: int) -> None:
        """See once that an image of a file is what was written.

        Raises:
            CorruptFileError: it is not; the file is set aside.
        """
        if self.path is None or index in self._seen:
            return
        if zlib.crc32(self._bytes(index).numpy().data) != self.places[index]["sum"]:
            aside = self.path.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                self.path.replace(aside)
            message = (
                f"{self.path} is damaged: image {index} in it is not what was written; set aside "
                f"as {aside.name}, so what is run next reads the images again"
            )
            raise CorruptFileError(message)
        self._seen.add(index)

    def to(self, device: torch.device) -> Flat:
        """The same on a device.

        Raises:
            CorruptFileError: an image of a file is not what was written.
        """
        for index in range(len(self)):
            self._look(index)
        return replace(self, pixels=self.pixels.to(device), path=None)

    def crops(self, cuts: Sequence[Cut], size: int) -> Tensor:
        """``N×C×size×size`` of the buffer's device, in one gather; uint8, or float32 as kept.

        Images may be of any sizes, but all of one type.

        Raises:
            CorruptFileError: one of a file is not what was written.
        """
        for cut in cuts:
            self._look(cut.number)
        device = self.pixels.device
        deep = bool(self.places[cuts[0].number]["deep"])
        pixels = self.pixels.view(torch.float32) if deep else self.pixels
        channels = int(self.places[cuts[0].number]["channels"])
        numbers = torch.tensor([self._steps(cut, size) for cut in cuts])
        if device.type == "cuda":  # from pinned memory, so that nobody waits for the copy
            numbers = numbers.pin_memory().to(device, non_blocking=True)
        first, plane, row, column = numbers.view(-1, 4, 1, 1, 1).unbind(1)
        count = torch.arange(max(size, channels), device=device)
        index = first + plane * count[:channels].view(-1, 1, 1)
        index = index + row * count[:size].view(-1, 1) + column * count[:size]
        return torch.take(pixels, index)

    def _steps(self, cut: Cut, size: int) -> tuple[int, int, int, int]:
        """Where a crop begins in the buffer, and how far its next plane, row and column are."""
        offset, _, height, width, deep, _ = self.places[cut.number].item()
        first = offset // (4 if deep else 1) + cut.top * width + cut.left
        if cut.mirrored:
            return first + size - 1, height * width, width, -1
        return first, height * width, width, 1

    def of_one_type(self, indices: Sequence[int]) -> bool:
        """Whether these images can be gathered together."""
        return len({int(self.places[index]["deep"]) for index in indices}) == 1


def lay_out(
    images: Iterable[Tensor | Broken], count: int, write: Callable[[bytes], object]
) -> tuple[npt.NDArray[np.void], dict[int, Broken]]:
    """Write images one after another.

    Args:
        images: in their order; uint8 or float32.
        count: how many they are.
        write: takes the next bytes.

    Returns:
        Their places, and which are broken.

    Raises:
        ImgtransError: all of them are broken.
    """
    places = np.zeros(count, PLACE)
    broken: dict[int, Broken] = {}
    offset = 0
    for index, image in enumerate(images):
        if isinstance(image, Broken):
            broken[index] = image
            continue
        data = image.contiguous().numpy().tobytes()
        deep = image.dtype != torch.uint8
        places[index] = (offset, *image.shape, deep, zlib.crc32(data))
        padded = -(-len(data) // ALIGNED) * ALIGNED
        write(data + bytes(padded - len(data)))
        offset += padded
    if len(broken) == count:
        raise none_whole(count, broken[0].reason)
    for index in broken:
        whole = next(i % count for i in range(index, index + count) if i % count not in broken)
        places[index] = places[whole]
    return places, broken


def none_whole(count: int, reason: str | None) -> ImgtransError:
    """What there is to say of a domain without one readable image."""
    return ImgtransError(f"none of the {count} images can be read; the first: {reason}")


def in_memory(images: Iterable[Tensor | Broken], count: int) -> Flat:
    """Images as they come, in one buffer that grows without being copied."""
    buffer = bytearray()
    places, broken = lay_out(images, count, buffer.extend)
    pixels = torch.frombuffer(buffer, dtype=torch.uint8)
    return Flat(pixels, places, {index: each.reason for index, each in broken.items()})
