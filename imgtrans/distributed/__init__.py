"""The processes of one training: who this one is, and what they exchange.

N processes do what one with the same global batch would. Everything here is a no-op in a training
of one process, so that the loop reads the same for both.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class GoneError(ImgtransError):
    """Another process of the training has ended, or has not answered in time."""


@contextmanager
def answered() -> Iterator[None]:
    """What is exchanged inside comes from processes that may be gone.

    Raises:
        GoneError: one of them is.
    """
    try:
        yield
    except RuntimeError as error:  # torch has classes of errors, and gloo raises none of them
        # Without gloo's own line of code, and its advice.
        why = re.sub(r"^\[\S+\] ", "", str(error).partition("\n")[0]).partition(". This is")[0]
        message = f"a process of this training is gone or does not answer ({why})"
        raise GoneError(message) from error


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
            self.add(flat)  # gloo knows no mean
            flat /= self.count
            pieces = flat.split([tensor.numel() for tensor in each])
            for tensor, piece in zip(each, pieces, strict=True):
                tensor.copy_(piece.view_as(tensor))

    def add(self, values: Tensor) -> None:
        """Replace values by their sum over the processes.

        Raises:
            GoneError: a process is gone, as all exchanges here do.
        """
        if self.count > 1:
            with answered():
                distributed.all_reduce(values)

    def most(self, number: int) -> int:
        """The largest number that any process has; they wait for each other, not for a device."""
        if self.count == 1:
            return number
        found = torch.tensor(number)
        with answered():
            distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def gather(self, images: Tensor) -> Tensor:
        """The images of all processes, in the order of their ranks."""
        if self.count == 1:
            return images
        parts = [torch.empty_like(images) for _ in range(self.count)]
        with answered():
            distributed.all_gather(parts, images.contiguous())
        return torch.cat(parts)

    def share(self, everyones: Tensor) -> Tensor:
        """Of what belongs to the images of all processes, that of this one's."""
        own = len(everyones) // self.count
        return everyones[self.rank * own : (self.rank + 1) * own]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's tensors, in place."""
        if self.count > 1:
            with answered():
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)


def _by_dtype(tensor: Tensor) -> str:
    return str(tensor.dtype)


ALONE = Ranks()
"""A training of one process."""
