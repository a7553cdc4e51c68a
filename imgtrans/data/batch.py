"""What one step sees: as it was read, and finished on the device."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imgtrans.data.store import to_range

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@dataclass(frozen=True)
class Batch:
    """What one step sees, as read; ``to`` makes it what networks take."""

    x: Tensor
    y: Tensor
    flip_x: Tensor | None
    """Which images are to be mirrored; None where that is done."""
    flip_y: Tensor | None
    broken: tuple[str, ...] = ()

    def pin_memory(self) -> Batch:
        """In memory that a GPU can copy from by itself."""
        return self._each(Tensor.pin_memory)

    def on(self, device: torch.device) -> Batch:
        """On a device, as read; it need not be there yet where it comes from pinned memory."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def used_on(self, stream: torch.cuda.Stream) -> None:
        """Tell the memory of another stream that this one works on it too."""
        for tensor in (self.x, self.y, self.flip_x, self.flip_y):
            if tensor is not None:
                tensor.record_stream(stream)

    def to(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both as ``N×C×H×W`` in [-1, 1], flipped and scaled on the device."""
        there = self.on(device)
        return (
            _finish(there.x, there.flip_x, dtype),
            _finish(there.y, there.flip_y, dtype),
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        flips = (None if flip is None else change(flip) for flip in (self.flip_x, self.flip_y))
        flip_x, flip_y = flips
        return replace(self, x=change(self.x), y=change(self.y), flip_x=flip_x, flip_y=flip_y)


def _finish(images: Tensor, flips: Tensor | None, dtype: torch.dtype) -> Tensor:
    if flips is not None:  # while an image is a quarter as large as it will be
        images = torch.where(flips.view(-1, 1, 1, 1), images.flip(-1), images)
    return (
        to_range(images)
        .to(dtype)
        .contiguous(
            memory_format=(
                torch.channels_last if images.device.type == "cuda" else torch.contiguous_format
            )
        )
    )


def ahead(
    batches: Generator[Batch, None, None], device: torch.device
) -> Generator[Batch, None, None]:
    """The same batches on a GPU, each copied there while the step before it runs.

    The copy has a stream of its own, which the step waits for.
    """
    stream = torch.cuda.Stream(device)
    with closing(batches):
        copied = None
        for batch in batches:
            waiting = copied
            with torch.cuda.stream(stream):
                copied = batch.pin_memory().on(device)
            if waiting is not None:
                yield _handed_over(waiting, stream, device)
        if copied is not None:
            yield _handed_over(copied, stream, device)


def _handed_over(batch: Batch, copying: torch.cuda.Stream, device: torch.device) -> Batch:
    computing = torch.cuda.current_stream(device)
    computing.wait_stream(copying)
    batch.used_on(computing)
    return batch
