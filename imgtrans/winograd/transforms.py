"""The linear steps of Winograd's convolution, and the memory they work in.

A *spectrum* is a patch, filter or block after its transformation: its first two dimensions are 6×6.
"""

from __future__ import annotations

import math
import threading
from functools import cache
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# Of Lavin and Gray, with the points 0, 1, -1, 2, -2 and infinity.
PATCH: Final = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
FILTER: Final = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
BLOCK: Final = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)

# Memory that is new to a process costs about what the arithmetic on it does, so it is kept.
_kept = threading.local()


def space(name: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory with anything in it: the same for a name, in a thread, until it must be larger."""
    key, size = f"{name}, {like.dtype}", math.prod(shape)
    found: Tensor | None = _kept.__dict__.get(key)
    if found is None or len(found) < size:
        found = _kept.__dict__[key] = torch.empty(size, dtype=like.dtype)
    return found[:size].view(*shape)


def transform(
    matrix: tuple[tuple[float, ...], ...], tensor: Tensor, name: str, *, transposed: bool = False
) -> Tensor:
    """A matrix applied to both first dimensions.

    Args:
        matrix: ``a×b``.
        tensor: ``b×b×…``, contiguous; not in the spaces "half" and ``name``.
        name: of the space for the result.
        transposed: the matrix is ``b×a`` and its transpose is meant.

    Returns:
        ``a×a×…``.
    """
    factor = _factor(matrix, tensor.dtype, transposed)
    (large, small), rest = factor.shape, tensor.shape[2:]
    half = space("half", (large, small * math.prod(rest)), tensor)
    torch.mm(factor, tensor.view(small, -1), out=half)
    result = space(name, (large, large, *rest), tensor)
    repeated = factor.expand(large, large, small)
    torch.bmm(repeated, half.view(large, small, -1), out=result.view(large, large, -1))
    return result


@cache
def _factor(
    matrix: tuple[tuple[float, ...], ...],
    dtype: torch.dtype,
    transposed: bool,  # noqa: FBT001 - as `cache` tells calls apart
) -> Tensor:
    factor = torch.tensor(matrix, dtype=dtype)
    return factor.T.contiguous() if transposed else factor


def spectrum_of_patches(patches: Tensor) -> Tensor:
    """``6×6×…`` of patches ``6×6×…``, in the space "spectrum"."""
    return transform(PATCH, copied(patches), "spectrum")


def spectrum_of_filters(weight: Tensor) -> Tensor:
    """``6×6×C×D`` of ``D×C×3×3``, in the space "filters"."""
    return transform(FILTER, copied(weight.permute(2, 3, 1, 0)), "filters")


def copied(tensor: Tensor) -> Tensor:
    """Contiguous, in the space "copy"."""
    return space("copy", tensor.shape, tensor).copy_(tensor)


def product(spectrum: Tensor, filters: Tensor, name: str) -> Tensor:
    """``6×6×…×D`` of ``6×6×…×C`` and ``6×6×C×D``: a matrix product for each of the 36."""
    result = space(name, (*spectrum.shape[:-1], filters.shape[-1]), spectrum)
    torch.bmm(flat(spectrum), filters.flatten(0, 1), out=flat(result))
    return result


def flat(spectrum: Tensor) -> Tensor:
    """A view ``36×P×C`` of ``6×6×…×C``."""
    return spectrum.view(36, -1, spectrum.shape[-1])
