"""Many names in little memory: one text and where each name ends, instead of an object for each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Iterable


class Names(Sequence[str]):
    """Texts, in their order; also such as no encoding has, which file names may be."""

    def __init__(self, names: Iterable[str]) -> None:
        """Pack names."""
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        self._ends = array("q", accumulate(map(len, encoded), initial=0))
        self._text = b"".join(encoded)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """One name, or those of a slice."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < 0:
            raise IndexError(index)  # as no list of images is read from its end
        start, end = self._ends[index], self._ends[index + 1]
        return self._text[start:end].decode("utf-8", "surrogatepass")
