"""What this machine can do: its rate of matrix products and of copying, measured in seconds.

Each is the best of several tries: what a machine has once done it can do, and whatever else runs on
it only slows it down.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SQUARES: Final = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Sides of the matrices that are tried on each kind of device."""
COPIED: Final = {"cpu": 2**28, "cuda": 2**30}
"""Bytes of the array that is copied: larger than any cache."""
SECONDS: Final = 0.5
"""That each shape is tried for, and three times at least."""
DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second at its best."""

    flops: float
    """Of matrix products in the precision of the training."""
    gemm: tuple[int, int, int]
    """The shape that reached it: rows, columns, inner length."""
    copied: float
    """Bytes, read and written, while an array is copied."""

    def or_better(self, other: Rates) -> Rates:
        """The best of two measurings."""
        faster = max(self, other, key=lambda rates: rates.flops)
        return Rates(faster.flops, faster.gemm, max(self.copied, other.copied))


def measure_rates(
    device: torch.device, precision: str, shapes: Iterable[tuple[int, int, int]]
) -> Rates:
    """Measure a machine.

    Args:
        device: what is measured.
        precision: of the matrices.
        shapes: of the recipe's own products, tried besides large square ones.
    """
    kind = device.type if device.type in SQUARES else "cpu"
    dtype = DTYPES[precision]
    tried = [*((side, side, side) for side in SQUARES[kind]), *shapes]
    with torch.no_grad(), _as_convolutions(device):
        flops, gemm = max((_product_rate(shape, device, dtype), shape) for shape in tried)
        return Rates(flops, gemm, _copy_rate(COPIED[kind], device))


def _product_rate(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> float:
    rows, columns, inner = shape
    left = torch.rand(rows, inner, device=device).to(dtype)
    right = torch.rand(inner, columns, device=device).to(dtype)
    made = torch.empty(rows, columns, device=device, dtype=dtype)
    seconds = _best(lambda: torch.mm(left, right, out=made), device)
    return 2 * rows * columns * inner / seconds


def _copy_rate(size: int, device: torch.device) -> float:
    source = torch.ones(size // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest try, after one that warms up."""
    best, tries, end = float("inf"), -1, time.perf_counter() + SECONDS
    while tries < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        wait_for(device)
        tries += 1
        if tries:
            best = min(best, time.perf_counter() - start)
    return best


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _as_convolutions(device: torch.device) -> Iterator[None]:
    """Products of float32 as exact as convolutions are on this device, so TF32 where those are."""
    if device.type != "cuda":
        yield
        return
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    try:
        yield
    finally:
        products.fp32_precision = before
