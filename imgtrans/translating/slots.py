"""The processor's cores, shared among batches that are translated at the same time."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition, Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slots:
    """So many are there; who takes some has them for a while."""

    def __init__(self, count: int) -> None:
        """All are free."""
        self.count, self._free = count, count
        self._turn, self._given = Lock(), Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Wait for so many, at most all, behind those that came before, who may want more."""
        with self._turn, self._given:
            self._given.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._given:
                self._free += wanted
                self._given.notify()
