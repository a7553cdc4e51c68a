"""A promise, and how often it was seen kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """What was counted."""

    tried: int
    broken: Sequence[str] = ()
    """What went wrong, a line each."""
    detail: str = ""
    """What else was measured on the way."""

    @property
    def kept(self) -> bool:
        return not self.broken and self.tried > 0

    def __str__(self) -> str:
        told = f"{max(0, self.tried - len(self.broken))}/{self.tried}"
        return f"{told}; {self.detail}" if self.detail else told


@dataclass(frozen=True)
class Promise:
    """What is promised, and how it is tried."""

    key: str
    says: str
    check: Callable[[Path, int], Figure]
    """Tries it so often, below a folder of its own that is also the current one."""
    short: int
    """How often the suite tries it; never where other tests of it say the same."""
    full: int


MANY = 20
"""Trials from which on times are held against what is promised; the few of the suite are not."""


def too_long(count: int, waits: Sequence[float], bound: float) -> list[str]:
    """Which wait of so many trials was longer than is promised."""
    longest = max(waits, default=0.0)
    over = count >= MANY and longest > bound
    return [f"it took {longest:.1f} s, and {bound:.0f} are promised"] if over else []


PROMISES: dict[str, Promise] = {}


def promise(
    key: str, says: str, *, short: int, full: int
) -> Callable[[Callable[[Path, int], Figure]], Callable[[Path, int], Figure]]:
    """Make a function the check of a promise."""

    def known(check: Callable[[Path, int], Figure]) -> Callable[[Path, int], Figure]:
        assert key not in PROMISES, key
        PROMISES[key] = Promise(key, says, check, short, full)
        return check

    return known
