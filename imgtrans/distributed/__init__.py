"""The processes of one training: who this one is, and what they exchange.

N processes do what one with the same global batch would. Everything here is a no-op in a training
of one process, so that the loop reads the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Ranks:
    """One process among those of a training, as torchrun starts them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes: one exchange for each dtype."""
        if self.count == 1:
            return
        for _, same in groupby(sorted(tensors, key=_by_dtype), key=_by_dtype):
            each = list(same)
            flat = torch.cat([tensor.reshape(-1) for tensor in each])
            distributed.all_reduce(flat)  # gloo knows no mean
            flat /= self.count
            pieces = flat.split([tensor.numel() for tensor in each])
            for tensor, piece in zip(each, pieces, strict=True):
                tensor.copy_(piece.view_as(tensor))

    def gather(self, images: Tensor) -> Tensor:
        """The images of all processes, in the order of their ranks."""
        if self.count == 1:
            return images
        parts = [torch.empty_like(images) for _ in range(self.count)]
        distributed.all_gather(parts, images.contiguous())
        return torch.cat(parts)

    def share(self, everyones: Tensor) -> Tensor:
        """Of what belongs to the images of all processes, that of this one's."""
        own = len(everyones) // self.count
        return everyones[self.rank * own : (self.rank + 1) * own]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's tensors, in place."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def _by_dtype(tensor: Tensor) -> str:
    return str(tensor.dtype)


ALONE = Ranks()
"""A training of one process."""
