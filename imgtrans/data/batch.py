"""What one step sees: as it was read, and finished on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imgtrans.data.store import to_range


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
