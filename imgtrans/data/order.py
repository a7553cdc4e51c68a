"""Which image a position of a step shows, and the random numbers of its crop and flip.

A pure function of seed and position: nothing here remembers anything.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True)
class Order:
    """Which images a step sees, and how they are cropped and flipped."""

    seed: int
    batch_size: int
    lengths: tuple[int, int]
    paired: bool
    accumulate: int = 1
    """Micro-batches of a step; each has the batch size."""
    share: tuple[int, int] = (0, 1)
    """Which of how many processes this one is; each has its part of every micro-batch."""

    def positions(self, step: int) -> list[int]:
        """What this process sees in a step, one micro-batch after another."""
        rank, ranks = self.share
        part = self.batch_size // ranks
        first = step * self.accumulate * self.batch_size + rank * part
        starts = (first + micro * self.batch_size for micro in range(self.accumulate))
        return [start + place for start in starts for place in range(part)]

    def indices(self, position: int) -> tuple[int, int]:
        """The images of x and y at a position, which counts all images of a domain ever shown.

        Each domain goes through all its images in a new random order every pass, however many the
        other has; paired ones go together.
        """
        domains = ("pair", "pair") if self.paired else ("x", "y")
        x, y = (
            _permutation(f"{self.seed}/{domain}/{position // length}", length)[position % length]
            for domain, length in zip(domains, self.lengths, strict=True)
        )
        return x, y

    def draws(self, position: int) -> tuple[random.Random, random.Random]:
        """Random numbers for crop and flip of x and y; the same for both where they are paired."""
        domains = ("pair", "pair") if self.paired else ("x", "y")
        x, y = (random.Random(f"{self.seed}/crop/{name}/{position}") for name in domains)  # noqa: S311
        return x, y


@lru_cache(maxsize=8)
def _permutation(seed: str, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(random.Random(seed).getrandbits(63))  # noqa: S311
    permutation: list[int] = torch.randperm(length, generator=generator).tolist()
    return permutation
