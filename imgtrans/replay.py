"""The pool of past fakes that discriminators are shown."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from imgtrans.distributed import ALONE, Ranks

CPU = torch.device("cpu")


class Pool:
    """Past fakes of one direction, to show discriminators (Shrivastava et al., 2017).

    Until it is full, every new fake is stored and shown. Then each new one is shown itself with
    probability ½, or takes the place of a random stored one, which is shown instead. The draws are
    a pure function of seed, direction and step, so a resumed run draws the same. They are made on
    the host before the step, so that the exchange itself is one gather and one scatter on the
    device, of fixed shapes. There is one pool for all processes: each has the same copy of it.
    """

    def __init__(self, capacity: int, seed: str, ranks: Ranks = ALONE) -> None:
        """An empty pool for ``capacity`` images; 0 shows every fake itself."""
        self.capacity = capacity
        self.count = 0
        """Images stored."""
        self.stored: Tensor | None = None
        """``(capacity + 1)×C×H×W``; the last place takes what is not to be kept."""
        self.draws: Tensor | None = None
        """For each part of the step: which is shown, what is stored, and where."""
        self._seed, self._ranks = seed, ranks

    @property
    def images(self) -> Tensor | None:
        """Those stored; None where there are none."""
        return None if self.stored is None or not self.count else self.stored[: self.count]

    def fill(self, images: Tensor) -> None:
        """Store these ``N×C×H×W`` in place of all others, at most ``capacity``."""
        self.count = len(images)
        if self.count:
            self._room_for(images)[: self.count] = images

    def draw(self, step: int, fakes: int, parts: int = 1, device: torch.device = CPU) -> None:
        """Decide what the exchanges of a step do.

        Args:
            step: counts from 0.
            fakes: of this process in each part of the step.
            parts: how often the step calls `exchange`.
            device: of the fakes.
        """
        if not self.capacity:
            return
        draw = random.Random(f"{self._seed}/{step}")  # noqa: S311 - replay, not cryptography
        everyones = fakes * self._ranks.count
        draws = torch.tensor([self._part(draw, everyones) for _ in range(parts)])
        self.draws = to_device(draws, device, self.draws)

    def _part(self, draw: random.Random, fakes: int) -> tuple[list[int], list[int], list[int]]:
        """Places count from 0; the new fakes follow them, from ``capacity + 1`` on."""
        held: dict[int, int] = {}
        shown = []
        for new in range(self.capacity + 1, self.capacity + 1 + fakes):
            if self.count < self.capacity:
                held[self.count] = new
                self.count += 1
                shown.append(new)
            elif draw.random() < 0.5:
                shown.append(new)
            else:
                place = draw.randrange(self.capacity)
                shown.append(held.get(place, place))
                held[place] = new
        unused = fakes - len(held)
        return (
            shown,
            [*held.values(), *[self.capacity] * unused],
            [*held, *[self.capacity] * unused],
        )

    def exchange(self, fakes: Tensor, part: int = 0) -> Tensor:
        """``N×C×H×W`` detached fakes, some of them from earlier steps, as `draw` has decided."""
        if not self.capacity:
            return fakes
        assert self.draws is not None, "draw before an exchange"  # noqa: S101
        everyones = self._ranks.gather(fakes)
        stored = self._room_for(everyones)
        shown, kept, places = self.draws[part].unbind()
        there = torch.cat([stored, everyones])
        stored.index_copy_(0, places, there[kept])
        return there[self._ranks.share(shown)]

    def _room_for(self, images: Tensor) -> Tensor:
        if self.stored is None:
            self.stored = images.new_zeros(self.capacity + 1, *images.shape[1:])
        return self.stored


def to_device(values: Tensor, device: torch.device, before: Tensor | None = None) -> Tensor:
    """Values from the host, copied without waiting, into ``before`` where that fits.

    A CUDA graph reads the same memory in every step, so what is there already is filled again.
    """
    if device.type == "cuda":
        values = values.pin_memory()
    if before is not None and before.shape == values.shape and before.device == device:
        return before.copy_(values, non_blocking=True)
    return values.to(device, non_blocking=True)
